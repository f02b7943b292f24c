//! Where the log goes (`KA_LOG`).

use crate::parse::ErrorKind;
use crate::skip;

/// The longest path that `KA_LOG` may name, in bytes (PATH_MAX less the zero at the end).
pub const MAX_LOG_PATH: usize = 4095;

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log<'a> {
    /// Complaints about bad settings only, on stderr.
    #[default]
    Complaints,
    /// Nowhere, not even complaints.
    Off,
    /// The standard error.
    Stderr,
    /// A file, by an absolute path.
    Path(&'a [u8]),
}

impl<'a> Log<'a> {
    /// Reads a value of `KA_LOG`.
    pub fn read(text: &'a [u8]) -> Result<Self, ErrorKind> {
        match text {
            b"off" => Ok(Log::Off),
            b"stderr" => Ok(Log::Stderr),
            path @ [b'/', ..] if path.len() > MAX_LOG_PATH => Err(ErrorKind::PathTooLong),
            path @ [b'/', ..] if is_descriptor(path) => Err(ErrorKind::LogIsDescriptor),
            path @ [b'/', ..] => Ok(Log::Path(path)),
            text if skip::base_name(text) != text => Err(ErrorKind::RelativePath),
            _ => Err(ErrorKind::NotALogTarget),
        }
    }
}

/// Whether a path stands for what is open on a descriptor of the process, and so is a link, which is not followed.
fn is_descriptor(path: &[u8]) -> bool {
    [&b"/dev/stdin"[..], b"/dev/stdout", b"/dev/stderr"].contains(&path)
        || path.starts_with(b"/dev/fd/")
        || path.strip_prefix(b"/proc/").is_some_and(|rest| rest.split(|&b| b == b'/').nth(1) == Some(b"fd"))
}
