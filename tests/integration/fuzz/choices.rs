//! Decisions out of bytes.
//!
//! An input of a target is a program: each byte decides something, such as which real thing to take,
//! and what to do to it. So random bytes make meaningful inputs, a fuzzer that watches coverage can
//! vary them, and shrinking the bytes shrinks what happens. When they are used up, every further
//! decision is the first of its kind.

/// The bytes that are still to decide.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether any byte is left: how long to go on changing something.
    pub fn more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// One byte; 0 when none is left.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// A number below `count`, of as few bytes as decide it; 0 if there is nothing to choose from.
    pub fn below(&mut self, count: usize) -> usize {
        let (mut number, mut reach) = (0, 1);
        while reach < count {
            number = number << 8 | usize::from(self.byte());
            reach <<= 8;
        }
        number % count.max(1)
    }

    /// One of them.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// A few bytes as they are.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// All that is left, as it is.
    pub fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
