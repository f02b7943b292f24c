//! `ka set`.

pub mod args;

use crate::error::Error;
use crate::exit::Exit;

/// Runs it.
pub fn run(_args: args::SetArgs) -> Result<Exit, Error> {
    Err(Error::new("set: not there yet"))
}
