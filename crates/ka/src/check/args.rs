//! What `ka check` is told.

use clap::Args;

/// The command line of `ka check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<std::ffi::OsString>,
}
