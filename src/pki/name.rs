//! Distinguished names in the text form of RFC 4514.
//!
//! The text is for people only. Names are compared in their canonical form, as OpenSSL and BoringSSL do
//! when they look for an issuer (RFC 5280, section 7.1): two encodings of one text are one name. That
//! two certificates bear one name proves nothing all the same.

use x509_parser::asn1_rs::{Class, Tag, ToDer};
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

/// The attributes of a name in the order of encoding, each as type and value.
pub(super) fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    name.iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let kind = short_name(&oid).map_or(oid, str::to_owned);
            let value = attribute
                .as_str()
                .map_or_else(|_| encoded(attribute), str::to_owned);
            (kind, value)
        })
        .collect()
}

/// The canonical form (`asn1_marshal_string_canon`): values of the usual string types without regard to
/// the type, to case of ASCII letters, and to blanks at the ends or repeated ones; other values as they
/// are.
pub(super) fn canonical(name: &X509Name<'_>) -> Vec<u8> {
    let mut rdns = Vec::new();
    for rdn in name.iter_rdn() {
        // A SET has no order of its own.
        let mut attributes: Vec<Vec<u8>> = rdn
            .iter()
            .map(|attribute| {
                let value = attribute.attr_value();
                let mut bytes = framed(attribute.attr_type().as_bytes());
                let universal = value.class() == Class::Universal;
                if universal && let Ok(Some(text)) = text(value.tag(), value.data) {
                    let words = text.split(|c| matches!(c, '\t'..='\r' | ' '));
                    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
                    bytes.push(b's');
                    bytes.extend(framed(words.join(" ").to_ascii_lowercase().as_bytes()));
                } else {
                    bytes.push(value.class() as u8);
                    bytes.push(u8::try_from(value.tag().0).unwrap_or(0xff));
                    bytes.extend(framed(value.data));
                }
                bytes
            })
            .collect();
        attributes.sort();
        rdns.extend(framed(&attributes.concat()));
    }
    rdns
}

/// What a value of one of the usual string types says; `None` for other types.
///
/// # Errors
/// It is not of the type that it claims: Envoy does not load it.
pub(super) fn text(tag: Tag, data: &[u8]) -> Result<Option<String>, OtherType> {
    let wide = |width: usize| -> Option<String> {
        let point = |unit: &[u8]| {
            unit.iter()
                .fold(0, |point, byte| point << 8 | u32::from(*byte))
        };
        data.chunks(width)
            .map(|unit| char::from_u32(point(unit)).filter(|_| unit.len() == width))
            .collect()
    };
    let text = match tag {
        Tag::Utf8String => str::from_utf8(data).ok().map(str::to_owned),
        Tag::BmpString => wide(2),
        Tag::UniversalString => wide(4),
        Tag::PrintableString | Tag::T61String | Tag::Ia5String | Tag::VisibleString => {
            Some(data.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => return Ok(None),
    };
    // Unicode's non-characters (`CBS_get_utf8`).
    let none = |c: char| matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    match text {
        Some(text) if !text.contains(none) => Ok(Some(text)),
        _ => Err(OtherType),
    }
}

/// A value that is not of the string type that it claims.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherType;

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(bytes);
    framed
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short_name(&oid), attribute.as_str()) {
        (Some(short), Ok(value)) => format!("{short}={}", escape(value)),
        (Some(short), Err(_)) => format!("{short}={}", encoded(attribute)),
        // Section 2.4: a type in dotted decimal has its value in hex.
        (None, _) => format!("{oid}={}", encoded(attribute)),
    }
}

/// Section 2.4: `#` and the hex of the value's encoding, tag and length included.
fn encoded(attribute: &AttributeTypeAndValue<'_>) -> String {
    let any = attribute.attr_value();
    match any.to_der_vec() {
        Ok(der) => format!("#{}", hex(&der)),
        Err(_) => format!("#{}", hex(any.data)),
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

/// A text without control characters, so that it is one line and moves no cursor: certificates are
/// made by others, and their names are shown to people.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            pairs(c)
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

/// Section 2.4: each byte as `\` and two hex digits.
fn pairs(c: char) -> String {
    c.to_string()
        .bytes()
        .flat_map(|byte| ["\\".to_owned(), hex(&[byte])])
        .collect()
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            c if c.is_control() => text.push_str(&pairs(c)),
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

    #[test]
    fn values_are_read_as_their_types_say() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(text(Tag::Utf8String, "Zoë".as_bytes()), some("Zoë"));
        assert_eq!(text(Tag::T61String, b"Zo\xeb"), some("Zoë"));
        assert_eq!(text(Tag::BmpString, b"\0Z\0o\0\xeb"), some("Zoë"));
        assert_eq!(text(Tag::UniversalString, b"\0\x01\xf6\0"), some("😀"));
        assert_eq!(text(Tag::NumericString, b"1"), Ok(None));
        for (tag, bytes) in [
            (Tag::Utf8String, &b"Zo\xeb"[..]),
            (Tag::Utf8String, "\u{fffe}".as_bytes()),
            (Tag::BmpString, b"\0Z\0"),
            (Tag::BmpString, b"\xd8\x01"),
            (Tag::UniversalString, b"\0\x11\0\0"),
        ] {
            assert_eq!(text(tag, bytes), Err(OtherType), "{tag} {bytes:?}");
        }
    }

    #[test]
    fn no_name_is_more_than_one_line_or_moves_the_cursor() {
        assert_eq!(
            escape("a\nissuer\u{1b}[2J\u{85}"),
            "a\\0aissuer\\1b[2J\\c2\\85"
        );
        assert_eq!(printable("spiffe://a\r\nb, é"), "spiffe://a\\0d\\0ab, é");
    }
}
