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

/// Says which programs of the unit it does not reach. It is an error if it reaches none.
pub fn look(unit: &Unit, view: &View, account: &Account, library: &Library, matters: &mut Matters) {
    let (mut reached, mut others) = (0, Vec::new());
    for line in unit.values("ExecStart") {
        let word = words(line).into_iter().next().unwrap_or_default();
        let marks = word.len() - word.trim_start_matches(['@', '-', ':', '+', '!', '|']).len();
        let (marks, program) = word.split_at(marks);
        let mut cannot_tell = |why: &str| {
            matters.warnings.push(format!("ExecStart={program}: cannot tell whether it is reached: {why}"))
        };
        let Some(path) = unit.expanded(program).filter(|path| !path.is_empty()) else {
            cannot_tell("what it starts depends on more than the unit");
            continue;
        };
        if let Some(setting) = view.unknown() {
            cannot_tell(&format!("it is inside of {setting}"));
            continue;
        }
        if Path::new(&path).file_name() == Some("true".as_ref()) {
            let why = "it ends at once: the processes belong to other units, as postgresql@15-main's";
            others.push((program.to_owned(), why.to_owned(), "give one of these"));
            continue;
        }
        let as_root = marks.contains(['+', '!']);
        let cgroup = "--mode cgroup does";
        match examine(&path, view, account, as_root, library) {
            Ok(Reach::Unreachable(unreachable)) => others.push((path, unreachable.why, cgroup)),
            Ok(Reach::LeftAlone(by)) => others.push((path, format!("it is {}", by.text()), cgroup)),
            Ok(Reach::Unknown(why)) => cannot_tell(&why),
            Ok(Reach::Reached) => reached += 1,
            Err(error) => cannot_tell(&error.to_string()),
        }
    }
    for (program, why, remedy) in others {
        let text = format!("ExecStart={program}: no preload reaches it: {why}; {remedy}");
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
