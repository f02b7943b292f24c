//! `ka` shows, changes and measures the TCP keepalives of running programs.

mod cgroup;
mod cli;
mod commands;
mod output;
mod parallel;
mod process;
mod tcp;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    restore_sigpipe();
    match commands::run(commands::Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Not `eprintln!`, which panics where nobody can read.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("ka: error: {error}\n").as_bytes());
            error.exit().into()
        }
    }
}

/// Ends the process when it writes to a pipe that nobody reads any more (`ka status | head`), as other programs do.
/// Rust ignores the signal, and the first line that cannot be written would be an error.
fn restore_sigpipe() {
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
