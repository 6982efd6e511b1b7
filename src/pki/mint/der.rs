//! As much of DER as it takes to spoil a certificate.

use super::MintError;

/// One element: its identifier byte and its content.
#[derive(Clone)]
pub(super) struct Element {
    pub(super) tag: u8,
    pub(super) content: Vec<u8>,
}

impl Element {
    pub(super) fn new(tag: u8, content: Vec<u8>) -> Element {
        Element { tag, content }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let length = self.content.len();
        let mut bytes = vec![self.tag];
        if length < 0x80 {
            bytes.extend(u8::try_from(length));
        } else {
            let long = length.to_be_bytes();
            let long = &long[long.iter().take_while(|byte| **byte == 0).count()..];
            bytes.extend(u8::try_from(long.len()).map(|count| 0x80 | count));
            bytes.extend(long);
        }
        bytes.extend(&self.content);
        bytes
    }
}

/// The elements of a content, one after the other.
pub(super) fn children(mut rest: &[u8]) -> Result<Vec<Element>, MintError> {
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let [tag, first, after @ ..] = rest else {
            return Err(MintError::Shape);
        };
        let count = usize::from(first & 0x7f);
        let (length, after) = if *first < 0x80 {
            (count, after)
        } else {
            let (bytes, after) = after.split_at_checked(count).ok_or(MintError::Shape)?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, after)
        };
        let (content, after) = after.split_at_checked(length).ok_or(MintError::Shape)?;
        elements.push(Element::new(*tag, content.to_vec()));
        rest = after;
    }
    Ok(elements)
}

/// The opposite of [`children`].
pub(super) fn join(elements: &[Element]) -> Vec<u8> {
    elements.iter().flat_map(Element::encode).collect()
}
