//! Programs that are left alone.

use crate::parse::{ErrorKind, trim};

/// Programs that a preload would break, as a value of `KA_SKIP`: each installs a seccomp filter that kills it at its
/// next `setsockopt`.
pub const BUILT_IN: &str = "chronyd:vsftpd";

/// The names in a value of `KA_SKIP`, without empty ones.
pub fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b':').map(trim).filter(|name| !name.is_empty())
}

/// The part of a path behind its last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Whether this path names a descriptor or a link in /proc, and so no program: fexecve(3) makes it `/dev/fd/N` (see
/// execveat(2)) or, in musl, `/proc/self/fd/N`; who executes himself anew gives `/proc/self/exe`.
pub fn is_nameless(executed: &[u8]) -> bool {
    let name = base_name(executed);
    let number = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    if executed.starts_with(b"/proc/") {
        number || name == b"exe"
    } else {
        number && executed.starts_with(b"/dev/fd/")
    }
}

/// The name of a file whose link in /proc/PID/exe reads so.
pub fn linked_name(link: &[u8]) -> &[u8] {
    // What proc(5) says of a file that is gone.
    base_name(link.strip_suffix(b" (deleted)").unwrap_or(link))
}

/// Whether every name is one that a program can be known by.
pub fn check(list: &[u8]) -> Result<(), ErrorKind> {
    if base_name(list).len() < list.len() { Err(ErrorKind::SkipIsPath) } else { Ok(()) }
}

/// Who says that a program is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// [`BUILT_IN`].
    BuiltIn,
    /// The value of `KA_SKIP`.
    Named,
}

impl Skipped {
    /// In words, behind "NAME is".
    pub fn text(self) -> &'static str {
        match self {
            Skipped::BuiltIn => "on the library's own list of programs that it would break",
            Skipped::Named => "named in KA_SKIP",
        }
    }
}

/// Who says that the program of this base name is left alone, if anybody.
pub fn skipped(name: &[u8], list: Option<&[u8]>) -> Option<Skipped> {
    let has = |list: &[u8]| names(list).any(|n| n == name);
    if has(BUILT_IN.as_bytes()) {
        Some(Skipped::BuiltIn)
    } else {
        list.is_some_and(has).then_some(Skipped::Named)
    }
}
