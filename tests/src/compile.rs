//! Compiling small programs.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Program, Result, Scratch, target_dir};

/// Compiles one C file with `compiler` (`cc`, `musl-gcc`) and these flags, which come after the file so that `-l` works
/// among them, and returns the path of the result. The result is kept in the target directory until the file or the
/// flags change.
pub fn compile(compiler: &str, source: &Path, flags: &[&str]) -> Result<PathBuf> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut hasher = DefaultHasher::new();
    (fs::read(source)?, compiler, flags).hash(&mut hasher);
    let name = source.file_stem().unwrap_or(OsStr::new("program")).to_string_lossy();
    let directory = target_dir().join("test-programs");
    let path = directory.join(format!("{name}-{:016x}", hasher.finish()));
    if !path.exists() {
        fs::create_dir_all(&directory)?;
        // Another test may be compiling the same thing.
        let unfinished =
            path.with_extension(format!("{}.{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        Program::new(compiler)
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .arg(&unfinished)
            .arg(source)
            .args(flags)
            .succeed()?;
        fs::rename(&unfinished, &path)?;
    }
    Ok(path)
}

/// The directory with a Java program, compiled at the first use in this process. Needs javac.
pub fn java_classes(source: &Path) -> Result<PathBuf> {
    static COMPILED: Mutex<BTreeMap<PathBuf, Scratch>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(classes) = compiled.get(source) {
        return Ok(classes.path().to_owned());
    }
    let classes = Scratch::new()?;
    Program::new("javac").arg("-d").arg(classes.path()).arg(source).succeed()?;
    let path = classes.path().to_owned();
    compiled.insert(source.to_owned(), classes);
    Ok(path)
}
