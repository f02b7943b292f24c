//! Text in a buffer of fixed size.

use core::fmt::{self, Write};

/// Text of at most `N` bytes. What does not fit is dropped.
pub struct Line<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Line<N> {
    /// No text; all zeroes in memory.
    pub const EMPTY: Line<N> = Line { bytes: [0; N], length: 0 };

    /// What was written.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, &byte) in rest.iter_mut().zip(bytes) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Ends the line, also one that was cut.
    pub fn end(&mut self) {
        self.length = self.length.min(N.saturating_sub(1));
        let _ = self.write_str("\n");
    }

    /// Whether so many bytes more would fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.get(self.length..).is_some_and(|rest| rest.len() >= bytes)
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.append(s.as_bytes());
        Ok(())
    }
}
