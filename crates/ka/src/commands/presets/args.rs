//! What `ka presets` is told.

use clap::Args;

use crate::cli::settings::SettingArgs;

/// The command line of `ka presets`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "Exit status: 0, 125 if a setting is wrong, 2 for a bad command line."
)]
pub struct PresetsArgs {
    #[command(flatten)]
    pub settings: SettingArgs,
}
