//! What the API server verifies by the old root, and copies of it.

use serde_json::Value;

use super::{User, remains};
use crate::cluster::{Cluster, Object, Selector};
use crate::mesh::{MeshError, ca_secrets, names, record};
use crate::pki::{Bundle, certs_from_bytes, decode_base64};

/// The kinds that say by which CA somebody's serving certificate is verified; each may be absent.
pub(super) const VERIFIED: [&str; 4] = [
    "apiservices.apiregistration.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

async fn list(cluster: &Cluster, resource: &str) -> Result<Vec<Object>, MeshError> {
    if !cluster.has_kind(resource).await? {
        return Ok(Vec::new());
    }
    let kind = cluster.kind(resource).await?;
    Ok(cluster.list(&kind, None, &Selector::default()).await?)
}

fn user(object: &Object, how: String, way_out: &'static str) -> User {
    User {
        kind: object.kind().to_owned(),
        namespace: object.namespace().unwrap_or_default().to_owned(),
        name: object.name().to_owned(),
        how,
        way_out,
    }
}

/// Servers that the API server verifies by the old root. istiod's own webhooks get the new one from istiod.
pub(super) async fn verified(
    cluster: &Cluster,
    resource: &str,
    roots: &Bundle,
) -> Result<Vec<User>, MeshError> {
    let mut users = Vec::new();
    for object in list(cluster, resource).await? {
        let verified = clients(object.value()).into_iter().find_map(|client| {
            let bytes = decode_base64(client["caBundle"].as_str()?)?;
            let certs: Bundle = certs_from_bytes(&bytes).0.into_iter().collect();
            if is_istiod(&client["service"]) {
                return None;
            }
            remains(certs, roots)
        });
        users.extend(verified.map(|root| {
            user(
                &object,
                format!("its caBundle has {root}"),
                "give its server a certificate of another CA, and put that CA's root into the caBundle",
            )
        }));
    }
    Ok(users)
}

/// Where an object says whom to call: a webhook's `clientConfig`, the conversion of a kind, an APIService itself.
fn clients(object: &Value) -> Vec<&Value> {
    let webhooks = object["webhooks"].as_array().into_iter().flatten();
    webhooks
        .map(|webhook| &webhook["clientConfig"])
        .chain(object.pointer("/spec/conversion/webhook/clientConfig"))
        .chain(object.pointer("/spec/caBundle").map(|_| &object["spec"]))
        .collect()
}

fn is_istiod(service: &Value) -> bool {
    let name = service["name"].as_str().unwrap_or_default();
    service["namespace"] == names::ISTIO_SYSTEM && (name == "istiod" || name.starts_with("istiod-"))
}

/// ConfigMaps or Secrets that hold the old root, by its bytes or its key.
pub(super) async fn copies(
    cluster: &Cluster,
    resource: &str,
    roots: &Bundle,
) -> Result<Vec<User>, MeshError> {
    let mut users = Vec::new();
    for object in list(cluster, resource).await? {
        let key = if is_known(&object) {
            None
        } else {
            holds(object.value(), resource, roots)
        };
        users.extend(key.map(|key| {
            user(
                &object,
                format!("its key `{key}` holds the old root"),
                "see who reads it and give it the new root as well, or delete it",
            )
        }));
    }
    Ok(users)
}

/// What istiod itself keeps, what is retired, the record of the start, and what is judged as the mesh's configuration.
fn is_known(object: &Object) -> bool {
    let name = object.name();
    let in_system = object.namespace() == Some(names::ISTIO_SYSTEM);
    name == names::ROOT_CONFIG_MAP
        || (in_system && (ca_secrets::ALL.contains(&name) || name == record::CONFIG_MAP))
        || object.value()["data"]["mesh"].is_string()
}

fn holds(object: &Value, resource: &str, roots: &Bundle) -> Option<String> {
    let texts = object["data"].as_object().into_iter().flatten();
    let binary = object["binaryData"].as_object().into_iter().flatten();
    let encoded = resource == "secrets";
    let bytes = |value: &Value, encoded: bool| {
        let text = value.as_str()?;
        if encoded {
            decode_base64(text)
        } else {
            Some(text.as_bytes().to_vec())
        }
    };
    let texts = texts.filter_map(|(key, value)| Some((key, bytes(value, encoded)?)));
    let binary = binary.filter_map(|(key, value)| Some((key, bytes(value, true)?)));
    texts
        .chain(binary)
        .find(|(_, bytes)| {
            let certs: Bundle = certs_from_bytes(bytes).0.into_iter().collect();
            certs.shares_key(roots)
        })
        .map(|(key, _)| key.clone())
}
