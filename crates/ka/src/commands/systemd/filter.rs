//! `SystemCallFilter=`: whether it lets the library make its system calls. Most filters kill who makes another.

use kashim_policy::log::Log;

use super::matters::Matters;
use super::syntax::words;
use super::unit::Unit;

/// A system call, and the group that holds it beside those that hold all of these (systemd-analyze syscall-filter).
type Call = (&'static str, &'static str);

/// What the library asks and sets.
const ALWAYS: [Call; 4] = [
    ("setsockopt", "@network-io"),
    ("getsockopt", "@network-io"),
    ("socket", "@network-io"),
    ("getsockname", "@network-io"),
];

/// What it writes a log with, to standard error or to a file.
const LOG: [Call; 9] = [
    ("getpid", "@default"),
    ("write", "@basic-io"),
    ("pwritev2", "@basic-io"),
    ("ppoll", "@io-event"),
    ("fstat", "@file-system"),
    ("statx", "@file-system"),
    ("rt_sigprocmask", "@signal"),
    ("rt_sigpending", "@signal"),
    ("rt_sigtimedwait", "@signal"),
];

/// And to a file alone.
const LOG_FILE: [Call; 6] = [
    ("openat", "@file-system"),
    ("readlinkat", "@file-system"),
    ("geteuid", "@default"),
    ("clone", "@process"),
    ("wait4", "@process"),
    ("exit", "@default"),
];

/// Groups that hold all of them.
const ALL: [&str; 2] = ["@system-service", "@known"];

/// Says what is forbidden.
pub fn look(unit: &Unit, log: Log, matters: &mut Matters) {
    let lines: Vec<_> = unit.values("SystemCallFilter").into_iter().map(words).collect();
    let forbidden = |calls: &[Call]| {
        let names: Vec<_> =
            calls.iter().filter(|call| is_forbidden(&lines, call)).map(|call| call.0).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = forbidden(&ALWAYS) {
        matters.errors.push(format!(
            "SystemCallFilter= forbids {names}, and with the library the service would make that call: allow it \
             (SystemCallFilter=@network-io), or use --mode cgroup"
        ));
    }
    let calls = match log {
        Log::Stderr => LOG.to_vec(),
        Log::Path(_) => [&LOG[..], &LOG_FILE].concat(),
        Log::Complaints | Log::Off => return,
    };
    if let Some(names) = forbidden(&calls) {
        matters.errors.push(format!(
            "SystemCallFilter= forbids {names}, which the library writes its log with: leave the log out, or allow them \
             (SystemCallFilter=@system-service)"
        ));
    }
}

fn is_forbidden(lines: &[Vec<String>], &(call, group): &Call) -> bool {
    // The first decides whether all others are forbidden or allowed.
    let Some(first) = lines.iter().flatten().next() else { return false };
    // In a list of what is allowed, these are by themselves.
    let mut allowed = first.starts_with('~') || group == "@default";
    for line in lines {
        // A ~ before the first of a line is one for all of them.
        let takes = !line.first().is_some_and(|word| word.starts_with('~'));
        let names_it = |word: &str| {
            let word = word.trim_start_matches('~').split(':').next().unwrap_or_default();
            word == call || word == group || ALL.contains(&word)
        };
        if line.iter().any(|word| names_it(word)) {
            allowed = takes;
        }
    }
    !allowed
}
