//! `ka explain`.

pub mod args;

use crate::error::Error;
use crate::exit::Exit;

/// Runs it.
pub fn run(_args: args::ExplainArgs) -> Result<Exit, Error> {
    Err(Error::new("explain: not there yet"))
}
