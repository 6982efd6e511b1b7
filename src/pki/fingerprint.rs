//! SHA-256 fingerprints: how certificates, keys and bundles are named unmistakably.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 digest. Displayed as 64 lower-case hex digits; read with or without colons, in
/// either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256 fingerprint: {digits} hex digits of 64")]
pub struct FingerprintError {
    /// What was read.
    pub text: String,
    /// How many hex digits it has.
    pub digits: usize,
}

impl Fingerprint {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Fingerprint {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The first 8 hex digits: for people, where a name stands beside it.
    pub fn short(&self) -> String {
        hex(&self.0[..4])
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u32> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map_while(|c| c.to_digit(16))
            .collect();
        let expected = text.trim().chars().filter(|c| *c != ':').count();
        let fail = || FingerprintError {
            text: text.to_owned(),
            digits: digits.len(),
        };
        if digits.len() != 64 || expected != 64 {
            return Err(fail());
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] << 4 | pair[1]).map_err(|_| fail())?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// SHA-256 over several pieces.
pub(super) struct Hasher(ring::digest::Context);

impl Hasher {
    pub(super) fn new() -> Hasher {
        Hasher(ring::digest::Context::new(&ring::digest::SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Fingerprint {
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Fingerprint(bytes)
    }
}

/// Lower-case hex, two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_case_and_space_do_not_matter() {
        let plain = Fingerprint::of(b"x");
        let text = plain.to_string();
        let colons = text
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect::<Vec<_>>()
            .join(":");
        assert_eq!(text.parse::<Fingerprint>().unwrap(), plain);
        assert_eq!(
            format!(" {colons}\n").parse::<Fingerprint>().unwrap(),
            plain
        );
        assert_eq!(plain.short(), text[..8]);
    }

    #[test]
    fn anything_else_is_refused_and_named() {
        for bad in [
            "",
            "61:48",
            "zz",
            &"0".repeat(63),
            &"0".repeat(65),
            &format!("{}g", "0".repeat(64)),
        ] {
            let error = bad.parse::<Fingerprint>().unwrap_err();
            assert!(
                error.to_string().contains("is not a SHA-256 fingerprint"),
                "{error}"
            );
        }
    }
}
