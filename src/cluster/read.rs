//! Reading: one object, a path, what the server is.

use jiff::Timestamp;
use serde_json::Value;

use super::call::{Call, Failure, json};
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
        let read = self.with_managers(kind, namespace, name).await?;
        Ok(read.map(|value| kind.object(value)))
    }

    /// As [`Self::get`], as the server has it, `managedFields` included.
    pub(super) async fn with_managers(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let call = Call::get(
            "get",
            kind.subject(namespace, Some(name)),
            kind.path(namespace, Some(name))?,
        );
        match self.try_read(&call).await {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Status(s)) if s.is_missing_object() => Ok(None),
            Err(failure) => Err(self.error(&call, failure)),
        }
    }

    /// When anybody last wrote an object, to the second, by its `managedFields`; where it has none, when it was made.
    /// `None`: there is no such object.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub async fn last_written(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Timestamp>, ClusterError> {
        let read = self.with_managers(kind, namespace, name).await?;
        Ok(read.and_then(|value| {
            let metadata = &value["metadata"];
            let managers = metadata["managedFields"].as_array().into_iter().flatten();
            let times = managers
                .map(|manager| &manager["time"])
                .chain([&metadata["creationTimestamp"]]);
            times.filter_map(|time| time.as_str()?.parse().ok()).max()
        }))
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

    /// What a path of the API server answers (`kubectl get --raw`): JSON, or the text of what does not look like it.
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
        let mut parse = |body: &[u8]| match std::str::from_utf8(body) {
            Ok(text)
                if !text.trim_start().starts_with(['{', '[', '"', '<']) && json(body).is_err() =>
            {
                Ok(Value::from(text))
            }
            _ => json(body),
        };
        match self.try_read_as(&call, &mut parse).await {
            Err(Failure::Status(s)) if s.code == 404 => Err(ClusterError::NotFound {
                subject: call.subject,
            }),
            result => result.map_err(|failure| self.error(&call, failure)),
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
