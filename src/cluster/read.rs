//! Reading: one object, all that match, what the server is and what it lets us do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::{Call, Failure, worth_retrying};
use super::error::Subject;
use super::{Cluster, ClusterError, Kind, Object};

/// Which objects of a kind: label and field selectors in kubectl's notation. Both empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// `app=web,tier!=db`, `istio.io/rev in (a,b)`.
    pub labels: Option<String>,
    /// `metadata.name=x`, `status.phase=Running`.
    pub fields: Option<String>,
}

impl Selector {
    /// All objects.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those whose labels match.
    pub fn labels(labels: impl Into<String>) -> Self {
        Self {
            labels: Some(labels.into()),
            fields: None,
        }
    }

    pub(super) fn query(&self) -> String {
        let mut query = String::new();
        for (key, value) in [
            ("labelSelector", &self.labels),
            ("fieldSelector", &self.fields),
        ] {
            if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
                query.push('&');
                query.push_str(key);
                query.push('=');
                query.push_str(&encode(value));
            }
        }
        query
    }
}

/// What the server says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `v1.34.4`, `v1.33.2-gke.1240000`.
    pub git_version: String,
    /// `linux/amd64`.
    pub platform: String,
}

/// How many objects a page of a list holds (kubectl's and client-go's figure).
const PAGE: u32 = 500;

impl Cluster {
    /// One object; `None` if it, or the namespace that it would be in, does not exist.
    ///
    /// # Errors
    /// The kind is not served, RBAC forbids it, or the server cannot be asked.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Object>, ClusterError> {
        let call = Call::get(
            "get",
            kind.subject(namespace, Some(name)),
            kind.path(namespace, Some(name))?,
        );
        match self.try_read(&call).await {
            Ok(value) => Ok(Some(kind.object(value))),
            Err(Failure::Status(s)) if s.is_missing_object() => Ok(None),
            Err(failure) => Err(self.error(&call, failure)),
        }
    }

    /// One object that must be there.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], and those of [`Self::get`].
    pub async fn get_existing(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Object, ClusterError> {
        self.get(kind, namespace, name)
            .await?
            .ok_or_else(|| ClusterError::NotFound {
                subject: kind.subject(namespace, Some(name)),
            })
    }

    /// All objects that match, in the server's order; of all namespaces if none is given. A
    /// namespace that does not exist has none. A list is read in pages; if it takes so long that
    /// the server forgets where it was (410), it is read anew.
    ///
    /// # Errors
    /// As for [`Self::get`]; a selector that is none is [`ClusterError::Invalid`].
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Vec<Object>, ClusterError> {
        let base = kind.path(namespace, None)?;
        let selection = selector.query();
        let mut objects = Vec::new();
        let mut token = String::new();
        let mut restarts = 0;
        loop {
            let mut path = format!("{base}?limit={PAGE}{selection}");
            if !token.is_empty() {
                path.push_str("&continue=");
                path.push_str(&encode(&token));
            }
            let call = Call::get("list", kind.subject(namespace, None), path);
            let mut page = match self.try_read(&call).await {
                Ok(page) => page,
                Err(Failure::Status(s)) if s.code == 410 && !token.is_empty() && restarts < 3 => {
                    restarts += 1;
                    token.clear();
                    objects.clear();
                    continue;
                }
                Err(failure) => return Err(self.error(&call, failure)),
            };
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(ClusterError::Decode {
                    operation: "list",
                    subject: call.subject,
                    reason: "it has no `items`".into(),
                });
            };
            objects.extend(items.into_iter().map(|item| kind.object(item)));
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => return Ok(objects),
            }
        }
    }

    /// Whether the API server lets us do this (`kubectl auth can-i`): a verb on a resource with
    /// its group (`deployments.apps`, `pods/portforward`), in a namespace or the whole cluster.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn can(
        &self,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) -> Result<bool, ClusterError> {
        let (main, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let (plural, group) = main.split_once('.').unwrap_or((main, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb,
                "resource": plural,
                "group": group,
                "subresource": sub,
                "namespace": namespace.unwrap_or(""),
            }},
        });
        // A POST that creates nothing: it may be repeated like a read.
        let call = Call::send(
            "access review",
            Subject::new(resource, namespace, None),
            http::Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            &review,
        );
        let answer = self.read(&call).await?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool) == Some(true))
    }

    /// What the server says that it is.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn version(&self) -> Result<Version, ClusterError> {
        let answer = self.read(&version_call()).await?;
        let text = |key| {
            let text = answer.get(key).and_then(Value::as_str);
            text.unwrap_or("").to_owned()
        };
        Ok(Version {
            git_version: text("gitVersion"),
            platform: text("platform"),
        })
    }

    /// What a path of the API server answers (`kubectl get --raw`), which must be JSON.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for what is no path, [`ClusterError::NotFound`] if nothing is
    /// there; and those of the server.
    pub async fn raw(&self, path: &str) -> Result<Value, ClusterError> {
        if !path.starts_with('/') || path.parse::<http::Uri>().is_err() {
            return Err(ClusterError::BadRequest {
                message: format!("`{path}` is no path: it must begin with `/`"),
            });
        }
        let subject = Subject::new(path, None, None);
        let call = Call::get("get", subject, path.to_owned());
        match self.try_read(&call).await {
            Err(Failure::Status(s)) if s.code == 404 => Err(ClusterError::NotFound {
                subject: call.subject,
            }),
            result => result.map_err(|failure| self.error(&call, failure)),
        }
    }

    /// Asks for the version, to learn whether the server is there and takes our credentials.
    ///
    /// # Errors
    /// Those of a server that is not there, or does not take them; any other answer will do.
    pub(super) async fn greet(&self) -> Result<(), ClusterError> {
        let call = Call {
            timeout: Duration::from_secs(15),
            ..version_call()
        };
        // A wrong address should be told soon: once more at most, and only if the first attempt
        // failed fast.
        let start = Instant::now();
        let mut answer = self.once(&call).await;
        if answer.as_ref().is_err_and(worth_retrying) && start.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            answer = self.once(&call).await;
        }
        match answer {
            Err(Failure::Status(s)) if s.code != 401 && s.code < 500 => Ok(()),
            Err(failure) => Err(self.error(&call, failure)),
            Ok(_) => Ok(()),
        }
    }
}

fn version_call() -> Call {
    let subject = Subject::new("version", None, None);
    Call::get("get", subject, "/version".to_owned())
}

/// Percent-encodes a query value (RFC 3986, section 2.3: the unreserved characters stay).
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_encoded() {
        let selector = Selector {
            labels: Some("istio.io/rev in (a,b),x!=1".into()),
            fields: Some("status.phase=Running".into()),
        };
        assert_eq!(
            selector.query(),
            "&labelSelector=istio.io%2Frev%20in%20%28a%2Cb%29%2Cx%21%3D1\
             &fieldSelector=status.phase%3DRunning"
        );
        assert_eq!(Selector::all().query(), "");
    }
}
