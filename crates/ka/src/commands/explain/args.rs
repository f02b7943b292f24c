//! What `ka explain` is told.

use std::ffi::OsString;

use clap::Args;

use crate::cli::middlebox;

/// The command line of `ka explain`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub struct ExplainArgs {
    /// IDLE[/INTERVAL[/COUNT[/USER-TIMEOUT]]], each as in its variable (300/30/5, 5m/30/9/auto); without it, the values
    /// in the environment
    #[arg(value_name = "VALUES")]
    pub values: Option<String>,
    /// The values for this middlebox (ka presets has the names)
    #[arg(long = "for", value_name = "NAME", conflicts_with = "values", value_parser = middlebox::Name, hide_possible_values = true)]
    pub preset: Option<OsString>,
}

const AFTER: &str = "\
What is not given is kashim's default (60/15/9), or for an interval the idle time if that is less.

Exit status: 0; 1 if a value in the environment is wrong; 2 for a bad command line; 125 if ka itself fails.";
