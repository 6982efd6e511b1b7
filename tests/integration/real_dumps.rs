//! real_dumps
