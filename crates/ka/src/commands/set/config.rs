//! What is to be done.

use super::change::Change;
use crate::cli::peers::Peers;
use crate::cli::selector::Selector;

/// What is to be changed, and where.
#[derive(Debug)]
pub struct Config {
    /// In which processes.
    pub selectors: Vec<Selector>,
    /// This descriptor alone.
    pub fd: Option<i32>,
    /// Connections to these peers alone.
    pub peers: Option<Peers>,
    /// What to do to each.
    pub change: Change,
    /// Only say it.
    pub dry_run: bool,
    /// Go on until the process ends.
    pub follow: bool,
}
