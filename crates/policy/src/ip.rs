//! Reading addresses.
//!
//! The parser of `core::net` reads the same, but keeps panics in the binary that the optimiser cannot see to be out of
//! reach, and a library that is a guest in every process must have none. The tests hold the two side by side.

use crate::parse::whole;

/// Four decimal numbers up to 255 with dots between. A zero in front is refused: some programs read it as octal.
pub fn v4(text: &[u8]) -> Option<u32> {
    let mut parts = text.split(|&b| b == b'.').map(|part| match part {
        [b'0', _, ..] => None,
        [_] | [_, _] | [_, _, _] => whole(part).ok().and_then(|n| u8::try_from(n).ok()),
        _ => None,
    });
    let mut address = 0;
    for _ in 0..4 {
        address = address << 8 | u32::from(parts.next()??);
    }
    parts.next().is_none().then_some(address)
}

/// As RFC 4291 section 2.2 has it: eight groups, `::` once in place of one or more groups of zeroes, and at the end
/// perhaps an IPv4 address.
pub fn v6(text: &[u8]) -> Option<u128> {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let (before, after) = match gap {
        None => (text, None),
        Some(at) => (text.get(..at)?, Some(text.get(at + 2..)?)),
    };
    let (mut head, head_length) = groups(before, after.is_none())?;
    let Some(after) = after else { return (head_length == 8).then_some(head) };
    let (tail, tail_length) = groups(after, true)?;
    if head_length + tail_length > 7 {
        return None;
    }
    for _ in head_length..8 {
        head <<= 16;
    }
    Some(head | tail)
}

/// Groups with colons between, as a number, and how many.
fn groups(text: &[u8], last: bool) -> Option<(u128, u32)> {
    let (mut number, mut count) = (0, 0);
    if text.is_empty() {
        return Some((number, count));
    }
    let mut parts = text.split(|&b| b == b':').peekable();
    while let Some(part) = parts.next() {
        let mut group = hexadecimal(part);
        if group.is_none() && last && parts.peek().is_none() {
            let v4 = v4(part)?;
            number = number << 16 | u128::from(v4 >> 16);
            count += 1;
            group = Some(v4 & 0xffff);
        }
        number = number << 16 | u128::from(group?);
        count += 1;
        if count > 8 {
            return None;
        }
    }
    Some((number, count))
}

/// One to four hexadecimal digits.
fn hexadecimal(text: &[u8]) -> Option<u32> {
    if !matches!(text.len(), 1..=4) {
        return None;
    }
    text.iter().try_fold(0, |n, &b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            _ => return None,
        };
        Some(n << 4 | u32::from(digit))
    })
}
