//! What `ka explain` is told.

use clap::Args;

/// The command line of `ka explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// IDLE/INTERVAL/COUNT; without it, the values in the environment
    #[arg(value_name = "VALUES")]
    pub values: Option<String>,
}
