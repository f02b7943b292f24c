//! The states of a TCP socket.

/// A TCP state (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u8);

impl State {
    /// A connection that carries data.
    pub const ESTABLISHED: Self = Self(1);
    /// Our SYN has no answer yet.
    pub const SYN_SENT: Self = Self(2);
    /// The peer has closed its side.
    pub const CLOSE_WAIT: Self = Self(8);
    /// We have closed our side, and the peer knows it.
    pub const FIN_WAIT_2: Self = Self(5);
    /// Waiting for connections.
    pub const LISTEN: Self = Self(10);
    const TIME_WAIT: Self = Self(6);
    const CLOSE: Self = Self(7);

    /// As RFC 9293 has it, in small letters.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 13] = [
            "unknown",
            "established",
            "syn-sent",
            "syn-received",
            "fin-wait-1",
            "fin-wait-2",
            "time-wait",
            "closed",
            "close-wait",
            "last-ack",
            "listen",
            "closing",
            "syn-received",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("unknown")
    }

    /// Whether it is a listener, or a connection that some program may still hold.
    pub fn is_shown(self) -> bool {
        self != Self::TIME_WAIT && self != Self::CLOSE
    }
}
