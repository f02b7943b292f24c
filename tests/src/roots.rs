//! Root directories of other releases of Debian, and Debian's sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::{Program, Result, find_program, library, target_dir};

/// A release of Debian, in a root directory that is made at the first use and kept in the target directory.
///
/// The library is in it under the path that it has outside, so that a process's maps read alike.
#[derive(Debug)]
pub struct Release {
    suite: &'static str,
    packages: &'static str,
    root: OnceLock<Result<PathBuf>>,
}

/// Debian 11, glibc 2.31, with a C compiler and clients.
pub static DEBIAN_11: Release =
    Release::new("bullseye", "gcc,libc6-dev,curl,python3-minimal,mariadb-client-10.5");
/// Debian 12, glibc 2.36, with clients.
pub static DEBIAN_12: Release = Release::new("bookworm", "curl,python3-minimal,mariadb-client");

/// Debian 13, glibc 2.41, with an interpreter.
pub static DEBIAN_13: Release = Release::new("trixie", "python3-minimal");

impl Release {
    const fn new(suite: &'static str, packages: &'static str) -> Self {
        Self { suite, packages, root: OnceLock::new() }
    }

    /// Its name.
    pub fn suite(&self) -> &'static str {
        self.suite
    }

    /// Its root directory.
    pub fn root(&self) -> Result<&Path> {
        self.root.get_or_init(|| self.prepare()).as_deref().map_err(Clone::clone)
    }

    /// A program in it, by its path there. It is the same process: chroot becomes it.
    pub fn program(&self, path: impl AsRef<Path>) -> Result<Program> {
        Ok(Program::new("chroot").arg(self.root()?).arg(path.as_ref()))
    }

    /// Copies a file into this run's directory in it, where the library is; returns the path there.
    pub fn bring(&self, file: &Path) -> Result<PathBuf> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let path = library()?.with_file_name(file.file_name().ok_or("not a file")?);
        let outside = self.root()?.join(path.strip_prefix("/")?);
        // Another test may be reading one that it has brought.
        let new = outside.with_extension(format!("new.{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        fs::copy(file, &new)?;
        fs::rename(new, outside)?;
        Ok(path)
    }

    fn prepare(&self) -> Result<PathBuf> {
        let roots = target_dir().join("roots");
        fs::create_dir_all(&roots)?;
        let root = roots.join(self.suite);
        // Somebody else may be running the tests too.
        let lock = File::create(roots.join(format!("{}.lock", self.suite)))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let packages = roots.join(format!("{}.packages", self.suite));
        if fs::read_to_string(&packages).ok().as_deref() != Some(self.packages) && root.exists() {
            fs::remove_dir_all(&root)?;
        }
        if !root.exists() {
            self.bootstrap(&root)?;
            fs::write(packages, self.packages)?;
        }
        remove_leftovers(&root)?;
        let copy = root.join(library()?.strip_prefix("/")?);
        fs::create_dir_all(copy.parent().ok_or("the library is in no directory")?)?;
        fs::copy(library()?, &copy)?;
        Ok(root)
    }

    fn bootstrap(&self, root: &Path) -> Result {
        let unfinished = root.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        // What debootstrap mounts goes away with the namespace, also if it is killed. With our own environment: the way
        // to the mirror may be in it.
        let made = Command::new("unshare")
            .args(["--mount", "timeout", "600"])
            .arg(find_program("debootstrap").ok_or("no debootstrap")?)
            .args(["--variant=minbase", &format!("--include={}", self.packages), self.suite])
            .arg(&unfinished)
            .arg(mirror()?)
            .stdin(Stdio::null())
            .output()?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stdout);
            return Err(format!("debootstrap {}: {said}", self.suite).into());
        }
        // The packages as they came.
        fs::remove_dir_all(unfinished.join("var/cache/apt/archives"))?;
        Ok(fs::rename(unfinished, root)?)
    }
}

/// The Debian archive that this machine has its own packages from.
fn mirror() -> Result<String> {
    let sources = Command::new("apt-get")
        .args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"])
        .output()?;
    let sources = String::from_utf8(sources.stdout)?;
    let archive = sources.lines().find_map(|line| line.strip_prefix("Debian "));
    archive.map(str::to_owned).ok_or_else(|| "apt knows no Debian archive (apt-get update?)".into())
}

/// Removes what runs that are over have left.
fn remove_leftovers(root: &Path) -> Result {
    let directory = library()?.parent().ok_or("the library is in no directory")?;
    let runs = directory.parent().ok_or("the run is in no directory")?;
    for entry in fs::read_dir(root.join(runs.strip_prefix("/")?)).into_iter().flatten() {
        let entry = entry?;
        if !runs.join(entry.file_name()).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The original source of a package of Debian 12, unpacked by its maker: the path of the archive, which is kept in the
/// target directory.
pub fn source(package: &str) -> Result<PathBuf> {
    let sources = target_dir().join("sources");
    fs::create_dir_all(&sources)?;
    let lock = File::create(sources.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let find = || {
        fs::read_dir(&sources).into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{package}_")) && name.contains(".orig.tar.") && !name.ends_with(".asc")
        })
    };
    if let Some(archive) = find() {
        return Ok(archive);
    }
    // An apt of its own, since the machine's knows no sources as a rule. What it checks is what the machine's checks.
    let apt = sources.join("apt");
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(apt.join("sources.list"), format!("deb-src [signed-by={keys}] {} bookworm main\n", mirror()?))?;
    for words in [&["update"][..], &["source", "--download-only", package]] {
        let done = Command::new("apt-get")
            .args(["-q", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=root"])
            .args(["-o", &format!("Dir::Etc::sourcelist={}", apt.join("sources.list").display())])
            .args(["-o", &format!("Dir::State::lists={}", apt.join("lists").display())])
            .args(["-o", &format!("Dir::Cache={}", apt.join("cache").display())])
            // Or it wants the source of the version that is installed.
            .args(["-o", "Dir::State::status=/dev/null"])
            .args(words)
            .current_dir(&sources)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(format!("apt-get {}: {said}", words.join(" ")).into());
        }
    }
    find().ok_or_else(|| format!("apt brought no source of {package}").into())
}
