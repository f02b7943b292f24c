//! Which of a unit's own settings matter for the library, and which do not.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kashim_policy::log::Log;
use kashim_policy::variables::Variable;

use super::account::{Account, May};
use super::syntax::words;
use super::unit::{Unit, read};
use super::view::View;
use super::{filter, programs};
use crate::preload::library::Library;
use crate::preload::shown;

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

/// Looks at a unit that the library is to be loaded into, with these variables, in the system below `root`.
pub fn for_preload(
    unit: &Unit,
    root: &Path,
    library: &Library,
    variables: &[(String, String)],
    log: Log,
) -> Matters {
    let mut matters = Matters::default();
    let view = View::of(unit, root);
    let account = Account::of(unit, root);
    filter::look(unit, log, &mut matters);
    environment(unit, root, library, variables, &mut matters);
    file(&view, &account, &library.path, &mut matters);
    if let Log::Path(path) = log {
        log_file(&view, &account, Path::new(std::ffi::OsStr::from_bytes(path)), &mut matters);
    }
    programs::look(unit, &view, &account, library, &mut matters);
    let harmless = unit.has(&NO_OBSTACLE);
    if !harmless.is_empty() {
        matters.notes.push(format!("no obstacle to the library: {}=", harmless.join("=, ")));
    }
    matters
}

fn is_ours(name: &str) -> bool {
    name == "LD_PRELOAD" || name.as_bytes().starts_with(Variable::PREFIX)
}

/// Who else has a say in the environment (systemd.exec(5), "Environment Variables in Spawned Processes").
fn environment(
    unit: &Unit,
    root: &Path,
    library: &Library,
    variables: &[(String, String)],
    matters: &mut Matters,
) {
    for word in unit.expanded_words("UnsetEnvironment") {
        let takes = |(name, value): &(String, String)| match word.split_once('=') {
            Some((other, only)) => name == other && value == only,
            None => *name == word,
        };
        if variables.iter().any(takes) {
            matters.errors.push(format!("UnsetEnvironment={word} takes away what the drop-in sets"));
        }
    }
    for word in unit.words("PassEnvironment").iter().filter(|word| is_ours(word)) {
        matters.notes.push(format!("PassEnvironment={word}: what the drop-in sets wins over that"));
    }
    for value in unit.values_behind("Environment") {
        let what = "in a drop-in whose name comes behind zz-kashim.conf";
        if value.is_empty() {
            matters
                .errors
                .push(format!("Environment= {what} takes away what this one sets: rename that one"));
        }
        for word in words(value) {
            let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_ours(name)) else {
                continue;
            };
            if name == "LD_PRELOAD" && !names(value, &library.path) {
                matters.errors.push(format!("Environment={word} {what} wins over it: rename that one"));
            } else {
                matters.warnings.push(format!("Environment={word} {what} wins over it"));
            }
        }
    }
    for value in unit.values("EnvironmentFile") {
        environment_file(unit, root, library, value, matters);
    }
}

/// Whether a value of LD_PRELOAD has the library in it.
fn names(value: &str, library: &Path) -> bool {
    value.split([' ', ':', '"', '\'']).any(|part| Path::new(part) == library || part == "libkashim.so")
}

/// The whole value is the name: blanks are part of it.
fn environment_file(unit: &Unit, root: &Path, library: &Library, value: &str, matters: &mut Matters) {
    let wins = "wins over the drop-in";
    let path = value.trim_start_matches('-');
    let expanded = unit.expanded(path).filter(|path| !path.contains(['*', '?', '[']));
    let Some(path) = expanded else {
        matters.warnings.push(format!("EnvironmentFile={path}: what these files set {wins}"));
        return;
    };
    let inside = super::unit::resolve(root, &root.join(path.trim_start_matches('/')));
    if fs::metadata(&inside).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return;
    }
    let Some(text) = read(&inside) else {
        matters.warnings.push(format!("EnvironmentFile={path} cannot be read: what it sets {wins}"));
        return;
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        if name == "LD_PRELOAD" && names(value.trim(), &library.path) {
            continue;
        }
        if is_ours(name) {
            let what = if name == "LD_PRELOAD" { ": put the library there" } else { "" };
            matters.warnings.push(format!("EnvironmentFile={path} sets {name}, and {wins}{what}"));
        }
    }
}

/// Whether the library is there for the service.
fn file(view: &View, account: &Account, library: &Path, matters: &mut Matters) {
    let name = shown(library);
    if let Some(setting) = view.hidden(library) {
        matters.errors.push(format!(
            "{setting} keeps the library out, which is at {name}: install it elsewhere, or use --mode cgroup"
        ));
        return;
    }
    if let Some(setting) = view.not_executable(library) {
        let directory = library.parent().unwrap_or(library);
        matters.errors.push(format!(
            "{setting} keeps the library out, which is at {name}: allow it (ExecPaths={}), or use --mode cgroup",
            shown(directory)
        ));
        return;
    }
    if let Some(setting) = view.unknown() {
        matters.warnings.push(format!("{setting}: the library has to be at {name} in there"));
        return;
    }
    let real = view.real(library);
    match fs::metadata(&real) {
        Err(_) if view.is_elsewhere() => {
            matters.warnings.push(format!("RootDirectory=: the library has to be at {name} in there"));
        }
        Err(_) => matters.warnings.push(format!("there is no library at {}", shown(&real))),
        Ok(found) => {
            if let Some(closed) = closed(&real, &found, account) {
                matters.errors.push(format!(
                    "the service's user may not read the library: {} is closed to it; install it below /usr/local",
                    shown(closed)
                ));
            }
        }
    }
}

/// What keeps somebody from reading a file: a directory on the way, or the file.
fn closed<'a>(path: &'a Path, file: &Metadata, account: &Account) -> Option<&'a Path> {
    let is_closed =
        |directory: &&Path| fs::metadata(directory).is_ok_and(|found| !account.may(May::Enter, &found));
    let on_the_way = path.ancestors().skip(1).find(is_closed);
    on_the_way.or((!account.may(May::Read, file)).then_some(path))
}

/// Whether the service may write the log. The library drops in silence what it cannot write.
fn log_file(view: &View, account: &Account, path: &Path, matters: &mut Matters) {
    let name = shown(path);
    let mut warn = |why: String| {
        matters
            .warnings
            .push(format!("KA_LOG={name}: {why}, and what cannot be written is dropped in silence"));
    };
    if let Some(setting) = view.hidden(path) {
        // A file in a directory of the service's own is a file.
        if !setting.starts_with("PrivateTmp") && !setting.starts_with("TemporaryFileSystem") {
            warn(format!("{setting} hides that place from the service"));
        }
        return;
    }
    if let Some(setting) = view.not_writable(path) {
        warn(format!("{setting} lets the service only read there (LogsDirectory= makes a directory for it)"));
        return;
    }
    let real = view.real(path);
    let may = match (fs::metadata(&real), real.parent().map(fs::metadata)) {
        (Ok(file), _) => account.may(May::Write, &file),
        (Err(_), Some(Ok(directory))) => {
            account.may(May::Write, &directory) && account.may(May::Enter, &directory)
        }
        // LogsDirectory= and the like make it.
        _ if view.is_made(path) => return,
        _ => return warn("its directory does not exist".into()),
    };
    if !may {
        warn("the service's user may not write there (make the file, and give it to that user)".into());
    }
}
