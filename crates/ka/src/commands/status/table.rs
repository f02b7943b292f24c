//! The table for people.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::config::{Config, IdleTimeout};
use super::facts::{self, Keepalive};
use super::rows::{Report, Row};
use super::values::Values;
use super::verdict::{Outlives, outlives};
use crate::output::columns::{Cells, fit};
use crate::output::escape::escaped;
use crate::output::terminal::Terminal;
use crate::parallel::in_parts;
use crate::tcp::sock_diag::State;

/// The columns, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Column {
    Process,
    Pid,
    Fd,
    Local,
    Peer,
    State,
    Keepalive,
    Values,
    UserTimeout,
    Next,
    Lost,
    Heard,
    Kashim,
    Namespace,
    Outlives,
    Note,
}

const COLUMNS: usize = Column::Note as usize + 1;

/// What goes first where the terminal is too narrow.
const LEAST_IMPORTANT: [(Column, &str); 11] = [
    (Column::Namespace, "netns"),
    (Column::Heard, "heard"),
    (Column::Kashim, "kashim"),
    (Column::Lost, "lost"),
    (Column::State, "state"),
    (Column::Fd, "fd"),
    (Column::UserTimeout, "user-tmo"),
    (Column::Next, "next"),
    (Column::Local, "local"),
    (Column::Values, "values"),
    (Column::Keepalive, "keepalive"),
];

/// Columns that may be cut, and to what width.
const FLEXIBLE: [(usize, usize); 1] = [(Column::Process as usize, 8)];

/// How many rows are made by one thread in a row.
const PART: usize = 4096;

/// Writes the table, and below it what its notes mean.
pub fn write(out: &mut impl Write, config: &Config, report: &Report, terminal: Terminal) -> io::Result<()> {
    let notes = notes(report);
    let mut heading = Part::new(&notes);
    heading.heading(config.lifetime);
    let mut rows: Vec<&[Row]> = report.rows.chunks(PART).collect();
    let parts = in_parts(&mut rows, 1, |rows| {
        let mut part = Part::new(&notes);
        rows.iter().copied().flatten().for_each(|row| part.row(config, report, row));
        part
    });

    let mut widths = heading.cells.widths();
    for (column, width) in widths.iter_mut().enumerate() {
        if !heading.used[column] && !parts.iter().any(|part| part.used[column]) {
            *width = 0;
        }
    }
    for part in &parts {
        for (width, here) in widths.iter_mut().zip(part.cells.widths()).filter(|(width, _)| **width > 0) {
            *width = here.max(*width);
        }
    }
    let order = LEAST_IMPORTANT.map(|(column, _)| column as usize);
    let left_out = terminal.width.map_or_else(Vec::new, |line| fit(&mut widths, line, &FLEXIBLE, &order));
    heading.cells.write(out, &widths, |_, _| if terminal.colours { BOLD } else { "" })?;
    for part in &parts {
        part.cells.write(
            out,
            &widths,
            |column, cell| if terminal.colours { colour(column, cell) } else { "" },
        )?;
    }
    for (n, values) in (1..).zip(&notes) {
        if let Some((_, text)) = facts::missing(values) {
            writeln!(out, "[{n}] values unknown: {text}")?;
        }
    }
    if !left_out.is_empty() {
        let names = LEAST_IMPORTANT.iter().filter(|(column, _)| left_out.contains(&(*column as usize)));
        let names: Vec<_> = names.map(|&(_, name)| name).collect();
        writeln!(out, "not shown, for want of width: {}", names.join(", "))?;
    }
    Ok(())
}

/// Why values are missing, each reason once. That nobody asked is no news.
fn notes(report: &Report) -> Vec<Values> {
    let mut notes = Vec::new();
    for row in &report.rows {
        if !matches!(row.values, Values::Known(_) | Values::NotAsked) && !notes.contains(&row.values) {
            notes.push(row.values);
        }
    }
    notes
}

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";

fn colour(column: usize, cell: &str) -> &'static str {
    match cell.split([',', ' ']).next() {
        Some("yes") if column == Column::Outlives as usize => GREEN,
        Some("no") if column == Column::Outlives as usize => RED,
        Some("risky" | "cannot") if column == Column::Outlives as usize => YELLOW,
        _ => "",
    }
}

/// Some of the rows.
struct Part<'a> {
    cells: Cells,
    /// Whether a column has anything to show.
    used: [bool; COLUMNS],
    notes: &'a [Values],
}

impl<'a> Part<'a> {
    fn new(notes: &'a [Values]) -> Self {
        Self { cells: Cells::new(COLUMNS), used: [false; COLUMNS], notes }
    }

    fn heading(&mut self, lifetime: Option<IdleTimeout>) {
        let outlives = match lifetime {
            Some(IdleTimeout { name: Some(name), .. }) => format!("OUTLIVES {}", name.to_uppercase()),
            Some(IdleTimeout { timeout, .. }) => format!("OUTLIVES {timeout} s"),
            None => String::new(),
        };
        for name in [
            "PROCESS",
            "PID",
            "FD",
            "LOCAL",
            "PEER",
            "STATE",
            "KEEPALIVE",
            "VALUES",
            "USER-TMO",
            "NEXT",
            "LOST",
            "HEARD",
            "KASHIM",
            "NETNS",
        ] {
            self.cells.add(format_args!("{name}"));
        }
        self.cells.add(format_args!("{outlives}"));
        self.cells.add(format_args!("NOTE"));
        for column in [Column::Process, Column::Local, Column::Peer, Column::State, Column::Keepalive] {
            self.used[column as usize] = true;
        }
        self.used[Column::Outlives as usize] = lifetime.is_some();
    }

    /// Adds the next cell of the row; a column of which all cells are empty is not shown.
    fn add(&mut self, column: Column, cell: std::fmt::Arguments<'_>) {
        if cell.as_str() != Some("") {
            self.used[column as usize] = true;
        }
        self.cells.add(cell);
    }

    /// A number with its unit, or nothing.
    fn number<T: std::fmt::Display>(&mut self, column: Column, value: Option<T>) {
        match value {
            Some(value) => self.add(column, format_args!("{value}")),
            None => self.add(column, format_args!("")),
        }
    }

    fn row(&mut self, config: &Config, report: &Report, row: &Row) {
        let sock = &row.sock;
        let holders = report.holders(row);
        let first = holders.first().copied();
        match (first.and_then(|first| report.process(first)), sock.uid) {
            (Some(holding), _) => self.add(Column::Process, format_args!("{}", escaped(&holding.name))),
            (None, Some(uid)) if sock.inode != 0 => self.add(Column::Process, format_args!("(user {uid})")),
            (None, _) => self.add(Column::Process, format_args!("-")),
        }
        let holding = first.and_then(|first| report.process(first));
        match (holding, holders.len()) {
            (Some(holding), 2..) => {
                self.add(Column::Pid, format_args!("{}+{}", holding.pid, holders.len() - 1));
            }
            _ => self.number(Column::Pid, holding.map(|holding| holding.pid)),
        }
        self.number(Column::Fd, first.map(|first| first.fd));
        self.address(Column::Local, sock.local);
        if sock.listens() {
            self.add(Column::Peer, format_args!("*"));
        } else {
            self.address(Column::Peer, sock.peer);
        }
        let mptcp = if sock.subflow { " mptcp" } else { "" };
        self.add(Column::State, format_args!("{}{mptcp}", short(sock.state)));
        let options = row.values.known();
        let keepalive = match facts::keepalive(row) {
            Keepalive::On => "on",
            Keepalive::Off => "off",
            Keepalive::Busy => "busy",
            Keepalive::Unknown => "?",
        };
        self.add(Column::Keepalive, format_args!("{keepalive}"));
        match options {
            Some(o) => self.add(Column::Values, format_args!("{}/{}/{}", o.idle, o.interval, o.count)),
            None => self.add(Column::Values, format_args!("")),
        }
        let user_timeout = options.map(|o| o.user_timeout).filter(|&ms| ms > 0);
        self.number(Column::UserTimeout, user_timeout.map(Seconds));
        match (facts::next_probe(row), sock.timer) {
            (None, crate::tcp::sock_diag::Timer::Busy) => self.add(Column::Next, format_args!("busy")),
            (next, _) => self.number(Column::Next, next.map(Seconds)),
        }
        self.number(Column::Lost, facts::unanswered(row));
        self.number(Column::Heard, sock.heard.map(Seconds));
        self.number(Column::Kashim, holding.and_then(|h| h.hooked).map(|h| if h { "yes" } else { "no" }));
        let foreign = row.namespace.filter(|_| row.namespace != report.own_namespace);
        self.number(Column::Namespace, foreign);
        self.outlives(config, row);
        self.note(&row.values);
    }

    fn address(&mut self, column: Column, address: SocketAddr) {
        self.add(column, format_args!("{address}"));
    }

    fn outlives(&mut self, config: &Config, row: &Row) {
        let sock = &row.sock;
        let answer =
            config.lifetime.and_then(|l| outlives(sock.state, sock.timer, row.values.known(), l.timeout));
        let Some(answer) = answer else { return self.add(Column::Outlives, format_args!("")) };
        let word = answer.word();
        match answer {
            Outlives::Yes(n) | Outlives::Risky(n) | Outlives::TooSlow(n) => {
                self.add(Column::Outlives, format_args!("{word}, every {n} s"));
            }
            Outlives::TooLate(n) => self.add(Column::Outlives, format_args!("{word}, next in {n} s")),
            Outlives::Off => self.add(Column::Outlives, format_args!("{word}, off")),
            Outlives::Busy => self.add(Column::Outlives, format_args!("{word}, busy")),
            Outlives::NoValues => self.add(Column::Outlives, format_args!("{word}")),
        }
    }

    /// Why the values are missing, as the number of a note below the table.
    fn note(&mut self, values: &Values) {
        match self.notes.iter().position(|note| note == values) {
            Some(at) => self.add(Column::Note, format_args!("[{}]", at + 1)),
            None => self.add(Column::Note, format_args!("")),
        }
    }
}

/// As ss has it, where the whole name is long.
fn short(state: State) -> &'static str {
    match state {
        State::ESTABLISHED => "estab",
        other => other.name(),
    }
}

/// Milliseconds, shown as seconds; short times with a tenth.
struct Seconds(u32);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(ms) = *self;
        if ms < 10_000 {
            write!(f, "{}.{}s", ms / 1000, ms % 1000 / 100)
        } else {
            write!(f, "{}s", ms / 1000)
        }
    }
}
