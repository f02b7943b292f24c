//! Saying what was done: the log, and complaints about bad settings.
//!
//! Without `KA_LOG`, complaints are kept until the process sets up its first TCP socket and then written to stderr,
//! once: a line at load would change what a configure script finds out, and end up in the data of programs that have
//! something else on descriptor 2.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::*};

use kashim_policy::line::Line;
use kashim_policy::log::{Log, MAX_LOG_PATH};
use kashim_policy::outcome::{Outcome, Written};
use kashim_policy::setting_error::SettingError;
use kashim_policy::settings::Settings;
use kashim_policy::socket::Opt;
use kashim_policy::{describe, warning};

use crate::output::{self, Stderr};
use crate::real;

/// Complaints are kept for the first TCP socket. Zero, so that a process without a log writes nothing here.
const COMPLAINTS: u8 = 0;
/// Nothing is ever said.
const SILENT: u8 = 1;
/// Everything goes to stderr.
const STDERR: u8 = 2;
/// Everything goes to a file.
const FILE: u8 = 3;

/// Where it goes, one of the above.
static LOG_SINK: AtomicU8 = AtomicU8::new(COMPLAINTS);
/// There are complaints to be written.
static PENDING: AtomicBool = AtomicBool::new(false);
static REPORT: Place = Place(UnsafeCell::new(Report {
    name: Line::EMPTY,
    stderr: None,
    path: [0; MAX_LOG_PATH + 1],
    pending: [0; ROOM],
    pending_length: 0,
    overflown: false,
}));

/// Room for complaints. Less than PIPE_BUF, so that one write does not block.
const ROOM: usize = 2048;
/// Said when there are too many of them.
const MORE: &[u8] = b"kashim: error: more settings are wrong; KA_LOG=stderr shows them all\n";

struct Place(UnsafeCell<Report>);

// SAFETY: written only while the settings are read, which one thread does, and read by others only after that.
unsafe impl Sync for Place {}

struct Report {
    /// The base name of what was executed. A copy: programs overwrite the strings on their stack.
    name: Line,
    /// What stood on descriptor 2 when the library was loaded, if it may be written to.
    stderr: Option<Stderr>,
    /// The log file's path, with a zero at its end.
    path: [u8; MAX_LOG_PATH + 1],
    /// Complaints, a line each.
    pending: [u8; ROOM],
    pending_length: usize,
    /// There were more complaints than fit.
    overflown: bool,
}

impl Report {
    fn keep(&mut self, text: &[u8]) {
        let rest = self.pending.get_mut(self.pending_length..).unwrap_or_default();
        for (place, &byte) in rest.iter_mut().zip(text) {
            *place = byte;
        }
        self.pending_length += text.len();
    }
}

fn report() -> &'static Report {
    // SAFETY: nobody writes to it but the functions below that say so, while the settings are read.
    unsafe { &*REPORT.0.get() }
}

/// Begins the log. Only while the settings are read.
#[inline]
pub fn open(log: Log, name: &[u8]) {
    if log != Log::Complaints {
        begin(log, name);
    }
}

#[cold]
fn begin(log: Log, name: &[u8]) {
    // SAFETY: see its declaration; the one other reference is gone before this function ends.
    let report = unsafe { &mut *REPORT.0.get() };
    report.name.push_bytes(name);
    let target = match log {
        Log::Complaints => COMPLAINTS,
        Log::Off => SILENT,
        Log::Stderr => {
            report.stderr = Stderr::now();
            STDERR
        }
        Log::Path(path) => {
            for (place, &byte) in report.path.iter_mut().zip(path) {
                *place = byte;
            }
            FILE
        }
    };
    LOG_SINK.store(target, Relaxed);
}

/// Something is wrong with a setting. Only while the settings are read.
#[cold]
pub fn complaint(complaint: &SettingError) {
    let target = LOG_SINK.load(Relaxed);
    if target == SILENT {
        return;
    }
    let mut line = Line::EMPTY;
    complaint.write(&mut line);
    line.end();
    if target != COMPLAINTS {
        return emit(line.as_bytes());
    }
    // SAFETY: as in `open`.
    let report = unsafe { &mut *REPORT.0.get() };
    if report.stderr.is_none() {
        report.stderr = Stderr::now();
    }
    if report.pending_length + line.as_bytes().len() + MORE.len() <= ROOM {
        report.keep(line.as_bytes());
    } else if !report.overflown {
        report.overflown = true;
        report.keep(MORE);
    }
    PENDING.store(true, Relaxed);
}

/// The settings were read. Only if everything is logged.
#[cold]
pub fn loaded(settings: &Settings, skipped: bool) {
    warning::each(settings, &mut |rule, warning| {
        let mut line = Line::EMPTY;
        line.push_str("kashim: warning: ");
        if let Some(n) = rule {
            line.push_str("KA_RULES rule ");
            line.number(n);
            line.push_str(": ");
        }
        warning.write(&mut line);
        line.end();
        emit(line.as_bytes());
    });
    let mut line = line();
    let out = &mut line;
    if skipped {
        out.push_str("left alone by its name");
    } else {
        out.push_str("loaded ");
        out.push_str(env!("CARGO_PKG_VERSION"));
        out.push_str(": ");
        describe::settings(out, settings);
    }
    if real::is_broken() {
        out.push_str("; no next function was found, so calls go straight to the kernel");
    }
    line.end();
    emit(line.as_bytes());
}

/// Whether each socket is logged.
#[inline]
pub fn is_logging() -> bool {
    LOG_SINK.load(Relaxed) >= STDERR
}

/// A hook has applied the policy to a socket.
#[inline]
pub fn outcome(hook: &str, fd: c_int, peer: Option<(IpAddr, u16)>, outcome: &Outcome) {
    if is_logging() {
        log_outcome(hook, fd, peer, outcome);
    } else if PENDING.load(Relaxed) && matches!(outcome, Outcome::Written(_)) && PENDING.swap(false, Relaxed)
    {
        let report = report();
        to_stderr(report.pending.get(..report.pending_length).unwrap_or_default());
    }
}

/// `KA_FORCE` has put a value back.
#[inline]
pub fn restored(fd: c_int, opt: Opt, value: u32) {
    if is_logging() {
        let mut written = Written::default();
        match opt {
            Opt::KeepAlive => written.keepalive = Some(value != 0),
            Opt::Value(field) => written.fields.put(field, Some(value)),
        }
        log_outcome("setsockopt", fd, None, &Outcome::Written(written));
    }
}

/// `kashim: NAME[PID] `
#[inline(never)]
fn line() -> Line {
    let mut line = Line::EMPTY;
    line.push_str("kashim: ");
    line.escaped(report().name.as_bytes());
    line.push_str("[");
    // SAFETY: it takes nothing. Not remembered: it changes with fork.
    line.number(unsafe { libc::syscall(libc::SYS_getpid) } as u32);
    line.push_str("] ");
    line
}

#[cold]
#[inline(never)]
fn log_outcome(hook: &str, fd: c_int, peer: Option<(IpAddr, u16)>, outcome: &Outcome) {
    let mut line = line();
    let out = &mut line;
    out.push_str(hook);
    out.push_str(" fd ");
    out.number(fd as u32);
    if let Some((ip, port)) = peer {
        out.push_str(if hook == "connect" { " to " } else { " from " });
        out.address(ip, port);
    }
    out.push_str(": ");
    describe::outcome(out, outcome);
    line.end();
    emit(line.as_bytes());
}

/// Writes lines to where the log goes.
fn emit(text: &[u8]) {
    match LOG_SINK.load(Relaxed) {
        STDERR => to_stderr(text),
        FILE => output::to_file(&report().path, text),
        _ => {}
    }
}

fn to_stderr(text: &[u8]) {
    if let Some(stderr) = &report().stderr {
        stderr.write(text);
    }
}
