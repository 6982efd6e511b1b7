//! What happened, as events, durably.
