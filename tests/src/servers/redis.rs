//! Redis.

use crate::{Preload, Program, Result, Running, Scratch, free_port};

/// A Redis server that keeps nothing.
#[derive(Debug)]
pub struct Redis {
    /// The server itself.
    pub server: Running,
    /// Its port.
    pub port: u16,
    _files: Scratch,
}

impl Redis {
    /// Starts one.
    pub fn start(preload: Preload) -> Result<Self> {
        let files = Scratch::new()?;
        let port = free_port()?;
        let mut server = Program::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
            .arg(files.path())
            .preload(preload)
            .start()?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, _files: files })
    }

    /// `redis-cli` that is to connect to it.
    pub fn client(&self) -> Program {
        Program::new("redis-cli").args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
    }
}
