//! What runs in the containers of the twin: their output, their exit codes, and commands executed in them.
//!
//! The twin runs no programs of the machine. It knows a few images, and a small part of a shell; what it does not
//! know it refuses ([`NotModelled`]), and never pretends to have done.
//!
//! | a container with | does |
//! |---|---|
//! | a `command` of [`shell`]'s commands | what they do, and ends with their code; `sleep` is divided by the clock's speed |
//! | the image `lab/http` or `registry.example/…` and no `command` | serves HTTP with JSON at `$PORT`, its first port, or 8080, and logs that it listens |
//! | the name `istio-proxy` and `args: [proxy, …]` | logs what pilot-agent does at its start |
//! | anything else | runs on, with an output that is not known |
//!
//! # The commands
//! `sh -c TEXT` with `;`, line ends, `&&`, `||`, `!`, `if`, `while`, `until`, `for … in`, assignments, `$NAME`,
//! `${NAME}`, `$?`, both quotes, `>&2`, `1>&2`, `2>&1`, `> /dev/null` (also `2>`). Of programs `:`, `[`, `cat`,
//! `echo`, `env`, `exit`, `false`, `hostname`, `printenv`, `printf`, `seq`, `sh`, `sleep`, `test`, `true`; in
//! `istio-proxy` also `curl` of the loopback address and `pilot-agent request GET`. Files are those of mounted
//! ConfigMaps and Secrets, `/etc/hostname` and `/dev/null`; below `/nonexistent` there is nothing, as Debian's
//! policy has it.

mod commands;
mod containers;
mod images;
mod machine;
mod output;
mod parse;
mod shell;
#[cfg(test)]
mod tests;

pub use containers::{Containers, Exit, Run};
pub use output::{Line, Output};
pub use shell::{Ended, Streams};

/// A command, an image or a file that the twin does not model: which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotModelled(pub String);

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}
