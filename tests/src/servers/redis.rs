//! Redis.

use crate::lab::Place;
use crate::{Preload, Program, Result, Running, Scratch, free_port};

/// A Redis server that keeps nothing.
#[derive(Debug)]
pub struct Redis {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    place: Place,
    _files: Scratch,
}

impl Redis {
    /// Starts one.
    pub fn start(preload: Preload) -> Result<Self> {
        Self::start_at(&Place::local(), preload)
    }

    /// Starts one somewhere else.
    pub fn start_at(place: &Place, preload: Preload) -> Result<Self> {
        let files = Scratch::new()?;
        let port = free_port()?;
        let mut server = Program::new("redis-server")
            .args(["--bind", &place.address.to_string(), "--port", &port.to_string()])
            // It keeps to the loopback interface unless there is a password.
            .args(["--protected-mode", "no", "--save", "", "--dir"])
            .arg(files.path())
            .at(place)
            .preload(preload)
            .start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, place: place.clone(), _files: files })
    }

    /// `redis-cli` that is to connect to it.
    pub fn client(&self) -> Program {
        Program::new("redis-cli").args(["-h", &self.place.address.to_string(), "-p", &self.port.to_string()])
    }
}
