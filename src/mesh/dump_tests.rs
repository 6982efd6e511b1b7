//! Dumps in every form that Envoys and istioctls give them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::pki::mint::{Authority, CaSpec};

fn ca(name: &str) -> Authority {
    Authority::self_signed(&CaSpec::new([("CN", name)], Timestamp::now())).unwrap()
}

fn inline(ca: &Authority) -> Value {
    json!({"inline_bytes": STANDARD.encode(ca.cert().pem())})
}

fn certificate(name: &str, source: &Value) -> Value {
    json!({"name": name, "secret": {"name": name, "tls_certificate": {
        "certificate_chain": source, "private_key": {"inline_bytes": STANDARD.encode("[redacted]")},
    }}})
}

fn roots(name: &str, source: &Value) -> Value {
    json!({"name": name, "secret": {"name": name, "validation_context": {"trusted_ca": source}}})
}

fn dump(active: &[Value], warming: &[Value]) -> Value {
    json!({"configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "dynamic_active_secrets": active, "dynamic_warming_secrets": warming,
    }]})
}

fn trusted(found: &Secrets) -> Vec<String> {
    let stores = found.trust.as_ref().unwrap();
    let names = stores.iter().flat_map(|store| {
        let all: Vec<_> = store.all().certs().map(Cert::display_name).collect();
        all
    });
    names.collect()
}

/// The one root that a `ROOTCA` of this source holds, or why it is not known.
fn root_in(source: &Value) -> Reading<Vec<String>> {
    let leaf = inline(&ca("leaf"));
    let found = secrets(&dump(
        &[certificate("default", &leaf), roots("ROOTCA", source)],
        &[],
    ));
    let found = found.unwrap();
    found.trust.clone().map(|_| trusted(&found))
}

#[test]
fn certificates_are_read_from_every_source_that_shows_them() {
    let root = ca("root");
    let pem = root.cert().pem();
    for source in [
        json!({"inline_string": pem}),
        json!({"inlineString": pem}),
        json!({"inline_bytes": STANDARD.encode(&pem)}),
        json!({"inlineBytes": URL_SAFE_NO_PAD.encode(&pem)}),
    ] {
        let found = root_in(&source).unwrap();
        assert_eq!(found, [root.cert().display_name()], "{source}");
    }
    for (source, why) in [
        (
            json!({"filename": "/etc/certs/root-cert.pem"}),
            "held by reference (`/etc/certs/root-cert.pem`)",
        ),
        (
            json!({"environment_variable": "ROOT"}),
            "held by reference (`ROOT`)",
        ),
        (json!({"inline_bytes": "LS0t!"}), "not base64"),
        (
            json!({"inline_bytes": STANDARD.encode("[redacted]")}),
            "holds no readable certificate",
        ),
        (json!({}), "shows no data"),
    ] {
        let reason = root_in(&source).unwrap_err();
        assert!(reason.contains(why), "{source}: {reason}");
    }
}

#[test]
fn secrets_are_chosen_by_their_exact_name_wherever_they_stand() {
    let (leaf, root, stranger) = (ca("leaf"), ca("root"), ca("stranger"));
    let of = inline;
    let active = [
        certificate("kubernetes://shop-tls", &of(&stranger)),
        roots("kubernetes://shop-tls-cacert", &of(&stranger)),
        roots("file-root:/etc/root.pem", &of(&stranger)),
        roots("ROOTCA", &of(&root)),
        certificate("default-of-somebody", &of(&stranger)),
        certificate("default", &of(&leaf)),
    ];
    let found = secrets(&dump(&active, &[])).unwrap();
    assert_eq!(found.chains.as_ref().unwrap(), &[vec![leaf.cert().clone()]]);
    assert_eq!(trusted(&found), [root.cert().display_name()]);
    // Without those of the mesh the others are nothing to go by.
    let found = secrets(&dump(&active[..3], &[])).unwrap();
    assert!(found.chains.unwrap_err().contains("no secret `default`"));
    assert!(found.trust.unwrap_err().contains("no secret `ROOTCA`"));
}

#[test]
fn what_is_warming_is_not_known() {
    let source = inline(&ca("root"));
    let warming = [certificate("default", &source), roots("ROOTCA", &source)];
    let found = secrets(&dump(&[], &warming)).unwrap();
    assert!(
        found
            .chains
            .unwrap_err()
            .contains("secret `default` is warming")
    );
    assert!(
        found
            .trust
            .unwrap_err()
            .contains("secret `ROOTCA` is warming")
    );
    // What is active counts, whatever is to come.
    let found = secrets(&dump(&warming, &warming)).unwrap();
    assert!(found.chains.is_ok() && found.trust.is_ok());
}

#[test]
fn of_two_secrets_of_one_name_both_count_unless_they_are_alike() {
    let (one, two) = (ca("one"), ca("two"));
    let of = |ca: &Authority| certificate("default", &inline(ca));
    let count = |active: &[Value]| secrets(&dump(active, &[])).unwrap().chains.unwrap().len();
    assert_eq!(count(&[of(&one), of(&one)]), 1);
    assert_eq!(count(&[of(&one), of(&two)]), 2);
    // One that cannot be read may be the one in use.
    let unread = certificate("default", &json!({"filename": "/etc/certs/cert-chain.pem"}));
    let found = secrets(&dump(&[of(&one), unread], &[])).unwrap();
    assert!(found.chains.is_err());
}

#[test]
fn a_spiffe_validator_has_a_bundle_for_each_trust_domain_and_wins() {
    let (old, new) = (ca("old"), ca("new"));
    let both = format!("{}{}", old.cert().pem(), new.cert().pem());
    let domain = |name: &str, ca: &Authority| json!({"name": name, "trust_bundle": inline(ca)});
    let domains = [domain("Cluster.Local", &old), domain("p.svc.id.goog", &new)];
    let context = json!({
        "trusted_ca": json!({"inline_string": both}),
        "custom_validator_config": {"typed_config": {"trust_domains": domains}},
    });
    let entry = json!({"name": "ROOTCA", "secret": {"validation_context": context}});
    let found = secrets(&dump(&[entry], &[])).unwrap();
    let store = &found.trust.unwrap()[0];
    let of = |domain: &str| {
        store
            .for_peer(domain)
            .map(|bundle| bundle.certs().cloned().collect::<Vec<_>>())
    };
    assert_eq!(of("cluster.local"), Some(vec![old.cert().clone()]));
    assert_eq!(of("p.svc.id.goog"), Some(vec![new.cert().clone()]));
    assert_eq!(of("elsewhere"), None);
}

/// As `istioctl proxy-config secret -o json` prints it: the section alone, in camel case.
#[test]
fn camel_case_and_a_section_by_itself_are_read() {
    let (leaf, root) = (ca("leaf"), ca("root"));
    let bytes = |ca: &Authority| json!({"inlineBytes": STANDARD.encode(ca.cert().pem())});
    let section = json!({"dynamicActiveSecrets": [
        {"name": "default", "secret": {"tlsCertificate": {"certificateChain": bytes(&leaf)}}},
        {"name": "ROOTCA", "secret": {"validationContext": {"trustedCa": bytes(&root)}}},
    ]});
    let found = secrets(&section).unwrap();
    assert_eq!(found.chains.as_ref().unwrap(), &[vec![leaf.cert().clone()]]);
    assert_eq!(trusted(&found), [root.cert().display_name()]);
}

#[test]
fn a_dump_without_secrets_is_no_answer() {
    for dump in [
        json!({}),
        json!({"configs": []}),
        json!([]),
        json!({"configs": [{"@type": "x.ListenersConfigDump"}]}),
    ] {
        assert!(secrets(&dump).is_err(), "{dump}");
    }
    let empty = secrets(&dump(&[], &[])).unwrap();
    assert!(empty.chains.is_err() && empty.trust.is_err());
}
