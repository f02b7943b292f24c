//! Reading single values: durations, counts, booleans.

use core::num::NonZeroU16;

use crate::texts::texts;

/// The largest TCP_KEEPIDLE and TCP_KEEPINTVL in seconds (MAX_TCP_KEEPIDLE in the kernel's include/net/tcp.h).
pub const MAX_SECONDS: u32 = 32767;
/// The largest TCP_KEEPCNT (MAX_TCP_KEEPCNT, same file).
pub const MAX_COUNT: u32 = 127;
/// The largest user timeout in seconds: TCP_USER_TIMEOUT is a signed number of milliseconds.
pub const MAX_USER_TIMEOUT: u32 = 2_147_483;

texts! {
    /// What is wrong with a value.
    pub enum ErrorKind {
        Sign = "has a sign",
        BlankInside = "has a blank inside",
        NotANumber = "not a whole number",
        UnknownUnit = "unknown unit",
        TooSmall = "too small",
        TooLarge = "too large",
        NotABoolean = "not a boolean",
        NotALogTarget = "not a place to log to",
        RelativePath = "a relative path",
        PathTooLong = "too long for a path",
        LogIsDescriptor = "names a descriptor; to log to standard error, use the word stderr",
        SkipIsPath = "has a path, but programs are known by their base name",
        HostName = "host names are not looked up",
        Scope = "a %scope is not supported",
        Brackets = "an IPv6 address stands in brackets",
        Prefix = "not a prefix length",
        Port = "not a port",
        NoSettings = "says nothing about what to set",
        OffAndMore = "off stands alone",
        UnknownField = "unknown setting",
        FieldTwice = "a setting is given twice",
        TooManyRules = "too many rules",
    }
}

texts! {
    /// What would have been accepted.
    pub enum Accepted {
        Duration = "1 to 32767 seconds (300, 90s, 5m, 9h) or system",
        Count = "1 to 127 or system",
        UserTimeout = "off, auto or 1 to 2147483 seconds (300, 90s, 5m, 9h)",
        Boolean = "0, 1, no, yes, off, on, false, true",
        Log = "off, stderr or an absolute path of at most 4095 bytes",
        Names = "base names of programs, separated by :",
        Match = "*, 10.0.0.0/8, [2001:db8::]/32, each alone or with :PORT or :LOW-HIGH, or :PORT alone",
        Actions = "off, or idle= interval= count= user-timeout=, each once",
        Rules = "64 rules",
    }
}

/// The value without the blanks, carriage returns and line ends around it.
pub fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// A duration in seconds, 1 to `max`: whole seconds, or a number with `s`, `m` or `h`.
pub fn duration(value: &[u8], max: u32) -> Result<u32, ErrorKind> {
    let (digits, scale) = match value {
        [digits @ .., b's'] => (digits, 1),
        [digits @ .., b'm'] => (digits, 60),
        [digits @ .., b'h'] => (digits, 3600),
        _ => (value, 1),
    };
    match (whole(digits), value) {
        (Ok(n), _) => in_range(n.saturating_mul(scale), max),
        // What stands before the last letter is a number, so it is the letter that is wrong.
        (Err(_), [number @ .., b'A'..=b'Z' | b'a'..=b'z']) if whole(number).is_ok() => {
            Err(ErrorKind::UnknownUnit)
        }
        (Err(problem), _) => Err(problem),
    }
}

/// The word `system`, which leaves a value to the kernel, or a number up to `max`, which fits.
pub fn or_system(
    text: &[u8],
    read: fn(&[u8], u32) -> Result<u32, ErrorKind>,
    max: u32,
) -> Result<Option<NonZeroU16>, ErrorKind> {
    if text == b"system" { Ok(None) } else { read(text, max).map(|n| NonZeroU16::new(n as u16)) }
}

/// A number, 1 to `max`.
pub fn count(value: &[u8], max: u32) -> Result<u32, ErrorKind> {
    in_range(whole(value)?, max)
}

fn in_range(n: u32, max: u32) -> Result<u32, ErrorKind> {
    match n {
        0 => Err(ErrorKind::TooSmall),
        n if n > max => Err(ErrorKind::TooLarge),
        n => Ok(n),
    }
}

/// A whole number, digits only; one that does not fit becomes the largest, which is out of every range.
pub fn whole(value: &[u8]) -> Result<u32, ErrorKind> {
    match value {
        [] => return Err(ErrorKind::NotANumber),
        [b'+' | b'-', ..] => return Err(ErrorKind::Sign),
        _ if value.iter().any(|b| matches!(b, b' ' | b'\t')) => return Err(ErrorKind::BlankInside),
        _ => {}
    }
    value.iter().try_fold(0u32, |n, b| match b {
        b'0'..=b'9' => Ok(n.saturating_mul(10).saturating_add(u32::from(b - b'0'))),
        _ => Err(ErrorKind::NotANumber),
    })
}

/// A boolean: 0/1, no/yes, off/on, false/true in any case.
pub fn boolean(value: &[u8]) -> Result<bool, ErrorKind> {
    let mut lower = [0; 5];
    let word = lower.get_mut(..value.len()).ok_or(ErrorKind::NotABoolean)?;
    for (to, from) in word.iter_mut().zip(value) {
        *to = from.to_ascii_lowercase();
    }
    match &*word {
        b"0" | b"no" | b"off" | b"false" => Ok(false),
        b"1" | b"yes" | b"on" | b"true" => Ok(true),
        _ => Err(ErrorKind::NotABoolean),
    }
}
