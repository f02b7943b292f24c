//! What `ka env` is told.

use clap::Args;

use super::form::Form;
use crate::cli::settings::SettingArgs;

/// The command line of `ka env`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "Exit status: 0, 125 if a setting is wrong, cannot be written in that form, or the library is missing, \
2 for a bad command line."
)]
pub struct EnvArgs {
    #[command(flatten)]
    pub settings: SettingArgs,
    /// For a shell profile (sh), a crontab (crontab), a systemd EnvironmentFile= (systemd) or /etc/environment
    /// (environment)
    #[arg(value_name = "FORM", help_heading = "What to print", default_value = "sh", value_parser = Form::parser())]
    pub form: Form,
}
