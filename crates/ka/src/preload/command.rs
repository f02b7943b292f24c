//! Which file a command is, as execvp(3) finds it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::shown;
use crate::cli::error::Error;

/// What execvp(3) of glibc takes where there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What shells have built in and no system has as a program.
const BUILT_IN: &[&str] = &[
    ".", ":", "alias", "bg", "bind", "break", "builtin", "case", "cd", "command", "continue", "declare",
    "eval", "exec", "exit", "export", "fc", "fg", "for", "getopts", "hash", "history", "if", "jobs", "let",
    "local", "read", "readonly", "return", "set", "shift", "source", "times", "trap", "type", "ulimit",
    "umask", "unalias", "unset", "until", "wait", "while",
];

/// The file, or an error with the status 126 or 127.
pub fn find(name: &OsStr) -> Result<PathBuf, Error> {
    let quoted = format!("\"{}\"", shown(name));
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Err(Error::not_found("the name of the command is empty"));
    }
    let cannot = |fault| Error::cannot_execute(format!("{quoted} cannot be run: {fault}"));
    if bytes.contains(&b'/') {
        return match look(Path::new(name)) {
            Found::Program => Ok(name.into()),
            Found::No(fault) => Err(cannot(fault)),
            Found::Nothing => Err(Error::not_found(format!("{quoted}: there is no such file"))),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut first_fault = None;
    for directory in path.as_bytes().split(|&b| b == b':') {
        // An empty directory is the current one.
        let between: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        let candidate = PathBuf::from(OsString::from_vec([directory, between, bytes].concat()));
        match look(&candidate) {
            Found::Program => return Ok(candidate),
            Found::No(fault) => first_fault = first_fault.or(Some(fault)),
            Found::Nothing => {}
        }
    }
    Err(match first_fault {
        Some(fault) => cannot(fault),
        None if BUILT_IN.iter().any(|&word| name == word) => {
            let name = shown(name);
            Error::not_found(format!(
                "{quoted} is no program: the shell has it built in; try sh -c '{name} ...'"
            ))
        }
        None => Error::not_found(format!("{quoted} is not in the PATH")),
    })
}

enum Found {
    Program,
    /// Something that cannot be executed, and why.
    No(&'static str),
    Nothing,
}

fn look(path: &Path) -> Found {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Found::No("you may not look into its directory");
        }
        Err(_) => return Found::Nothing,
    };
    if metadata.is_dir() {
        Found::No("a directory")
    } else if !metadata.is_file() {
        Found::No("not a regular file")
    } else if accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS) {
        Found::No("you may not execute it")
    } else {
        Found::Program
    }
}
