//! Where the objects of a mesh name peers by their identity.

use serde_json::Value;

use super::pattern::Rule;

/// A place in an object that names peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cited {
    /// Where, as a JSON pointer: of a list, or of one text.
    pub pointer: String,
    /// What it holds.
    pub form: Form,
}

/// What a place holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Values of which one has to match.
    List {
        /// How istiod reads them.
        rule: Rule,
        /// The values.
        values: Vec<String>,
        /// Values elsewhere that do as well.
        beside: Vec<String>,
        /// Whether what they match is excepted.
        negative: bool,
    },
    /// A text in which a trust domain may stand anywhere.
    Text(String),
}

/// The places of an object, by its kind.
pub(super) fn of(kind: &str, object: &Value) -> Vec<Cited> {
    match kind {
        "AuthorizationPolicy" => policy(object),
        "DestinationRule" => destination_rule(object),
        "Gateway" => gateway(object),
        "ServiceEntry" => list(object, "/spec/subjectAltNames", Rule::Aliases)
            .into_iter()
            .collect(),
        _ => {
            let mut found = Vec::new();
            texts(&object["spec"], "/spec", &mut found);
            found
        }
    }
}

/// `spec.rules[0].from[0]` of `/spec/rules/0/from/0`.
pub(super) fn field(pointer: &str) -> String {
    let mut out = String::new();
    for part in pointer.split('/').skip(1) {
        if part.parse::<usize>().is_ok() {
            out.push('[');
            out += part;
            out.push(']');
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out += &part.replace("~1", "/").replace("~0", "~");
        }
    }
    out
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

fn list(object: &Value, pointer: &str, rule: Rule) -> Option<Cited> {
    let values = strings(object.pointer(pointer)?);
    Some(Cited {
        pointer: pointer.to_owned(),
        form: Form::List {
            rule,
            values,
            beside: Vec::new(),
            negative: false,
        },
    })
}

/// `from[].source` and the conditions of each rule. Request principals are names of other issuers, and namespaces and
/// service accounts are matched in every trust domain.
fn policy(object: &Value) -> Vec<Cited> {
    const LISTS: [(&str, Rule, bool); 4] = [
        ("principals", Rule::Principals, false),
        ("notPrincipals", Rule::Principals, true),
        ("trustDomains", Rule::Domains, false),
        ("notTrustDomains", Rule::Domains, true),
    ];
    let mut found = Vec::new();
    for (r, rule) in items(&object["spec"]["rules"]) {
        let sources: Vec<&Value> = items(&rule["from"]).map(|(_, f)| &f["source"]).collect();
        for (f, source) in sources.iter().enumerate() {
            for (key, how, negative) in LISTS {
                let values = strings(&source[key]);
                if values.is_empty() {
                    continue;
                }
                let beside = if negative {
                    Vec::new()
                } else {
                    alternatives(&sources, f, key)
                };
                found.push(Cited {
                    pointer: format!("/spec/rules/{r}/from/{f}/source/{key}"),
                    form: Form::List {
                        rule: how,
                        values,
                        beside,
                        negative,
                    },
                });
            }
        }
        for (w, when) in items(&rule["when"]) {
            condition(when, &format!("/spec/rules/{r}/when/{w}"), &mut found);
        }
    }
    found
}

/// What other sources of the rule let in that ask for nothing else.
fn alternatives(sources: &[&Value], this: usize, key: &str) -> Vec<String> {
    let rest = |source: &Value| {
        let mut rest = source.clone();
        if let Some(fields) = rest.as_object_mut() {
            fields.remove(key);
        }
        rest
    };
    let mine = rest(sources[this]);
    let others = sources.iter().enumerate();
    others
        .filter(|(at, source)| *at != this && rest(source) == mine)
        .flat_map(|(_, source)| strings(&source[key]))
        .collect()
}

/// Headers may hold the client's identity (`x-forwarded-client-cert`), and so may Envoy's metadata.
fn condition(when: &Value, pointer: &str, found: &mut Vec<Cited>) {
    let key = when["key"].as_str().unwrap_or_default();
    for (part, negative) in [("values", false), ("notValues", true)] {
        let values = strings(&when[part]);
        let pointer = format!("{pointer}/{part}");
        if key == "source.principal" && !values.is_empty() {
            found.push(Cited {
                pointer,
                form: Form::List {
                    rule: Rule::Principals,
                    values,
                    beside: Vec::new(),
                    negative,
                },
            });
        } else if key.starts_with("request.headers")
            || key.starts_with("experimental.envoy.filters.")
        {
            texts(&when[part], &pointer, found);
        }
    }
}

fn destination_rule(object: &Value) -> Vec<Cited> {
    let spec = &object["spec"];
    let mut policies = vec!["/spec/trafficPolicy".to_owned()];
    policies
        .extend(items(&spec["subsets"]).map(|(s, _)| format!("/spec/subsets/{s}/trafficPolicy")));
    let mut settings = Vec::new();
    for policy in policies {
        let ports = object
            .pointer(&policy)
            .map_or(&Value::Null, |p| &p["portLevelSettings"]);
        settings.push(policy.clone());
        settings.extend(items(ports).map(|(p, _)| format!("{policy}/portLevelSettings/{p}")));
    }
    let asks = |pointer: &String| {
        object.pointer(&format!("{pointer}/tls/mode")) != Some(&"DISABLE".into())
    };
    settings
        .iter()
        .filter(|pointer| asks(pointer))
        .filter_map(|pointer| {
            list(
                object,
                &format!("{pointer}/tls/subjectAltNames"),
                Rule::Exact,
            )
        })
        .collect()
}

/// What a gateway asks of the certificates of clients.
fn gateway(object: &Value) -> Vec<Cited> {
    items(&object["spec"]["servers"])
        .filter_map(|(s, _)| {
            list(
                object,
                &format!("/spec/servers/{s}/tls/subjectAltNames"),
                Rule::Exact,
            )
        })
        .collect()
}

/// Every text below a value.
fn texts(value: &Value, pointer: &str, found: &mut Vec<Cited>) {
    match value {
        Value::String(text) => found.push(Cited {
            pointer: pointer.to_owned(),
            form: Form::Text(text.clone()),
        }),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                texts(item, &format!("{pointer}/{at}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                texts(field, &format!("{pointer}/{key}"), found);
            }
        }
        _ => {}
    }
}
