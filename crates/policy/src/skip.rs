//! Programs that are left alone.

use crate::value::trim;

/// Programs that a preload would break: each installs a seccomp filter that kills it at its next `setsockopt`.
pub const BUILT_IN: [&str; 2] = ["chronyd", "vsftpd"];

/// The names in a value of `KA_SKIP`, without empty ones.
pub fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b':').map(trim).filter(|name| !name.is_empty())
}

/// The part of a path behind its last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Whether the program that was executed by this path is left alone: named in the built-in list or in `list`.
pub fn is_skipped(executed: &[u8], list: Option<&[u8]>) -> bool {
    let name = base_name(executed);
    BUILT_IN.iter().any(|s| s.as_bytes() == name) || list.is_some_and(|l| names(l).any(|n| n == name))
}
