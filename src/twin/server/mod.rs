//! The twin's server.
