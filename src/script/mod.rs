//! Where scripts come from: the bundled ones, files; their headers.
