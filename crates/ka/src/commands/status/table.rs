//! The table for people.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::assess::{Keepalive, Report, Row};
use super::config::{Config, IdleTimeout};
use super::outlives::{Answer, Outlives};
use super::read::Missing;
use crate::output::columns::{Cells, fit};
use crate::output::escape::escaped;
use crate::output::terminal::Terminal;
use crate::parallel::in_parts;
use crate::tcp::sock_diag::Timer;
use crate::tcp::state::State;

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
    Unanswered,
    LastReceived,
    Preloaded,
    Attached,
    Namespace,
    Outlives,
    Note,
}

const COLUMNS: usize = Column::Note as usize + 1;

/// What goes first where the terminal is too narrow.
const LEAST_IMPORTANT: [(Column, &str); 13] = [
    (Column::Namespace, "netns"),
    (Column::LastReceived, "lastrcv"),
    (Column::Preloaded, "preloaded"),
    (Column::Attached, "attached"),
    (Column::Unanswered, "unanswered"),
    (Column::State, "state"),
    (Column::Fd, "fd"),
    (Column::UserTimeout, "user-tmo"),
    (Column::Next, "next"),
    (Column::Local, "local"),
    (Column::Values, "values"),
    (Column::Pid, "pid"),
    (Column::Note, "note"),
];

/// Columns that may be cut, and to what width: before others are left out,
const NARROWER: [(usize, usize); 1] = [(Column::Process as usize, 8)];
/// and after that. What is left is the answer: whose connection, to whom, whether keepalive is on, and whether it is
/// enough.
const NARROWEST: [(usize, usize); 3] =
    [(Column::Outlives as usize, 8), (Column::Keepalive as usize, 3), (Column::Peer as usize, 15)];

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
        rows.iter().copied().flatten().for_each(|row| part.row(report, row));
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
    let left_out =
        terminal.width.map_or_else(Vec::new, |line| fit(&mut widths, line, &NARROWER, &order, &NARROWEST));
    heading.cells.write(out, &widths, |_, _| if terminal.colours { BOLD } else { "" })?;
    for part in &parts {
        part.cells.write(out, &widths, |row, column| {
            let answer = part.answers.get(row).copied().flatten();
            let here = terminal.colours && column == Column::Outlives as usize;
            answer.filter(|_| here).map_or("", colour)
        })?;
    }
    for (n, missing) in (1..).zip(&notes) {
        writeln!(out, "[{n}] values unknown: {}", missing.text())?;
    }
    if !left_out.is_empty() {
        let names = LEAST_IMPORTANT.iter().filter(|(column, _)| left_out.contains(&(*column as usize)));
        let names: Vec<_> = names.map(|&(_, name)| name).collect();
        writeln!(out, "not shown, for want of width: {}", names.join(", "))?;
    }
    Ok(())
}

/// Why values are missing, each reason once. That nobody asked is no news.
fn notes(report: &Report) -> Vec<Missing> {
    let mut notes = Vec::new();
    for missing in report.rows.iter().filter_map(|row| row.options.err()) {
        if missing != Missing::NotAsked && !notes.contains(&missing) {
            notes.push(missing);
        }
    }
    notes
}

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";

fn colour(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => GREEN,
        Answer::No => RED,
        Answer::Risky | Answer::CannotTell => YELLOW,
    }
}

/// Some of the rows.
struct Part<'a> {
    cells: Cells,
    /// Whether a column has anything to show.
    used: [bool; COLUMNS],
    /// By row, for the colour.
    answers: Vec<Option<Answer>>,
    notes: &'a [Missing],
}

impl<'a> Part<'a> {
    fn new(notes: &'a [Missing]) -> Self {
        Self { cells: Cells::new(COLUMNS), used: [false; COLUMNS], answers: Vec::new(), notes }
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
            "UNANSWERED",
            "LASTRCV",
            "PRELOADED",
            "ATTACHED",
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

    fn row(&mut self, report: &Report, row: &Row) {
        let sock = &row.found.sock;
        let holders = report.holders(row);
        let first = holders.first();
        let holding = first.and_then(|first| report.process(first));
        match (holding, sock.uid) {
            (Some(holding), _) => self.add(Column::Process, format_args!("{}", escaped(&holding.name))),
            (None, Some(uid)) if sock.inode != 0 => self.add(Column::Process, format_args!("(user {uid})")),
            (None, _) => self.add(Column::Process, format_args!("-")),
        }
        match (holding, holders.len()) {
            (Some(holding), 2..) => {
                self.add(Column::Pid, format_args!("{}+{}", holding.pid, holders.len() - 1));
            }
            _ => self.number(Column::Pid, holding.map(|holding| holding.pid)),
        }
        self.number(Column::Fd, first.map(|first| first.descriptor.fd));
        self.address(Column::Local, sock.local);
        if sock.listens() {
            self.add(Column::Peer, format_args!("*"));
        } else {
            self.address(Column::Peer, sock.peer);
        }
        let mptcp = if sock.subflow { " mptcp" } else { "" };
        self.add(Column::State, format_args!("{}{mptcp}", short(sock.state)));
        let options = row.options.ok();
        let keepalive = match row.keepalive {
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
        match (row.next_probe(), sock.timer) {
            (None, Timer::Busy) => self.add(Column::Next, format_args!("busy")),
            (next, _) => self.number(Column::Next, next.map(Seconds)),
        }
        self.number(Column::Unanswered, row.unanswered());
        self.number(Column::LastReceived, sock.last_received.map(Seconds));
        let preloaded = first.and_then(|first| report.preloaded(first));
        self.number(Column::Preloaded, preloaded.map(|it| if it { "yes" } else { "no" }));
        let attached = report.attached(row) == Some(true);
        self.number(Column::Attached, attached.then_some("yes"));
        let namespace = row.found.namespace;
        self.number(Column::Namespace, namespace.filter(|_| namespace != report.all.own_namespace));
        self.outlives(row.outlives);
        self.note(row.options.err());
    }

    fn address(&mut self, column: Column, address: SocketAddr) {
        self.add(column, format_args!("{address}"));
    }

    fn outlives(&mut self, outlives: Option<Outlives>) {
        self.answers.push(outlives.map(Outlives::answer));
        let Some(outlives) = outlives else { return self.add(Column::Outlives, format_args!("")) };
        let word = outlives.answer().word();
        match outlives {
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
    fn note(&mut self, missing: Option<Missing>) {
        match self.notes.iter().position(|&note| Some(note) == missing) {
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

/// Milliseconds, shown as seconds; short times with a tenth, or as they are.
struct Seconds(u32);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(ms) = *self;
        if (1..1000).contains(&ms) {
            write!(f, "{ms}ms")
        } else if ms < 10_000 {
            write!(f, "{}.{}s", ms / 1000, ms % 1000 / 100)
        } else {
            write!(f, "{}s", ms / 1000)
        }
    }
}
