//! OpenSSH.

use std::fs;

use crate::lab::Place;
use crate::{Preload, Program, Result, Running, Scratch, free_port, is_root};

/// An sshd that lets the user of the tests in with a key of its own.
#[derive(Debug)]
pub struct Ssh {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    place: Place,
    files: Scratch,
}

impl Ssh {
    /// Makes keys and starts a server.
    pub fn start(preload: Preload) -> Result<Self> {
        Self::start_at(&Place::local(), preload)
    }

    /// Makes keys and starts a server somewhere else.
    pub fn start_at(place: &Place, preload: Preload) -> Result<Self> {
        if is_root() {
            // Where sshd locks its unprivileged child in; the package's service file makes it.
            fs::create_dir_all("/run/sshd")?;
        }
        let files = Scratch::new()?;
        for key in ["host", "user"] {
            Program::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(files.join(key))
                .succeed()?;
        }
        let port = free_port()?;
        let (address, directory) = (place.address, files.path().display());
        let config = files.write(
            "sshd_config",
            format!(
                "ListenAddress {address}:{port}\nHostKey {directory}/host\nPidFile none\n\
                 AuthorizedKeysFile {directory}/user.pub\nStrictModes no\nUsePAM no\n\
                 PermitRootLogin yes\nPasswordAuthentication no\n"
            ),
        )?;
        let mut server =
            Program::new("sshd").args(["-D", "-e", "-f"]).arg(config).at(place).preload(preload).start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, place: place.clone(), files })
    }

    /// `ssh` that is to run a command over there.
    pub fn client(&self, command: &str) -> Program {
        Program::new("ssh")
            .args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-i"])
            .arg(self.files.join("user"))
            .args(["-p", &self.port.to_string(), &self.place.address.to_string(), command])
    }
}
