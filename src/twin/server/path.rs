//! What a URL speaks of.

/// A path of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Objects of a resource.
    Resource(ResourcePath),
    /// Anything else.
    Other(String),
}

/// The parts of a path that speaks of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace; empty for none.
    pub namespace: String,
    /// Resource, `pods`.
    pub plural: String,
    /// Name; empty for a collection.
    pub name: String,
    /// Subresource; empty for none.
    pub subresource: String,
    /// What is behind the subresource.
    pub rest: String,
    /// Whether it is a watch in the old way, `/watch/` in the path.
    pub watch: bool,
}

impl Path {
    /// Reads a path, percent-encoding resolved.
    pub fn parse(path: &str) -> Path {
        let decoded: Vec<String> = path.split('/').skip(1).map(decode).collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Path::Other(path.to_owned()),
        };
        let (watch, rest) = match rest {
            ["watch", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mut found = ResourcePath {
            group: group.to_owned(),
            version: version.to_owned(),
            watch,
            ..ResourcePath::default()
        };
        let rest = match rest {
            // The namespace itself, its status and its finalizers.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => rest,
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                (*namespace).clone_into(&mut found.namespace);
                rest
            }
            rest => rest,
        };
        let mut rest = rest.iter();
        let mut next = || rest.next().map(|s| (*s).to_owned()).unwrap_or_default();
        found.plural = next();
        found.name = next();
        found.subresource = next();
        found.rest = rest.copied().collect::<Vec<_>>().join("/");
        if found.plural.is_empty() {
            return Path::Other(path.to_owned());
        }
        Path::Resource(found)
    }
}

impl ResourcePath {
    /// `deployments.apps`, `pods`.
    pub fn resource_name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `pods/portforward`.
    pub fn with_subresource(&self, resource: &str) -> String {
        if self.subresource.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}/{}", self.subresource)
        }
    }
}

/// Resolves percent-encoding; what cannot be resolved stays as it is.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        if let Some(byte) = hex {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parameters behind the question mark; names may repeat.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string. Empty parts (`?&a=b`) are skipped.
    pub fn parse(text: Option<&str>) -> Query {
        let parts = text
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty());
        let plain = |text: &str| decode(&text.replace('+', " "));
        Query(
            parts
                .map(|p| p.split_once('=').unwrap_or((p, "")))
                .map(|(name, value)| (plain(name), plain(value)))
                .collect(),
        )
    }

    /// The first value of a parameter; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Whether a parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Whether a parameter is true as Go reads it.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True" | "TRUE" | "t" | "T")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> [String; 5] {
        match Path::parse(path) {
            Path::Resource(r) => [r.group, r.namespace, r.plural, r.name, r.subresource],
            Path::Other(path) => panic!("{path}"),
        }
    }

    #[test]
    fn a_namespace_is_an_object_and_a_place() {
        assert_eq!(
            parts("/api/v1/namespaces/shop"),
            ["", "", "namespaces", "shop", ""]
        );
        assert_eq!(
            parts("/api/v1/namespaces/shop/status"),
            ["", "", "namespaces", "shop", "status"]
        );
        assert_eq!(
            parts("/api/v1/namespaces/shop/pods/a/log"),
            ["", "shop", "pods", "a", "log"]
        );
        assert_eq!(
            parts("/apis/apps/v1/deployments"),
            ["apps", "", "deployments", "", ""]
        );
    }

    #[test]
    fn discovery_is_not_about_objects() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/version",
        ] {
            assert_eq!(Path::parse(path), Path::Other(path.to_owned()));
        }
    }

    #[test]
    fn a_query_may_begin_with_an_ampersand() {
        let query = Query::parse(Some("&watch=true&labelSelector=a%3Db%2Cc"));
        assert!(query.is_true("watch"));
        assert_eq!(query.get("labelSelector"), "a=b,c");
    }
}
