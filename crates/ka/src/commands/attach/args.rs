//! What `ka attach` is told.

use std::ffi::OsString;

use clap::Args;

use crate::cli::settings::ValueArgs;

/// The command line of `ka attach`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub struct AttachArgs {
    /// A directory of the cgroup tree, a running systemd unit, a process by number (its cgroup), or / for the host
    #[arg(value_name = "TARGET")]
    pub target: OsString,
    #[command(flatten)]
    pub settings: ValueArgs,
    /// Also set the connections that exist already
    #[arg(long)]
    pub now: bool,
    /// Only say what would be done; the programs are loaded, which shows whether the kernel takes them
    #[arg(long)]
    pub dry_run: bool,
}

const AFTER: &str = "\
Every TCP connection that a process in the cgroup makes or accepts from now on gets keepalive, whatever the program is: \
static, in Go, setuid, in a chroot or a container, using io_uring. What the program has set itself stays, field by \
field, unless --force says otherwise. The attachment stays after ka has ended, until ka detach, or until the cgroup is \
removed; systemd removes a unit's cgroup when the unit stops. Attaching again replaces the attachment. A socket belongs \
to the cgroup in which it was made, and an accepted connection to the cgroup of its listener.

Needs Linux 6.1, and root (or CAP_BPF and CAP_NET_ADMIN; CAP_SYS_ADMIN too where a program is attached already).

Exit status: 0; 1 if --now could not set a connection; 2 for a bad command line; 125 if nothing was attached.";
