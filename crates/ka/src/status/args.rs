//! What `ka status` is told.

use clap::Args;

/// The command line of `ka status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these processes, by number or name
    #[arg(value_name = "PID|NAME")]
    pub processes: Vec<String>,
}
