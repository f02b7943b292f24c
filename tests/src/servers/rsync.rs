//! The rsync daemon.

use std::fs;
use std::path::{Path, PathBuf};

use super::Gate;
use crate::lab::Place;
use crate::{Preload, Program, Result, Running, Scratch, free_port};

/// An rsync daemon with one module that holds a few files. A client gets nothing until the gate is open.
#[derive(Debug)]
pub struct Rsync {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    /// Where clients wait.
    pub gate: Gate,
    place: Place,
    files: Scratch,
}

impl Rsync {
    /// Starts one.
    pub fn start(preload: Preload) -> Result<Self> {
        Self::start_at(&Place::local(), preload)
    }

    /// Starts one somewhere else.
    pub fn start_at(place: &Place, preload: Preload) -> Result<Self> {
        let files = Scratch::new()?;
        let gate = Gate::new()?;
        let port = free_port()?;
        fs::create_dir(files.join("data"))?;
        files.write("data/small", "a small file\n")?;
        files.write("data/large", vec![b'x'; 1 << 20])?;
        let hook = files.write_program("hook", &format!("#!/bin/sh\n{}", gate.script()))?;
        let config = files.write(
            "rsyncd.conf",
            format!(
                "use chroot = no\n[data]\npath = {}\npre-xfer exec = {}\n",
                files.join("data").display(),
                hook.display()
            ),
        )?;
        let mut server = Program::new("rsync")
            .args(["--daemon", "--no-detach", &format!("--port={port}")])
            .args([&format!("--address={}", place.address), "--config"])
            .arg(config)
            .at(place)
            .preload(preload)
            .start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, gate, place: place.clone(), files })
    }

    /// The directory that the module shows.
    pub fn data(&self) -> PathBuf {
        self.files.join("data")
    }

    /// `rsync` that is to copy the module to a directory.
    pub fn client(&self, to: &Path) -> Program {
        let from = format!("rsync://{}:{}/data/", self.place.address, self.port);
        Program::new("rsync").arg("-a").arg(from).arg(to)
    }
}
