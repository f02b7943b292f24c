//! What the kernel tells about a connection (TCP_INFO).

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::io::{Errno, Result};

use super::state::State;

/// Some of `struct tcp_info` in the kernel's include/uapi/linux/tcp.h. What an older kernel leaves out is zero.
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// The state.
    pub state: State,
    /// Probes that were sent and not answered (tcpi_probes).
    pub unanswered: u8,
    /// How long ago data was received (tcpi_last_data_recv).
    pub last_data: Duration,
    /// How long ago something was received that the kernel takes for a sign of life (tcpi_last_ack_recv).
    pub last_ack: Duration,
    /// Segments sent and received (tcpi_segs_out, tcpi_segs_in), since Linux 4.2; before, always the same.
    pub segments: (u32, u32),
}

impl TcpInfo {
    /// Asks the kernel.
    pub fn read(socket: impl AsFd) -> Result<Self> {
        // Longer than the structure is today.
        let mut buffer = [0u8; 512];
        let mut length = buffer.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into the buffer, which has as many.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(Self::parse(&buffer))
        } else {
            let error = std::io::Error::last_os_error();
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
    }

    /// From the structure as the kernel writes it.
    pub fn parse(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let four = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            four.map_or(0, u32::from_ne_bytes)
        };
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let milliseconds = |at: usize| Duration::from_millis(number(at).into());
        Self {
            state: State(byte(0)),
            unanswered: byte(3),
            last_data: milliseconds(52),
            last_ack: milliseconds(56),
            segments: (number(136), number(140)),
        }
    }

    /// How long ago anything came from the peer, in milliseconds.
    pub fn last_received(&self) -> u32 {
        u32::try_from(self.last_data.min(self.last_ack).as_millis()).unwrap_or(u32::MAX)
    }
}
