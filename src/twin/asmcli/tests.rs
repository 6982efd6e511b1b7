//! Refusals that need no cluster. Installing is tested against a running twin.

use super::*;

const KUBECONFIG: &str = "
current-context: gke_twin-project_us-central1-a_twin
contexts:
- {name: gke_twin-project_us-central1-a_twin, context: {cluster: gke_twin-project_us-central1-a_twin, user: u}}
- {name: kind-kind, context: {cluster: kind-kind, user: u}}
clusters:
- {name: gke_twin-project_us-central1-a_twin, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: ''}}
- {name: kind-kind, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: ''}}
users:
- {name: u, user: {token: t}}
";

/// Exit code, stdout and stderr of a command line in a directory with a kubeconfig `k` and empty
/// certificate files `a`, `b`, `c`, `d`.
async fn asmcli(line: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("k", KUBECONFIG),
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("d", ""),
    ] {
        crate::effect::files::write_private(&directory.path().join(name), text).unwrap();
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = main(Invocation {
        args: line.split_whitespace().map(str::to_owned).collect(),
        directory: directory.path().to_owned(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    })
    .await;
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap()
            .replace(&directory.path().display().to_string(), "DIR")
    };
    (code, text(stdout), text(stderr))
}

async fn refused(line: &str, last: &str) {
    let (code, stdout, stderr) = asmcli(line).await;
    assert_eq!((code, stdout.as_str()), (2, ""), "{line}");
    let error = stderr
        .lines()
        .rfind(|l| l.starts_with("asmcli: "))
        .unwrap_or_default();
    assert_eq!(error, format!("asmcli: [ERROR]: {last}"), "{line}");
}

#[tokio::test]
async fn the_version_goes_to_stdout() {
    assert_eq!(
        asmcli("--version").await,
        (0, "1.23.3-asm.2+config1\n".to_owned(), String::new())
    );
}

#[tokio::test]
async fn nothing_to_do_shows_the_usage_on_stderr() {
    let (code, stdout, stderr) = asmcli("").await;
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(
        stderr.starts_with("asmcli 1.23.3-asm.2+config1\nusage: asmcli [SUBCOMMAND]"),
        "{stderr}"
    );
}

#[tokio::test]
async fn certificate_flags_are_for_citadel_only_and_all_four() {
    // As the procedure prints it: the command of phase 2 cannot run.
    refused(
        "install --kubeconfig k --ca mesh_ca --root_cert c --cert_chain d",
        "You must select Citadel as the CA in order to use custom certificates.",
    )
    .await;
    refused(
        "install --kubeconfig k --ca citadel --root_cert c",
        "All four certificate options must be present to use a custom cert.",
    )
    .await;
    refused("install --kubeconfig k --ca citadel --ca_cert a --ca_key nowhere --root_cert c --cert_chain d", "Couldn't find file nowhere.").await;
    refused(
        "install --kubeconfig k --ca citadel --ca_cert a --ca_key b --root_cert c --cert_chain d",
        "DIR/b failed an openssl consistency check.",
    )
    .await;
}

#[tokio::test]
async fn the_revision_follows_rfc_1123_and_not_1035() {
    let too_long = "r".repeat(64);
    refused(
        &format!("install --kubeconfig k -r {too_long}"),
        "Revision label cannot be longer than 63.",
    )
    .await;
    refused(
        "install --kubeconfig k -r a_b",
        "Revision label does not follow RFC 1123 formatting convention.",
    )
    .await;
    // What passes this check fails at the next one.
    refused(
        "install --kubeconfig k -r 9ASM-UPPER --ca none",
        "CA must be one of 'citadel', 'mesh_ca', 'gcp_cas', 'managed_cas'",
    )
    .await;
}

#[tokio::test]
async fn the_cluster_is_found_by_its_contexts_name() {
    refused(
        "install --ca citadel",
        "Missing one or more required options.",
    )
    .await;
    refused("install --kubeconfig k -p p", "Incompatible arguments. Kubeconfig cannot be used in conjunction with [--cluster_location|--cluster_name|--project_id].").await;
    refused(
        "install --kubeconfig k --context kind-kind",
        "Please verify the spelling and try again: a cluster is called gke_PROJECT_LOCATION_NAME.",
    )
    .await;
    refused(
        "install --kubeconfig k --context other",
        "no context exists with the name: \"other\"",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_option_lists_the_directory() {
    let (code, _, stderr) =
        asmcli("install --kubeconfig k --ca citadel --option ca-migration-migration -D out").await;
    assert_eq!(code, 2);
    assert!(stderr.ends_with("asmcli: [ERROR]: Couldn't find yaml file ca-migration-migration.\nasmcli: [ERROR]: See directory DIR/out/asm/istio/options for available options.\n"), "{stderr}");
}

#[tokio::test]
async fn an_overlay_that_is_not_there_is_named() {
    refused(
        "install --kubeconfig k --ca citadel --custom_overlay x.yaml",
        "Couldn't find yaml file x.yaml.",
    )
    .await;
}

#[tokio::test]
async fn what_the_twin_has_not_is_refused() {
    refused(
        "install --kubeconfig k --managed",
        "the twin's asmcli cannot act out --managed",
    )
    .await;
    refused(
        "install --kubeconfig k --ca gcp_cas",
        "the twin's asmcli cannot act out --ca gcp_cas: there is no Certificate Authority Service",
    )
    .await;
    refused(
        "create-mesh",
        "the twin's asmcli has no subcommand create-mesh",
    )
    .await;
}
