//! A cgroup of this process's own, with the program attached, for the command that it becomes.
//!
//! It is made below the cgroup that we are in, so that all limits still hold. Where systemd runs, it owns the tree, and
//! makes a scope for us: then only the program is attached here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kashim_policy::settings::Settings;
use rustix::process::getpid;

use super::attachment::Loaded;
use super::tree::Tree;
use super::watcher;
use crate::cli::error::Error;

/// The program, ready to be attached: everything that needs a right has been done but that.
pub struct Prepared {
    loaded: Loaded,
    tree: Tree,
    /// What the kernel may lack.
    pub warning: Option<String>,
}

/// Finds out whether it can be done at all.
pub fn prepare(settings: &Settings) -> Result<Prepared, Error> {
    if getpid().is_init() {
        return Err(Error::new(
            "this is the first process of a container: when it ends, nobody is left to take the cgroup away; run ka attach \
             on the host",
        ));
    }
    let tree = Tree::find()?;
    let (loaded, warning) = Loaded::new(settings)?;
    Ok(Prepared { loaded, tree, warning })
}

impl Prepared {
    /// Attaches it to the scope that systemd has put us into. Its name.
    pub fn attach_here(&self) -> Result<String, Error> {
        let cgroup = self.tree.of_process(getpid().as_raw_nonzero().get())?;
        if cgroup.path.extension().is_none_or(|extension| extension != "scope") {
            return Err(Error::new(format!(
                "{} is no scope that is ours alone; use --mode cgroup",
                cgroup.shown()
            )));
        }
        self.loaded.attach(&cgroup)?;
        Ok(cgroup.shown())
    }

    /// Makes a cgroup, attaches it there, and moves us into it. It goes when the last process in it has gone. Its name.
    pub fn enter(&self) -> Result<String, Error> {
        let outer = self.tree.of_process(getpid().as_raw_nonzero().get())?;
        let watched = watcher::make(&outer.path, &self.tree.top)
            .map_err(|error| Error::new(format!("cannot make a cgroup below {}: {error}", outer.shown())))?;
        let cgroup = self.tree.open(&watched.path)?;
        self.loaded.attach(&cgroup)?;
        watcher::move_to(&watched.path)
            .map_err(|error| Error::new(format!("cannot enter {}: {error}", cgroup.shown())))?;
        // It is closed by execve, and if that fails by our end.
        std::mem::forget(watched);
        Ok(cgroup.shown())
    }
}

/// The command that has systemd run this one in a scope; `None` where systemd does not run (sd_booted(3)), or root cannot
/// talk to it.
pub fn in_scope(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    if !Path::new("/run/systemd/system").is_dir() || !Path::new("/run/systemd/private").exists() {
        return None;
    }
    let this: PathBuf = std::env::current_exe().ok()?;
    let systemd_run = ["systemd-run", "--scope", "--quiet", "--collect", "--"].map(OsString::from);
    Some(systemd_run.into_iter().chain([this.into(), "run".into()]).chain(words).collect())
}
