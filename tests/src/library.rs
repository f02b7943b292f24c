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

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

/// The release library, built once per test process. It is a copy outside the target directory: any user can read
/// it there, and no later build changes it while programs run.
///
/// Fails if the build fails, or leaves no library or more than one: then nobody knows which one was tested.
pub fn library() -> Result<&'static Path> {
    static LIBRARY: OnceLock<Result<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(build).as_deref().map_err(Clone::clone)
}

/// A copy of the debug build of the library, which has checks that panic. It is built with tables for unwinding, without
/// which no cancelled thread gets through: rustc 1.85 leaves them out of a debug build.
pub fn debug_library(scratch: &Scratch) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["rustc", "--lib", "--quiet", "--", "-C", "force-unwind-tables=yes"])
        .current_dir(workspace())
        .output()?;
    if !built.status.success() {
        return Err(format!("cargo rustc: {}", String::from_utf8_lossy(&built.stderr)).into());
    }
    let copy = scratch.join(NAME);
    fs::copy(target_dir().join("debug").join(NAME), &copy)?;
    Ok(copy)
}

fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build =
        Command::new(cargo).args(["build", "--release", "--quiet"]).current_dir(workspace()).output()?;
    if !build.status.success() {
        return Err(
            format!("cargo build --release failed:\n{}", String::from_utf8_lossy(&build.stderr)).into()
        );
    }
    let found = built()?;
    let [library] = &found[..] else {
        return Err(format!(
            "need exactly one {NAME} in {}, found {found:?}; remove what is stale",
            target_dir().display()
        )
        .into());
    };
    let copy = run_directory().join(NAME);
    fs::copy(library, &copy)?;
    Ok(copy)
}

/// `target/release` and, where a target is configured, `target/TRIPLE/release`.
fn built() -> Result<Vec<PathBuf>> {
    let mut directories = vec![target_dir()];
    for entry in fs::read_dir(target_dir())? {
        directories.push(entry?.path());
    }
    Ok(directories
        .into_iter()
        .map(|directory| directory.join("release").join(NAME))
        .filter(|path| path.is_file())
        .collect())
}
