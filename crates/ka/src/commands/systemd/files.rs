//! The files for a unit: their text, writing them, and taking exactly them away.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::preload::shown;

/// The name of our drop-in. It comes last in the order of names, since it takes over what others preload.
pub const DROPIN: &str = "zz-kashim.conf";

/// What all of our files begin with: only such a file is replaced, or removed.
const MARK: &str = "# Written by ka systemd";

/// A drop-in.
#[derive(Debug)]
pub struct File {
    /// Where it belongs.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Where the drop-in for a unit belongs.
pub fn dropin(root: &Path, unit: &str) -> PathBuf {
    root.join(format!("etc/systemd/system/{unit}.d")).join(DROPIN)
}

/// The first line.
pub fn heading(unit: &str) -> String {
    format!("{MARK}; `ka systemd --remove {unit}` takes it away.\n")
}

/// A value as a word, between quotes, for systemd: nothing in it is expanded.
pub fn quoted(text: &str) -> String {
    with_specifiers(&text.replace('%', "%%"))
}

/// The same, but that its specifiers (`%n`) are.
pub fn with_specifiers(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

impl File {
    /// Writes it, in place of one of ours.
    pub fn write(&self, root: &Path) -> Result<(), Error> {
        let name = shown(&self.path);
        if fs::symlink_metadata(&self.path).is_ok() && !is_ours(&self.path) {
            return Err(Error::new(format!("{name}: is there, and not written by ka: move it away")));
        }
        check_way(&self.path, root)?;
        let directory = self.path.parent().unwrap_or(root);
        let written = make_directory(directory).and_then(|()| put(&self.path, self.text.as_bytes()));
        written.map_err(|error| Error::new(format!("{name}: cannot be written: {error}")))
    }
}

/// Everybody may read what is in the directories of systemd, whatever the mask of who writes it.
fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|directory| !directory.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Whole or not at all: systemd may read it at any time.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension(format!("new{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.set_permissions(Permissions::from_mode(0o644))
    });
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// An error if the way to a file leads out of the root. On the system itself its own links count, but for one in the
/// place of the directory of drop-ins.
fn check_way(path: &Path, root: &Path) -> Result<(), Error> {
    let own = root == Path::new("/");
    let between = path.ancestors().skip(1).take_while(|directory| *directory != root);
    for directory in between.filter(|directory| !own || directory.extension().is_some_and(|e| e == "d")) {
        match fs::symlink_metadata(directory) {
            Ok(found) if !found.is_dir() => {
                let (name, directory) = (shown(path), shown(directory));
                return Err(Error::new(format!("{name}: {directory} is no directory, or a link to one")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    is_file && fs::read(path).is_ok_and(|text| text.starts_with(MARK.as_bytes()))
}

/// Whether there is a file to be removed; an error if it is not ours, or not below the root.
fn is_removable(path: &Path, root: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(Error::new(format!("{}: {error}", shown(path)))),
    }
    check_way(path, root)?;
    if is_ours(path) {
        return Ok(true);
    }
    Err(Error::new(format!("{}: not written by ka, so it stays", shown(path))))
}

/// Those of the files that are there; an error if one is not ours, or not below the root.
pub fn removable(paths: Vec<PathBuf>, root: &Path) -> Result<Vec<PathBuf>, Error> {
    let there = |path: PathBuf| is_removable(&path, root).map(|is| is.then_some(path)).transpose();
    paths.into_iter().filter_map(there).collect()
}

/// Removes a file of ours, and the directory of drop-ins if nothing else is in it.
pub fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path)
        .map_err(|error| Error::new(format!("{}: cannot be removed: {error}", shown(path))))?;
    if let Some(directory) = path.parent().filter(|directory| directory.extension().is_some_and(|e| e == "d"))
    {
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}
