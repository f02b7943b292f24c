//! Which of a unit's own settings matter for the library, and which do not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kashim_policy::variables::Variable;

use super::unit::Unit;
use crate::cli::error::Error;
use crate::preload::library::Library;
use crate::preload::{self, Reach};

/// What there is to say about a unit.
#[derive(Debug, Default)]
pub struct Matters {
    /// Why the drop-in would do harm, or nothing.
    pub errors: Vec<String>,
    /// What to know, or to look at.
    pub warnings: Vec<String>,
    /// What makes no difference.
    pub notes: Vec<String>,
}

/// Sandboxing that people ask about, and that is no obstacle.
const NO_OBSTACLE: [&str; 12] = [
    "RestrictSUIDSGID",
    "NoNewPrivileges",
    "ProtectSystem",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "PrivateNetwork",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "LockPersonality",
    "CapabilityBoundingSet",
    "DynamicUser",
    "User",
];

/// Looks at a unit that the library is to be loaded into.
pub fn for_preload(unit: &Unit, root: &Path, library: &Library) -> Matters {
    let mut matters = Matters::default();
    filter(unit, &mut matters);
    environment(unit, root, &mut matters);
    view(unit, &library.path, &mut matters);
    file(unit, root, &library.path, &mut matters);
    programs(unit, root, library, &mut matters);
    let harmless = unit.has(&NO_OBSTACLE);
    if !harmless.is_empty() {
        matters.notes.push(format!("no obstacle to the library: {}=", harmless.join("=, ")));
    }
    matters
}

/// The system calls that the library makes on a service's behalf, and the groups that hold them (systemd-analyze
/// syscall-filter).
const CALLS: [&str; 2] = ["setsockopt", "getsockopt"];
const GROUPS: [&str; 3] = ["@network-io", "@system-service", "@known"];

fn filter(unit: &Unit, matters: &mut Matters) {
    let lines: Vec<_> =
        unit.values("SystemCallFilter").iter().map(|value| super::unit::words(value)).collect();
    // The first decides whether all others are forbidden or allowed.
    let Some(first) = lines.iter().flatten().next() else { return };
    let is_list_of_allowed = !first.starts_with('~');
    for call in CALLS {
        let mut allowed = !is_list_of_allowed;
        for line in &lines {
            // A ~ before the first of a line is one for all of them.
            let takes = !line.first().is_some_and(|word| word.starts_with('~'));
            let names_it = |word: &str| {
                let word = word.trim_start_matches('~').split(':').next().unwrap_or_default();
                word == call || GROUPS.contains(&word)
            };
            if line.iter().any(|word| names_it(word)) {
                allowed = takes;
            }
        }
        if !allowed {
            matters.errors.push(format!(
                "SystemCallFilter= forbids {call}, and with the library the service would make that call: allow it \
                 (SystemCallFilter=@network-io), or use --mode cgroup"
            ));
        }
    }
}

/// Who else has a say in the environment (systemd.exec(5), "Environment Variables in Spawned Processes").
fn environment(unit: &Unit, root: &Path, matters: &mut Matters) {
    let is_ours = |name: &str| name == "LD_PRELOAD" || name.as_bytes().starts_with(Variable::PREFIX);
    for word in unit.words("UnsetEnvironment") {
        if is_ours(word.split('=').next().unwrap_or_default()) {
            matters.errors.push(format!("UnsetEnvironment={word} takes away what the drop-in sets"));
        }
    }
    for word in unit.words("PassEnvironment").iter().filter(|word| is_ours(word)) {
        matters.notes.push(format!("PassEnvironment={word}: what the drop-in sets wins over that"));
    }
    for file in unit.words("EnvironmentFile") {
        let path = file.trim_start_matches('-');
        let inside = super::unit::resolve(root, &root.join(path.trim_start_matches('/')));
        if path.contains(['*', '?', '[', '%']) {
            matters
                .warnings
                .push(format!("EnvironmentFile={path}: what these files set wins over the drop-in"));
            continue;
        }
        match fs::metadata(&inside).map(|found| found.is_file()) {
            Ok(true) if fs::File::open(&inside).is_ok() => {
                let text = super::unit::read(&inside);
                let names = text.lines().filter_map(|line| Some(line.trim().split_once('=')?.0.trim()));
                for name in names.filter(|name| is_ours(name)) {
                    let what = if name == "LD_PRELOAD" { ": put the library there" } else { "" };
                    matters
                        .warnings
                        .push(format!("EnvironmentFile={path} sets {name}, and wins over the drop-in{what}"));
                }
            }
            Ok(_) => {
                matters.warnings.push(format!(
                    "EnvironmentFile={path} cannot be read: what it sets wins over the drop-in"
                ));
            }
            Err(_) => {}
        }
    }
}

/// Whether the service can see the library.
fn view(unit: &Unit, library: &Path, matters: &mut Matters) {
    let is_on = |name: &str| unit.value(name).is_some_and(is_true);
    let shown = preload::shown(library);
    if let [name, ..] = unit.has(&["RootDirectory", "RootImage"])[..] {
        matters.warnings.push(format!("{name}=: the library has to be at {shown} in there"));
    }
    let below = |places: &[&str]| places.iter().any(|place| library.starts_with(place));
    let hides_home = is_on("ProtectHome") || unit.value("ProtectHome") == Some("tmpfs");
    if hides_home && below(&["/home", "/root", "/run/user"]) {
        matters.errors.push(format!(
            "ProtectHome= hides the library, which is at {shown}: install it below /usr/local"
        ));
    }
    let hides_tmp =
        is_on("PrivateTmp") || unit.value("PrivateTmp") == Some("disconnected") || is_on("DynamicUser");
    if hides_tmp && below(&["/tmp", "/var/tmp"]) {
        matters.errors.push(format!(
            "PrivateTmp= or DynamicUser= hides the library, which is at {shown}: install it below /usr/local"
        ));
    }
    for name in ["InaccessiblePaths", "NoExecPaths", "TemporaryFileSystem"] {
        let path =
            |word: &str| word.trim_start_matches(['-', '+']).split(':').next().unwrap_or_default().to_owned();
        let hides = |word: &String| library.starts_with(path(word));
        let allowed = unit.words("ExecPaths").iter().any(hides);
        if let (Some(word), false) = (unit.words(name).iter().find(|word| hides(word)), allowed) {
            matters.errors.push(format!("{name}={word} keeps the library out, which is at {shown}"));
        }
    }
}

/// As systemd reads a boolean.
fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether the library is there, and an ordinary user may read it, where the service is one's.
fn file(unit: &Unit, root: &Path, library: &Path, matters: &mut Matters) {
    let shown = preload::shown(library);
    let inside = root.join(library.strip_prefix("/").unwrap_or(library));
    if !inside.exists() {
        matters.warnings.push(format!("there is no library at {shown} below {}", preload::shown(root)));
        return;
    }
    let is_roots = unit.value("User").is_none_or(|user| user == "root" || user == "0");
    if is_roots && !unit.value("DynamicUser").is_some_and(is_true) {
        return;
    }
    let mode = |path: &Path| fs::metadata(path).map_or(0, |found| found.permissions().mode());
    let closed = inside.ancestors().skip(1).find(|directory| mode(directory) & 0o001 == 0);
    if let Some(closed) = closed.or((mode(&inside) & 0o004 == 0).then_some(&inside)) {
        matters.errors.push(format!(
            "the service's user may not read the library: {} is not open to everybody; install it below /usr/local",
            preload::shown(closed)
        ));
    }
}

/// Whether a preload reaches what the service starts.
fn programs(unit: &Unit, root: &Path, library: &Library, matters: &mut Matters) {
    let lines = unit.values("ExecStart");
    let (mut reached, mut others) = (0, Vec::new());
    for line in &lines {
        let Some(program) = super::unit::words(line).into_iter().next() else { continue };
        let program = program.trim_start_matches(['@', '-', ':', '+', '!', '|']).to_owned();
        if program.contains('%') {
            continue;
        }
        match examine(&program, root, library) {
            Ok(Reach::Unreachable(unreachable)) => others.push((program, unreachable.why)),
            Ok(Reach::LeftAlone(by)) => others.push((program, format!("it is {}", by.text()))),
            Ok(Reach::Unknown(why)) => {
                matters.warnings.push(format!("ExecStart={program}: cannot tell: {why}"))
            }
            Ok(Reach::Reached) => reached += 1,
            Err(error) => matters.warnings.push(format!("ExecStart={program}: {error}")),
        }
    }
    let none = reached == 0;
    for (program, why) in others {
        let text = format!("ExecStart={program}: no preload reaches it: {why}; --mode cgroup does");
        if none { matters.errors.push(text) } else { matters.warnings.push(text) }
    }
}

fn examine(program: &str, root: &Path, library: &Library) -> Result<Reach, Error> {
    let there = |path: &str| super::unit::resolve(root, &root.join(path.trim_start_matches('/')));
    // Where systemd looks for a name.
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let path: PathBuf = if program.starts_with('/') {
        there(program)
    } else {
        let places = directories.map(|directory| there(&format!("{directory}/{program}")));
        places.into_iter().find(|path| path.exists()).unwrap_or_else(|| root.join(program))
    };
    if !path.exists() {
        return Err(Error::new("there is no such file"));
    }
    Ok(preload::examine(library, OsStr::new(program), path, None)?.reach)
}
