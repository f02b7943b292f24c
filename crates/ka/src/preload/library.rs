//! Where the library is.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::param::linux_execfn;

use super::elf::{self, Architecture};
use super::shown;
use crate::cli::error::Error;

/// Its name.
const NAME: &str = "libkashim.so";

/// The library that is preloaded.
#[derive(Debug)]
pub struct Library {
    /// Absolute, and without anything at which `LD_PRELOAD` is split.
    pub path: PathBuf,
    /// For which programs it is.
    pub architecture: Architecture,
}

/// Finds it: next to this program, in the library directories of the prefix that this program is installed in, where
/// cargo has built both, or where it was installed to. Never in the current directory.
pub fn find() -> Result<Library, Error> {
    let ours = this_program();
    let here = ours.parent().unwrap_or(Path::new("/"));
    let prefix = here.parent().unwrap_or(Path::new("/"));
    let Some(path) = places(here, prefix).find(|place| place.is_file()) else {
        return Err(Error::new(format!(
            "the library is missing: no {NAME} in {} or {}\ninstall kashim again, with scripts/install from its sources",
            shown(here),
            shown(prefix.join("lib"))
        )));
    };
    if path.as_os_str().as_bytes().iter().any(|b| matches!(b, b':' | b'$' | b' ' | b'\t' | b'\n')) {
        return Err(Error::new(format!(
            "the library's path holds a blank, a colon or a dollar sign: \"{}\"\nLD_PRELOAD cannot name such a file: \
             move kashim elsewhere, or install it with scripts/install --prefix DIR",
            shown(&path)
        )));
    }
    let file = File::open(&path)
        .map_err(|error| Error::new(format!("{}: the library cannot be read: {error}", shown(&path))))?;
    let Some(architecture) = elf::architecture(&file) else {
        return Err(Error::new(format!(
            "{}: not a library: it is no ELF file\ninstall kashim again, with scripts/install from its sources",
            shown(&path)
        )));
    };
    Ok(Library { path, architecture })
}

/// The file of this program, without symbolic links on the way; also where /proc is not mounted.
fn this_program() -> PathBuf {
    env::current_exe()
        .or_else(|_| fs::canonicalize(OsStr::from_bytes(linux_execfn().to_bytes())))
        .unwrap_or_default()
}

/// Looked at one by one, since nearly always the first or the second is it.
fn places(here: &Path, prefix: &Path) -> impl Iterator<Item = PathBuf> {
    let directories = [here.to_owned(), prefix.join("lib"), prefix.join("lib64")].into_iter();
    let lib = prefix.join("lib");
    let multiarch = std::iter::once_with(move || {
        let entries = fs::read_dir(&lib).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    });
    // A `ka` that was built for debugging takes the library beside it, or else the release's.
    let target = here.ancestors().find(|above| above.file_name().is_some_and(|name| name == "target"));
    let built = target.map(|target| target.join("release"));
    // Installed with a `--libdir` of another name.
    let manifest = prefix.join("share/kashim/manifest");
    let listed = std::iter::once_with(move || {
        let text = fs::read_to_string(manifest).unwrap_or_default();
        let files = text.lines().filter_map(|line| line.strip_prefix("f "));
        files.map(PathBuf::from).find(|file| file.file_name() == Some(OsStr::new(NAME)))
    });
    directories
        .chain(multiarch.flatten())
        .chain(built)
        .map(|directory| directory.join(NAME))
        .chain(listed.flatten())
}
