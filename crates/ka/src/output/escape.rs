//! Names that others have chosen, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Printable ASCII as it is, everything else as `\xNN`, and `\` doubled: nothing that a terminal would act on gets
/// through, and every byte can be told.
pub fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'\\';
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(|&b| plain(b)) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for &b in bytes {
        if plain(b) {
            out.push(b.into());
        } else if b == b'\\' {
            out.push_str("\\\\");
        } else {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    Cow::Owned(out)
}

/// A message as it is, but for control characters, which are written as [`escaped`] writes them: for what was put together
/// from escaped names and others.
pub fn without_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(out, "\\x{:02x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, without_controls};

    #[test]
    fn a_message_stays() {
        assert_eq!(without_controls("é \\x1b: a\x1b[31m\n"), "é \\x1b: a\\x1b[31m\\x0a");
    }

    #[test]
    fn plain_names_stay() {
        assert_eq!(escaped(b"redis-server *:6379"), "redis-server *:6379");
    }

    #[test]
    fn nothing_reaches_a_terminal() {
        assert_eq!(escaped(b"a\x1b[31m\n\\\xff\xc3\xa9"), "a\\x1b[31m\\x0a\\\\\\xff\\xc3\\xa9");
    }
}
