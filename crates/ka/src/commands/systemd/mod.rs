//! `ka systemd`: a drop-in that puts a service under the library, or under a program in the kernel.

mod account;
pub mod args;
mod environment;
mod files;
mod filter;
mod matters;
mod names;
mod programs;
mod syntax;
mod unit;
mod view;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use kashim_policy::variables::{Global, Variable};

use crate::cli::environment::text_of;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, good_settings_for_elsewhere};
use crate::output::escape::without_controls;
use crate::output::print::print;
use crate::output::say::say;
use crate::preload::{library, shown, value};
use args::{Mode, SystemdArgs};
use files::{File, dropin, heading, quoted, with_specifiers};
use matters::Matters;
use names::below;
use unit::Unit;

/// Prints, writes or removes the files.
pub fn run(args: SystemdArgs) -> Result<Exit, Error> {
    if !args.root.is_dir() {
        return Err(Error::new(format!("--root {}: there is no such directory", shown(&args.root))));
    }
    let unit = Unit::read(&args.unit, &args.root)?;
    if args.remove {
        return remove(&unit, &args.root);
    }
    let given = args.settings.over_environment()?;
    if let Some(value) = given.disabled() {
        return Err(Error::new(format!("KA_DISABLE={value} switches kashim off; unset it")));
    }
    let settings = good_settings_for_elsewhere(&given, "nothing was printed")?;
    let (file, mut matters) = match args.mode {
        Mode::Preload => for_preload(&unit, &args.root, &given)?,
        Mode::Cgroup => for_cgroup(&unit, &args.root, &given, settings.force)?,
    };
    look_at_unit(&unit, &args.unit, &args.root, &mut matters);
    for (kind, texts) in
        [("error", &matters.errors), ("warning", &matters.warnings), ("note", &matters.notes)]
    {
        for text in texts {
            // What comes from a unit's files may hold anything.
            say(&without_controls(&format!("{kind}: {}: {text}", unit.name)));
        }
    }
    if !args.write {
        print(file.text)?;
        return Ok(if matters.errors.is_empty() { Exit::Yes } else { Exit::No });
    }
    if !matters.errors.is_empty() {
        return Err(Error::new("nothing was written"));
    }
    file.write(&args.root)?;
    print(format!("written: {}\n{}", shown(&file.path), what_is_left_to_do(&unit, &args.root)))?;
    Ok(Exit::Yes)
}

/// Says what is odd about the unit's own files.
fn look_at_unit(unit: &Unit, given: &OsStr, root: &Path, matters: &mut Matters) {
    if given != unit.name.as_str() && Some(given.as_bytes()) != unit.name.as_bytes().strip_suffix(b".service")
    {
        matters.notes.insert(0, format!("that is the unit's own name; {} leads to it", shown(given)));
    }
    if unit.masked {
        matters.warnings.push("it is masked: nobody can start it".into());
    } else if unit.file.is_none() {
        matters.errors.push(format!("there is no such unit below {}", shown(root)));
    }
    for path in &unit.unread {
        matters.warnings.push(format!("{} cannot be read, so what it says was not looked at", shown(path)));
    }
}

/// How what was written or removed comes into force.
fn what_is_left_to_do(unit: &Unit, root: &Path) -> String {
    if root != Path::new("/") {
        return String::new();
    }
    let then = if unit.file.is_none() || unit.masked {
        String::new()
    } else if unit.runs_once() {
        " (it counts from the next start)".to_owned()
    } else if unit.is_template() {
        format!(" && systemctl try-restart '{}'", unit.name.replace("@.", "@*."))
    } else {
        // Not restart: what does not run stays so.
        format!(" && systemctl try-restart {}", unit.name)
    };
    format!("to put it into force: systemctl daemon-reload{then}\n")
}

/// Removes what is ours, under each name of the unit.
fn remove(unit: &Unit, root: &Path) -> Result<Exit, Error> {
    let names = std::iter::once(&unit.name).chain(&unit.aliases);
    let all = files::removable(names.map(|name| dropin(root, name)).collect(), root)?;
    if all.is_empty() {
        say(&format!("nothing of ka's is there for {}", unit.name));
        return Ok(Exit::No);
    }
    all.iter().try_for_each(|path| files::remove(path))?;
    let removed: String = all.iter().map(|path| format!("removed: {}\n", shown(path))).collect();
    print(removed + &what_is_left_to_do(unit, root))?;
    Ok(Exit::Yes)
}

/// The drop-in for the library.
fn for_preload(unit: &Unit, root: &Path, given: &Given) -> Result<(File, Matters), Error> {
    let library = library::find()?;
    // What the unit preloads already stays, behind the library.
    let there = unit
        .values_before("Environment")
        .into_iter()
        .flat_map(syntax::words)
        .filter_map(|word| word.strip_prefix("LD_PRELOAD=").map(str::to_owned))
        .next_back();
    let preloads = value::preload(&OsString::from(there.unwrap_or_default()), &[], &library.path);
    let cannot = || Error::new("the library's path, or what the unit preloads, cannot stand in a unit");
    let preloads =
        preloads.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(cannot)?.to_owned();
    let ours = library.path.to_str().ok_or_else(cannot)?;
    let mut text = heading(&unit.name);
    text += "[Service]\n";
    // What the unit has may hold specifiers, which stay.
    let preloads = preloads.replace(ours, &ours.replace('%', "%%"));
    let _ = writeln!(text, "Environment={}", with_specifiers(&format!("LD_PRELOAD={preloads}")));
    let variables = variables(given)?.into_iter();
    let mut variables: Vec<_> = variables.map(|(variable, value)| (text_of(variable), value)).collect();
    text += &lines(&variables);
    variables.push(("LD_PRELOAD".into(), preloads));
    let log = Global::read(&given.environment.policy()).log;
    let matters = matters::for_preload(unit, root, &library, &variables, log);
    Ok((File { path: dropin(root, &unit.name), text }, matters))
}

/// The drop-in that has the kernel's program attached whenever the service starts. Not by BPFProgram=: systemd attaches that
/// at the first start only, and takes it away for a moment at each daemon-reload (seen with systemd 252).
fn for_cgroup(unit: &Unit, root: &Path, given: &Given, force: bool) -> Result<(File, Matters), Error> {
    let ka = env::current_exe().map_err(|error| Error::new(format!("cannot find myself: {error}")))?;
    // systemd takes none of these in the name of what it executes.
    let cannot = |letter: char| letter.is_control() || matches!(letter, '"' | '\'' | '\\');
    let Some(path) = ka.to_str().filter(|path| !path.contains(cannot)) else {
        return Err(Error::new(format!("{}: a unit cannot execute what is called so", shown(&ka))));
    };
    let mut matters = matters::for_cgroup(unit, root);
    if !below(root, path).exists() {
        matters.warnings.push(format!("there is no ka at {path} below {}", shown(root)));
    }
    let mut options = String::new();
    for (variable, value) in variables(given)? {
        let option = match variable {
            Variable::Idle => "--idle",
            Variable::Interval => "--interval",
            Variable::Count => "--count",
            Variable::UserTimeout => "--user-timeout",
            Variable::Rules => "--rule",
            Variable::Log | Variable::Skip if !value.is_empty() => {
                let name = text_of(variable);
                matters
                    .warnings
                    .push(format!("{name} is the library's: the program in the kernel does not know it"));
                continue;
            }
            _ => continue,
        };
        if !value.is_empty() {
            // Variables are put in where a dollar sign stands.
            let _ = write!(options, " {option} {}", quoted(&value.replace('$', "$$")));
        }
    }
    if force {
        options += " --force";
    }
    let mut text = heading(&unit.name);
    // The service starts also where that fails (-), and its user and its sandbox do not matter (+).
    let _ =
        write!(text, "[Service]\nExecStartPre=-+{} attach %n{options}\n", quoted(&path.replace('$', "$$")));
    Ok((File { path: dropin(root, &unit.name), text }, matters))
}

/// The variables that are set.
fn variables(given: &Given) -> Result<Vec<(Variable, String)>, Error> {
    let policy = given.environment.policy();
    let mut found = Vec::new();
    for &variable in Variable::ALL {
        let Some(value) = policy.get(variable) else { continue };
        let value = std::str::from_utf8(value).ok().map(|value| match variable {
            // Rules may stand in lines, with any blanks.
            Variable::Rules => value.replace('\n', ";").replace(['\t', '\r'], " "),
            _ => value.to_owned(),
        });
        let value = value.filter(|value| !value.chars().any(char::is_control));
        let value = value
            .ok_or_else(|| Error::new(format!("{} has a byte that a unit cannot have", text_of(variable))))?;
        found.push((variable, value));
    }
    Ok(found)
}

/// A line for each.
fn lines(variables: &[(String, String)]) -> String {
    variables
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use super::*;

    /// A unit with these lines in its section [Service].
    fn unit(name: &str, lines: &str) -> Unit {
        let root = temp_dir::TempDir::new().unwrap();
        let directory = root.path().join("etc/systemd/system");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), format!("[Service]\n{lines}\n")).unwrap();
        Unit::read(OsStr::new(name), root.path()).unwrap()
    }

    #[test]
    fn what_does_not_run_is_not_started() {
        let of = |unit: &Unit| what_is_left_to_do(unit, Path::new("/"));
        let begun = "to put it into force: systemctl daemon-reload";
        let ordinary = unit("a.service", "Type=notify");
        assert_eq!(of(&ordinary), format!("{begun} && systemctl try-restart a.service\n"));
        assert_eq!(what_is_left_to_do(&ordinary, Path::new("/img")), "");
        let once = unit("a.service", "Type=oneshot");
        assert_eq!(of(&once), format!("{begun} (it counts from the next start)\n"));
        let template = unit("a@.service", "");
        assert_eq!(of(&template), format!("{begun} && systemctl try-restart 'a@*.service'\n"));
        let gone = Unit::read(OsStr::new("b"), Path::new("/no/such")).unwrap();
        assert_eq!(of(&gone), format!("{begun}\n"));
    }
}
