//! Distinguished names in the text form of RFC 4514.
//!
//! For people only: names are compared by their DER, since two CAs may bear the same one and two
//! encodings of one text are different names.

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::fingerprint::hex;

/// RFC 4514: the last RDN first, `,` between RDNs, `+` inside one. Empty if the name is empty.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut rdns: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    rdns.reverse();
    rdns.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short_name(&oid), attribute.as_str()) {
        (Some(short), Ok(value)) => format!("{short}={}", escape(value)),
        (Some(short), Err(_)) => format!("{short}=#{}", hex(attribute.as_slice())),
        // RFC 4514, section 2.4: a type in dotted decimal has its value in hex, tag and length
        // included; lengths over 127 do not occur in attributes worth showing.
        (None, _) => {
            let value = attribute.as_slice();
            let header = [
                u8::try_from(attribute.attr_value().tag().0).unwrap_or(0x0c),
                u8::try_from(value.len()).unwrap_or(0x7f),
            ];
            format!("{oid}=#{}{}", hex(&header), hex(value))
        }
    }
}

/// RFC 4514's table, and the two that every tool shows by name.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        _ => return None,
    })
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '\0' => text.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            '#' if i == 0 => text.push_str("\\#"),
            ' ' if i == 0 || i == last => text.push_str("\\ "),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped_where_rfc_4514_says_so() {
        assert_eq!(escape("a, b"), "a\\, b");
        assert_eq!(escape(" a "), "\\ a\\ ");
        assert_eq!(escape("#a#"), "\\#a#");
        assert_eq!(escape("a+b=\"c\";<d>\\"), "a\\+b=\\\"c\\\"\\;\\<d\\>\\\\");
        assert_eq!(escape("a\0"), "a\\00");
    }
}
