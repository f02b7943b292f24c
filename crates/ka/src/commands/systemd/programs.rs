//! Whether a preload reaches what a service starts.

use std::ffi::OsStr;
use std::path::Path;

use super::account::Account;
use super::matters::Matters;
use super::syntax::words;
use super::unit::Unit;
use super::view::View;
use crate::cli::error::Error;
use crate::preload::library::Library;
use crate::preload::{self, Reach};

/// Where systemd looks for a name.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What a line of ExecStart= starts.
#[derive(Debug)]
pub struct Started {
    /// As the unit has it.
    shown: String,
    /// With what its specifiers stand for, if we know that.
    path: Option<String>,
    /// Nothing of the unit's user and sandbox is for it (+).
    pub is_full: bool,
    /// Nothing of the unit's user (+ and !, but not !!, which is for old kernels).
    pub is_root: bool,
}

/// All that the unit starts.
pub fn started(unit: &Unit) -> Vec<Started> {
    let mut found = Vec::new();
    for line in unit.values("ExecStart") {
        for command in words(line).split(|word| word == ";") {
            let Some(word) = command.first() else { continue };
            let marks = word.len() - word.trim_start_matches(['@', '-', ':', '+', '!', '|']).len();
            let (marks, program) = word.split_at(marks);
            found.push(Started {
                shown: program.to_owned(),
                path: unit.expanded(program).filter(|path| !path.is_empty()),
                is_full: marks.contains('+'),
                is_root: marks.contains('+') || marks.contains('!') && !marks.contains("!!"),
            });
        }
    }
    found
}

/// The processes of such a unit are elsewhere.
pub fn ends_at_once(started: &[Started]) -> bool {
    let is_true =
        |one: &Started| one.path.as_ref().is_some_and(|path| path.ends_with("/true") || path == "true");
    !started.is_empty() && started.iter().all(is_true)
}

/// Says which programs of the unit it does not reach. It is an error if it reaches none.
pub fn look(started: &[Started], view: &View, account: &Account, library: &Library, matters: &mut Matters) {
    let (mut reached, mut others) = (0, Vec::new());
    for Started { shown, path, is_root, .. } in started {
        let mut cannot_tell = |why: &str| {
            matters.warnings.push(format!("ExecStart={shown}: cannot tell whether it is reached: {why}"))
        };
        let Some(path) = path else {
            cannot_tell("what it starts depends on more than the unit");
            continue;
        };
        if let Some(setting) = view.unknown() {
            cannot_tell(&format!("it is inside of {setting}"));
            continue;
        }
        match examine(path, view, account, *is_root, library) {
            Ok(Reach::Unreachable(unreachable)) => others.push((path, unreachable.why)),
            Ok(Reach::LeftAlone(by)) => others.push((path, format!("it is {}", by.text()))),
            Ok(Reach::Unknown(why)) => cannot_tell(&why),
            Ok(Reach::Reached) => reached += 1,
            Err(error) => cannot_tell(&error.to_string()),
        }
    }
    for (program, why) in others {
        let text = format!("ExecStart={program}: no preload reaches it: {why}; --mode cgroup does");
        if reached == 0 { matters.errors.push(text) } else { matters.warnings.push(text) }
    }
}

fn examine(
    program: &str,
    view: &View,
    account: &Account,
    as_root: bool,
    library: &Library,
) -> Result<Reach, Error> {
    let path = if program.starts_with('/') {
        view.real(Path::new(program))
    } else {
        let mut places = DIRECTORIES.iter().map(|directory| view.real(&Path::new(directory).join(program)));
        places.find(|path| path.exists()).unwrap_or_else(|| view.real(Path::new(program)))
    };
    if !path.exists() {
        return Err(Error::new("there is no such file"));
    }
    Ok(preload::examine(library, OsStr::new(program), path, None, &account.caller(as_root))?.reach)
}
