//! The packets that a host sends and receives.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket};

use super::Namespace;
use crate::Result;

/// A TCP segment over IPv4.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When it passed.
    pub at: Instant,
    /// Its source.
    pub from: SocketAddrV4,
    /// Its destination.
    pub to: SocketAddrV4,
    /// Its sequence number.
    pub sequence: u32,
    /// How many bytes of data it carries.
    pub data: usize,
    /// Its flags: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK.
    pub flags: u8,
}

impl Packet {
    fn parse(at: Instant, bytes: &[u8]) -> Option<Self> {
        let word = |bytes: &[u8], i| Some(u16::from_be_bytes([*bytes.get(i)?, *bytes.get(i + 1)?]));
        let address = |i| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(i..i + 4)?).ok()?));
        if bytes.first()? >> 4 != 4 || *bytes.get(9)? != 6 {
            return None;
        }
        let header = usize::from(bytes[0] & 15) * 4;
        let tcp = bytes.get(header..)?;
        let tcp_header = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            at,
            from: SocketAddrV4::new(address(12)?, word(tcp, 0)?),
            to: SocketAddrV4::new(address(16)?, word(tcp, 2)?),
            sequence: u32::from(word(tcp, 4)?) << 16 | u32::from(word(tcp, 6)?),
            data: usize::from(word(bytes, 2)?).checked_sub(header + tcp_header)?,
            flags: *tcp.get(13)?,
        })
    }
}

/// Writes down all packets of all interfaces in a namespace.
#[derive(Debug)]
pub struct Sniffer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Packet>>>,
}

impl Sniffer {
    /// Starts.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        // A single protocol would show what is received, but not what is sent.
        let protocol = Some(eth::ALL);
        let socket = namespace.enter(|| Ok(socket(AddressFamily::PACKET, SocketType::DGRAM, protocol)?))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut packets = Vec::new();
            let mut buffer = [0; 128];
            while !stopped.load(Ordering::Relaxed) {
                match recv(&socket, &mut buffer, RecvFlags::empty()) {
                    Ok((length, _)) => packets.extend(Packet::parse(Instant::now(), &buffer[..length])),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => panic!("cannot read packets: {error}"),
                }
            }
            packets
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops, and returns what passed.
    pub fn stop(mut self) -> Result<Vec<Packet>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("stopped already")?;
        thread.join().map_err(|_| "the sniffer panicked".into())
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
