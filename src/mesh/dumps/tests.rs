//! Which dump may stand for which proxy, and for how long.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::rules::{Told, is_current, is_last_word, is_of};
use super::*;
use crate::mesh::pods::{ProxyKind, ProxyPod, Workload};
use crate::pki::SpiffeId;
use crate::pki::mint::{Authority, CaSpec, LeafSpec};

fn now() -> Timestamp {
    Timestamp::now()
}

fn hours(count: i64) -> Timestamp {
    now() + SignedDuration::from_hours(count)
}

/// What web-1.shop at 10.0.0.1 shows, which started 5 hours ago and has a certificate from and until these hours from now.
fn dump(from: i64, until: i64) -> Value {
    let ca = Authority::self_signed(&CaSpec::istio("cluster.local", now())).unwrap();
    let id = SpiffeId::new("cluster.local", "shop", "web");
    let leaf = LeafSpec::workload(&id, now()).valid(hours(from), hours(until));
    let (cert, _) = ca.issue(&leaf).unwrap();
    let inline = |pem: String| json!({"inline_bytes": STANDARD.encode(pem)});
    let at = |count: i64| hours(count).to_string();
    json!({"configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": {"node": {
                "id": "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local",
                "metadata": {
                    "CLUSTER_ID": "west",
                    "INSTANCE_IPS": "10.0.0.1,fd00::1",
                    "ANNOTATIONS": {"last_updated": at(9)},
                    "PROXY_CONFIG": {"discoveryAddress": "istiod-a.istio-system.svc:15012"},
                },
            }},
            "last_updated": at(-5),
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [{"name": "virtualInbound", "active_state": {"last_updated": at(-3)}}],
        },
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "dynamic_active_secrets": [
                {"name": "default", "last_updated": at(-4), "secret": {"name": "default", "tls_certificate": {
                    "certificate_chain": inline(cert.pem()), "private_key": {"inline_bytes": "W3JlZGFjdGVkXQ=="},
                }}},
                {"name": "ROOTCA", "last_updated": at(-4), "secret": {"name": "ROOTCA", "validation_context": {
                    "trusted_ca": inline(ca.cert().pem()),
                }}},
            ],
        },
    ]})
}

fn saved(dump: &Value) -> Reading<Saved> {
    saved::read(dump.to_string().as_bytes(), &CertCache::default())
}

/// web-1.shop, whose proxy runs since 5 hours and a little.
fn pod() -> ProxyPod {
    ProxyPod {
        namespace: "shop".into(),
        name: "web-1".into(),
        uid: "1".into(),
        restarts: 0,
        started: Some(hours(-5) - SignedDuration::from_secs(2)),
        addresses: vec!["10.0.0.1".into()],
        kind: ProxyKind::Sidecar,
        workload: Workload {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        },
        service_account: "web".into(),
        revision: None,
        admin_port: 15000,
        labels: BTreeMap::new(),
        ready: true,
        file_mounted: false,
        cluster: None,
    }
}

#[test]
fn a_file_is_named_after_its_proxy_in_one_of_two_ways() {
    for (directory, file, proxy) in [
        (None, "web-1.shop.json", Some(("shop", "web-1"))),
        (None, "web.v2-1.shop.json", Some(("shop", "web.v2-1"))),
        (Some("shop"), "web-1.json", Some(("shop", "web-1"))),
        (Some("shop"), "web.v2-1.json", Some(("shop", "web.v2-1"))),
        (None, "web-1.json", None),
        (None, ".shop.json", None),
        (None, "web-1.shop.txt", None),
        (Some("shop"), "web-1.json.gz", None),
        (Some("shop"), ".json", None),
    ] {
        let found = proxy_of(directory, file);
        let found = found
            .as_ref()
            .map(|(ns, name)| (ns.as_str(), name.as_str()));
        assert_eq!(found, proxy, "{directory:?} {file}");
    }
}

#[test]
fn a_dump_is_of_one_pod_and_of_one_start_of_it() {
    let of_web = saved(&dump(-1, 23)).unwrap();
    is_of(&of_web, &pod()).unwrap();
    let with = |change: &dyn Fn(&mut ProxyPod)| {
        let mut pod = pod();
        change(&mut pod);
        is_of(&of_web, &pod)
    };
    let v6 = with(&|pod| pod.addresses = vec!["fd00:0:0::0001".into()]);
    v6.expect("one of its addresses, however it is written");
    let refused = |change: &dyn Fn(&mut ProxyPod)| with(change).unwrap_err();
    assert_eq!(
        refused(&|pod| pod.name = "web-2".into()),
        "it is of `web-1.shop`"
    );
    assert_eq!(
        refused(&|pod| pod.namespace = "pay".into()),
        "it is of `web-1.shop`"
    );
    // A StatefulSet of another cluster has a pod of this name.
    assert_eq!(
        refused(&|pod| pod.addresses = vec!["10.9.0.1".into()]),
        "it is of a proxy at 10.0.0.1, and this one is at 10.9.0.1"
    );
    assert!(refused(&|pod| pod.addresses.clear()).contains("not known"));
    // There it may have the same address.
    with(&|pod| pod.cluster = Some("west".into())).unwrap();
    assert_eq!(
        refused(&|pod| pod.cluster = Some("east".into())),
        "it is of a proxy of cluster `west`, and this one is of `east`"
    );
    // The container was restarted, or the pod made anew with its name and address.
    let again = refused(&|pod| pod.started = Some(hours(-2)));
    assert!(again.contains("was started again at"), "{again}");
    assert!(refused(&|pod| pod.started = None).contains("not known"));
}

#[test]
fn the_dump_of_a_machine_is_told_by_its_address() {
    let of_machine = saved(&dump(-1, 23)).unwrap();
    let machine = |address: &str, namespace: &str| {
        let entry = json!({
            "metadata": {"name": "vm-7", "namespace": namespace, "uid": "7"},
            "spec": {"address": address, "serviceAccount": "web"},
        });
        is_of(
            &of_machine,
            &crate::mesh::pods::machine(&crate::cluster::Object::new(entry)),
        )
    };
    machine("10.0.0.1", "shop").unwrap();
    machine("fd00::1", "shop").expect("any of its addresses");
    assert!(machine("10.0.0.2", "shop").is_err());
    assert!(machine("vm-7.example.com", "shop").is_err());
    assert!(machine("10.0.0.1", "pay").is_err());
    assert_eq!(of_machine.revision().as_deref(), Some("a"));
}

#[test]
fn a_dump_is_used_while_its_certificate_is_not_due_to_be_renewed() {
    let current = |from, until| is_current(&saved(&dump(from, until)).unwrap(), Some(now()), now());
    current(-1, 23).unwrap();
    current(-11, 13).expect("its renewal is due in an hour");
    let refused = |from, until| current(from, until).unwrap_err();
    assert!(refused(-13, 11).contains("was due to be renewed"));
    assert!(refused(-25, -1).contains("expired at"));
    assert!(refused(1, 25).contains("is valid from"));
    // Without a certificate nobody knows how long it says the truth.
    let mut without = dump(-1, 23);
    without["configs"][3]["dynamic_active_secrets"] = json!([]);
    let without = is_current(&saved(&without).unwrap(), Some(now()), now());
    assert!(without.unwrap_err().contains("no secret `default`"));
}

#[test]
fn when_its_file_was_written_makes_a_dump_old_and_never_new() {
    let of_web = saved(&dump(-1, 23)).unwrap();
    let written = |at: Option<Timestamp>| is_current(&of_web, at, now());
    written(Some(hours(-2))).unwrap();
    let refused = |at| written(at).unwrap_err();
    assert!(refused(Some(hours(-4))).contains("one of the clocks is wrong"));
    assert!(refused(None).contains("not known"));
    let later = is_current(&of_web, Some(hours(-2)), hours(23)).unwrap_err();
    assert!(later.contains("25 h ago"), "{later}");
    let before = is_current(&of_web, Some(hours(0)), hours(-4)).unwrap_err();
    assert!(before.contains("which is to come"), "{before}");
    // A copy is new; what it holds is as old as it was.
    let copied = Taken {
        file: "x".into(),
        changed: of_web.changed,
    };
    assert_eq!(copied.age(now()), "from a dump, at most 3 h old");
}

#[test]
fn a_dump_from_before_the_last_change_of_its_control_plane_is_stale() {
    let of_web = saved(&dump(-1, 23)).unwrap();
    let told = |at: i64| {
        Ok(Told {
            at: hours(at),
            what: "istiod-1 was started".into(),
        })
    };
    is_last_word(&of_web, &told(-4)).unwrap();
    let stale = is_last_word(&of_web, &told(-2)).unwrap_err();
    assert!(stale.contains("and istiod-1 was started at"), "{stale}");
    let unknown = is_last_word(&of_web, &Err("may not list".into()));
    assert!(unknown.unwrap_err().contains("is not known: may not list"));
}

#[test]
fn a_dump_says_whose_it_is_and_when_it_was_changed_or_is_not_used() {
    let real = include_bytes!("../../../tests/fixtures/real/full-native-meshca-distribute.json");
    let real = saved::read(real, &CertCache::default()).unwrap();
    assert_eq!(
        (real.name.as_str(), real.namespace.as_str()),
        ("sleep-6c75898448-j5bwn", "shop")
    );
    assert!(real.is_at(&["10.77.1.20".into()]));
    assert_eq!(real.revision().as_deref(), Some("meshca-distribute"));
    assert_eq!(real.started.to_string(), "2026-11-23T03:42:23.858Z");
    assert!(real.changed > real.started);
    assert!(real.matchers.is_ok() && real.secrets.chains.is_ok());

    let of_web = saved(&dump(-1, 23)).unwrap();
    let hour = now().duration_since(of_web.changed).as_hours();
    assert_eq!(hour, 3, "the listener's, and no annotation's");
    let camel = dump(-1, 23)
        .to_string()
        .replace("last_updated", "lastUpdated");
    let camel = saved::read(camel.as_bytes(), &CertCache::default()).unwrap();
    assert_eq!(now().duration_since(camel.changed).as_hours(), 3);

    let refused = |change: &dyn Fn(&mut Value)| {
        let mut dump = dump(-1, 23);
        change(&mut dump);
        saved(&dump).unwrap_err()
    };
    let secrets_only = refused(&|dump| {
        dump["configs"].as_array_mut().unwrap().drain(0..3);
    });
    assert!(
        secrets_only.contains("no bootstrap section"),
        "{secrets_only}"
    );
    let merged = refused(&|dump| {
        let first = dump["configs"][0].clone();
        dump["configs"].as_array_mut().unwrap().push(first);
    });
    assert!(merged.contains("several proxies"), "{merged}");
    let node = "/configs/0/bootstrap/node/id";
    let strange = refused(&|dump| *dump.pointer_mut(node).unwrap() = json!("envoy-1"));
    assert!(
        strange.contains("`envoy-1` is not one of Istio's"),
        "{strange}"
    );
    let timeless = refused(&|dump| dump["configs"][0]["last_updated"] = json!(()));
    assert!(timeless.contains("when its Envoy started"), "{timeless}");
    let key = saved::read(
        b"-----BEGIN PRIVATE KEY-----\nsecret",
        &CertCache::default(),
    );
    let key = key.unwrap_err();
    assert!(key.contains("not JSON") && !key.contains("secret"), "{key}");
}

/// What may be said of the files in a directory, when the mesh has one proxy that was asked.
#[test]
fn what_is_not_used_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{}").unwrap();
        path
    };
    let dumps = Dumps::open(vec![dir.path().to_owned()]).unwrap();
    let say = |fates: &Fates| {
        dumps.tell_files(fates);
        let news = dumps.news().into_iter();
        news.map(|line| line.replace(&dir.path().display().to_string(), "DIR"))
            .collect::<Vec<_>>()
    };
    let mut fates = Fates::default();
    assert_eq!(say(&fates), ["DIR: no dump is there yet"]);
    let asked = put("shop/web-1.json");
    put("gone-1.shop.json");
    put("notes.txt");
    put(".hidden");
    put("a/b/c.json");
    let doubled = put("shop/web-2.json");
    fates.add(&asked, Fate::Spare);
    fates.add(
        &doubled,
        Fate::Beside("its dump shop/web-2.json is not used".into()),
    );
    assert_eq!(
        say(&fates),
        [
            "DIR/a/b: not used: a dump is named NAMESPACE/POD.json or POD.NAMESPACE.json",
            "DIR/notes.txt: not used: a dump is named NAMESPACE/POD.json or POD.NAMESPACE.json",
            "its dump shop/web-2.json is not used",
            "not used, since no running proxy and no WorkloadEntry has the name: DIR/gone-1.shop.json (a pod that is made \
             anew gets another name)",
            "not used, since the proxy was asked itself: DIR/shop/web-1.json",
        ]
    );
    assert_eq!(say(&fates), Vec::<String>::new());
    // What another cluster of the mesh makes of a file counts, if it is more.
    let mut elsewhere = Fates::default();
    elsewhere.add(&asked, Fate::Used);
    elsewhere.extend(fates);
    assert_eq!(elsewhere.0[&asked], Fate::Used);

    let missing = dir.path().join("missing");
    let error = Dumps::open(vec![missing]).unwrap_err().to_string();
    assert!(
        error.ends_with("missing: cannot list: no such file or directory"),
        "{error}"
    );
}

/// A dump is read anew when it is another, and one that is named twice is nobody's.
#[tokio::test]
async fn a_dump_is_saved_again_while_a_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web-1.shop.json");
    let dumps = Dumps::open(vec![dir.path().to_owned()]).unwrap();
    let load = || {
        let files = dumps.by_name();
        let of_web = &files[&("shop".to_owned(), "web-1".to_owned())];
        dumps.load(&of_web[0], &CertCache::default())
    };
    std::fs::write(&path, "{").unwrap();
    assert!(load().is_err());
    std::fs::write(&path, dump(-1, 23).to_string()).unwrap();
    assert!(load().is_ok());
    let first = load();
    assert!(Arc::ptr_eq(&first, &load()), "it is parsed once");
}
