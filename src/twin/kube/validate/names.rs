//! Syntax of names, labels and keys.

/// Why a text is not a DNS subdomain of RFC 1123; `None` when it is one.
pub fn subdomain(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some("must be no more than 253 characters".to_owned());
    }
    if text.split('.').all(is_label) {
        return None;
    }
    Some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned(),
    )
}

/// Why a text is not a DNS label of RFC 1123.
pub fn label(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    if is_label(text) {
        return None;
    }
    Some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
         start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .to_owned(),
    )
}

/// Why a text is not a DNS label of RFC 1035.
pub fn dns_1035(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    if is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    Some(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
         alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
         regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .to_owned(),
    )
}

/// The name of a port of a container; the first of what is wrong with it.
pub fn port_name(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() > 15 {
        Some("must be no more than 15 characters".to_owned())
    } else if !text.chars().all(allowed) {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned())
    } else if !text.contains(|c: char| c.is_ascii_lowercase()) {
        Some("must contain at least one letter (a-z)".to_owned())
    } else if text.contains("--") {
        Some("must not contain consecutive hyphens".to_owned())
    } else if text.starts_with('-') || text.ends_with('-') {
        Some("must not begin or end with a hyphen".to_owned())
    } else {
        None
    }
}

/// Why a text may not be a part of a path, as names of RBAC objects are.
pub fn path_segment(text: &str) -> Option<String> {
    if text == "." || text == ".." {
        return Some(format!("may not be '{text}'"));
    }
    ["/", "%"]
        .iter()
        .find(|s| text.contains(**s))
        .map(|s| format!("may not contain '{s}'"))
}

/// Why a text is not the value of a label.
pub fn label_value(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    if text.is_empty() || is_qualified_part(text) {
        return None;
    }
    Some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
         must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
         regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .to_owned(),
    )
}

/// Why a text is not the key of a label or an annotation.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut whys = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (*name).to_owned(),
        [prefix, name] => {
            if prefix.is_empty() {
                whys.push("prefix part must be non-empty".to_owned());
            } else if let Some(why) = subdomain(prefix) {
                whys.push(format!("prefix part {why}"));
            }
            (*name).to_owned()
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED
            )];
        }
    };
    if name.is_empty() {
        whys.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        whys.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_part(&name) {
        whys.push(format!("name part {QUALIFIED}"));
    }
    whys
}

const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
     an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Why a text is not a key of a ConfigMap or a Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut whys = Vec::new();
    if text.len() > 253 {
        whys.push("must be no more than 253 bytes".to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        whys.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
             or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if text == "." || text == ".." {
        whys.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        whys.push("must not start with '..'".to_owned());
    }
    whys
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_qualified_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.chars().all(inner) && text.starts_with(edge) && text.ends_with(edge)
}
