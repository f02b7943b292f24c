//! The companion program `ka`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::installed::built_tree;
use crate::trials::run_directory;
use crate::{Program, Result, cargo};

/// `ka` as it is installed, static and optimized, as a copy that any user can run.
pub fn ka() -> Result<&'static Path> {
    static KA: OnceLock<Result<PathBuf>> = OnceLock::new();
    KA.get_or_init(|| copy(&built_tree()?.join("bin/ka"), run_directory().join("ka")))
        .as_deref()
        .map_err(Clone::clone)
}

/// `ka` as `cargo build` makes it, for debugging and dynamically linked, so that a library can be preloaded into it.
pub fn dynamic_ka() -> Result<&'static Path> {
    static KA: OnceLock<Result<PathBuf>> = OnceLock::new();
    KA.get_or_init(build).as_deref().map_err(Clone::clone)
}

fn build() -> Result<PathBuf> {
    let built = cargo("build", &["--package", "kashim-ka"])?;
    copy(&built.join("debug/ka"), run_directory().join("dynamic/ka"))
}

fn copy(from: &Path, copy: PathBuf) -> Result<PathBuf> {
    // In a process of its own: nobody may execute a file that some process has open for writing, and a program that
    // another test is just starting may inherit a descriptor of ours.
    Program::new("install").arg("-D").arg(from).arg(&copy).succeed()?;
    Ok(copy)
}
