//! Control planes: what `asmcli` installs and refuses, and CAs that are plugged in.

use serde_json::{Value, json};

use super::{Lab, SMALL, base64};

#[tokio::test(flavor = "multi_thread")]
async fn a_plugged_ca_presents_its_intermediate_and_keeps_its_root_in_phase_3() {
    let lab = Lab::start("plugged-ca").await;
    let (chain, roots) = lab.secrets("shop", "web").await;
    assert_eq!(chain.len(), 3);
    assert_eq!(chain[2].subject(), "CN=Example Root CA,O=Example");
    assert!(roots.contains(&chain[2]) && roots.len() == 1);
    let kind = lab.cluster.kind("secret").await.unwrap();
    assert!(
        lab.cluster
            .get(&kind, Some("istio-system"), "istio-ca-secret")
            .await
            .unwrap()
            .is_none()
    );
    for file in [
        "ca-cert.pem",
        "ca-key.pem",
        "root-cert.pem",
        "cert-chain.pem",
    ] {
        std::fs::write(
            lab.dir.path().join(file),
            RSA_FILES.iter().find(|(name, _)| *name == file).unwrap().1,
        )
        .unwrap();
    }
    let (code, log) = lab
        .asmcli("install --ca citadel --enable_all -r r1 --ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem")
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains(
            "[ERROR]: Custom certificates already exist in the cluster. Please remove the"
        ),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asmcli_leaves_a_package_and_a_revision_as_istio_installs_it() {
    let lab = Lab::start(SMALL).await;
    let args = "install --fleet_id twin-project --enable_all --ca citadel --option ca-migration-citadel --revision_name r1";
    for _ in 0..2 {
        let (code, log) = lab.asmcli(args).await;
        assert_eq!(code, 0, "also a second time: {log}");
        assert!(
            log.lines().all(|line| line.starts_with("asmcli: ")),
            "{log}"
        );
        assert!(
            log.ends_with("asmcli: Successfully installed ASM.\n"),
            "{log}"
        );
    }
    let out = lab.dir.path().join("out");
    let service: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(out.join("asm/istio/istiod-service.yaml")).unwrap(),
    )
    .unwrap();
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "istiod", "istio.io/rev": "r1"})
    );
    assert!(
        out.join("logs.txt").exists()
            && out.join("r1-manifest-raw.yaml").exists()
            && !out.join("istioctl").exists()
    );
    for (kind, namespace, name) in [
        ("deployment", Some("istio-system"), "istiod-r1"),
        ("service", Some("istio-system"), "istiod-r1"),
        ("hpa", Some("istio-system"), "istiod-r1"),
        ("serviceaccount", Some("istio-system"), "istiod-r1"),
        ("configmap", Some("istio-system"), "istio-r1"),
        (
            "configmap",
            Some("istio-system"),
            "istio-sidecar-injector-r1",
        ),
        ("configmap", Some("shop"), "istio-ca-root-cert"),
        (
            "mutatingwebhookconfiguration",
            None,
            "istio-sidecar-injector-r1",
        ),
        (
            "validatingwebhookconfiguration",
            None,
            "istio-validator-r1-istio-system",
        ),
        ("istiooperator", Some("istio-system"), "installed-state-r1"),
    ] {
        let kind = lab.cluster.kind(kind).await.unwrap();
        assert!(
            lab.cluster
                .get(&kind, namespace, name)
                .await
                .unwrap()
                .is_some(),
            "{name}"
        );
    }
    let kind = lab
        .cluster
        .kind("mutatingwebhookconfiguration")
        .await
        .unwrap();
    let hook = lab
        .cluster
        .get(&kind, None, "istio-sidecar-injector-r1")
        .await
        .unwrap()
        .unwrap();
    let bundle = base64(hook.text("/webhooks/0/clientConfig/caBundle"));
    assert!(
        bundle.starts_with(b"-----BEGIN CERTIFICATE-----"),
        "istiod has filled it in"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asmcli_makes_cacerts_of_base_names_and_stops_where_the_api_refuses() {
    let lab = Lab::start(SMALL).await;
    for (file, text) in RSA_FILES {
        std::fs::write(lab.dir.path().join(file), text).unwrap();
    }
    std::fs::copy(
        lab.dir.path().join("ca-cert.pem"),
        lab.dir.path().join("my-ca.crt"),
    )
    .unwrap();
    let flags = "install --ca citadel --enable_all --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem";
    let wrong_key = flags.replace("cert-chain.pem", "root-cert.pem");
    let (code, log) = lab
        .asmcli(&format!("{wrong_key} -r r1 --ca_cert root-cert.pem"))
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains("[ERROR]: Keyfile does not match the given certificate."),
        "{log}"
    );

    let (code, log) = lab
        .asmcli(&format!("{flags} -r r1 --ca_cert my-ca.crt"))
        .await;
    assert_eq!(code, 0, "{log}");
    let kind = lab.cluster.kind("secret").await.unwrap();
    let secret = lab
        .cluster
        .get(&kind, Some("istio-system"), "cacerts")
        .await
        .unwrap()
        .unwrap();
    let keys: Vec<&String> = secret
        .at("/data")
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        keys,
        ["ca-key.pem", "cert-chain.pem", "my-ca.crt", "root-cert.pem"],
        "no rename, no check"
    );

    // RFC 1123 lets 60 characters pass; istiod's Service does not.
    let name = "r".repeat(60);
    let (code, log) = lab
        .asmcli(&format!("install --ca citadel --enable_all -r {name}"))
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains(&format!("[ERROR]: Service istiod-{name}: "))
            && log.contains("must be no more than 63"),
        "{log}"
    );
}

/// An RSA root with an intermediate, made for this test and used for nothing else.
const RSA_FILES: [(&str, &str); 4] = [
    ("ca-cert.pem", include_str!("ca-cert.pem")),
    ("ca-key.pem", include_str!("ca-key.pem")),
    ("root-cert.pem", include_str!("root-cert.pem")),
    ("cert-chain.pem", include_str!("cert-chain.pem")),
];
