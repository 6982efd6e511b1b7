//! Simulated time.
