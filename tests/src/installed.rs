//! What is installed, as `scripts/build` makes it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::trials::run_directory;
use crate::{Program, Result, Scratch, target_dir, workspace};

/// The library, a static `ka` and all that belongs to them, laid out as below a prefix: built once per test process, as
/// a copy that everybody may use.
pub fn built_tree() -> Result<&'static Path> {
    static TREE: OnceLock<Result<PathBuf>> = OnceLock::new();
    TREE.get_or_init(build).as_deref().map_err(Clone::clone)
}

fn build() -> Result<PathBuf> {
    // Cargo, wherever the tests have it from.
    let mut path = env::var_os("PATH").unwrap_or_default();
    if let Some(cargo) = env::var_os("CARGO") {
        path = env::join_paths(
            Path::new(&cargo).parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path)),
        )?;
    }
    let script = workspace().join("scripts/build");
    let build = Command::new(&script).env("PATH", path).output()?;
    if !build.status.success() {
        return Err(
            format!("{} failed:\n{}", script.display(), String::from_utf8_lossy(&build.stderr)).into()
        );
    }
    let copy = run_directory().join("kashim");
    // In a process of its own: see `ka`.
    Program::new("cp").arg("-a").arg(target_dir().join("kashim")).arg(&copy).succeed()?;
    Ok(copy)
}

/// A checkout in which all was built, and nothing has changed since.
pub fn checkout() -> Result<&'static Path> {
    static CHECKOUT: OnceLock<Result<Scratch>> = OnceLock::new();
    let checkout = CHECKOUT.get_or_init(|| {
        let root = Scratch::new()?;
        for directory in ["scripts", "target"] {
            fs::create_dir_all(root.join(directory))?;
        }
        for file in ["scripts/install", "scripts/build"] {
            fs::copy(workspace().join(file), root.join(file))?;
        }
        Program::new("cp").arg("-a").arg(built_tree()?).arg(root.join("target/kashim")).succeed()?;
        Ok(root)
    });
    checkout.as_ref().map(Scratch::path).map_err(Clone::clone)
}
