//! Inputs that somebody else wrote: PEM, DER, private keys, Envoy's dumps and SPIFFE ids.
//!
//! Each target makes an input out of bytes ([`choices`]): something real ([`material`]) that is
//! changed on purpose, since bytes at random hardly ever reach what lies behind a checksum of base64,
//! a length of DER and a signature. It then holds what is read against what must be true of it, and
//! panics where it is not.
//!
//! `cargo test` runs each target for a moment with bytes at random, after those of `corpus/` that once
//! led somewhere new ([`bounded`]), and shows the largest inputs that are accepted at all ([`sizes`]).
//! For longer, with other bytes each time:
//!
//! ```text
//! ROOTSHIFT_FUZZ_SECONDS=600 cargo test --test integration fuzz::bounded
//! ```
//!
//! And with libFuzzer, which watches what code an input reaches, on the same stable compiler (and a
//! C++ one); `longer` says how it is built, and what is done with what it finds:
//!
//! ```text
//! tests/integration/fuzz/longer chains 600
//! ```

#[cfg(test)]
mod bounded;
mod chains;
mod choices;
mod der;
mod dumps;
mod input;
mod keys;
mod material;
#[cfg(test)]
mod sizes;
mod spiffe;
mod text;

/// Reads an input that these bytes decide, and panics when what it got is not right.
pub type Target = fn(&[u8]);

/// By the names of their files in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("chains", chains::target),
    ("dumps", dumps::target),
    ("input", input::target),
    ("keys", keys::target),
    ("spiffe", spiffe::target),
];

/// The target of this name.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("no target is called `{name}`"))
        .1
}
