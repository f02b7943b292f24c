//! What `ka probe` is told.

use clap::Args;

/// The command line of `ka probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Where to connect to
    #[arg(value_name = "HOST[:PORT]")]
    pub target: String,
}
