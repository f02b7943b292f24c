//! What `ka demo` is told.

use clap::Args;

use crate::cli::settings::SettingArgs;

/// The command line of `ka demo`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "Exit status: 0, 125 if a setting is wrong or there is no program to show it with, 2 for a bad command \
line."
)]
pub struct DemoArgs {
    #[command(flatten)]
    pub settings: SettingArgs,
}
