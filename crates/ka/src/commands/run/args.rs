//! What `ka run`, which is `ka-run`, is told.

use std::ffi::OsString;

use clap::{ArgGroup, Args, Parser, ValueHint};

use crate::cli::settings::SettingArgs;
use crate::commands::env::form::Form;

/// The command line of `ka run`.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = AFTER,
    override_usage = "ka run [OPTION]... [--] COMMAND [ARGUMENT]...\n       ka run --check [OPTION]... [COMMAND]\n       \
                      ka run --env[=FORM] | --list | --demo [OPTION]...",
    group = ArgGroup::new("what").multiple(false)
)]
pub struct RunArgs {
    #[command(flatten)]
    pub settings: SettingArgs,
    /// How to reach the command: preload, cgroup (a BPF program on a cgroup of its own), or auto (whichever does; default)
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, help_heading = "What to set")]
    pub mode: Option<OsString>,
    /// Run nothing: what `ka check` says about COMMAND
    #[arg(long, group = "what", help_heading = "What to do")]
    pub check: bool,
    /// Print these settings, as `ka env`: sh (the default), crontab, systemd or environment
    #[arg(
        long,
        group = "what",
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "sh",
        value_parser = Form::parser(),
        help_heading = "What to do"
    )]
    pub env: Option<Form>,
    /// Print the middleboxes and what outlives them, as `ka presets`
    #[arg(long, group = "what", help_heading = "What to do")]
    pub list: bool,
    /// Show on loopback, in seconds, what this does, as `ka demo`
    #[arg(long, group = "what", help_heading = "What to do")]
    pub demo: bool,
    /// The command, and all that belongs to it
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments,
        help_heading = "What to do"
    )]
    pub command: Vec<OsString>,
}

/// The same by the name `ka-run`, which costs less than the tree of all subcommands.
#[derive(Debug, Parser)]
#[command(
    name = "ka-run",
    version = concat!(env!("CARGO_PKG_VERSION"), " (kashim)"),
    about = ABOUT,
    max_term_width = 110
)]
pub struct KaRun {
    #[command(flatten)]
    pub args: RunArgs,
}

/// The first line of the help.
pub const ABOUT: &str = "Run a command with TCP keepalive on every connection that it makes or accepts";

const AFTER: &str = "\
ka-run is the same as ka run. An option beats --for, which beats the environment (KA_IDLE, KA_INTERVAL, KA_COUNT, KA_USER_TIMEOUT, KA_FORCE, KA_LOG). \
The first matching rule wins; those given by --rule come before those in KA_RULES. KA_SKIP=name:name \
leaves programs alone, KA_DISABLE=1 switches everything off.

--mode cgroup reaches every program (static, Go, setuid, other architectures), and needs what ka attach needs: root and Linux 6.1. Without --mode, ka-run uses it, where possible, for a command that no preload reaches.

Exit status: that of COMMAND; 125 if ka-run itself fails or refuses, 126 if COMMAND cannot be executed, 127 if it is not \
found. --check: 0 if the library reaches COMMAND, 1 if not or a setting is wrong, 3 if that cannot be told.";
