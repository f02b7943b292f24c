//! Which of a unit's own settings matter for the library, and which do not.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kashim_policy::log::Log;

use super::account::{Account, May};
use super::syntax::settings;
use super::unit::{Unit, is_true};
use super::view::View;
use super::{environment, filter, programs};
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
    let started = programs::started(unit);
    // Where all of them are started without it, the sandbox is no matter.
    let is_full = !started.is_empty() && started.iter().all(|one| one.is_full);
    let is_root = !started.is_empty() && started.iter().all(|one| one.is_root);
    let view = if is_full { View::plain(root) } else { View::of(unit, root) };
    let account = if is_root { Account::root() } else { Account::of(unit, root) };
    filter::look(unit, log, &mut matters);
    environment::look(unit, root, library, variables, &mut matters);
    file(&view, &account, &library.path, root, &mut matters);
    if let Log::Path(path) = log {
        log_file(&view, &account, Path::new(OsStr::from_bytes(path)), &mut matters);
    }
    for word in unit.unknown_words(&SPECIFIERS) {
        matters.warnings.push(format!("{word}: cannot tell what that stands for, so it was not looked at"));
    }
    others(unit, root, true, &started, &mut matters);
    if !programs::ends_at_once(&started) {
        programs::look(&started, &view, &account, library, &mut matters);
    }
    let harmless = unit.has(&NO_OBSTACLE);
    if !harmless.is_empty() {
        matters.notes.push(format!("no obstacle to the library: {}=", harmless.join("=, ")));
    }
    matters
}

/// Looks at a unit that the kernel's program is to be attached to.
pub fn for_cgroup(unit: &Unit, root: &Path) -> Matters {
    let mut matters = Matters::default();
    others(unit, root, false, &programs::started(unit), &mut matters);
    matters
}

/// Settings whose specifiers have to be known.
const SPECIFIERS: [&str; 10] = [
    "User",
    "Group",
    "SupplementaryGroups",
    "InaccessiblePaths",
    "TemporaryFileSystem",
    "NoExecPaths",
    "ExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "UnsetEnvironment",
];

/// Whether it is other units that have the processes, or the sockets.
fn others(unit: &Unit, root: &Path, preload: bool, started: &[programs::Started], matters: &mut Matters) {
    if programs::ends_at_once(started) {
        matters.errors.push(
            "it starts nothing but true(1): its processes belong to other units (systemctl list-dependencies shows \
             them), such as postgresql@15-main, or postfix@-; give one of these"
                .into(),
        );
    }
    for (name, text) in unit.sockets(root) {
        let accepts = settings(&text, "Socket").into_iter().rev().find(|(setting, _)| setting == "Accept");
        let accepts = accepts.is_some_and(|(_, value)| is_true(&value));
        // What the service accepts from systemd's listener it accepts itself.
        if accepts || !preload {
            matters.errors.push(format!(
                "systemd {} its connections ({name}), and no keepalive of ours is for these: set KeepAlive=yes, \
                 KeepAliveTimeSec=, KeepAliveIntervalSec= and KeepAliveProbes= in {name}",
                if accepts { "accepts" } else { "listens for" }
            ));
        }
    }
}

/// Whether the library is there for the service.
fn file(view: &View, account: &Account, library: &Path, root: &Path, matters: &mut Matters) {
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
            if let Some(closed) = closed(&real, &found, account, root) {
                matters.errors.push(format!(
                    "the service's user may not read the library: {} is closed to it; install it below /usr/local",
                    shown(closed)
                ));
            }
        }
    }
}

/// What keeps somebody from reading a file: a directory on the way, or the file.
fn closed<'a>(path: &'a Path, file: &Metadata, account: &Account, root: &Path) -> Option<&'a Path> {
    let is_closed =
        |directory: &&Path| fs::metadata(directory).is_ok_and(|found| !account.may(May::Enter, &found));
    // Above an image is what is above it today.
    let on_the_way = path.ancestors().skip(1).take_while(|directory| *directory != root).find(is_closed);
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
    if view.is_made(path) {
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
        _ => return warn("its directory does not exist".into()),
    };
    if !may {
        warn("the service's user may not write there (make the file, and give it to that user)".into());
    }
}
