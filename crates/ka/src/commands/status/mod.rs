//! `ka status`: who has keepalive on, with which values, and whether that is enough.

pub mod args;
mod assess;
mod collect;
mod config;
mod json;
mod outlives;
mod read;
mod table;

use std::io::{BufWriter, Write, stdout};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::terminal::Terminal;
use config::Config;

/// Runs it: what is there, what it is set to, what that comes to, and at last the words for it.
pub fn run(args: args::StatusArgs) -> Result<Exit, Error> {
    let config = Config::try_from(args)?;
    let all = collect::collect(&config)?;
    let read = read::read(&all, config.values);
    let report = assess::assess(all, read, config.lifetime);
    let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
    let written = if config.json {
        json::write(&mut out, &config, &report)
    } else {
        table::write(&mut out, &config, &report, Terminal::of_stdout(config.color))
    };
    written.and_then(|()| out.flush()).map_err(|error| Error::new(format!("cannot write: {error}")))?;
    if !config.json {
        if report.rows.is_empty() {
            let what = if config.peers.is_some() {
                "connection to this peer"
            } else {
                "TCP connection and no listener"
            };
            let _ = writeln!(std::io::stderr(), "ka: note: no {what} is to be seen");
        }
        for note in &report.all.notes {
            // Nobody to tell it to is no reason to fail.
            let _ = writeln!(std::io::stderr(), "ka: note: {note}");
        }
    }
    Ok(report.exit(config.lifetime.is_some()))
}
