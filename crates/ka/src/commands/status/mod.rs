//! `ka status`: who has keepalive on, with which values, and whether that is enough.

pub mod args;
mod config;
mod facts;
mod json;
mod rows;
mod table;
mod values;
mod verdict;

use std::io::{BufWriter, Write, stdout};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::terminal::Terminal;
use config::Config;
use rows::Report;

/// Runs it.
pub fn run(args: args::StatusArgs) -> Result<Exit, Error> {
    let config = Config::try_from(args)?;
    let report = rows::gather(&config)?;
    let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
    let written = if config.json {
        json::write(&mut out, &config, &report)
    } else {
        table::write(&mut out, &config, &report, Terminal::of_stdout())
    };
    written.and_then(|()| out.flush()).map_err(|error| Error::new(format!("cannot write: {error}")))?;
    if !config.json {
        if report.rows.is_empty() {
            let _ = writeln!(std::io::stderr(), "ka: note: no TCP connection and no listener is to be seen");
        }
        for note in &report.notes {
            // Nobody to tell it to is no reason to fail.
            let _ = writeln!(std::io::stderr(), "ka: note: {note}");
        }
    }
    Ok(exit(&config, &report))
}

/// The answer for all connections together.
fn exit(config: &Config, report: &Report) -> Exit {
    let Some(lifetime) = config.lifetime else { return Exit::Yes };
    let words = report.rows.iter().filter_map(|row| {
        verdict::outlives(row.sock.state, row.sock.timer, row.values.known(), lifetime.timeout)
    });
    words.fold(Exit::Yes, |exit, outlives| match (exit, outlives.word()) {
        (_, "no") | (Exit::No, _) => Exit::No,
        (_, "cannot tell") => Exit::CannotTell,
        (exit, _) => exit,
    })
}
