//! Asking each socket for its values, through a copy of the descriptor.

use std::collections::HashMap;

use super::rows::{Report, may_be_hidden};
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

/// Fills in the values. What was closed meanwhile is shown no more.
pub fn read(report: &mut Report) {
    let mut opened: HashMap<usize, Opened> = HashMap::new();
    let mut rows = std::mem::take(&mut report.rows);
    for row in &mut rows {
        row.values = if report.holders(row).is_empty() {
            if may_be_hidden(&row.sock) { Values::Hidden } else { Values::Nobodys }
        } else {
            Values::Closed
        };
        for &holder in report.holders(row) {
            let Some(process) = report.process(holder) else { continue };
            let pid = process.pid;
            let process = opened.entry(holder.process).or_insert_with(|| open(pid));
            match process.as_ref().map(|process| process.socket(holder.descriptor())) {
                Err(&Some(rule)) => row.values = Values::Refused(rule),
                Err(None) => {}
                Ok(Ok(socket)) => {
                    if let Ok(options) = Options::of(&socket) {
                        row.values = Values::Known(options);
                        break;
                    }
                }
                Ok(Err(error)) => {
                    if let Some(rule) = Rule::behind(error, pid, Access::Attach) {
                        // It holds for all of its sockets.
                        *process = Err(Some(rule));
                        row.values = Values::Refused(rule);
                    }
                }
            }
        }
    }
    rows.retain(|row| row.values != Values::Closed);
    report.rows = rows;
}

fn open(pid: i32) -> Opened {
    Process::open(pid).map_err(|error| Rule::behind(error, pid, Access::Attach))
}
