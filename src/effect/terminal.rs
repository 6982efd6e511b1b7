//! The terminal: whether there is a person, and asking that person.
//!
//! Questions go to standard error, so that standard output holds results only.

use std::io::{self, BufRead, IsTerminal, Write};

use tokio::sync::oneshot;

/// Whether a person can be asked: standard input and standard error are both a terminal.
pub fn interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether standard output may be coloured: it is a terminal, and neither `NO_COLOR` nor
/// `TERM=dumb` says otherwise.
pub fn stdout_colour() -> bool {
    io::stdout().is_terminal() && colour_wanted()
}

/// Whether standard error may be coloured; as [`stdout_colour`].
pub fn stderr_colour() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

/// Shows `question` and reads one line, without its line end. `None` at the end of input.
///
/// The read itself cannot be cancelled: it happens on a thread of its own, which a caller that
/// stops waiting leaves behind until the process ends.
///
/// # Errors
/// If the terminal cannot be written to or read from.
pub async fn ask(question: &str) -> io::Result<Option<String>> {
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let (tx, rx) = oneshot::channel();
    std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || {
            let mut line = String::new();
            let read = io::stdin()
                .lock()
                .read_line(&mut line)
                .map(|n| (n > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()));
            // Nobody waits any more after a cancel.
            tx.send(read).ok();
        })?;
    rx.await
        .unwrap_or_else(|_| Err(io::Error::other("the terminal's reader ended")))
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|v| v != "dumb")
}
