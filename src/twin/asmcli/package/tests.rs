//! Against `facts` of the real package: trust domains, aliases, switches, addresses by phase.

use super::*;

fn params() -> PackageParams {
    PackageParams {
        native_sidecars: false,
        aliases: true,
        ca_server: true,
        replicas: 1,
    }
}

fn request(ca: &str, options: &[&str]) -> Request {
    Request {
        revision: "r".to_owned(),
        ca: ca.to_owned(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        project: "p".to_owned(),
        fleet: "f".to_owned(),
        location: "l".to_owned(),
        cluster: "c".to_owned(),
        mesh_ca_root: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(),
        ..Request::default()
    }
}

fn mesh(params: &PackageParams, request: &Request) -> (Value, Value) {
    let operator = operator(params, request).unwrap();
    (
        operator["spec"]["meshConfig"].clone(),
        operator["spec"]["values"].clone(),
    )
}

#[test]
fn phase_1_signs_with_citadel_under_the_old_trust_domain_with_the_new_one_as_an_alias() {
    let request = request("citadel", &["ca-migration-citadel"]);
    let (mesh, values) = mesh(&params(), &request);
    assert_eq!(mesh["trustDomain"], "cluster.local");
    assert_eq!(mesh["trustDomainAliases"], json!(["f.svc.id.goog"]));
    assert_eq!(mesh["caCertificates"][0]["pem"], request.mesh_ca_root);
    assert_eq!(
        mesh["defaultConfig"]["proxyMetadata"]["CA_PROVIDER"],
        "Citadel"
    );
    assert_eq!(
        mesh["defaultConfig"]["proxyMetadata"]["PROXY_CONFIG_XDS_AGENT"],
        "true"
    );
    assert_eq!(
        mesh["defaultConfig"]["discoveryAddress"],
        "istiod-r.istio-system.svc:15012"
    );
    assert_eq!(values["pilot"]["env"]["ISTIO_MULTIROOT_MESH"], true);
    assert_eq!(values["global"]["caAddress"], "");
}

#[test]
fn phase_2_signs_with_mesh_ca_under_the_fleets_trust_domain_with_the_old_one_as_an_alias() {
    let (mesh, values) = mesh(&params(), &request("mesh_ca", &["ca-migration-meshca"]));
    assert_eq!(mesh["trustDomain"], "f.svc.id.goog");
    assert_eq!(mesh["trustDomainAliases"], json!(["cluster.local"]));
    assert!(mesh.get("caCertificates").is_none());
    assert_eq!(
        mesh["defaultConfig"]["proxyMetadata"]["CA_PROVIDER"],
        "GoogleCA"
    );
    assert_eq!(values["global"]["caAddress"], "meshca.googleapis.com:443");
    assert!(values["pilot"]["env"].get("ENABLE_CA_SERVER").is_none());
}

#[test]
fn packages_differ_in_aliases_and_in_the_ca_server() {
    let none = PackageParams {
        aliases: false,
        ca_server: false,
        ..params()
    };
    let (mesh, values) = mesh(&none, &request("mesh_ca", &["ca-migration-meshca"]));
    assert!(mesh.get("trustDomainAliases").is_none());
    assert_eq!(values["pilot"]["env"]["ENABLE_CA_SERVER"], false);
}

#[test]
fn without_the_option_nothing_distributes_a_second_root() {
    let (mesh, values) = mesh(&params(), &request("citadel", &[]));
    assert!(mesh.get("caCertificates").is_none());
    assert_eq!(values["pilot"]["env"], json!({}));
}

#[test]
fn a_custom_overlay_cannot_change_citadels_trust_domain() {
    let mut request = request("citadel", &[]);
    request.overlays = vec![
        json!({"spec": {"meshConfig": {"trustDomain": "other", "accessLogFile": "/dev/stdout"}}}),
    ];
    let (mesh, _) = mesh(&params(), &request);
    assert_eq!(
        (&mesh["trustDomain"], &mesh["accessLogFile"]),
        (&json!("cluster.local"), &json!("/dev/stdout"))
    );
}

#[test]
fn what_the_twin_cannot_act_out_is_refused_by_name() {
    let mut request = request("citadel", &[]);
    request.overlays = vec![json!({"spec": {"components": {"ingressGateways": []}}})];
    let error = operator(&params(), &request).unwrap_err();
    assert_eq!(
        error,
        "the twin's installer cannot act out spec.components.ingressGateways: it installs istiod, its mesh configuration and its values"
    );
}

#[test]
fn istiods_environment_comes_from_values_and_from_the_component() {
    let operator = operator(&params(), &request("citadel", &["ca-migration-citadel"])).unwrap();
    let spec = revision("r", &params(), &operator);
    assert_eq!(
        spec.values["pilot"]["env"]["TOKEN_AUDIENCES"],
        "istio-ca,f.svc.id.goog"
    );
    assert_eq!(spec.values["pilot"]["env"]["ISTIO_MULTIROOT_MESH"], true);
    assert_eq!((spec.tag.as_str(), spec.replicas), (VERSION, 1));
}

#[test]
fn upstreams_installation_is_citadel_with_one_root_until_overlays_say_more() {
    let plain = upstream(&params(), "r", &[json!({"spec": {"profile": "minimal"}})]).unwrap();
    let mesh = &plain["spec"]["meshConfig"];
    assert_eq!(mesh["trustDomain"], "cluster.local");
    assert!(mesh.get("caCertificates").is_none());
    assert_eq!(
        mesh["defaultConfig"]["discoveryAddress"],
        "istiod-r.istio-system.svc:15012"
    );
    let overlays = [
        json!({"spec": {"profile": "minimal", "meshConfig": {"trustDomain": "a"}}}),
        json!({"spec": {"meshConfig": {"trustDomain": "b"}}}),
    ];
    let merged = upstream(&params(), "r", &overlays).unwrap();
    assert_eq!(
        merged["spec"]["meshConfig"]["trustDomain"], "b",
        "the last is right"
    );
    let refused = upstream(&params(), "r", &[]).unwrap_err();
    assert_eq!(
        refused,
        "the twin's istioctl cannot act out profile default: it has gateways"
    );
}
