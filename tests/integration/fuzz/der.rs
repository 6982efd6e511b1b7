//! DER taken apart, changed, and put together again: lengths fit unless they are what is changed.

use super::choices::Choices;
use super::text;

/// An element of one of the kinds that certificates and keys are made of.
#[derive(Debug, Clone)]
pub struct Element {
    pub tag: u8,
    /// Bytes of the length that DER would leave out.
    padding: usize,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Vec<u8>),
    /// What comes before the elements (the unused bits of a BIT STRING), and the elements.
    Elements(Vec<u8>, Vec<Element>),
}

const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Deeper is not looked, and not nested.
const DEEPEST: usize = 40;
/// No element is repeated or nested to more than this.
const LARGEST: usize = 64 << 10;

impl Element {
    /// Exactly one element, down to those in strings.
    pub fn read(der: &[u8]) -> Option<Element> {
        match &mut Self::read_all(der, 0)?[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    fn read_all(mut der: &[u8], depth: usize) -> Option<Vec<Element>> {
        let mut all = Vec::new();
        while let [tag, length, rest @ ..] = der {
            let (length, rest) = match length {
                0..=0x7f => (usize::from(*length), rest),
                0x81..=0x83 => {
                    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                    let number = digits.iter().fold(0, |n, d| n << 8 | usize::from(*d));
                    (number, rest)
                }
                _ => return None,
            };
            let (content, rest) = rest.split_at_checked(length)?;
            let inner = |at: usize| {
                let elements = (depth < DEEPEST).then(|| Self::read_all(&content[at..], depth + 1));
                let elements = elements.flatten().filter(|all| !all.is_empty())?;
                Some(Content::Elements(content[..at].to_vec(), elements))
            };
            let elements = match *tag {
                BIT_STRING if content.first() == Some(&0) => inner(1),
                OCTET_STRING => inner(0),
                tag if tag & 0x20 != 0 => inner(0),
                _ => None,
            };
            all.push(Element {
                tag: *tag,
                padding: 0,
                content: elements.unwrap_or_else(|| Content::Bytes(content.to_vec())),
            });
            der = rest;
        }
        der.is_empty().then_some(all)
    }

    pub fn primitive(tag: u8, content: &[u8]) -> Element {
        Element {
            tag,
            padding: 0,
            content: Content::Bytes(content.to_vec()),
        }
    }

    pub fn sequence(elements: Vec<Element>) -> Element {
        Element {
            tag: SEQUENCE,
            padding: 0,
            content: Content::Elements(Vec::new(), elements),
        }
    }

    /// An element of this tag with nothing but this one in it.
    pub fn within(self, tag: u8) -> Element {
        Element {
            tag,
            padding: 0,
            content: Content::Elements(Vec::new(), vec![self]),
        }
    }

    /// Its elements; none if it has only bytes.
    pub fn elements(&self) -> &[Element] {
        match &self.content {
            Content::Bytes(_) => &[],
            Content::Elements(_, elements) => elements,
        }
    }

    pub fn elements_mut(&mut self) -> Option<&mut Vec<Element>> {
        match &mut self.content {
            Content::Bytes(_) => None,
            Content::Elements(_, elements) => Some(elements),
        }
    }

    /// What is between its header and its end.
    pub fn inside(&self) -> Vec<u8> {
        match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Elements(before, elements) => {
                let mut all = before.clone();
                for element in elements {
                    element.write(&mut all);
                }
                all
            }
        }
    }

    pub fn der(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.write(&mut all);
        all
    }

    fn write(&self, into: &mut Vec<u8>) {
        let inside = self.inside();
        let digits = inside.len().to_be_bytes();
        let needed = digits.iter().skip_while(|d| **d == 0).count();
        let shown = (needed + self.padding).clamp(1, digits.len());
        into.push(self.tag);
        if self.padding == 0 && inside.len() < 0x80 {
            into.push(digits[digits.len() - 1]);
        } else {
            into.push(0x80 | u8::try_from(shown).unwrap());
            into.extend(&digits[digits.len() - shown..]);
        }
        into.extend(inside);
    }

    fn count(&self) -> usize {
        1 + self.elements().iter().map(Element::count).sum::<usize>()
    }

    /// The element of this number, from the outside inwards.
    fn nth(&mut self, mut number: usize) -> Option<&mut Element> {
        if number == 0 {
            return Some(self);
        }
        number -= 1;
        for element in self.elements_mut()? {
            let count = element.count();
            if number < count {
                return element.nth(number);
            }
            number -= count;
        }
        None
    }

    /// One of its elements, or itself.
    pub fn any(&mut self, choices: &mut Choices) -> &mut Element {
        let number = choices.below(self.count());
        self.nth(number).unwrap()
    }

    /// Does something to one of its elements, or to itself; `donor` gives elements.
    pub fn change(&mut self, donor: &Element, choices: &mut Choices) {
        let target = self.any(choices);
        match choices.below(12) {
            0 => target.edit(choices),
            1 => *target = donor.clone().any(choices).clone(),
            2 => {
                if let Some(some) = target.some(choices) {
                    some.0.remove(some.1);
                }
            }
            3 => {
                let times = 1 + choices.below(200);
                if let Some((elements, at)) = target.some(choices) {
                    let one = elements[at].clone();
                    let times = times.min(LARGEST / one.der().len().max(1));
                    elements.splice(at..at, std::iter::repeat_n(one, times));
                }
            }
            4 => {
                if let Some((elements, at)) = target.some(choices) {
                    let other = choices.below(elements.len());
                    elements.swap(at, other);
                }
            }
            5 => target.tag = choices.byte(),
            6 => target.tag ^= 1 << choices.below(8),
            7 => target.padding = 1 + choices.below(4),
            8 => {
                let other = donor.clone().any(choices).clone();
                if let Some((elements, at)) = target.some(choices) {
                    elements.insert(at, other);
                }
            }
            9 => {
                // After all that is known to be in it.
                let other = donor.clone().any(choices).clone();
                target
                    .elements_mut()
                    .into_iter()
                    .for_each(|all| all.push(other.clone()));
            }
            10 => target.content = Content::Bytes(Vec::new()),
            _ => {
                for _ in 0..=choices.below(DEEPEST) {
                    let inner = std::mem::replace(target, Element::sequence(Vec::new()));
                    let tag = inner.tag;
                    *target = inner.within(tag);
                }
            }
        }
    }

    /// Its elements and which of them.
    fn some(&mut self, choices: &mut Choices) -> Option<(&mut Vec<Element>, usize)> {
        let elements = self.elements_mut().filter(|all| !all.is_empty())?;
        let at = choices.below(elements.len());
        Some((elements, at))
    }

    /// Other bytes between its header and its end.
    fn edit(&mut self, choices: &mut Choices) {
        let mut inside = self.inside();
        text::change_bytes(&mut inside, choices);
        self.content = Content::Bytes(inside);
    }
}

/// A variant of something in DER: with other elements, and perhaps other bytes after all.
pub fn variant(der: &[u8], donor: &[u8], choices: &mut Choices) -> Vec<u8> {
    let mut der = der.to_vec();
    if let (Some(mut whole), Some(donor)) = (Element::read(&der), Element::read(donor)) {
        for _ in 0..choices.below(4) {
            whole.change(&donor, choices);
        }
        der = whole.der();
    }
    for _ in 0..choices.below(3) {
        text::change_bytes(&mut der, choices);
    }
    der
}
