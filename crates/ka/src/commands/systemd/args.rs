//! What `ka systemd` is told.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::settings::SettingArgs;

/// The command line of `ka systemd`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub struct SystemdArgs {
    /// A service, as systemctl has it: nginx, nginx.service, openvpn-client@office
    #[arg(value_name = "UNIT")]
    pub unit: OsString,
    #[command(flatten)]
    pub settings: SettingArgs,
    /// How to reach the service
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Preload)]
    pub mode: Mode,
    /// Write the files, instead of printing them
    #[arg(long)]
    pub write: bool,
    /// Take away what --write has written
    #[arg(long, conflicts_with = "write")]
    pub remove: bool,
    /// For the system below this directory, an image for one
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// By what a unit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// LD_PRELOAD in its environment.
    Preload,
    /// The BPF program of ka attach, whenever the service starts.
    Cgroup,
}

const AFTER: &str = "\
Prints a drop-in for the unit (systemd.unit(5)), and says on standard error which of the unit's own settings matter for \
it. The unit itself is never touched, and systemd is not told: systemctl daemon-reload and a restart put it into force. For a user's units (systemctl --user) ka env systemd prints lines.

With --mode cgroup the drop-in has systemd run ka attach (Linux 6.1) whenever the service starts, before its first \
program: for what no preload reaches. The service starts also where that fails; its journal says why.

Exit status: 0; 1 if the printed drop-in would do harm or have no effect, or if there was nothing to --remove; 2 for a bad \
command line; 125 if ka itself fails, or if --write wrote nothing because the drop-in would do harm or have no effect.";
