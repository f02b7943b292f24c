//! The library under test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::trials::run_directory;
use crate::{Result, Scratch};

const NAME: &str = "libkashim.so";

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside the workspace")
}

/// Where the tests build, and keep what they have made.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

/// The release library, built once per test process. It is a copy outside the target directory: any user can read
/// it there, and no later build changes it while programs run.
pub fn library() -> Result<&'static Path> {
    static LIBRARY: OnceLock<Result<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(build).as_deref().map_err(Clone::clone)
}

/// A copy of the debug build of the library, which has checks that panic. It is built with tables for unwinding, without
/// which no cancelled thread gets through: rustc 1.85 leaves them out of a debug build.
pub fn debug_library(scratch: &Scratch) -> Result<PathBuf> {
    let built = cargo("rustc", &["--lib", "--", "-C", "force-unwind-tables=yes"])?;
    let copy = scratch.join(NAME);
    fs::copy(built.join("debug").join(NAME), &copy)?;
    Ok(copy)
}

fn build() -> Result<PathBuf> {
    let built = cargo("build", &["--release"])?;
    let copy = run_directory().join(NAME);
    fs::copy(built.join("release").join(NAME), &copy)?;
    Ok(copy)
}

/// Builds something, and returns where: in the directory returned, each profile has one of its own. Target and directory
/// are named, since a configuration may name others, and then an old file would be tested.
pub fn cargo(subcommand: &str, arguments: &[&str]) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new(&cargo).arg("-vV").output()?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("cargo -vV: no host")?;
    let build = Command::new(&cargo)
        .args([subcommand, "--quiet", "--target", host, "--target-dir"])
        .arg(target_dir())
        .args(arguments)
        .current_dir(workspace())
        .output()?;
    if build.status.success() {
        return Ok(target_dir().join(host));
    }
    Err(format!("cargo {subcommand} {arguments:?}: {}", String::from_utf8_lossy(&build.stderr)).into())
}
