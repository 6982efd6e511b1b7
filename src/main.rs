//! The `rootshift` program.

fn main() {}
