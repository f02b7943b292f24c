//! What `ka set` is told.

use clap::Args;

/// The command line of `ka set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The process, by number or name
    #[arg(value_name = "PID|NAME")]
    pub process: String,
}
