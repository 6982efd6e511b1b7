//! The twin's mesh.
