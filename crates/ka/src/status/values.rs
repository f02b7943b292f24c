//! Asking each socket for its values, through a copy of the descriptor.

use std::collections::HashMap;

use super::rows::{Holding, Report, Row, may_be_hidden};
use crate::parallel::in_parts;
use crate::permission::{Access, Rule};
use crate::remote::{Options, Process};

/// What a socket is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nobody asked.
    NotAsked,
    /// This.
    Known(Options),
    /// We may not ask.
    Refused(Rule),
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

/// A process, or the rule that forbids us to ask it; without a rule, it has ended.
type Opened = Result<Process, Option<Rule>>;

/// How many sockets are asked by one thread in a row. They stand in the order of their processes, and threads that ask
/// the same process wait for each other.
const PART: usize = 2048;

/// Fills in the values. What was closed meanwhile is shown no more.
pub fn read(report: &mut Report) {
    let mut rows = std::mem::take(&mut report.rows);
    in_parts(&mut rows, PART, |part| {
        let mut opened = HashMap::new();
        for row in part {
            row.values = ask(report, &mut opened, row);
        }
    });
    rows.retain(|row| row.values != Values::Closed);
    report.rows = rows;
}

fn ask(report: &Report, opened: &mut HashMap<usize, Opened>, row: &Row) -> Values {
    let holders = report.holders(row);
    if holders.is_empty() {
        return if may_be_hidden(&row.sock) { Values::Hidden } else { Values::Nobodys };
    }
    let mut refused = None;
    for &holder in holders {
        let Some(Holding { pid, .. }) = report.process(holder) else { continue };
        let process = opened.entry(holder.process).or_insert_with(|| open(*pid));
        match process.as_ref().map(|process| process.socket(holder.descriptor())) {
            Ok(Ok(socket)) => {
                if let Ok(options) = Options::of(&socket) {
                    return Values::Known(options);
                }
            }
            Ok(Err(error)) => {
                if let Some(rule) = Rule::behind(error, *pid, Access::Attach) {
                    // It holds for all of its sockets.
                    *process = Err(Some(rule));
                    refused = Some(rule);
                }
            }
            Err(rule) => refused = *rule,
        }
    }
    refused.map_or(Values::Closed, Values::Refused)
}

fn open(pid: i32) -> Opened {
    Process::open(pid).map_err(|error| Rule::behind(error, pid, Access::Attach))
}
