//! Names that controllers make up: the hash of a template, the suffix of a pod.
//!
//! Both follow from what is named and from the seed, never from when it happens, so that a run can be
//! repeated although its tasks overlap.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The alphabet of made-up names (`k8s.io/apimachinery/pkg/util/rand`): no vowels, so no words.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Gives suffixes for generated names.
#[derive(Debug)]
pub struct Names {
    seed: u64,
    given: Mutex<HashMap<String, u64>>,
}

impl Names {
    pub fn new(seed: u64) -> Names {
        Names {
            seed,
            given: Mutex::default(),
        }
    }

    /// The next name that begins with `prefix` in a namespace: the n-th is the same in every run with this seed.
    pub fn next(&self, namespace: &str, prefix: &str) -> String {
        let key = format!("{namespace}/{prefix}");
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given.entry(key.clone()).or_insert(0);
        *count += 1;
        let mut number = fnv64(&format!("{} {key} {count}", self.seed));
        let suffix: String = (0..5)
            .map(|_| {
                let at = usize::try_from(number % 27).unwrap_or(0);
                number /= 27;
                char::from(ALPHABET[at])
            })
            .collect();
        format!("{prefix}{suffix}")
    }
}

/// The hash of a pod template as it stands in names and labels: as the real one, decimal digits spelled
/// in the alphabet of names. Always ten, where the real one now and then has fewer.
pub fn template_hash(template: &Value, collisions: i64) -> String {
    let number = fnv64(&format!("{template} {collisions}"));
    let number = u32::try_from((number ^ (number >> 32)) & 0xffff_ffff).unwrap_or(0) | 0x8000_0000;
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % 27]))
        .collect()
}

/// FNV-1a, with a final mix so that near inputs differ in all bits.
pub fn fnv64(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// SplitMix64's finaliser.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_follow_from_seed_prefix_and_count() {
        let (a, b, other) = (Names::new(1), Names::new(1), Names::new(2));
        let first = a.next("shop", "web-");
        assert_eq!(b.next("pay", "web-").len(), first.len());
        assert_eq!(b.next("shop", "web-"), first);
        assert_ne!(a.next("shop", "web-"), first);
        assert_ne!(other.next("shop", "web-"), first);
    }

    #[test]
    fn a_template_hash_has_ten_characters_of_the_alphabet() {
        for n in 0..200 {
            let hash = template_hash(&json!({"n": n}), 0);
            assert_eq!(hash.len(), 10);
            assert!(hash.bytes().all(|b| ALPHABET.contains(&b)));
        }
        let template = json!({"spec": {}});
        assert_ne!(template_hash(&template, 0), template_hash(&template, 1));
    }
}
