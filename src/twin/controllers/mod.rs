//! The twin's controllers.
