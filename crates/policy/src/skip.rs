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

/// Whether every name is one that a program can be known by.
pub fn check(list: &[u8]) -> Result<(), ErrorKind> {
    if base_name(list).len() < list.len() { Err(ErrorKind::SkipIsPath) } else { Ok(()) }
}

/// Whether the program that was executed by this path is left alone: named in the built-in list or in `list`.
pub fn is_skipped(executed: &[u8], list: Option<&[u8]>) -> bool {
    let name = base_name(executed);
    let lists = [BUILT_IN.as_bytes(), list.unwrap_or_default()];
    lists.iter().any(|list| names(list).any(|n| n == name))
}
