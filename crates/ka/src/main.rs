//! `ka` gives programs TCP keepalives, and shows, changes and measures those of running ones.

mod cgroup;
mod cli;
mod commands;
mod output;
mod parallel;
mod preload;
mod process;
mod tcp;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::error::Error;
use cli::exit::Exit;
use commands::run::args::KaRun;
use commands::run::{self, usage};
use output::say;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let result = match as_ka_run(&words) {
        Some(words) => ka_run(words),
        None => {
            restore_sigpipe();
            commands::dispatch(commands::Cli::parse().command)
        }
    };
    result.map_or_else(
        |error| {
            say::say(&format!("error: {error}"));
            error.exit().into()
        },
        ExitCode::from,
    )
}

/// The words behind the name, if we were called by the name `ka-run`, or as `ka run`, which is the same.
fn as_ka_run(words: &[OsString]) -> Option<&[OsString]> {
    let (name, rest) = words.split_first()?;
    if Path::new(name).file_name().is_some_and(|name| name == "ka-run") {
        return Some(rest);
    }
    rest.split_first().filter(|(command, _)| *command == "run").map(|(_, rest)| rest)
}

fn ka_run(words: &[OsString]) -> Result<Exit, Error> {
    say::called("ka-run");
    let name = OsString::from("ka-run");
    let parsed = KaRun::try_parse_from([&name].into_iter().chain(words));
    let parsed = parsed.map_err(|error| usage::complaint(&error))?;
    run::run(parsed.args).map_err(Error::without_usage)
}

/// Ends the process when it writes to a pipe that nobody reads any more (`ka status | head`), as other programs do.
/// Rust ignores the signal, and the first line that cannot be written would be an error.
fn restore_sigpipe() {
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
