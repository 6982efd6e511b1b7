//! What a container has written: lines with their times, as a node keeps them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Channel;

/// How much of a container's output is kept, in bytes; the oldest lines go first (a kubelet rotates at 10 MiB).
const KEPT: usize = 1 << 20;

/// One line, with its line end unless the container ended in the middle of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When its end was written.
    pub at: Timestamp,
    /// Its bytes.
    pub bytes: Bytes,
}

#[derive(Default)]
struct Kept {
    lines: std::collections::VecDeque<Line>,
    /// How many lines were there before the first that is kept.
    dropped: usize,
    bytes: usize,
    /// What has no line end yet, of standard output and of standard error.
    open: [Vec<u8>; 2],
    ended: bool,
}

/// The output of one run of a container.
pub struct Output {
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
}

impl Default for Output {
    fn default() -> Output {
        Output {
            kept: Mutex::default(),
            changed: watch::channel(()).0,
        }
    }
}

impl Output {
    /// Writes bytes; a line counts once its end is written.
    pub fn write(&self, channel: Channel, bytes: &[u8]) {
        let mut kept = self.kept();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let open = &mut kept.open[usize::from(channel == Channel::Err)];
            open.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(open);
                kept.add(line);
            }
        }
        drop(kept);
        self.changed.send_replace(());
    }

    /// Nothing more is written.
    pub fn end(&self) {
        let mut kept = self.kept();
        for at in 0..2 {
            let rest = std::mem::take(&mut kept.open[at]);
            if !rest.is_empty() {
                kept.add(rest);
            }
        }
        kept.ended = true;
        drop(kept);
        self.changed.send_replace(());
    }

    /// The lines from a number on (from 0), the number of the next one, and whether there will be no more.
    pub fn since(&self, number: usize) -> (Vec<Line>, usize, bool) {
        let kept = self.kept();
        let skip = number.saturating_sub(kept.dropped);
        let lines = kept.lines.iter().skip(skip).cloned().collect();
        (lines, kept.dropped + kept.lines.len(), kept.ended)
    }

    /// Is told of every change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(Line {
            at: Timestamp::now(),
            bytes: line.into(),
        });
        while self.bytes > KEPT && self.lines.len() > 1 {
            if let Some(first) = self.lines.pop_front() {
                self.bytes -= first.bytes.len();
                self.dropped += 1;
            }
        }
    }
}
