//! git, over its own protocol and over HTTP.

use std::path::Path;

use super::Gate;
use crate::{Preload, Program, Result, Running, Scratch, free_port, program_file};

/// How a repository is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitTransport {
    /// `git daemon`.
    Daemon,
    /// `git http-backend` behind a small HTTP server.
    Http,
}

/// A server of one repository. A client gets nothing until the gate is open.
#[derive(Debug)]
pub struct Git {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    /// Where clients wait for the packed objects.
    pub gate: Gate,
    files: Scratch,
    transport: GitTransport,
}

impl Git {
    /// Makes a repository and serves it.
    pub fn start(transport: GitTransport) -> Result<Self> {
        let files = Scratch::new()?;
        let gate = Gate::new()?;
        let repository = files.join("repository");
        git().args(["init", "-q", "-b", "main"]).arg(&repository).succeed()?;
        files.write("repository/file", vec![b'x'; 1 << 16])?;
        git().arg("-C").arg(&repository).args(["add", "."]).succeed()?;
        git().arg("-C").arg(&repository).args(["commit", "-q", "-m", "One file"]).succeed()?;

        let hook = files.write_program("hook", &format!("#!/bin/sh\n{}exec \"$@\"\n", gate.script()))?;
        let config =
            files.write("config", format!("[uploadpack]\npackObjectsHook = {}\n", hook.display()))?;
        let port = free_port()?;
        let server = match transport {
            GitTransport::Daemon => git()
                .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", files.path().display())),
            GitTransport::Http => Program::new("python3")
                .arg(program_file("git_http.py"))
                .arg(port.to_string())
                .arg(files.path()),
        };
        let mut server = server
            .env("GIT_CONFIG_GLOBAL", config)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .preload(Preload::No)
            .start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, gate, files, transport })
    }

    /// `git clone` of the repository.
    pub fn clone_to(&self, to: &Path) -> Program {
        let scheme = if self.transport == GitTransport::Daemon { "git" } else { "http" };
        git().args(["clone", "-q", &format!("{scheme}://127.0.0.1:{}/repository", self.port)]).arg(to)
    }

    /// The commit that a clone must have.
    pub fn head(&self) -> Result<Vec<u8>> {
        git_head(&self.files.join("repository"))
    }
}

/// The commit that is checked out in a repository, which must be sound.
pub fn git_head(repository: &Path) -> Result<Vec<u8>> {
    git().arg("-C").arg(repository).args(["fsck", "--strict"]).succeed()?;
    git().arg("-C").arg(repository).args(["rev-parse", "HEAD"]).succeed()
}

/// git without anybody's configuration.
fn git() -> Program {
    Program::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
}
