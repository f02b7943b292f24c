//! What `ka status` is told.

use std::ffi::OsString;

use clap::Args;
use kashim_policy::parse::MAX_USER_TIMEOUT;

use super::config::{Config, IdleTimeout};
use crate::cli::error::Error;
use crate::cli::middlebox;
use crate::cli::peers::Peers;
use crate::cli::selector::Selector;
use crate::cli::values;
use crate::output::terminal::Color;

/// The command line of `ka status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0, or with --for or --outlive: 1 if a connection would not outlive the middlebox, 3 if \
that is unknown for a connection, or a named process cannot be inspected; 2 for a bad command \
line; 125 if ka itself fails."
)]
pub struct StatusArgs {
    /// Only these processes, by PID (a thread's ID selects its process) or name; by default all that you may inspect
    #[arg(value_name = "PID|NAME")]
    processes: Vec<String>,
    /// Only connections to this peer: ADDRESS or PREFIX/BITS (IPv6 in brackets), optionally with :PORT or :LOW-HIGH, or
    /// the port part alone
    #[arg(long, value_name = "MATCH")]
    peer: Option<String>,
    /// Include connections whose owner is hidden or gone: other users', and those that no process holds
    #[arg(long)]
    all: bool,
    /// Whether each connection outlives this middlebox, one of those that `ka presets` tells
    #[arg(long = "for", value_name = "NAME", conflicts_with = "outlive", value_parser = middlebox::Name, hide_possible_values = true)]
    middlebox: Option<OsString>,
    /// Say whether each connection outlives a middlebox with this idle timeout (350, 15m)
    #[arg(long, value_name = "DURATION")]
    outlive: Option<String>,
    /// Whether the table is coloured; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    color: Color,
    /// For programs: everything, as JSON
    #[arg(long)]
    json: bool,
    /// Ask only the kernel's list of sockets, not each socket: faster, without idle, interval and count
    #[arg(long)]
    no_values: bool,
}

impl TryFrom<StatusArgs> for Config {
    type Error = Error;

    fn try_from(args: StatusArgs) -> Result<Self, Error> {
        let lifetime = match (args.middlebox, args.outlive) {
            (Some(name), _) => {
                let preset = middlebox::by_name(&name)?;
                Some(IdleTimeout { name: Some(preset.name), timeout: preset.timeout })
            }
            (None, Some(text)) => {
                let timeout = values::duration("--outlive", &text, MAX_USER_TIMEOUT)?;
                Some(IdleTimeout { name: None, timeout })
            }
            (None, None) => None,
        };
        let selectors = args.processes.iter().map(|text| Selector::new(text)).collect::<Result<_, _>>()?;
        Ok(Self {
            selectors,
            peers: args.peer.as_deref().map(Peers::new).transpose()?,
            all: args.all,
            lifetime,
            color: args.color,
            json: args.json,
            values: !args.no_values,
        })
    }
}
