//! What `ka check` is told.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use crate::cli::settings::SettingArgs;

/// The command line of `ka check`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_long_help = AFTER)]
pub struct CheckArgs {
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Also say what is in force for a connection to this destination, and which rule decides it; may be repeated
    #[arg(long, value_name = "HOST:PORT", help_heading = "What to check")]
    pub to: Vec<String>,
    /// The command, and its arguments, which do not matter; it is not run
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments,
        help_heading = "What to check"
    )]
    pub command: Vec<OsString>,
}

const AFTER: &str = "\
Says whether the library reaches COMMAND, and if not, why; by which loader, and with which settings. Names every error in \
the settings, and variables whose names look like kashim's but are not. It runs, builds and writes nothing.

Exit status: 0 if the library reaches COMMAND and all settings are good, 1 if not, 2 for a bad command line, 3 if it \
cannot be told, 125 if the library is missing.";
