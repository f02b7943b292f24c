//! The tests' own end of a connection.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;

use crate::{PATIENCE, Result, until};

/// A port of 127.0.0.1 on which nothing listens, for a server that cannot choose one itself. Never the same twice.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().expect("nobody panics with this lock");
    let given = given.get_or_insert_default();
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
}

/// A listening socket in the test itself: the test is the server, so it decides how long a connection stays open.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on an ephemeral port of 127.0.0.1.
    pub fn bind() -> Result<Self> {
        Self::bind_to(Ipv4Addr::LOCALHOST)
    }

    /// Listens on an ephemeral port of an address.
    pub fn bind_to(address: Ipv4Addr) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().map_or(0, |address| address.port())
    }

    /// `ADDRESS:PORT`.
    pub fn address(&self) -> String {
        self.0.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    /// `http://ADDRESS:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    /// The next connection. Reads from it and writes to it give up after [`PATIENCE`].
    pub fn accept(&self) -> Result<TcpStream> {
        until("a connection", || match self.0.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        })
    }
}

/// Reads one line, without its end.
pub fn read_line(stream: &mut impl Read) -> Result<String> {
    Ok(read_up_to(stream, b"\n")?.trim_end().to_owned())
}

/// Reads the head of an HTTP request or answer. A body, if any, is not read.
pub fn read_request(stream: &mut impl Read) -> Result<String> {
    read_up_to(stream, b"\r\n\r\n")
}

fn read_up_to(stream: &mut impl Read, end: &[u8]) -> Result<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
