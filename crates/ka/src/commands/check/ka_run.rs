//! Asking `ka-run`, which knows how to find out what a preload reaches.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kashim_policy::environment::Variable;

use crate::cli::environment::text_of;
use crate::cli::error::Error;

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status, if it was not ended by a signal.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub said: String,
    /// The lines that it wrote to standard error, without its name before them.
    pub remarks: Vec<String>,
}

/// `ka-run`, which is next to this program, in the checkout that it was built in, or in the path. Never in the current
/// directory.
pub fn find() -> Result<PathBuf, Error> {
    let ours = env::current_exe().unwrap_or_default();
    let beside = ours.parent().map(|directory| directory.join("ka-run"));
    let checkout = ours
        .ancestors()
        .find(|above| above.join("Cargo.toml").is_file() && above.join("src/lib.rs").is_file());
    let checkout = checkout.map(|root| root.join("scripts/ka-run"));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path =
        env::split_paths(&path).filter(|directory| directory.is_absolute()).map(|d| d.join("ka-run"));
    beside.into_iter().chain(checkout).chain(in_path).find(|path| path.is_file()).ok_or_else(|| {
        Error::new(
            "there is no ka-run next to this program or in the PATH; install kashim with scripts/install",
        )
    })
}

/// Runs `ka-run --check COMMAND...` with the environment that is there, less these variables, and with other rules if
/// that is said.
pub fn check(
    ka_run: &Path,
    command: &[OsString],
    without: &[Variable],
    rules: Option<OsString>,
) -> Result<Answer, Error> {
    let mut run = Command::new(ka_run);
    run.arg("--check").arg("--").args(command).stdin(Stdio::null());
    for &variable in without {
        run.env_remove(text_of(variable));
    }
    if let Some(rules) = rules {
        run.env(text_of(Variable::Rules), rules);
    }
    let output =
        run.output().map_err(|error| Error::new(format!("cannot run {}: {error}", ka_run.display())))?;
    let remarks = String::from_utf8_lossy(&output.stderr);
    Ok(Answer {
        status: output.status.code(),
        said: String::from_utf8_lossy(&output.stdout).into_owned(),
        remarks: remarks
            .lines()
            .map(|line| line.strip_prefix("ka-run: ").unwrap_or(line).to_owned())
            .collect(),
    })
}
