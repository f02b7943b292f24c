//! By what a command is reached.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// By what a command is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By preload, or else by a cgroup.
    Auto,
    /// By preload alone.
    Preload,
    /// By a BPF program on a cgroup of its own.
    Cgroup,
    /// By one on the cgroup that we are in: `ka run` calls itself so in the scope that systemd has made.
    Scope,
}

impl Mode {
    /// What [`Mode::Scope`] is called.
    pub const SCOPE: &str = "scope";

    /// Reads the value of `--mode`.
    pub fn read(value: OsString) -> Result<Self, Error> {
        match value.into_vec().as_slice() {
            b"" => Err(Error::usage("--mode needs a value that is not empty; see ka-run --help")),
            b"auto" => Ok(Self::Auto),
            b"preload" => Ok(Self::Preload),
            b"cgroup" => Ok(Self::Cgroup),
            mode if mode == Self::SCOPE.as_bytes() => Ok(Self::Scope),
            other => Err(Error::usage(format!(
                "--mode \"{}\": no such mode; accepted: auto, preload, cgroup",
                escaped(other)
            ))),
        }
    }
}
