//! Asking each socket for its values, through a copy of the descriptor.

use std::collections::HashMap;

use rustix::io::Errno;

use super::rows::{ProcessSockets, Report, Row, may_be_hidden};
use crate::parallel::in_parts;
use crate::process::denial::{Access, Denial};
use crate::process::pidfd::{Options, Processes};

/// What a socket is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nobody asked.
    NotAsked,
    /// This.
    Known(Options),
    /// We may not ask.
    Refused(Denial),
    /// No process that we can see holds it.
    Hidden,
    /// No process holds it.
    Nobodys,
    /// It was closed before we could ask.
    Closed,
}

impl Values {
    /// The values, if they are known.
    pub fn known(&self) -> Option<&Options> {
        match self {
            Self::Known(options) => Some(options),
            _ => None,
        }
    }
}

/// How many sockets are asked by one thread in a row. They stand in the order of their processes, and threads that ask
/// the same process wait for each other.
const PART: usize = 2048;

/// Fills in the values. What was closed meanwhile is shown no more.
pub fn read(report: &mut Report) {
    let mut rows = std::mem::take(&mut report.rows);
    in_parts(&mut rows, PART, |part| {
        let mut asking = Asking { report, processes: Processes::default(), rules: HashMap::new() };
        for row in part {
            row.values = asking.ask(row);
        }
    });
    rows.retain(|row| row.values != Values::Closed);
    report.rows = rows;
}

struct Asking<'a> {
    report: &'a Report,
    processes: Processes,
    /// Which rule forbids it, for each process that refused.
    rules: HashMap<i32, Option<Denial>>,
}

impl Asking<'_> {
    fn ask(&mut self, row: &Row) -> Values {
        let holders = self.report.holders(row);
        if holders.is_empty() {
            return if may_be_hidden(&row.sock) { Values::Hidden } else { Values::Nobodys };
        }
        let mut refused = None;
        for &holder in holders {
            let Some(&ProcessSockets { pid, .. }) = self.report.process(holder) else { continue };
            match self.processes.socket(pid, holder.descriptor()) {
                Ok(socket) => {
                    if let Ok(options) = Options::of(&socket) {
                        return Values::Known(options);
                    }
                }
                Err(Errno::BADF | Errno::SRCH) => {}
                Err(error) => {
                    let rule = self.rules.entry(pid);
                    let rule = rule.or_insert_with(|| Denial::diagnose(error, pid, Access::Attach));
                    refused = rule.or(refused);
                }
            }
        }
        refused.map_or(Values::Closed, Values::Refused)
    }
}
