//! The files for a unit: their text, writing them, and taking exactly them away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::preload::shown;

/// The name of our drop-in. It comes last in the order of names, since it takes over what others preload.
pub const DROPIN: &str = "zz-kashim.conf";

/// What all of our files begin with: only such a file is replaced, or removed.
const MARK: &str = "# Written by ka systemd";

/// A file.
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

/// The name of the unit that pins the program for a unit.
pub fn pinning_unit(unit: &str) -> String {
    format!("kashim-for-{unit}")
}

/// Where that unit belongs.
pub fn pinning_path(root: &Path, unit: &str) -> PathBuf {
    root.join("etc/systemd/system").join(pinning_unit(unit))
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
    pub fn write(&self) -> Result<(), Error> {
        let name = shown(&self.path);
        let failed = |error: io::Error| Error::new(format!("{name}: cannot be written: {error}"));
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        // Whole or not at all: systemd may read it at any time.
        let new = self.path.with_extension(format!("new{}", std::process::id()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new);
        let written = written.and_then(|mut file| file.write_all(self.text.as_bytes()));
        written.and_then(|()| fs::rename(&new, &self.path)).map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(error)
        })
    }

    /// An error if it cannot be written: there is a file that is not ours, or the way to it leads out of the root.
    pub fn check(&self, root: &Path) -> Result<(), Error> {
        let name = shown(&self.path);
        if fs::symlink_metadata(&self.path).is_ok() && !is_ours(&self.path) {
            return Err(Error::new(format!("{name}: is there, and not written by ka: move it away")));
        }
        // On the system itself its own links count, but for one in the place of the directory of drop-ins.
        let own = root == Path::new("/");
        let between = self.path.ancestors().skip(1).take_while(|directory| *directory != root);
        let between = between.filter(|directory| !own || directory.extension().is_some_and(|e| e == "d"));
        for directory in between {
            match fs::symlink_metadata(directory) {
                Ok(found) if !found.is_dir() => {
                    return Err(Error::new(format!(
                        "{name}: {} is no directory, or a link to one",
                        shown(directory)
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_ours(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    is_file && fs::read(path).is_ok_and(|text| text.starts_with(MARK.as_bytes()))
}

/// Whether there is a file to be removed; an error if it is not ours.
pub fn check_removal(path: &Path) -> Result<bool, Error> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(false);
    }
    if is_ours(path) {
        return Ok(true);
    }
    Err(Error::new(format!("{}: not written by ka, so it stays", shown(path))))
}

/// Removes a file, if it is ours, and the directory of drop-ins if nothing else is in it. Whether it was there.
pub fn remove(path: &Path) -> Result<bool, Error> {
    if !check_removal(path)? {
        return Ok(false);
    }
    fs::remove_file(path)
        .map_err(|error| Error::new(format!("{}: cannot be removed: {error}", shown(path))))?;
    if let Some(directory) = path.parent().filter(|directory| directory.extension().is_some_and(|e| e == "d"))
    {
        let _ = fs::remove_dir(directory);
    }
    Ok(true)
}
