//! Certificates in the encoding that BoringSSL reads, and no other.
//!
//! The parser lets much pass that Envoy does not: bytes after the end of an extension, lengths and numbers
//! that are not the shortest, text that is not of its own type. A certificate that Envoy cannot read must
//! not be read here either, so this walks through the DER once more and checks nothing but its form. What
//! the fields mean is for the parser ([`parse`](super::parse)) to say.
//!
//! The rules are BoringSSL's: `X509_parse_with_algorithms` for the certificate, and the templates of those
//! extensions that its verification reads (`x509v3_cache_extensions`, `X509_policy_check`). Others are
//! anything.

use std::collections::BTreeSet;

use x509_parser::asn1_rs::Tag;

use super::name;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Whether a certificate is well-formed, the contents of extensions aside.
pub(super) fn certificate(der: &[u8]) -> bool {
    whole(der, |der| der.nested(SEQUENCE, certificate_fields)).is_some()
}

/// Whether an extension's content is well-formed; of those that are not looked at, always.
pub(super) fn extension(id: &[u8], content: &[u8]) -> bool {
    let [0x55, 0x1d, arc] = id else { return true };
    let read = match arc {
        14 => |der: &mut Der| der.take(OCTET_STRING).map(drop),
        15 => |der: &mut Der| der.take(BIT_STRING).and_then(bits),
        17 => |der: &mut Der| der.nested(SEQUENCE, |der| der.each(general_name)),
        19 => |der: &mut Der| der.nested(SEQUENCE, basic_constraints),
        31 => |der: &mut Der| {
            der.nested(SEQUENCE, |der| {
                der.each(|der| der.nested(SEQUENCE, distribution_point))
            })
        },
        35 => |der: &mut Der| der.nested(SEQUENCE, authority_key_id),
        37 => |der: &mut Der| der.nested(SEQUENCE, |der| der.each(|der| der.oid(OID))),
        _ => return true,
    };
    whole(content, read).is_some()
}

/// Whether the content of certificate policies is well-formed, with at least one policy, and each once (RFC
/// 5280, section 4.2.1.4). What they mean is nothing to a verifier that asks for none.
pub(super) fn policies(content: &[u8]) -> bool {
    let mut seen = BTreeSet::new();
    let read = whole(content, |der| {
        der.nested(SEQUENCE, |der| {
            der.each(|der| {
                der.nested(SEQUENCE, |der| {
                    let id = der.take(OID)?;
                    valid_oid(id)?;
                    der.optional(SEQUENCE, |der| {
                        der.each(|der| der.nested(SEQUENCE, policy_qualifier))
                    })?;
                    seen.insert(id.to_vec()).then_some(())
                })
            })
        })
    });
    read.is_some() && !seen.is_empty()
}

/// DER that is read from its beginning.
struct Der<'a>(&'a [u8]);

/// Reads all of `bytes`.
fn whole<'a>(bytes: &'a [u8], read: impl FnOnce(&mut Der<'a>) -> Option<()>) -> Option<()> {
    let mut der = Der(bytes);
    read(&mut der)?;
    der.0.is_empty().then_some(())
}

impl<'a> Der<'a> {
    /// The next element, whatever it is: its identifier and its content.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        // No tag of more than one byte occurs in a certificate, and zero is none.
        if tag & 0x1f == 0x1f || tag & 0xdf == 0 {
            return None;
        }
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if length.is_empty() || length.len() > 4 || length[0] == 0 {
                return None;
            }
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        };
        let long = *first >= 0x80;
        if long && length < 0x80 {
            return None;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn at(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.element()?;
        (found == tag).then_some(content)
    }

    /// An element and all of its content.
    fn nested(&mut self, tag: u8, read: impl FnOnce(&mut Der<'a>) -> Option<()>) -> Option<()> {
        whole(self.take(tag)?, read)
    }

    fn optional(&mut self, tag: u8, read: impl FnOnce(&mut Der<'a>) -> Option<()>) -> Option<()> {
        if self.at(tag) {
            self.nested(tag, read)
        } else {
            Some(())
        }
    }

    /// The same again and again, up to the end.
    fn each(&mut self, mut read: impl FnMut(&mut Der<'a>) -> Option<()>) -> Option<()> {
        while !self.0.is_empty() {
            read(self)?;
        }
        Some(())
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn oid(&mut self, tag: u8) -> Option<()> {
        valid_oid(self.take(tag)?)
    }
}

fn certificate_fields(der: &mut Der) -> Option<()> {
    der.nested(SEQUENCE, |der| {
        let mut version = 0;
        der.optional(0xa0, |der| {
            let number = der.take(INTEGER)?;
            version = *number.first()?;
            (number.len() == 1 && version < 3).then_some(())
        })?;
        integer(der.take(INTEGER)?)?;
        algorithm(der)?;
        name(der)?;
        der.nested(SEQUENCE, |der| time(der).and_then(|()| time(der)))?;
        name(der)?;
        der.nested(SEQUENCE, |der| {
            algorithm(der)?;
            bits(der.take(BIT_STRING)?)
        })?;
        if version > 0 {
            for unique_id in [0x81, 0x82] {
                der.optional(unique_id, |der| bits(der.rest()))?;
            }
        }
        if version > 1 {
            der.optional(0xa3, |der| {
                der.nested(SEQUENCE, |der| der.each(extension_fields))
            })?;
        }
        Some(())
    })?;
    algorithm(der)?;
    bits(der.take(BIT_STRING)?)
}

fn extension_fields(der: &mut Der) -> Option<()> {
    der.nested(SEQUENCE, |der| {
        der.oid(OID)?;
        der.optional(BOOLEAN, |der| flag(der.rest()))?;
        der.take(OCTET_STRING).map(drop)
    })
}

fn algorithm(der: &mut Der) -> Option<()> {
    der.nested(SEQUENCE, |der| {
        der.oid(OID)?;
        if der.0.is_empty() { Some(()) } else { any(der) }
    })
}

fn name(der: &mut Der) -> Option<()> {
    der.nested(SEQUENCE, |der| {
        der.each(|der| {
            der.nested(SET, |der| {
                (!der.0.is_empty()).then_some(())?;
                der.each(|der| {
                    der.nested(SEQUENCE, |der| {
                        der.oid(OID)?;
                        any(der)
                    })
                })
            })
        })
    })
}

fn general_name(der: &mut Der) -> Option<()> {
    let (tag, content) = der.element()?;
    match tag {
        0xa0 => whole(content, |der| {
            der.oid(OID)?;
            der.nested(0xa0, any)
        }),
        // rfc822Name, dNSName, URI, iPAddress; x400Address is not decoded.
        0x81 | 0x82 | 0x86 | 0x87 | 0xa3 => Some(()),
        0xa4 => whole(content, name),
        0x88 => valid_oid(content),
        // ediPartyName, which nobody has ever seen, and what there is not.
        _ => None,
    }
}

fn basic_constraints(der: &mut Der) -> Option<()> {
    der.optional(BOOLEAN, |der| flag(der.rest()))?;
    der.optional(INTEGER, |der| {
        let limit = der.rest();
        integer(limit)?;
        (limit[0] < 0x80).then_some(())
    })
}

fn authority_key_id(der: &mut Der) -> Option<()> {
    der.optional(0x80, |der| {
        der.rest();
        Some(())
    })?;
    der.optional(0xa1, |der| der.each(general_name))?;
    der.optional(0x82, |der| integer(der.rest()))
}

fn distribution_point(der: &mut Der) -> Option<()> {
    // A name relative to the issuer's, the other choice, is nothing that exists.
    der.optional(0xa0, |der| der.nested(0xa0, |der| der.each(general_name)))?;
    der.optional(0x81, |der| bits(der.rest()))?;
    der.optional(0xa2, |der| der.each(general_name))
}

fn policy_qualifier(der: &mut Der) -> Option<()> {
    let id = der.take(OID)?;
    valid_oid(id)?;
    match id {
        // id-qt-cps
        [0x2b, 6, 1, 5, 5, 7, 2, 1] => der.take(IA5_STRING).map(drop),
        // id-qt-unotice
        [0x2b, 6, 1, 5, 5, 7, 2, 2] => der.nested(SEQUENCE, |der| {
            der.optional(SEQUENCE, |der| {
                display_text(der)?;
                der.nested(SEQUENCE, |der| der.each(|der| integer(der.take(INTEGER)?)))
            })?;
            if der.0.is_empty() {
                Some(())
            } else {
                display_text(der)
            }
        }),
        _ => any(der),
    }
}

/// IA5String, VisibleString, BMPString or UTF8String.
fn display_text(der: &mut Der) -> Option<()> {
    let kind = *der.0.first()?;
    matches!(kind, IA5_STRING | 0x1a | 0x1e | 0x0c).then_some(())?;
    any(der)
}

/// One element that may be anything, as far as its type is known (`asn1_parse_any_as_string`).
fn any(der: &mut Der) -> Option<()> {
    let (tag, content) = der.element()?;
    if tag >= 0x40 {
        return Some(());
    }
    // EXTERNAL, EMBEDDED PDV, SEQUENCE, SET and CHARACTER STRING are constructed, the others are not.
    let number = tag & 0x1f;
    let constructed = tag & 0x20 != 0;
    if number != 15 && constructed != matches!(number, 8 | 11 | 16 | 17 | 29) {
        return None;
    }
    match tag {
        BOOLEAN => matches!(content, [0x00 | 0xff]).then_some(()),
        INTEGER | 0x0a => integer(content),
        BIT_STRING => bits(content),
        NULL => content.is_empty().then_some(()),
        OID => valid_oid(content),
        UTC_TIME => date(content, 12),
        GENERALIZED_TIME => date(content, 14),
        _ => name::text(Tag(u32::from(number)), content).ok().map(drop),
    }
}

/// Of a field's BOOLEAN only the length is checked: some CAs write 1 for true.
fn flag(content: &[u8]) -> Option<()> {
    (content.len() == 1).then_some(())
}

/// The shortest two's complement (X.690, section 8.3.2).
fn integer(content: &[u8]) -> Option<()> {
    let longer = matches!(
        content,
        [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..]
    );
    (!longer).then_some(())
}

/// The count of unused bits, which are zero, and the bytes.
fn bits(content: &[u8]) -> Option<()> {
    let (unused, bytes) = content.split_first()?;
    let mask = 1u8.checked_shl(u32::from(*unused))?.wrapping_sub(1);
    let last = bytes.last().copied();
    (*unused == 0 || last.is_some_and(|last| last & mask == 0)).then_some(())
}

/// Arcs of the shortest encoding, none of them longer than 64 bits.
fn valid_oid(content: &[u8]) -> Option<()> {
    if content.last()? & 0x80 != 0 {
        return None;
    }
    let mut arcs = content.split_inclusive(|byte| byte & 0x80 == 0);
    arcs.all(|arc| arc[0] != 0x80 && (arc.len() < 10 || arc.len() == 10 && arc[0] == 0x81))
        .then_some(())
}

fn time(der: &mut Der) -> Option<()> {
    let (tag, content) = der.element()?;
    match tag {
        UTC_TIME => date(content, 12),
        GENERALIZED_TIME => date(content, 14),
        _ => None,
    }
}

/// RFC 5280, section 4.1.2.5: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` and nothing else.
fn date(content: &[u8], digits: usize) -> Option<()> {
    let (last, number) = content.split_last()?;
    let sound = *last == b'Z' && number.len() == digits && number.iter().all(u8::is_ascii_digit);
    sound.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_what_its_template_says() {
        for (arc, good, bad) in [
            (
                14,
                &b"\x04\x01k"[..],
                &[&b"\x04\x02k"[..], b"\x04\x01k\0", b"\x24\x01k", b""][..],
            ),
            (
                15,
                b"\x03\x02\x05\xa0",
                &[
                    b"\x03\x02\x05\xa1",
                    b"\x03\x02\x08\xa0",
                    b"\x03\x01\x05",
                    b"\x03\x00",
                ],
            ),
            (
                17,
                b"\x30\x03\x86\x01x",
                &[
                    b"\x30\x03\x89\x01x",
                    b"\x30\x81\x03\x86\x01x",
                    b"\x30\x02\x86\x01x",
                ],
            ),
            (
                19,
                b"\x30\x06\x01\x01\x01\x02\x01\0",
                &[
                    b"\x30\x06\x01\x01\xff\x02\x01\xff",
                    b"\x30\x02\x01\0",
                    b"\x30\x07\x01\x01\xff\x02\x02\0\0",
                ],
            ),
            (
                31,
                b"\x30\x09\x30\x07\xa0\x05\xa0\x03\x86\x01x",
                &[b"\x30\x07\x30\x05\xa0\x03\x86\x01x"],
            ),
            (
                35,
                b"\x30\x06\x80\x01k\x82\x01\x05",
                &[
                    b"\x30\x06\x82\x01\x05\x80\x01k",
                    b"\x30\x07\x80\x01k\x82\x02\0\x05",
                ],
            ),
            (
                37,
                b"\x30\x03\x06\x01\x55",
                &[
                    b"\x30\x03\x06\x01\x80",
                    b"\x30\x04\x06\x02\x80\x55",
                    b"\x30\x02\x06\0",
                ],
            ),
        ] {
            let id = [0x55, 0x1d, arc];
            assert!(extension(&id, good), "{arc}");
            for bad in bad {
                assert!(!extension(&id, bad), "{arc}: {bad:02x?}");
            }
        }
        assert!(extension(&[0x55, 0x1d, 18], b"anything"));
        assert!(extension(&[0x2b], b""));
    }

    #[test]
    fn policies_are_some_and_each_is_named_once() {
        let one = b"\x30\x06\x30\x04\x06\x02\x2a\x03";
        assert!(policies(one));
        assert!(policies(
            b"\x30\x0b\x30\x04\x06\x02\x2a\x03\x30\x03\x06\x01\x2a"
        ));
        assert!(!policies(
            b"\x30\x0c\x30\x04\x06\x02\x2a\x03\x30\x04\x06\x02\x2a\x03"
        ));
        assert!(!policies(b"\x30\0") && !policies(b""));
        let qualified = |qualifier: &[u8]| {
            let framed = |content: &[u8]| {
                let length = u8::try_from(content.len()).unwrap();
                [&[SEQUENCE, length], content].concat()
            };
            let qualifiers = framed(&framed(qualifier));
            policies(&framed(&framed(
                &[b"\x06\x01\x2a", &qualifiers[..]].concat(),
            )))
        };
        let (cps, notice) = (
            *b"\x06\x08\x2b\x06\x01\x05\x05\x07\x02\x01",
            *b"\x06\x08\x2b\x06\x01\x05\x05\x07\x02\x02",
        );
        assert!(qualified(&[&cps[..], b"\x16\x01x"].concat()));
        assert!(!qualified(&[&cps[..], b"\x0c\x01x"].concat()));
        assert!(qualified(&[&notice[..], b"\x30\x04\x1e\x02\0x"].concat()));
        assert!(qualified(
            &[
                &notice[..],
                b"\x30\x0a\x30\x08\x0c\x01x\x30\x03\x02\x01\x01"
            ]
            .concat()
        ));
        assert!(!qualified(&[&notice[..], b"\x30\x03\x13\x01x"].concat()));
        assert!(!qualified(&[&notice[..], b"\x30\x03\x1e\x01x"].concat()));
    }

    #[test]
    fn names_hold_text_of_their_own_type() {
        let named = |tag: u8, text: &[u8]| {
            let mut value = vec![tag, u8::try_from(text.len()).unwrap()];
            value.extend(text);
            let framed = |tag, content: &[u8]| {
                let mut framed = vec![tag, u8::try_from(content.len()).unwrap()];
                framed.extend(content);
                framed
            };
            let attribute = framed(SEQUENCE, &[b"\x06\x03\x55\x04\x0a", &value[..]].concat());
            let der = framed(SEQUENCE, &framed(SET, &attribute));
            whole(&der, name).is_some()
        };
        assert!(named(0x13, b"x") && named(0x0c, "Zoë".as_bytes()) && named(0x1e, b"\0x"));
        assert!(!named(0x0c, b"Zo\xeb") && !named(0x1e, b"x") && !named(0x33, b"x"));
        assert!(whole(b"\x30\0", name).is_some() && whole(b"\x30\x02\x31\0", name).is_none());
    }

    #[test]
    fn lengths_and_tags_are_short() {
        let all = |bytes: &[u8]| whole(bytes, |der| der.element().map(drop)).is_some();
        assert!(all(b"\x04\x01x") && all(&[&b"\x04\x81\x80"[..], &[0; 128]].concat()));
        for bad in [
            &b"\x04\x81\x01x"[..],
            b"\x04\x80x\0\0",
            b"\x1f\x01x",
            b"\0\0",
            b"\x04\x82\0\x80",
        ] {
            assert!(!all(bad), "{bad:02x?}");
        }
        assert!(!all(&[&b"\x04\x82\0\x80"[..], &[0; 128]].concat()));
    }

    #[test]
    fn arcs_have_64_bits() {
        let arc = |first: u8| [&[first][..], &[0xff; 8], &[0x7f]].concat();
        assert!(valid_oid(&arc(0x81)).is_some());
        assert!(valid_oid(&arc(0x82)).is_none());
    }
}
