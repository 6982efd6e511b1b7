//! What a person types; plugs the parts together.

pub mod args;
