//! `ka systemd`: a drop-in that puts a service under the library, or under a program in the kernel.

pub mod args;
mod files;
mod matters;
mod unit;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use kashim_policy::variables::Variable;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, good_settings};
use crate::output::print::print;
use crate::output::say::say;
use crate::preload::{library, shown, value};
use args::{Mode, SystemdArgs};
use files::{DROPIN, File, dropin, heading, pinning_path, pinning_unit, quoted, with_specifiers};
use matters::Matters;
use unit::Unit;

/// Prints, writes or removes the files.
pub fn run(args: SystemdArgs) -> Result<Exit, Error> {
    let unit = Unit::read(&args.unit, &args.root, DROPIN)?;
    if !args.root.is_dir() {
        return Err(Error::new(format!("--root {}: there is no such directory", shown(&args.root))));
    }
    if args.remove {
        return remove(&unit.name, &args.root);
    }
    let given = args.settings.over_environment()?;
    if let Some(value) = given.disabled() {
        return Err(Error::new(format!("KA_DISABLE={value} switches kashim off; unset it")));
    }
    let settings = good_settings(&given, "nothing was printed")?;
    let (files, mut matters) = match args.mode {
        Mode::Preload => for_preload(&unit, &args.root, &given)?,
        Mode::Cgroup => (for_cgroup(&unit.name, &args.root, &given, settings.force)?, Matters::default()),
    };
    if unit.masked {
        say(&format!("warning: {} is masked: nobody can start it", unit.name));
    } else if unit.file.is_none() {
        matters.errors.push(format!("there is no such unit below {}", shown(&args.root)));
    }
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
    files.iter().try_for_each(|file| file.check(&args.root))?;
    if args.mode == Mode::Preload {
        files::check_removal(&pinning_path(&args.root, &unit.name))?;
    }
    files.iter().try_for_each(File::write)?;
    // What an earlier --mode cgroup has left.
    let pinning = pinning_path(&args.root, &unit.name);
    let switched = args.mode == Mode::Preload && files::remove(&pinning)?;
    if switched {
        print(format!("removed: {}\n", shown(&pinning)))?;
    }
    for file in &files {
        print(format!("written: {}\n", shown(&file.path)))?;
    }
    say_how(&unit.name, switched)
}

/// Says what is left to do; where the unit that pins has gone, its program is to go too.
fn say_how(unit: &str, pinning_has_gone: bool) -> Result<Exit, Error> {
    let stop =
        if pinning_has_gone { format!("systemctl stop {}; ", pinning_unit(unit)) } else { String::new() };
    print(format!("to put it into force: {stop}systemctl daemon-reload && systemctl restart {unit}\n"))?;
    Ok(Exit::Yes)
}

fn remove(unit: &str, root: &Path) -> Result<Exit, Error> {
    let mut any = false;
    let mut pinning_has_gone = false;
    let paths = [dropin(root, unit), pinning_path(root, unit)];
    // All or nothing.
    for path in &paths {
        files::check_removal(path)?;
    }
    for path in paths {
        // The one of the unit that pins comes last.
        pinning_has_gone = files::remove(&path)?;
        if pinning_has_gone {
            print(format!("removed: {}\n", shown(&path)))?;
        }
        any |= pinning_has_gone;
    }
    if any {
        return say_how(unit, pinning_has_gone);
    }
    say(&format!("nothing of ka's is there for {unit}"));
    Ok(Exit::No)
}

/// The drop-in for the library.
fn for_preload(unit: &Unit, root: &Path, given: &Given) -> Result<(Vec<File>, Matters), Error> {
    let library = library::find()?;
    let matters = matters::for_preload(unit, root, &library);
    // What the unit preloads already stays, behind the library.
    let mut there = unit
        .words("Environment")
        .into_iter()
        .filter_map(|word| word.strip_prefix("LD_PRELOAD=").map(str::to_owned));
    let preloads = value::preload(&OsString::from(there.next_back().unwrap_or_default()), &[], &library.path);
    let cannot = || Error::new("the library's path, or what the unit preloads, cannot stand in a unit");
    let preloads =
        preloads.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(cannot)?.to_owned();
    let ours = library.path.to_str().ok_or_else(cannot)?;
    let mut text = heading(&unit.name);
    text += "[Service]\n";
    // What the unit has may hold specifiers, which stay.
    let preloads = preloads.replace(ours, &ours.replace('%', "%%"));
    let _ = writeln!(text, "Environment={}", with_specifiers(&format!("LD_PRELOAD={preloads}")));
    text += &variables(given, &[])?;
    Ok((vec![File { path: dropin(root, &unit.name), text }], matters))
}

/// The drop-in for a program that systemd attaches, and the unit that pins it.
fn for_cgroup(unit: &str, root: &Path, given: &Given, force: bool) -> Result<Vec<File>, Error> {
    let pinning = pinning_unit(unit);
    // Of a template, each instance has its own.
    let whose = unit.replace("@.", "@%i.");
    let pinning = pinning.replace("@.", "@%i.");
    // A name in a BPF file system has no dots, and that of a unit none of these.
    let pin = format!("/sys/fs/bpf/kashim-{}", whose.replace('.', "~").replace('\\', "+"));
    let ka = env::current_exe().map_err(|error| Error::new(format!("cannot find myself: {error}")))?;
    let ka = ka.to_str().filter(|path| !path.chars().any(char::is_control));
    let ka = quoted(ka.ok_or_else(|| Error::new("the path of ka cannot stand in a unit"))?);
    let variables = variables(given, &[Variable::Log, Variable::Skip])?;
    let mut first = heading(unit);
    // PartOf=: a restart of the service pins the program anew, with what is said then.
    let _ = write!(
        first,
        "[Unit]\nDescription=Keepalive program for {whose}\nDocumentation=man:ka-attach(1)\n\
         RequiresMountsFor=/sys/fs/bpf\nBefore={whose}\nPartOf={whose}\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n{variables}\
         ExecStart={ka} attach --pin {pin}\nExecStop=-/bin/rm -f {pin} {pin}-hold\n"
    );
    let mut second = heading(unit);
    // Not Requires=: the service starts also where the program cannot be pinned.
    let _ =
        write!(second, "[Unit]\nWants={pinning}\nAfter={pinning}\n\n[Service]\nBPFProgram=sock_ops:{pin}\n");
    if force {
        let _ = writeln!(second, "BPFProgram=setsockopt:{pin}-hold");
    }
    Ok(vec![
        File { path: pinning_path(root, unit), text: first },
        File { path: dropin(root, unit), text: second },
    ])
}

/// The variables that are set, a line each.
fn variables(given: &Given, but: &[Variable]) -> Result<String, Error> {
    let policy = given.environment.policy();
    let mut text = String::new();
    for &variable in Variable::ALL.iter().filter(|variable| !but.contains(variable)) {
        let Some(value) = policy.get(variable) else { continue };
        let name = String::from_utf8_lossy(variable.text());
        let value = std::str::from_utf8(value).ok().map(|value| match variable {
            // Rules may stand in lines.
            Variable::Rules => value.replace('\n', ";"),
            _ => value.to_owned(),
        });
        let value = value.filter(|value| !value.chars().any(char::is_control));
        let value = value.ok_or_else(|| Error::new(format!("{name} has a byte that a unit cannot have")))?;
        let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}")));
    }
    Ok(text)
}
