//! The twin's scenario.
