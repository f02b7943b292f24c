//! What `ka set` is told.

use std::ffi::OsString;

use clap::{ArgGroup, Args};
use kashim_policy::keepalive::{Interval, Values};
use kashim_policy::variables::Variable;

use super::change::{Change, Wanted};
use super::config::Config;
use crate::cli::error::Error;
use crate::cli::middlebox;
use crate::cli::peers::Peers;
use crate::cli::selector::Selector;
use crate::cli::values;

/// The command line of `ka set`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true),
    after_help = "The sockets are changed in place; the process is neither stopped nor traced. Listeners are changed \
too, since what they accept inherits from them.\n\nExit status: 0; 1 if a socket could not be changed, or none was found; \
2 for a bad command line; 125 if ka itself fails."
)]
pub struct SetArgs {
    /// Processes by number (a thread's stands for its process), or all of a name
    #[arg(value_name = "PID|NAME", required = true)]
    processes: Vec<String>,
    /// Only this descriptor
    #[arg(long, value_name = "N")]
    fd: Option<u32>,
    /// Only connections to this peer: ADDRESS or PREFIX/BITS (IPv6 in brackets), optionally with :PORT or :LOW-HIGH, or
    /// the port part alone
    #[arg(long, value_name = "MATCH")]
    peer: Option<String>,
    /// Silence before the first probe (1 to 32767 s); switches keepalive on, as --interval and --count do
    #[arg(long, value_name = "DURATION", group = "change")]
    idle: Option<String>,
    /// Gap between unanswered probes (1 to 32767 s)
    #[arg(long, value_name = "DURATION", group = "change")]
    interval: Option<String>,
    /// Unanswered probes before the connection is dead (1 to 127)
    #[arg(long, value_name = "N", group = "change")]
    count: Option<String>,
    /// Limit for unacknowledged data: off, auto (idle + interval * count) or a duration
    #[arg(long, value_name = "DURATION", group = "change")]
    user_timeout: Option<String>,
    /// The values that outlive this middlebox; the options above win over them
    #[arg(long = "for", value_name = "NAME", group = "change", value_parser = middlebox::Name, hide_possible_values = true)]
    middlebox: Option<OsString>,
    /// Switch keepalive off
    #[arg(long, group = "change", conflicts_with_all = ["idle", "interval", "count", "user_timeout", "middlebox"])]
    off: bool,
    /// Only say what would be changed
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,
    /// Go on with the sockets that the processes open later, until they end; Ctrl-C stops it
    #[arg(long)]
    follow: bool,
}

impl TryFrom<SetArgs> for Config {
    type Error = Error;

    fn try_from(args: SetArgs) -> Result<Self, Error> {
        Ok(Self {
            change: change(&args)?,
            selectors: args.processes.iter().map(|text| Selector::new(text)).collect::<Result<_, _>>()?,
            fd: args.fd.map(|fd| i32::try_from(fd).unwrap_or(i32::MAX)),
            peers: args.peer.as_deref().map(Peers::new).transpose()?,
            dry_run: args.dry_run,
            follow: args.follow,
        })
    }
}

fn change(args: &SetArgs) -> Result<Change, Error> {
    let mut change = Change::default();
    if let Some(name) = &args.middlebox {
        let preset = middlebox::by_name(name)?;
        change.idle = Some(Wanted::Number(preset.idle));
        change.interval = Some(Wanted::Number(preset.interval));
        change.count = Some(Wanted::Number(preset.count));
    }
    let read = |option, variable, text| {
        let mut read = Values::DEFAULT;
        values::read(&mut read, option, variable, text).map(|()| read)
    };
    let wanted = |number: Option<u16>| number.map_or(Wanted::System, |n| Wanted::Number(n.into()));
    if let Some(text) = &args.idle {
        change.idle = Some(wanted(read("--idle", Variable::Idle, text)?.idle.map(Into::into)));
    }
    if let Some(text) = &args.interval {
        change.interval = Some(match read("--interval", Variable::Interval, text)?.interval {
            Interval::Seconds(n) => Wanted::Number(n.get().into()),
            Interval::System | Interval::Unset => Wanted::System,
        });
    }
    if let Some(text) = &args.count {
        change.count = Some(wanted(read("--count", Variable::Count, text)?.count.map(Into::into)));
    }
    if let Some(text) = &args.user_timeout {
        change.user_timeout = Some(read("--user-timeout", Variable::UserTimeout, text)?.user_timeout);
    }
    if args.off {
        change.on = Some(false);
    } else if change.idle.is_some() || change.interval.is_some() || change.count.is_some() {
        change.on = Some(true);
    }
    Ok(change)
}
