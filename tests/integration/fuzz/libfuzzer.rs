//! The targets under libFuzzer; which one, the variable `ROOTSHIFT_FUZZ` says. Built by `longer` alone.

#![cfg_attr(libfuzzer, no_main)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    dead_code
)]

#[cfg(libfuzzer)]
#[path = "mod.rs"]
mod fuzz;

#[cfg(libfuzzer)]
mod entry {
    use std::sync::LazyLock;

    use super::fuzz::{Target, target};

    static TARGET: LazyLock<Target> =
        LazyLock::new(|| target(&std::env::var("ROOTSHIFT_FUZZ").unwrap()));

    libfuzzer_sys::fuzz_target!(|bytes| TARGET(bytes));
}

#[cfg(not(libfuzzer))]
fn main() {
    eprintln!("error: built without libFuzzer\nhint: tests/integration/fuzz/longer");
    std::process::exit(2);
}
