//! From a script to the program that runs it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use kashim_policy::skip::base_name;

use super::elf::read_at;
use super::{Examined, Reach, Unreachable, command, shown};
use crate::cli::error::Error;

/// How much of a file the kernel looks at (BINPRM_BUF_SIZE).
const HEAD: usize = 256;
/// How many scripts in a row the kernel follows (fs/exec.c).
const DEPTH: usize = 5;
/// What execvp(3) takes for a text without an interpreter.
const SHELL: &[u8] = b"/bin/sh";

/// Where a chain ends.
pub enum Followed {
    /// At something that is no script.
    Program(File),
    /// Before it.
    Ends(Reach),
}

/// Follows the interpreters, and puts them into the chain. Behind env(1), what it starts is what the program is known by.
pub fn follow(examined: &mut Examined) -> Result<Followed, Error> {
    for _ in 0..=DEPTH {
        let path = examined.chain.last().unwrap_or(&examined.path);
        let unreadable =
            || Followed::Ends(Reach::Unknown("you may not read it, so what it is cannot be told".into()));
        let Ok(file) = File::open(path) else { return Ok(unreadable()) };
        let Some(head) = read_at(&file, 0, HEAD) else { return Ok(unreadable()) };
        let Some(line) = first_line(&head) else { return Ok(Followed::Program(file)) };
        let (interpreter, argument) = words(line);
        let mut next = PathBuf::from(OsStr::from_bytes(interpreter));
        if base_name(interpreter) == b"env" {
            let Some(started) = started_by_env(argument) else {
                let argument = shown(OsStr::from_bytes(argument));
                return Ok(Followed::Ends(
                    Unreachable::new(
                        format!("it is a script that clears the environment before it starts its interpreter: env {argument}"),
                        "run the interpreter itself: ka-run INTERPRETER SCRIPT",
                    )
                    .into(),
                ));
            };
            if let Some(name) = started {
                let name = OsStr::from_bytes(name);
                examined.executed = OsStr::from_bytes(base_name(name.as_bytes())).to_owned();
                next = command::find(name).unwrap_or_else(|_| name.into());
            }
        }
        if !next.is_file() {
            return Err(Error::not_found(format!(
                "{}: its interpreter is missing: {}",
                shown(path),
                shown(&next)
            )));
        }
        examined.chain.push(next);
    }
    Ok(Followed::Ends(Reach::Unknown("its interpreters are scripts, more than five deep".into())))
}

/// What stands behind `#!`. A text without that is one for the shell: execvp(3) and every shell take it so.
fn first_line(head: &[u8]) -> Option<&[u8]> {
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
    match line.strip_prefix(b"#!") {
        Some(rest) => Some(rest),
        None if line.contains(&0) => None,
        None => Some(SHELL),
    }
}

fn is_blank(b: &u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r')
}

/// The interpreter, and all that stands behind it.
fn words(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    (interpreter, argument.trim_ascii())
}

/// What `env ARGUMENT` starts, if it starts something; `None` if our variables do not get there.
fn started_by_env(argument: &[u8]) -> Option<Option<&[u8]>> {
    let mut rest = argument;
    for split in [&b"-S"[..], b"-vS", b"--split-string=", b"--split-string "] {
        if let Some(behind) = rest.strip_prefix(split) {
            rest = behind;
            break;
        }
    }
    let mut words = rest.split(is_blank).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word {
            b"-i" | b"-" | b"--ignore-environment" => return None,
            _ if word.windows(10).any(|part| part == b"LD_PRELOAD") => return None,
            b"-u" | b"-C" => {
                if words.next() == Some(b"LD_PRELOAD") {
                    return None;
                }
            }
            [b'-', ..] => {}
            _ if word.contains(&b'=') => {}
            _ => return Some(Some(word)),
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_env_starts() {
        let cases: &[(&str, Option<Option<&str>>)] = &[
            ("sh", Some(Some("sh"))),
            ("-S A=1 sh -u", Some(Some("sh"))),
            ("-S -v /usr/bin/x -i", Some(Some("/usr/bin/x"))),
            ("-S -u HOME -C / python3 -x", Some(Some("python3"))),
            ("--split-string=perl -w", Some(Some("perl"))),
            ("", Some(None)),
            ("-S -i sh", None),
            ("-S - sh", None),
            ("-S -u LD_PRELOAD sh", None),
            ("-S LD_PRELOAD= sh", None),
        ];
        for (argument, want) in cases {
            let want = want.map(|name| name.map(str::as_bytes));
            assert_eq!(started_by_env(argument.as_bytes()), want, "{argument}");
        }
    }

    #[test]
    fn first_lines() {
        assert_eq!(first_line(b"#! \t/bin/sh -u \nrest").map(words), Some((&b"/bin/sh"[..], &b"-u"[..])));
        assert_eq!(first_line(b"echo\n").map(words), Some((SHELL, &b""[..])));
        assert_eq!(first_line(b"\x7fELF\x02"), None);
        assert_eq!(first_line(b"a\0b\n"), None);
    }
}
