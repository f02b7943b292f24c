//! Real servers, each on an ephemeral port of 127.0.0.1 or of another place, with all its files in a scratch directory.
//!
//! A server that is slow to install has a `shared` one, not preloaded, that all tests of a binary use; it ends with
//! the run. As root, a server that refuses to run as root gets the user that its package made for it.

mod git;
mod mariadb;
mod nginx;
mod postgres;
mod redis;
mod rsync;
mod ssh;

pub use git::{Git, GitTransport, git_head};
pub use mariadb::{MariaDb, MariaDbData};
pub use nginx::Nginx;
pub use postgres::{Postgres, PostgresData};
pub use redis::Redis;
pub use rsync::Rsync;
pub use ssh::Ssh;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::{Result, Scratch, until};

/// A place at which a server's hook script stops until the test lets it go on.
#[derive(Debug)]
pub struct Gate(Scratch);

impl Gate {
    /// A closed one.
    pub fn new() -> Result<Self> {
        let directory = Scratch::new()?;
        // The script may run as another user.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
        Ok(Self(directory))
    }

    /// Shell commands that wait at the gate.
    pub fn script(&self) -> String {
        format!(
            "cd '{}' || exit 1\n: > reached\nwhile ! [ -e open ]; do sleep 0.02; done\ncd \"$OLDPWD\" || exit 1\n",
            self.0.path().display()
        )
    }

    /// Waits until somebody stands at the gate.
    pub fn wait(&self) -> Result {
        until("somebody at the gate", || Ok(self.0.join("reached").exists().then_some(())))
    }

    /// Opens it for good.
    pub fn open(&self) -> Result {
        self.0.write("open", "")?;
        Ok(())
    }
}
