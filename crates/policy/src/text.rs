//! Writing text without the formatting machinery of `core::fmt`, which would double the size of the library.

use core::fmt::Write;
use core::net::IpAddr;

/// How many bytes of somebody else's text are shown; a setting can be as long as the environment.
const SHOWN: usize = 60;

/// Writes a decimal number.
pub fn number(out: &mut dyn Write, n: u32) {
    let mut digits = [0; 10];
    let (mut rest, mut count) = (n, 0);
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        (rest, count) = (rest / 10, count + 1);
        if rest == 0 {
            break;
        }
    }
    digits.iter().skip(10 - count).for_each(|&digit| byte(out, digit));
}

/// Writes several strings. A sink that is full drops the rest, so there is no error to hand on.
pub fn strings(out: &mut dyn Write, all: &[&str]) {
    for s in all {
        let _ = out.write_str(s);
    }
}

/// Writes bytes that came from outside between double quotes: printable ASCII as it is, everything else as `\xNN`,
/// cut after 60 bytes. Nothing that a terminal would act on gets through.
pub fn quoted(out: &mut dyn Write, bytes: &[u8]) {
    strings(out, &["\""]);
    escaped(out, bytes);
    strings(out, &["\""]);
}

/// [`quoted`] without the quotes.
pub fn escaped(out: &mut dyn Write, bytes: &[u8]) {
    for &b in bytes.iter().take(SHOWN) {
        match b {
            b'"' | b'\\' => {
                byte(out, b'\\');
                byte(out, b);
            }
            b' '..=b'~' => byte(out, b),
            _ => {
                strings(out, &["\\x"]);
                byte(out, hex(b >> 4));
                byte(out, hex(b & 15));
            }
        }
    }
    if bytes.len() > SHOWN {
        strings(out, &["..."]);
    }
}

/// Writes an address and a port, an IPv6 address in brackets and as RFC 5952 wants it. IPv4 stays visible where it is
/// mapped into IPv6.
pub fn address(out: &mut dyn Write, ip: IpAddr, port: u16) {
    match ip.to_canonical() {
        IpAddr::V4(a) => {
            for (i, part) in a.octets().into_iter().enumerate() {
                strings(out, &[if i == 0 { "" } else { "." }]);
                number(out, part.into());
            }
        }
        IpAddr::V6(a) => {
            strings(out, &["["]);
            groups(out, a.segments());
            strings(out, &["]"]);
        }
    }
    strings(out, &[":"]);
    number(out, port.into());
}

/// Eight groups with the first of the longest runs of zeroes, if it is longer than one, written as `::`.
fn groups(out: &mut dyn Write, groups: [u16; 8]) {
    let (mut start, mut longest, mut run) = (0, 1, 0);
    for (i, group) in groups.into_iter().enumerate() {
        run = if group == 0 { run + 1 } else { 0 };
        if run > longest {
            (start, longest) = (i + 1 - run, run);
        }
    }
    let end = if longest > 1 { start + longest } else { start };
    for (i, group) in groups.into_iter().enumerate() {
        if i == start && i < end {
            strings(out, &["::"]);
        }
        if (start..end).contains(&i) {
            continue;
        }
        if i != 0 && i != end || (i != 0 && start == end) {
            strings(out, &[":"]);
        }
        let mut written = false;
        for shift in [12, 8, 4, 0] {
            let nibble = (group >> shift & 15) as u8;
            written |= nibble != 0 || shift == 0;
            if written {
                byte(out, hex(nibble));
            }
        }
    }
}

fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Writes one ASCII byte.
fn byte(out: &mut dyn Write, b: u8) {
    let _ = out.write_char(char::from(b));
}
