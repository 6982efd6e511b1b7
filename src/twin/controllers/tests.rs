//! Rollouts, watched change by change.
