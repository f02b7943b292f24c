//! The files for a unit: their text, writing them, and taking exactly them away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::preload::shown;

/// The name of our drop-in. What comes later in the order of names wins over it.
pub const DROPIN: &str = "50-kashim.conf";

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
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '%' => out.push_str("%%"),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

impl File {
    /// Writes it, in place of one of ours.
    pub fn write(&self) -> Result<(), Error> {
        let name = shown(&self.path);
        self.refuse_others()?;
        let failed = |error: io::Error| Error::new(format!("{name}: cannot be written: {error}"));
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        // Whole or not at all: systemd may read it at any time.
        let new = self.path.with_extension("kashim-new");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new);
        let written = written.and_then(|mut file| file.write_all(self.text.as_bytes()));
        written.and_then(|()| fs::rename(&new, &self.path)).map_err(|error| {
            let _ = fs::remove_file(&new);
            failed(error)
        })
    }

    /// An error if there is a file that is not ours.
    pub fn refuse_others(&self) -> Result<(), Error> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) if !is_ours(&self.path) => Err(Error::new(format!(
                "{}: is there, and not written by ka: move it away",
                shown(&self.path)
            ))),
            _ => Ok(()),
        }
    }
}

fn is_ours(path: &Path) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    is_file && fs::read(path).is_ok_and(|text| text.starts_with(MARK.as_bytes()))
}

/// Removes a file, if it is ours, and the directory of drop-ins if nothing else is in it. Whether it was there.
pub fn remove(path: &Path) -> Result<bool, Error> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(false);
    }
    if !is_ours(path) {
        return Err(Error::new(format!("{}: not written by ka, so it stays", shown(path))));
    }
    fs::remove_file(path)
        .map_err(|error| Error::new(format!("{}: cannot be removed: {error}", shown(path))))?;
    if let Some(directory) = path.parent().filter(|directory| directory.extension().is_some_and(|e| e == "d"))
    {
        let _ = fs::remove_dir(directory);
    }
    Ok(true)
}
