//! What `ka check` is told.

use std::ffi::OsString;

use clap::Args;

/// The command line of `ka check`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub struct CheckArgs {
    /// Also say what is in force for a connection to this destination, and which rule decides it; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Vec<String>,
    /// The command, and its arguments, which do not matter; it is not run
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

const AFTER: &str = "\
Says what ka-run --check says (whether the library reaches COMMAND, by which loader, with which settings), and beyond \
that what is wrong with the settings in the environment, also if there is more than one fault, and which variables look \
like one of kashim's and are none.

Exit status: 0 if the library reaches COMMAND and all settings are good, 1 if not, 3 if that cannot be told, 125 if \
ka-run is missing or fails.";
