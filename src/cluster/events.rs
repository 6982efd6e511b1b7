//! What was said about an object: its events, oldest first.
//!
//! An event has its time in one of three places and its author in one of two, by the age of the program
//! that wrote it; here they are one. Events are kept for an hour by default: none means little.

use serde_json::Value;

use super::{Cluster, ClusterError, Kind, Object, Selector};

/// An event of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// `Normal` or `Warning`.
    pub kind: String,
    /// One word: `FailedScheduling`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often it was seen.
    pub count: i64,
    /// When it was seen last: RFC 3339.
    pub last_seen: String,
    /// Who said it: `kubelet`, `default-scheduler`.
    pub from: String,
}

impl Cluster {
    /// The events of an object, oldest first. Of an object that is gone, those of all that had its
    /// name and kind.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] if there is neither the object nor an event of it; and those of
    /// reading.
    pub async fn events(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Vec<Happening>, ClusterError> {
        let object = self.get(kind, namespace, name).await?;
        let events = self.kind("v1/Event").await?;
        let selector = Selector {
            labels: None,
            fields: Some(format!(
                "involvedObject.name={name},involvedObject.kind={}",
                kind.kind()
            )),
        };
        // Events of what is in no namespace are written to `default` (client-go's recorder).
        let place = namespace.unwrap_or("default");
        let mut found = self.list(&events, Some(place), &selector).await?;
        match &object {
            // The kubelet gives nodes their name for a UID.
            Some(object) => found.retain(|e| {
                let uid = e.text("/involvedObject/uid");
                uid == object.uid() || uid.is_empty() || (!kind.is_namespaced() && uid == name)
            }),
            None if found.is_empty() => {
                return Err(ClusterError::NotFound {
                    subject: kind.subject(namespace, Some(name)),
                });
            }
            None => {}
        }
        let group = |e: &Object| {
            let version = e.text("/involvedObject/apiVersion");
            version.rsplit_once('/').map_or("", |(g, _)| g).to_owned()
        };
        // Two kinds of one name, such as those of two groups, are told apart.
        found.retain(|e| {
            e.text("/involvedObject/apiVersion").is_empty() || group(e) == kind.group()
        });
        let mut told: Vec<Happening> = found.iter().map(happening).collect();
        told.sort_by_key(|event| instant(&event.last_seen));
        Ok(told)
    }
}

fn instant(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

fn happening(event: &Object) -> Happening {
    let first = |pointers: &[&str]| {
        let texts = pointers.iter().map(|p| event.text(p));
        let found = texts.into_iter().find(|t| !t.is_empty());
        found.unwrap_or("").to_owned()
    };
    let count = event
        .at("/series/count")
        .or_else(|| event.at("/count"))
        .and_then(Value::as_i64);
    Happening {
        kind: first(&["/type"]),
        reason: first(&["/reason"]),
        message: first(&["/message"]),
        count: count.filter(|n| *n > 0).unwrap_or(1),
        last_seen: first(&[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]),
        from: first(&["/source/component", "/reportingComponent"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_forms_of_an_event_are_one() {
        let old = json!({"type": "Warning", "reason": "BackOff", "message": "m", "count": 4,
            "lastTimestamp": "2026-01-01T00:00:04Z", "firstTimestamp": "2026-01-01T00:00:00Z", "eventTime": null,
            "source": {"component": "kubelet", "host": "n1"}, "reportingComponent": "kubelet"});
        let new = json!({"type": "Normal", "reason": "Scheduled", "message": "m",
            "eventTime": "2026-01-01T00:00:01.000000Z", "lastTimestamp": null,
            "source": {}, "reportingComponent": "default-scheduler"});
        let series = json!({"type": "Normal", "reason": "Scheduled", "message": "m",
            "series": {"count": 7, "lastObservedTime": "2026-01-01T00:00:09.000000Z"},
            "eventTime": "2026-01-01T00:00:01.000000Z", "lastTimestamp": null, "reportingComponent": "x"});
        let told = |event: Value| {
            let h = happening(&Object::new(event));
            (h.count, h.last_seen, h.from)
        };
        assert_eq!(
            told(old),
            (4, "2026-01-01T00:00:04Z".into(), "kubelet".into())
        );
        assert_eq!(
            told(new),
            (
                1,
                "2026-01-01T00:00:01.000000Z".into(),
                "default-scheduler".into()
            )
        );
        assert_eq!(
            told(series),
            (7, "2026-01-01T00:00:09.000000Z".into(), "x".into())
        );
    }
}
