//! One execution of a script: steps, gates, waivers, approvals, modes.
