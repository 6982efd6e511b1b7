//! The only door to the machine: the clock, files, processes, the terminal, randomness for names.
//!
//! Separate so that everything else can be read as a function of what it is given: a room that
//! needs the time, a file or a child process asks here, and no other code reads the environment.
//! It decides nothing: no defaults of the program, no formats, no policy.

pub mod clock;
pub mod environment;
pub mod files;
pub mod process;
pub mod terminal;
