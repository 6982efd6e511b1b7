//! Which peers a value matches: Istio's rules for principals, names of certificates and trust domains.
//!
//! Sources: istio/istio `pilot/pkg/security/trustdomain/bundle.go` (`ReplaceTrustDomainAliases`,
//! `ExpandTrustDomainAliases`) and `util.go` (`stringMatch`), `pilot/pkg/security/authz/matcher/string.go`
//! (`StringMatcherWithPrefix`), `pkg/spiffe/spiffe.go` (`ExpandWithTrustDomains`).

use std::collections::BTreeSet;

/// In a principal it stands for the mesh's own trust domain, whatever that is (`constants.DefaultClusterLocalDomain`).
const OWN: &str = "cluster.local";
/// What every identity in a certificate begins with.
const SCHEME: &str = "spiffe://";

/// How istiod reads the values of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Names of certificates, taken literally: of a DestinationRule or a Gateway.
    Exact,
    /// Names of certificates, with one more for each alias: of a ServiceEntry.
    Aliases,
    /// Principals of an AuthorizationPolicy.
    Principals,
    /// Trust domains of an AuthorizationPolicy.
    Domains,
}

/// The paths (`ns/NS/sa/SA`) of one trust domain that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Paths {
    All,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl Paths {
    /// Whether all that `other` matches is matched.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(a.as_str()),
            (Self::Suffix(a), Self::Exact(b) | Self::Suffix(b)) => b.ends_with(a.as_str()),
            _ => false,
        }
    }
}

/// The paths of a trust domain that a list of values matches, as an istiod reads it that has these trust domains, its
/// own first.
pub(super) fn paths(rule: Rule, values: &[String], domains: &[String], of: &str) -> Vec<Paths> {
    let expanded = values.iter().flat_map(|value| match rule {
        Rule::Exact => vec![value.clone()],
        Rule::Aliases => with_aliases(value, domains),
        Rule::Principals => principals(value, domains),
        Rule::Domains if domains.contains(value) => domains.to_vec(),
        Rule::Domains => vec![value.clone()],
    });
    expanded
        .flat_map(|pattern| match rule {
            Rule::Domains => domain(&pattern, of),
            Rule::Principals => matched(&pattern, of),
            Rule::Exact | Rule::Aliases => {
                let path = pattern.strip_prefix(SCHEME).and_then(|id| path(id, of));
                path.into_iter().map(Paths::Exact).collect()
            }
        })
        .collect()
}

/// A value that is read for one trust domain, written for another; `None` where it is not by its beginning that it names one.
pub(super) fn renamed(
    rule: Rule,
    value: &str,
    from: &BTreeSet<String>,
    to: &str,
) -> Option<String> {
    let (scheme, id) = match rule {
        Rule::Exact | Rule::Aliases => (SCHEME, value.strip_prefix(SCHEME)?),
        Rule::Principals | Rule::Domains => ("", value),
    };
    if rule == Rule::Domains {
        return from.contains(id).then(|| to.to_owned());
    }
    let (domain, path) = id.split_once('/')?;
    from.contains(domain)
        .then(|| format!("{scheme}{to}/{path}"))
}

/// The namespace that the name in a certificate is of.
pub(super) fn namespace(value: &str) -> Option<&str> {
    value.strip_prefix(SCHEME)?.split('/').nth(2)
}

/// Whether a text names a trust domain: as a word, so that `web.shop.svc.cluster.local` is not `cluster.local`. What is
/// escaped for a regular expression counts.
pub(super) fn names(text: &str, domain: &str) -> bool {
    let text = plain(text);
    let part = |c: char| c.is_alphanumeric() || ['-', '.', '_'].contains(&c);
    text.match_indices(domain).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + domain.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// A text without the backslashes of a regular expression.
pub(super) fn plain(text: &str) -> String {
    text.replace('\\', "")
}

fn path(id: &str, domain: &str) -> Option<String> {
    id.strip_prefix(domain)?
        .strip_prefix('/')
        .map(str::to_owned)
}

/// The original stays; aliases are added, and the trust domain itself is not.
fn with_aliases(value: &str, domains: &[String]) -> Vec<String> {
    let mut all = vec![value.to_owned()];
    if let Some(id) = value.strip_prefix(SCHEME) {
        let parts: Vec<&str> = id.split('/').collect();
        if let [_, "ns", namespace, "sa", account] = parts[..] {
            let aliases = domains.iter().skip(1);
            all.extend(aliases.map(|alias| format!("{SCHEME}{alias}/ns/{namespace}/sa/{account}")));
        }
    }
    all
}

/// A principal of five parts whose first is one of the trust domains, or `cluster.local`, stands for all of them; any
/// other stays as it is.
fn principals(value: &str, domains: &[String]) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    let (named, rest) = match parts[..] {
        [named, _, _, _, _] if named != "*" => (named, parts[1..].join("/")),
        _ => return vec![value.to_owned()],
    };
    if named != OWN && !domains.iter().any(|domain| alike(named, domain)) {
        return vec![value.to_owned()];
    }
    let one = |domain: &String| {
        if ends_like(domain, named) {
            value.to_owned()
        } else {
            format!("{domain}/{rest}")
        }
    };
    domains.iter().map(one).collect()
}

/// Either may hold the `*`, at its beginning or its end.
fn alike(a: &str, b: &str) -> bool {
    a == b
        || b == "*"
        || begins_like(a, b)
        || begins_like(b, a)
        || ends_like(a, b)
        || ends_like(b, a)
}

fn begins_like(text: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|start| text.starts_with(start))
}

fn ends_like(text: &str, pattern: &str) -> bool {
    pattern
        .strip_prefix('*')
        .is_some_and(|end| text.ends_with(end))
}

fn domain(pattern: &str, domain: &str) -> Vec<Paths> {
    let is = pattern == domain || begins_like(domain, pattern) || ends_like(domain, pattern);
    if is { vec![Paths::All] } else { Vec::new() }
}

/// What a principal matches of a trust domain. It is held against `DOMAIN/ns/NS/sa/SA`.
fn matched(pattern: &str, domain: &str) -> Vec<Paths> {
    let whole = format!("{domain}/");
    if pattern == "*" {
        return vec![Paths::All];
    }
    if let Some(end) = pattern.strip_prefix('*') {
        return ending(end, &whole);
    }
    if let Some(start) = pattern.strip_suffix('*') {
        return match start.strip_prefix(&whole) {
            Some(path) => vec![Paths::Prefix(path.to_owned())],
            None if whole.starts_with(start) => vec![Paths::All],
            None => Vec::new(),
        };
    }
    let path = pattern.strip_prefix(&whole);
    path.map(|path| Paths::Exact(path.to_owned()))
        .into_iter()
        .collect()
}

/// An ending may lie within the path, or take in the path and the end of the trust domain.
fn ending(end: &str, whole: &str) -> Vec<Paths> {
    let mut found = Vec::new();
    if !end.contains("/ns/") {
        found.push(Paths::Suffix(end.to_owned()));
    }
    let tails = whole.char_indices().map(|(at, _)| &whole[at..]);
    let paths = tails.filter_map(|tail| end.strip_prefix(tail));
    found.extend(paths.map(|path| Paths::Exact(path.to_owned())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "cluster.local";
    const NEW: &str = "p.svc.id.goog";

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Whether a list matches a peer of a trust domain, by what its paths say.
    fn accepts(rule: Rule, values: &[&str], domains: &[&str], of: &str) -> bool {
        let peer = Paths::Exact("ns/shop/sa/web".into());
        paths(rule, &texts(values), &texts(domains), of)
            .iter()
            .any(|paths| paths.covers(&peer))
    }

    /// Of istio's own tests (`bundle_test.go`) and of what its code says of the forms that they leave out.
    #[test]
    fn a_principal_stands_for_every_trust_domain_only_in_five_parts() {
        let both: &[&str] = &[NEW, OLD];
        for (value, domains, old, new) in [
            ("cluster.local/ns/shop/sa/web", both, true, true),
            ("p.svc.id.goog/ns/shop/sa/web", both, true, true),
            // `cluster.local` is the mesh's own, also where the mesh is not called so any more.
            ("cluster.local/ns/shop/sa/web", &[NEW], false, true),
            ("cluster.local/ns/shop/sa/web", &[OLD], true, false),
            ("cluster.local/ns/shop/sa/*", both, true, true),
            ("*/ns/shop/sa/web", &[OLD], true, true),
            ("*local/ns/shop/sa/web", both, true, true),
            ("*local/ns/shop/sa/web", &[OLD], true, false),
            ("*", &[OLD], true, true),
            ("*/sa/web", &[OLD], true, true),
            ("*/web", &[OLD], true, true),
            // Not of five parts: literal, whatever the aliases.
            ("cluster.local/*", both, true, false),
            ("cluster.local/ns/shop/*", both, true, false),
            ("cluster*", both, true, false),
            ("p.svc.id.goog/ns/shop/*", both, false, true),
            ("cluster.local/ns/pay/sa/web", both, false, false),
            ("other/ns/shop/sa/web", both, false, false),
        ] {
            let verdict = |of| accepts(Rule::Principals, &[value], domains, of);
            assert_eq!(
                (verdict(OLD), verdict(NEW)),
                (old, new),
                "{value} {domains:?}"
            );
        }
    }

    #[test]
    fn names_of_certificates_are_literal_and_a_service_entry_adds_aliases_but_not_the_trust_domain()
    {
        let value = &["spiffe://cluster.local/ns/shop/sa/web"];
        for (rule, domains, new) in [
            (Rule::Exact, [OLD, NEW], false),
            (Rule::Exact, [NEW, OLD], false),
            (Rule::Aliases, [OLD, NEW], true),
            (Rule::Aliases, [NEW, OLD], false),
        ] {
            assert!(accepts(rule, value, &domains, OLD));
            assert_eq!(
                accepts(rule, value, &domains, NEW),
                new,
                "{rule:?} {domains:?}"
            );
        }
        assert!(!accepts(Rule::Exact, &["web.example.com"], &[OLD], OLD));
    }

    #[test]
    fn a_trust_domain_in_a_policy_stands_for_its_aliases() {
        for (value, domains, new) in [
            (OLD, &[OLD, NEW][..], true),
            (OLD, &[OLD], false),
            ("*", &[OLD], true),
            ("*.local", &[OLD, NEW], false),
        ] {
            assert!(accepts(Rule::Domains, &[value], domains, OLD));
            assert_eq!(
                accepts(Rule::Domains, &[value], domains, NEW),
                new,
                "{value}"
            );
        }
    }

    #[test]
    fn a_trust_domain_is_found_in_a_text_as_a_word() {
        for text in [
            "spiffe://cluster.local/ns/shop/sa/web",
            r"spiffe://cluster\.local/ns/.*",
            "if id == \"cluster.local\" then",
            "^(cluster.local|other)/ns/",
        ] {
            assert!(names(text, OLD), "{text}");
        }
        for text in [
            "outbound|80||web.shop.svc.cluster.local",
            r".*\.cluster\.local",
            "my-cluster.local",
            "cluster.local.example",
        ] {
            assert!(!names(text, OLD), "{text}");
        }
    }

    #[test]
    fn a_value_is_written_for_another_trust_domain() {
        let from: BTreeSet<String> = [OLD.to_owned()].into();
        for (rule, value, want) in [
            (
                Rule::Exact,
                "spiffe://cluster.local/ns/a/sa/b",
                Some("spiffe://p.svc.id.goog/ns/a/sa/b"),
            ),
            (Rule::Principals, "cluster.local/*", Some("p.svc.id.goog/*")),
            (Rule::Domains, OLD, Some(NEW)),
            (Rule::Principals, "cluster*", None),
        ] {
            assert_eq!(renamed(rule, value, &from, NEW).as_deref(), want, "{value}");
        }
    }
}
