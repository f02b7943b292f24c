//! `ka detach`: undoes `ka attach`.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};

use clap::Args;

use crate::cgroup::{attachment, tree};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::process::caller::ignore_sigpipe;

/// The command line of `ka detach`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Connections that were set keep their values. Programs of others that are attached to the same cgroup stay.

Exit status: 0, also if nothing was attached there; 2 for a bad command line; 125 if ka itself fails.")]
pub struct DetachArgs {
    /// As for ka attach
    #[arg(value_name = "TARGET")]
    target: OsString,
}

/// Detaches from the cgroup.
pub fn run(args: DetachArgs) -> Result<Exit, Error> {
    ignore_sigpipe();
    let cgroup = tree::resolve(&args.target)?;
    let name = cgroup.shown();
    if attachment::detach(&cgroup)? {
        let _ = writeln!(stdout(), "{name}: detached; connections that were set keep their values");
    } else {
        let _ = writeln!(stderr(), "ka: nothing of ka's is attached to {name}; ka attached shows what is");
    }
    Ok(Exit::Yes)
}
