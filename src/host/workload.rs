//! Words of `workload`.
