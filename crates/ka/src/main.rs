//! `ka` shows, changes and measures the TCP keepalives of running programs.

mod cells;
mod check;
mod cli;
mod environment;
mod error;
mod escape;
mod exit;
mod explain;
mod generate;
mod middlebox;
mod namespaces;
mod parallel;
mod permission;
mod probe;
mod processes;
mod remote;
mod selection;
mod set;
mod sock_diag;
mod status;
mod target;
mod terminal;
mod values;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use error::Error;
use exit::Exit;

fn main() -> ExitCode {
    die_with_the_reader();
    match run(Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Not `eprintln!`, which panics where nobody can read.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("ka: error: {error}\n").as_bytes());
            error.exit().into()
        }
    }
}

/// Each subcommand has a module, with its arguments in `args`.
fn run(command: Command) -> Result<Exit, Error> {
    match command {
        Command::Status(args) => status::run(args),
        Command::Set(args) => set::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Generate(args) => generate::run(args),
    }
}

/// Ends the process when it writes to a pipe that nobody reads any more (`ka status | head`), as other programs do.
/// Rust ignores the signal, and the first line that cannot be written would be an error.
fn die_with_the_reader() {
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
