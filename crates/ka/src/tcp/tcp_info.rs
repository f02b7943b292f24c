//! What the kernel tells about a connection (TCP_INFO).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Some of `struct tcp_info` in the kernel's include/uapi/linux/tcp.h.
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// Probes that were sent and not answered.
    pub unanswered: u8,
    /// How long ago something that counts was received.
    pub heard: Duration,
    /// The round-trip time.
    pub round_trip: Duration,
    /// Segments sent and received, since Linux 4.2; before, always the same.
    pub segments: (u32, u32),
}

/// Longer than the structure is today; an older kernel fills in what it knows.
type Buffer = [u8; 512];

impl TcpInfo {
    /// Asks the kernel.
    pub fn read(socket: BorrowedFd) -> io::Result<Self> {
        let mut buffer: Buffer = [0; 512];
        let mut length = size_of::<Buffer>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into the buffer, which has as many.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(Self::parse(&buffer)) }
    }

    fn parse(buffer: &Buffer) -> Self {
        let number = |at: usize| {
            buffer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        Self {
            unanswered: buffer[3],                                // tcpi_probes
            heard: Duration::from_millis(number(56).into()),      // tcpi_last_ack_recv
            round_trip: Duration::from_micros(number(68).into()), // tcpi_rtt
            segments: (number(136), number(140)),                 // tcpi_segs_out, tcpi_segs_in
        }
    }
}
