//! The only door to the machine: clock, files, processes, terminal.
