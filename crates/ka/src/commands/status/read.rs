//! Second: what each socket is set to, asked through a copy of the descriptor.

use std::collections::HashMap;

use rustix::io::Errno;

use super::collect::{Collection, Found};
use crate::parallel::in_parts;
use crate::process::denial::{Access, Denial};
use crate::process::pidfd::Processes;
use crate::tcp::options::Options;

/// What a socket said about its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsRead {
    /// This.
    Known(Options),
    /// Nothing, for this reason.
    Missing(Missing),
    /// It was closed before we could ask.
    Closed,
}

/// Why a socket's options are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nobody asked.
    NotAsked,
    /// We may not ask.
    Refused(Denial),
    /// No process that we may look into holds it.
    Hidden,
    /// No process holds it.
    Unowned,
}

impl Missing {
    /// One word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::Refused(denial) => denial.name(),
            Self::Hidden => "hidden",
            Self::Unowned => "no-process",
        }
    }

    /// A sentence.
    pub fn text(self) -> String {
        match self {
            Self::NotAsked => "not asked for (--no-values)".to_owned(),
            Self::Refused(denial) => denial.to_string(),
            Self::Hidden => {
                "no process that you may look into has it; run ka as the user that it belongs to, or as root"
                    .to_owned()
            }
            Self::Unowned => "no process here has it (any more, or not yet)".to_owned(),
        }
    }
}

/// How many sockets are asked by one thread in a row. They stand in the order of their processes, and threads that ask
/// the same process wait for each other.
const PART: usize = 2048;

/// Asks each socket, in the order in which they were found.
pub fn read(all: &Collection, ask: bool) -> Vec<OptionsRead> {
    if !ask {
        return vec![OptionsRead::Missing(Missing::NotAsked); all.found.len()];
    }
    let mut parts: Vec<&[Found]> = all.found.chunks(PART).collect();
    let read = in_parts(&mut parts, 1, |parts| {
        let mut asking = Asking { all, processes: Processes::default(), denials: HashMap::new() };
        parts.iter().copied().flatten().map(|found| asking.ask(found)).collect::<Vec<_>>()
    });
    read.concat()
}

struct Asking<'a> {
    all: &'a Collection,
    processes: Processes,
    /// Which rule forbids it, for each process that refused.
    denials: HashMap<i32, Option<Denial>>,
}

impl Asking<'_> {
    fn ask(&mut self, found: &Found) -> OptionsRead {
        let holders = self.all.holders(&found.holders);
        if holders.is_empty() {
            let hidden = found.sock.inode != 0;
            return OptionsRead::Missing(if hidden { Missing::Hidden } else { Missing::Unowned });
        }
        let mut refused = None;
        for holder in holders {
            let Some(process) = self.all.process(holder) else { continue };
            match self.processes.socket(process.pid, holder.descriptor) {
                Ok(socket) => {
                    if let Ok(options) = Options::of(&socket) {
                        return OptionsRead::Known(options);
                    }
                }
                Err(Errno::BADF | Errno::SRCH) => {}
                Err(error) => {
                    let denial = self.denials.entry(process.pid);
                    let denial =
                        denial.or_insert_with(|| Denial::diagnose(error, process.pid, Access::Attach));
                    refused = denial.or(refused);
                }
            }
        }
        refused.map_or(OptionsRead::Closed, |denial| OptionsRead::Missing(Missing::Refused(denial)))
    }
}
