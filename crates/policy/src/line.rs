//! A line of text in a buffer of fixed size.
//!
//! The formatting machinery of `core::fmt` would double the size of the library. Nothing here is inlined, for the
//! same reason.

use core::net::IpAddr;

/// How many bytes of somebody else's text are shown; a setting can be as long as the environment.
const SHOWN: usize = 60;

/// Room for the longest complaint.
const ROOM: usize = 512;

/// Text of at most 512 bytes. What does not fit is dropped.
#[derive(Clone, Debug)]
pub struct Line {
    bytes: [u8; ROOM],
    length: usize,
}

impl Line {
    /// No text; all zeroes in memory.
    pub const EMPTY: Line = Line { bytes: [0; ROOM], length: 0 };

    /// What was written.
    #[inline(never)]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds bytes as they are.
    #[inline(never)]
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, &byte) in rest.iter_mut().zip(bytes) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds text.
    #[inline(never)]
    pub fn push_str(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    /// Adds a decimal number.
    #[inline(never)]
    pub fn number(&mut self, n: u32) {
        let mut digits = [0; 10];
        let (mut rest, mut count) = (n, 0);
        for place in digits.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            (rest, count) = (rest / 10, count + 1);
            if rest == 0 {
                break;
            }
        }
        self.push_bytes(digits.get(10 - count..).unwrap_or_default());
    }

    /// Adds bytes that came from outside between double quotes, see [`Line::escaped`].
    pub fn quoted(&mut self, bytes: &[u8]) {
        self.push_str("\"");
        self.escaped(bytes);
        self.push_str("\"");
    }

    /// Adds bytes that came from outside: printable ASCII as it is, everything else as `\xNN`, cut after 60 bytes.
    /// Nothing that a terminal would act on gets through.
    #[inline(never)]
    pub fn escaped(&mut self, bytes: &[u8]) {
        for &b in bytes.iter().take(SHOWN) {
            match b {
                b'"' | b'\\' => self.push_bytes(&[b'\\', b]),
                b' '..=b'~' => self.push_bytes(&[b]),
                _ => self.push_bytes(&[b'\\', b'x', hexadecimal(b >> 4), hexadecimal(b & 15)]),
            }
        }
        if bytes.len() > SHOWN {
            self.push_str("...");
        }
    }

    /// Adds an address and a port, an IPv6 address in brackets and as RFC 5952 wants it. IPv4 stays visible where it
    /// is mapped into IPv6.
    #[inline(never)]
    pub fn address(&mut self, ip: IpAddr, port: u16) {
        match ip.to_canonical() {
            IpAddr::V4(a) => {
                let mut before = "";
                for &part in &a.octets() {
                    self.push_str(before);
                    self.number(part.into());
                    before = ".";
                }
            }
            IpAddr::V6(a) => {
                self.push_str("[");
                self.groups(&a.segments());
                self.push_str("]");
            }
        }
        self.push_str(":");
        self.number(port.into());
    }

    /// Eight groups, the first of the longest runs of more than one zero written as `::`.
    fn groups(&mut self, groups: &[u16; 8]) {
        let (mut start, mut end, mut run) = (0, 0, 0);
        for (i, &group) in (1..).zip(groups) {
            run = if group == 0 { run + 1 } else { 0 };
            if run > 1 && run > end - start {
                (start, end) = (i - run, i);
            }
        }
        for (i, &group) in (0..).zip(groups) {
            if (start..end).contains(&i) {
                self.push_str(if i == start { "::" } else { "" });
                continue;
            }
            self.push_str(if i == 0 || i == end { "" } else { ":" });
            let mut started = false;
            for &shift in &[12, 8, 4, 0] {
                let nibble = (group >> shift & 15) as u8;
                started |= nibble != 0 || shift == 0;
                if started {
                    self.push_bytes(&[hexadecimal(nibble)]);
                }
            }
        }
    }

    /// Takes the last byte back.
    pub fn drop_last(&mut self) {
        self.length = self.length.saturating_sub(1);
    }

    /// Ends the line, also one that was cut.
    #[inline(never)]
    pub fn end(&mut self) {
        self.length = self.length.min(ROOM - 1);
        self.push_str("\n");
    }
}

fn hexadecimal(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}
