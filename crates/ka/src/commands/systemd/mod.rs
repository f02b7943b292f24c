//! `ka systemd`: a drop-in that puts a service under the library, or under a program in the kernel.

mod account;
pub mod args;
mod files;
mod filter;
mod matters;
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

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, good_settings_for_elsewhere};
use crate::output::print::print;
use crate::output::say::say;
use crate::preload::{library, shown, value};
use args::{Mode, SystemdArgs};
use files::{File, dropin, heading, pinning_path, pinning_unit, quoted, with_specifiers};
use matters::Matters;
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
    let (files, mut matters) = match args.mode {
        Mode::Preload => for_preload(&unit, &args.root, &given)?,
        Mode::Cgroup => for_cgroup(&unit, &args.root, &given, settings.force)?,
    };
    look_at_files(&unit, &args.unit, &args.root, &mut matters);
    for (kind, texts) in
        [("error", &matters.errors), ("warning", &matters.warnings), ("note", &matters.notes)]
    {
        for text in texts {
            say(&format!("{kind}: {}: {text}", unit.name));
        }
    }
    if !args.write {
        let several = files.len() > 1;
        let texts = files.iter().map(|file| match several {
            // As systemctl cat does.
            true => format!("# {}\n{}", shown(&file.path), file.text),
            false => file.text.clone(),
        });
        print(texts.collect::<Vec<_>>().join("\n"))?;
        return Ok(if matters.errors.is_empty() { Exit::Yes } else { Exit::No });
    }
    if !matters.errors.is_empty() {
        return Err(Error::new("nothing was written"));
    }
    // What an earlier --mode cgroup has left.
    let left = match args.mode {
        Mode::Preload => files::removable(vec![pinning_path(&args.root, &unit.name)], &args.root)?,
        Mode::Cgroup => Vec::new(),
    };
    files::write(&files, &args.root)?;
    left.iter().try_for_each(|path| files::remove(path))?;
    let mut text = String::new();
    for path in &left {
        let _ = writeln!(text, "removed: {}", shown(path));
    }
    for file in &files {
        let _ = writeln!(text, "written: {}", shown(&file.path));
    }
    print(text + &what_is_left_to_do(&unit, &args.root, !left.is_empty()))?;
    Ok(Exit::Yes)
}

/// Says what is odd about the unit's own files.
fn look_at_files(unit: &Unit, given: &OsStr, root: &Path, matters: &mut Matters) {
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

/// How what was written or removed comes into force. Where the unit that pins has gone, its program is to go too.
fn what_is_left_to_do(unit: &Unit, root: &Path, pinning_has_gone: bool) -> String {
    if root != Path::new("/") {
        return String::new();
    }
    let name = |name: &str| match unit.is_template() {
        // All of its instances.
        true => format!("'{}'", name.replace("@.", "@*.")),
        false => name.to_owned(),
    };
    let stop = match pinning_has_gone {
        true => format!("systemctl stop {}; ", name(&pinning_unit(&unit.name))),
        false => String::new(),
    };
    let (restart, then) = if unit.file.is_none() || unit.masked {
        (String::new(), "")
    } else if unit.runs_once() {
        (String::new(), " (it counts from the next start)")
    } else {
        // Not restart: what does not run stays so.
        (format!(" && systemctl try-restart {}", name(&unit.name)), "")
    };
    format!("to put it into force: {stop}systemctl daemon-reload{restart}{then}\n")
}

/// Removes what is ours, under each name of the unit.
fn remove(unit: &Unit, root: &Path) -> Result<Exit, Error> {
    let names = || std::iter::once(&unit.name).chain(&unit.aliases);
    let pinning = files::removable(names().map(|name| pinning_path(root, name)).collect(), root)?;
    let mut all = files::removable(names().map(|name| dropin(root, name)).collect(), root)?;
    let pinning_has_gone = !pinning.is_empty();
    all.extend(pinning);
    if all.is_empty() {
        say(&format!("nothing of ka's is there for {}", unit.name));
        return Ok(Exit::No);
    }
    all.iter().try_for_each(|path| files::remove(path))?;
    let removed: String = all.iter().map(|path| format!("removed: {}\n", shown(path))).collect();
    print(removed + &what_is_left_to_do(unit, root, pinning_has_gone))?;
    Ok(Exit::Yes)
}

/// The drop-in for the library.
fn for_preload(unit: &Unit, root: &Path, given: &Given) -> Result<(Vec<File>, Matters), Error> {
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
    let mut variables = variables(given, &[])?;
    text += &lines(&variables);
    variables.push(("LD_PRELOAD".into(), preloads));
    let log = Global::read(&given.environment.policy()).log;
    let matters = matters::for_preload(unit, root, &library, &variables, log);
    Ok((vec![File { path: dropin(root, &unit.name), text }], matters))
}

/// The drop-in for a program that systemd attaches, and the unit that pins it.
fn for_cgroup(unit: &Unit, root: &Path, given: &Given, force: bool) -> Result<(Vec<File>, Matters), Error> {
    let name = &unit.name;
    let mut matters = Matters::default();
    let pinning = pinning_unit(name);
    // Of a template, each instance has its own.
    let whose = name.replace("@.", "@%i.");
    let pinning = pinning.replace("@.", "@%i.");
    if unit.is_template() {
        matters.warnings.push(
            "an instance with a dot in its name gets no keepalive, since a BPF file system takes no such name: run ka \
             systemd for each of these"
                .into(),
        );
    }
    // A name in a BPF file system has no dots, and that of a unit none of these.
    let pin = format!("/sys/fs/bpf/kashim-{}", whose.replace('.', "~").replace('\\', "+"));
    let ka = env::current_exe().map_err(|error| Error::new(format!("cannot find myself: {error}")))?;
    // systemd takes none of these in the name of what it executes.
    let cannot = |letter: char| letter.is_control() || matches!(letter, '"' | '\'' | '\\');
    let Some(path) = ka.to_str().filter(|path| !path.contains(cannot)) else {
        return Err(Error::new(format!("{}: a unit cannot execute what is called so", shown(&ka))));
    };
    if !root.join(path.trim_start_matches('/')).exists() {
        matters.warnings.push(format!("there is no ka at {path} below {}", shown(root)));
    }
    let ka = quoted(path);
    const NOT_IN_THE_KERNEL: [Variable; 2] = [Variable::Log, Variable::Skip];
    for variable in NOT_IN_THE_KERNEL {
        if given.environment.policy().get(variable).is_some_and(|value| !value.is_empty()) {
            let name = String::from_utf8_lossy(variable.text());
            matters
                .warnings
                .push(format!("{name} is the library's: the program in the kernel does not know it"));
        }
    }
    let variables = lines(&variables(given, &NOT_IN_THE_KERNEL)?);
    let mut first = heading(name);
    // DefaultDependencies=: a service that starts early has to wait for it. PartOf=: a restart of the service pins the
    // program anew, with what is said then.
    let _ = write!(
        first,
        "[Unit]\nDescription=Keepalive program for {whose}\nDocumentation=man:ka-attach(1)\n\
         DefaultDependencies=no\nRequiresMountsFor=/sys/fs/bpf {ka}\nBefore={whose} shutdown.target\n\
         Conflicts=shutdown.target\nPartOf={whose}\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n{variables}\
         ExecStart={ka} attach --pin {pin}\nExecStop=-/bin/rm -f {pin} {pin}-hold\n"
    );
    let mut second = heading(name);
    // Not Requires=: the service starts also where the program cannot be pinned.
    let _ =
        write!(second, "[Unit]\nWants={pinning}\nAfter={pinning}\n\n[Service]\nBPFProgram=sock_ops:{pin}\n");
    if force {
        let _ = writeln!(second, "BPFProgram=setsockopt:{pin}-hold");
    }
    let files = vec![
        File { path: pinning_path(root, name), text: first },
        File { path: dropin(root, name), text: second },
    ];
    Ok((files, matters))
}

/// The variables that are set.
fn variables(given: &Given, but: &[Variable]) -> Result<Vec<(String, String)>, Error> {
    let policy = given.environment.policy();
    let mut found = Vec::new();
    for &variable in Variable::ALL.iter().filter(|variable| !but.contains(variable)) {
        let Some(value) = policy.get(variable) else { continue };
        let name = String::from_utf8_lossy(variable.text());
        let value = std::str::from_utf8(value).ok().map(|value| match variable {
            // Rules may stand in lines, with any blanks.
            Variable::Rules => value.replace('\n', ";").replace(['\t', '\r'], " "),
            _ => value.to_owned(),
        });
        let value = value.filter(|value| !value.chars().any(char::is_control));
        let value = value.ok_or_else(|| Error::new(format!("{name} has a byte that a unit cannot have")))?;
        found.push((name.into_owned(), value));
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
        let of = |unit: &Unit, gone| what_is_left_to_do(unit, Path::new("/"), gone);
        let ordinary = unit("a.service", "Type=notify");
        assert_eq!(
            of(&ordinary, false),
            "to put it into force: systemctl daemon-reload && systemctl try-restart a.service\n"
        );
        assert_eq!(what_is_left_to_do(&ordinary, Path::new("/img"), true), "");
        let once = unit("a.service", "Type=oneshot");
        assert_eq!(
            of(&once, false),
            "to put it into force: systemctl daemon-reload (it counts from the next start)\n"
        );
        let template = unit("a@.service", "");
        assert_eq!(
            of(&template, true),
            "to put it into force: systemctl stop 'kashim-for-a@*.service'; systemctl daemon-reload && systemctl \
             try-restart 'a@*.service'\n"
        );
        let gone = Unit::read(OsStr::new("b"), Path::new("/no/such")).unwrap();
        assert_eq!(
            of(&gone, true),
            "to put it into force: systemctl stop kashim-for-b.service; systemctl daemon-reload\n"
        );
    }
}
