//! Names and identifiers that a cluster makes up, repeatable by seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// The alphabet of generated names (`k8s.io/apimachinery/pkg/util/rand`): no vowels, so no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of made-up names and UIDs.
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// The source that a seed gives.
    pub fn new(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    /// The next number (SplitMix64).
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A suffix of `length` characters for a generated name.
    pub fn suffix(&self, length: usize) -> String {
        (0..length)
            .map(|_| {
                let at = self.next() % ALPHABET.len() as u64;
                char::from(ALPHABET[usize::try_from(at).unwrap_or(0)])
            })
            .collect()
    }

    /// A version 4 UUID.
    pub fn uid(&self) -> String {
        let high = (self.next() & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (self.next() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let (a, b) = (Random::new(7), Random::new(7));
        assert_eq!((a.suffix(5), a.uid()), (b.suffix(5), b.uid()));
        assert_ne!(a.uid(), a.uid());
    }

    #[test]
    fn uids_are_of_version_four() {
        let uid = Random::new(1).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]));
    }
}
