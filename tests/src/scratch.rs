//! Scratch directories, and the programs that the tests bring along.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::trials::{is_root, run_directory};
use crate::{Program, Result, target_dir};

/// A directory that is removed on drop. Everybody may enter it, because some servers insist on a user of their own.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty one.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let path = run_directory().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Writes an executable file and returns its path.
    pub fn write_program(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.write(name, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// Copies a program, in a process of its own, and returns the copy's path. (A descriptor of ours that is open for
    /// writing could be inherited by a program that another test is just starting, and as long as it is open nobody may
    /// execute the copy.)
    pub fn copy_program(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        Program::new("cp").arg(from).arg(&path).succeed()?;
        Ok(path)
    }

    /// One with a link to every program of the system but this one: for use as the whole path.
    pub fn programs_but(name: &str) -> Result<Self> {
        let scratch = Self::new()?;
        for directory in ["/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let link = scratch.join(entry.file_name());
                if entry.file_name() != name && !link.is_symlink() {
                    symlink(entry.path(), link)?;
                }
            }
        }
        Ok(scratch)
    }

    /// Makes the directory itself belong to the user, if we are root.
    pub fn give_to(&self, user: &str) -> Result {
        if is_root() {
            let (uid, gid) = ids_of(user)?;
            chown(&self.0, Some(uid), Some(gid))?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left (a server that still writes while it dies) goes with the directory of the whole run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The path of a program in `tests/fixtures/programs`: of a copy that everybody can read, wherever the checkout is.
pub fn program_file(name: &str) -> PathBuf {
    static COPIES: OnceLock<Result<PathBuf>> = OnceLock::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/programs");
    let copies = COPIES.get_or_init(|| {
        let copies = run_directory().join("programs");
        fs::create_dir(&copies)?;
        for entry in fs::read_dir(&fixtures)? {
            let entry = entry?;
            fs::copy(entry.path(), copies.join(entry.file_name()))?;
        }
        Ok(copies)
    });
    copies.as_ref().expect("the run's directory can be written to").join(name)
}

/// The user and group number of a user in /etc/passwd.
pub(crate) fn ids_of(user: &str) -> Result<(u32, u32)> {
    for line in fs::read_to_string("/etc/passwd")?.lines() {
        let mut fields = line.split(':');
        if fields.next() == Some(user) {
            let mut numbers = fields.skip(1).flat_map(str::parse);
            if let (Some(uid), Some(gid)) = (numbers.next(), numbers.next()) {
                return Ok((uid, gid));
            }
        }
    }
    Err(format!("no user {user}").into())
}

/// A log file that each test binary has for itself, and begins anew.
pub fn log_file() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let binary = env::current_exe().unwrap_or_default();
        let name = binary.file_name().unwrap_or_default().to_string_lossy();
        let path = target_dir().join(format!("{name}.log"));
        // Where it cannot be begun anew, it goes on.
        let _ = fs::write(&path, "");
        path.display().to_string()
    })
}
