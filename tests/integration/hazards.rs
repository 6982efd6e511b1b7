//! What can go wrong, and the test that gives its verdict: the hazards of the documented procedure itself, the odd
//! states that proxies and control planes are found in. The lists are themselves tested: each of these functions is
//! there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::convergence::{Mesh, sent};
use crate::support::rootshift;

/// Hazards of the procedure as it is documented, and of the tools that it is carried out with.
const HAZARDS: &[(&str, &[&str])] = &[
    (
        "the check's exit code is 0 whatever it finds, and so is an unknown subcommand's",
        &[
            "half_a_mesh_with_both_roots_is_told_apart_in_either_order_of_names",
            "a_proxy_that_cannot_be_read_is_unknown_by_name_and_reason",
            "an_unknown_script_is_named_with_the_nearest",
        ],
    ),
    (
        "the documented asmcli commands fail, or change the root in use; a `cacerts` made early flips the old istiod",
        &[
            "the_twins_asmcli_refuses_what_asmcli_refuses",
            "another_root_than_the_one_in_use_is_an_error",
            "a_cacerts_that_istiod_would_not_load_or_sign_otherwise_with_is_not_written",
            "istiod_is_not_restarted_to_a_cacerts_that_it_would_not_load_or_sign_otherwise_with",
        ],
    ),
    (
        "Service `istiod` is applied, then deleted with the old revision: nobody validates",
        &["from_istio_without_a_revision"],
    ),
    (
        "only Deployments are restarted; the label alone has pods made anew switch early",
        &[
            "with_sets_that_roll_and_sets_that_wait_for_an_eviction",
            "the_inventory_says_how_each_proxy_will_be_moved",
            "each_owner_has_its_way",
            "straight_to_mesh_ca_is_refused_and_waived_breaks_just_the_pairs_that_were_named",
            "namespaces_without_pods_and_tags_are_judged_by_the_templates_that_they_have",
        ],
    ),
    (
        "both injection labels, pods that ask for themselves, revision tags",
        &[
            "the_truth_table_of_namespace_and_pod_labels",
            "a_namespace_with_both_labels_stops_the_migration_before_it_begins",
            "with_every_way_to_ask_for_a_proxy",
            "with_tags_that_are_moved_instead_of_labels",
            "a_tag_that_is_pointed_straight_at_mesh_ca_is_refused_and_waived_it_is_an_outage",
            "pods_that_never_asked_for_a_proxy_are_not_brought_in_by_the_label_of_their_namespace",
        ],
    ),
    (
        "one check in the whole procedure; none of the signer, of trust domains, before secrets go, of other clusters",
        &[
            "no_step_can_be_left_out_or_swapped_into_an_unsafe_mesh",
            "ca_secrets_that_are_still_needed_stay_and_waived_the_damage_is_counted",
            "a_cluster_that_was_not_given_is_named_and_refuses",
        ],
    ),
    (
        "webhooks of the old revision are left behind, and an istiod is removed that proxies still point at",
        &[
            "a_second_run_changes_nothing_and_a_run_killed_after_any_step_is_finished_by_the_next",
            "istiod_of_a_revision_in_use_is_not_removed",
            "with_every_way_to_ask_for_a_proxy",
        ],
    ),
    (
        "IstioOperator objects are deleted that newer istioctls do not make, of a kind that may not be there",
        &["a_cluster_without_the_kind_istiooperator_is_finalised_all_the_same"],
    ),
    (
        "the documented way back deletes the new gateways first, verifies nothing, and has no end",
        &[
            "from_anywhere_in_phase_2_it_goes_back_to_either_point_and_forward_again_to_the_end",
            "after_finalising_the_start_is_refused_until_its_control_plane_is_installed_again",
            "roots_first_is_refused_and_waived_breaks_handshakes",
        ],
    ),
    (
        "the last step restarts everything at once, proves nothing, and has istiod make a third root",
        &[
            "the_default_twin_is_migrated_and_the_old_ca_retired_without_a_failed_handshake",
            "a_new_root_that_istiod_would_make_is_foreseen_and_refused",
            "ca_secrets_that_are_still_needed_stay_and_waived_the_damage_is_counted",
            "an_old_ca_is_gone_only_when_nothing_of_it_is_left",
            "the_end_of_the_old_ca_stops_where_proxies_still_need_it",
            "copies_go_through_the_sites_filter_and_what_does_not_hide_them_is_not_written",
        ],
    ),
    (
        "identities change with the trust domain, for a mesh with its own already in phase 1",
        &[
            "from_a_trust_domain_of_the_sites_own",
            "a_trust_domain_without_aliases_is_refused_before_phase_2_and_waived_breaks_what_was_named",
            "what_names_peers_literally_is_refused_with_what_keeps_it_and_nothing_else_is",
            "without_an_alias_principals_of_every_form_are_named_with_the_alias_that_keeps_them",
        ],
    ),
    (
        "old gateways are deleted whether or not another serves",
        &[
            "every_test_of_the_library_passes_on_a_twin",
            "from_istio_without_a_revision",
            "a_gateway_that_somebody_stays_connected_to_is_taken_back_and_serves",
        ],
    ),
];

/// States of certificates, secrets, dumps, pods and control planes.
const STATES: &[(&str, &[&str])] = &[
    (
        "two roots in either order",
        &["two_roots_in_either_order_of_the_text_are_both_trusted"],
    ),
    (
        "the same first root, another second",
        &[
            "the_same_first_root_with_another_second_is_another_bundle",
            "half_a_mesh_with_both_roots_is_told_apart_in_either_order_of_names",
        ],
    ),
    (
        "both roots in the chain of a leaf of Citadel's",
        &["a_second_root_in_the_chain_does_not_make_it_the_signer"],
    ),
    (
        "the same name, another key",
        &["a_ca_made_again_under_the_same_name_is_another_ca"],
    ),
    (
        "the same key, the root issued again",
        &["a_root_issued_again_with_its_key_is_the_same_ca"],
    ),
    (
        "the same root twice",
        &["a_certificate_presented_or_trusted_twice_counts_once"],
    ),
    (
        "a cross-signed root",
        &["a_cross_signed_root_connects_unless_the_self_signed_one_stands_beside_it"],
    ),
    (
        "a leaf with an EC key under an RSA root",
        &["keys_of_leaf_and_root_need_not_be_of_one_kind"],
    ),
    (
        "an intermediate that is missing, or out of order",
        &[
            "without_its_intermediate_a_leaf_proves_nothing",
            "the_order_of_issuers_does_not_matter_and_that_of_the_leaf_does",
        ],
    ),
    (
        "no root in the chain",
        &["a_chain_without_its_root_is_fine"],
    ),
    (
        "an intermediate as anchor",
        &["an_intermediate_as_anchor_accepts_and_is_only_part_of_the_trust"],
    ),
    (
        "a leaf that is fresh, half over, overdue, over, or not begun",
        &[
            "the_same_dumps_are_judged_by_time",
            "a_leaf_outside_of_its_dates_is_refused_by_name_and_distance",
        ],
    ),
    (
        "a root that is over",
        &["an_expired_root_ends_no_path_and_beside_its_successor_leaves_it_open"],
    ),
    ("an end in 2118", &["dates_after_2049_are_read_and_shown"]),
    (
        "serials of 20 bytes, with the high bit, negative",
        &["serials_of_every_size_and_sign_are_shown_and_never_decide"],
    ),
    (
        "no subject",
        &["a_workload_without_a_subject_is_called_by_its_uri"],
    ),
    (
        "no name, two names, somebody else's name",
        &[
            "an_identity_is_exactly_one_spiffe_uri",
            "a_certificate_of_another_service_account_is_no_identity",
        ],
    ),
    (
        "PEM that is glued, with CRLF, without a last line end, with garbage or a CRL in it",
        &[
            "oddities_that_mean_nothing_are_not_issues",
            "foreign_blocks_are_named_and_the_rest_is_read",
            "a_damaged_block_never_takes_its_neighbours_along",
            "texts_that_envoy_does_not_load_are_told_apart",
        ],
    ),
    (
        "secrets as text, or by reference",
        &["certificates_are_read_from_every_source_that_shows_them"],
    ),
    (
        "base64 for URLs",
        &[
            "certificates_are_read_from_every_source_that_shows_them",
            "base64_of_either_is_read_in_all_its_forms",
        ],
    ),
    (
        "secrets that are warming",
        &["what_is_warming_is_not_known"],
    ),
    (
        "two secrets called `default`",
        &["of_two_secrets_of_one_name_both_count_unless_they_are_alike"],
    ),
    (
        "a SPIFFE validator of two domains",
        &["a_spiffe_validator_has_a_bundle_for_each_trust_domain_and_wins"],
    ),
    (
        "a gateway with `kubernetes://` secrets before `default`",
        &[
            "secrets_are_chosen_by_their_exact_name_wherever_they_stand",
            "a_gateway_lists_its_credentials_before_the_meshs_secrets",
            "from_a_revision_with_a_name_and_a_plugged_in_ca",
        ],
    ),
    (
        "camel case",
        &["camel_case_and_a_section_by_itself_are_read"],
    ),
    (
        "sections that are missing",
        &[
            "a_dump_without_secrets_is_no_answer",
            "a_dump_without_listeners_is_unknown_and_not_permissive",
        ],
    ),
    (
        "404, 503, a body that is cut short, slow or huge",
        &[
            "another_status_than_200_is_told",
            "bodies_that_are_cut_short_are_errors_with_both_figures",
            "a_port_that_hangs_is_given_up_in_time",
            "a_body_beyond_the_limit_is_not_read",
            "admin_ports_misbehave_as_the_scenario_says",
        ],
    ),
    (
        "a pod that is replaced while it is read",
        &["a_pod_that_is_replaced_while_it_is_read_is_read_anew"],
    ),
    (
        "native sidecars",
        &[
            "with_native_sidecars",
            "only_an_init_container_that_keeps_running_is_a_native_sidecar",
        ],
    ),
    (
        "a ztunnel called istio-proxy",
        &["a_ztunnel_whose_container_is_called_istio_proxy_is_no_sidecar"],
    ),
    (
        "a pod on the node's network",
        &[
            "a_pod_on_the_nodes_network_is_outside",
            "what_takes_a_root_or_a_name_from_proxies_is_refused_whatever_object_it_is_in",
        ],
    ),
    (
        "a Job that has ended",
        &["what_has_ended_is_skipped_and_said_to_be"],
    ),
    (
        "a StatefulSet that was not restarted",
        &[
            "each_kind_of_exception_is_named_where_it_is_and_only_there",
            "status_names_what_somebody_began_by_hand_and_whether_it_holds_if_a_pod_goes",
        ],
    ),
    (
        "both labels",
        &[
            "the_truth_table_of_namespace_and_pod_labels",
            "a_namespace_with_both_labels_stops_the_migration_before_it_begins",
        ],
    ),
    (
        "a revision that nobody knows",
        &[
            "the_truth_table_of_namespace_and_pod_labels",
            "a_namespace_is_not_labelled_for_a_revision_that_is_not_there",
        ],
    ),
    (
        "a tag in place of a revision",
        &[
            "with_every_way_to_ask_for_a_proxy",
            "namespaces_without_pods_and_tags_are_judged_by_the_templates_that_they_have",
        ],
    ),
    (
        "a webhook that was deactivated",
        &["a_webhook_that_was_deactivated_injects_nobody"],
    ),
    (
        "an istiod that takes the ConfigMaps' lock and has another root; proxies that lose their istiod and go on",
        &[
            "a_root_that_another_revision_spreads_cuts_proxies_off_and_the_traffic_goes_on",
            "each_kind_of_exception_is_named_where_it_is_and_only_there",
        ],
    ),
    (
        "ConfigMaps that reach pods late",
        &["a_new_root_reaches_running_proxies_only_after_the_kubelets_lag"],
    ),
    (
        "an istiod that makes a new root when it starts",
        &[
            "without_its_secret_the_next_start_makes_another_root_of_the_same_name",
            "a_new_root_that_istiod_would_make_is_foreseen_and_refused",
        ],
    ),
    (
        "the validator's Service deleted after it was applied",
        &[
            "from_istio_without_a_revision",
            "a_validator_that_leads_nowhere_is_told_whether_it_lets_pass_or_refuses_all",
        ],
    ),
    (
        "no kind IstioOperator",
        &["a_cluster_without_the_kind_istiooperator_is_finalised_all_the_same"],
    ),
    (
        "`cacerts` with other file names",
        &[
            "asmcli_makes_cacerts_of_base_names_and_stops_where_the_api_refuses",
            "names_and_modes_of_files_count",
            "a_cacerts_that_istiod_would_not_load_or_sign_otherwise_with_is_not_written",
        ],
    ),
];

/// The names of all test functions below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if is_test && line.contains("fn ") {
                    let name = line
                        .split("fn ")
                        .nth(1)
                        .and_then(|rest| rest.split(['(', '<']).next());
                    found.extend(name.map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn each_hazard_and_each_odd_state_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["src", "tests/integration"] {
        tests_below(&root.join(folder), &mut found);
    }
    for (what, tests) in HAZARDS.iter().chain(STATES) {
        assert!(!tests.is_empty(), "{what}: no test");
        for test in *tests {
            assert!(found.contains(*test), "{what}: there is no test `{test}`");
        }
    }
    assert_eq!((HAZARDS.len(), STATES.len()), (12, 43));
}

#[test]
fn a_namespace_with_both_labels_stops_the_migration_before_it_begins() {
    const MESH: &str = "
title: a namespace that asks twice
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web}]
objects:
  - {apiVersion: v1, kind: Namespace, metadata: {name: twice, labels: {istio-injection: enabled, istio.io/rev: default}}}
";
    let ran =
        rootshift("run citadel-to-meshca --twin=mesh.yaml -o jsonl --set fleet_id=twin-project")
            .file("mesh.yaml", MESH)
            .run()
            .code(3);
    assert_eq!(sent(&ran), Vec::<String>::new());
    let failure = &ran.finished()["failure"];
    assert_eq!(failure["code"], "RS305", "{failure}");
    let evidence = failure["evidence"].to_string();
    assert!(
        evidence.contains("namespace twice has both `istio.io/rev` and `istio-injection`"),
        "{failure}"
    );
}

const SMALL: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web}]
  pay:
    injection: enabled
    workloads: [{name: api}]
";

/// istioctl makes no IstioOperator since 1.21, and Helm's charts bring no such kind.
#[test]
fn a_cluster_without_the_kind_istiooperator_is_finalised_all_the_same() {
    let mesh = Mesh::start(SMALL);
    mesh.forward("finalise=never").code(0);
    let gone = r#"//! The kind goes, with all objects of it.
//! mutates: true
fn main(p) { cluster::delete("crd", "istiooperators.install.istio.io"); }
"#;
    mesh.run("gone.rhai").file("gone.rhai", gone).run().code(0);
    let finalised = sent(&mesh.forward("").code(0));
    assert!(
        finalised
            .iter()
            .any(|s| s.contains("deployment.apps") && s.contains("deleted")),
        "{finalised:?}"
    );
    assert!(
        !finalised.iter().any(|s| s.contains("installed-state")),
        "{finalised:?}"
    );
    assert_eq!(sent(&mesh.forward("").code(0)), Vec::<String>::new());
    assert_eq!(mesh.failed_handshakes(), 0);
}
