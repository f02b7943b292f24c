//! What became of a socket.

use crate::keepalive::{Field, PerField};
use crate::socket::{Errno, Opt, Socket};

/// What was written to a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// SO_KEEPALIVE.
    pub keepalive: Option<bool>,
    /// The numbers.
    pub fields: PerField<Option<u32>>,
    /// What the system said to the first option that it refused.
    pub refused: Option<Errno>,
}

/// What became of a socket.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written to it.
    Written(Written),
    /// Nothing was.
    Skipped(SkipReason),
}

/// Why a socket was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// UDP, UNIX, RAW, SCTP and so on. SO_KEEPALIVE is accepted there without a word, and means nothing.
    NotTcp,
    /// With rules, a socket that is not connected yet.
    PeerUnknown,
    /// It shows what it should.
    AlreadySet,
    /// The program has set it.
    ProgramsOwn,
    /// A rule says `off`.
    Off,
    /// Everything is left to the kernel, or equal to its defaults: no socket can be told from one that we set up.
    NoMarker,
    /// The system refused the first option, with this errno.
    Refused(Errno),
}

impl SkipReason {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            SkipReason::NotTcp => "not TCP",
            SkipReason::PeerUnknown => "rules apply once the peer is known",
            SkipReason::AlreadySet => "already as wanted",
            SkipReason::ProgramsOwn => "the program's own settings",
            SkipReason::Off => "a rule says off",
            SkipReason::NoMarker => "no setting differs from the kernel's",
            SkipReason::Refused(_) => "refused by the system",
        }
    }
}

/// Writes to a socket and keeps account of it.
pub(crate) struct Write<'a, S> {
    socket: &'a mut S,
    written: Written,
    /// Whether there is anything in `written`.
    any: bool,
}

impl<'a, S: Socket> Write<'a, S> {
    pub(crate) fn new(socket: &'a mut S) -> Self {
        Write { socket, written: Written::default(), any: false }
    }

    /// The first option that is tried: if it is refused, the rest is not tried.
    pub(crate) fn keepalive(&mut self, on: bool) -> Result<(), Errno> {
        self.socket.set(Opt::KeepAlive, on.into())?;
        self.written.keepalive = Some(on);
        self.any = true;
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn field(&mut self, field: Field, value: u32) {
        match self.socket.set(Opt::Value(field), value) {
            Ok(()) => {
                self.written.fields.put(field, Some(value));
                self.any = true;
            }
            // MPTCP refuses the user timeout, which is nothing to tell.
            Err(_) if field == Field::UserTimeout => {}
            Err(errno) => _ = self.written.refused.get_or_insert(errno),
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self.written.refused {
            _ if self.any => Outcome::Written(self.written),
            Some(errno) => Outcome::Skipped(SkipReason::Refused(errno)),
            None => Outcome::Skipped(SkipReason::AlreadySet),
        }
    }
}
