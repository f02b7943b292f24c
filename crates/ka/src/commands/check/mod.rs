//! `ka check`: whether and how a command would be served by the library.

pub mod args;
mod destination;
mod report;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kashim_policy::describe;
use kashim_policy::settings::Settings;
use kashim_policy::timing::Timing;
use kashim_policy::variables::{Global, Variable};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::host_port::HostPort;
use crate::cli::settings::{Given, SettingArgs};
use crate::output::escape::escaped;
use crate::output::line::line;
use crate::preload::library::Library;
use crate::preload::privilege::Caller;
use crate::preload::{self, Examined, Reach, command, library, shown, value};
use crate::tcp::defaults;
use destination::in_force;
use report::Report;

/// Checks whether the library reaches the command, and the settings.
pub fn run(args: args::CheckArgs) -> Result<Exit, Error> {
    check(args.settings, &args.command, &args.to)
}

/// Reports on this command, if there is one, the settings, and these destinations.
pub fn check(settings: SettingArgs, words: &[OsString], to: &[String]) -> Result<Exit, Error> {
    let targets = to.iter().map(|text| destination_of(text)).collect::<Result<Vec<_>, Error>>()?;
    let given = settings.over_environment()?;
    let library = library::find()?;
    let (settings, faults, of_log) = given.settings();
    let written = given.environment.rules(&faults);

    let mut report = Report::default();
    match words.first() {
        Some(called) => about_command(&mut report, &given, &library, called)?,
        None => {
            if let Some(value) = given.disabled() {
                report.not_reached(&format!("switched off by KA_DISABLE={value}"));
            }
        }
    }
    about_settings(&mut report, &settings, &library);
    for (kind, words) in given.remarks(&settings, &written) {
        report.row(kind, &words);
    }
    for fault in &faults {
        report.error(&format!("{}; {}", fault.text, fault.instead));
    }
    if let Some(text) = &of_log {
        report.error(text);
    }
    for stranger in given.environment.unknown_variables() {
        report.row("warning", &stranger);
    }
    for missing in missing_preloads() {
        report.row(
            "warning",
            &format!(
                "LD_PRELOAD names {missing}, which is not there: what is started with it runs without kashim"
            ),
        );
    }
    let disabled = Global::read(&given.environment.policy()).disabled;
    for (target, port) in &targets {
        for address in target.resolve(*port)? {
            if disabled {
                report.row("to", &format!("{address}: nothing, because KA_DISABLE is set"));
            } else {
                report.row("to", &in_force(&settings, &written, address));
            }
        }
    }
    if !targets.is_empty() && !settings.force && !disabled {
        report.row(
            "note",
            "what the program sets itself wins over that, field by field; KA_FORCE=1 reverses that",
        );
    }
    report.write()
}

/// A destination has a port: rules are about ports.
fn destination_of(text: &str) -> Result<(HostPort, u16), Error> {
    let target = HostPort::read(text)?;
    let port = target.port.ok_or_else(|| {
        let shown = escaped(text.as_bytes()).into_owned();
        Error::usage(format!("--to \"{shown}\": needs a port, as {shown}:5432, because rules may name one"))
    })?;
    Ok((target, port))
}

fn about_command(
    report: &mut Report,
    given: &Given,
    library: &Library,
    called: &OsString,
) -> Result<(), Error> {
    let policy = given.environment.policy();
    let found = command::find(called).and_then(|path| {
        preload::examine(library, called, path, policy.get(Variable::Skip), &Caller::ours())
    });
    let examined = match found {
        Ok(examined) => examined,
        // It cannot be run at all, and the rest is worth knowing all the same.
        Err(error) => {
            report.not_reached(&format!("{}: NOT reached: {error}", shown(called)));
            return Ok(());
        }
    };
    verdict(report, given, &examined);
    if let Some(chain) = examined.script() {
        report.row("script", &chain);
    }
    if let Some(loader) = &examined.loader {
        report.row("loader", &shown(loader));
    }
    for note in &examined.notes {
        report.row("note", note);
    }
    if report.is_reached() {
        let inherited = env::var_os("LD_PRELOAD").unwrap_or_default();
        report.row("preload", &shown(value::preload(&inherited, &examined.sanitizers, &library.path)));
    }
    Ok(())
}

fn verdict(report: &mut Report, given: &Given, examined: &Examined) {
    let path = shown(&examined.path);
    if let Some(value) = given.disabled() {
        report.not_reached(&format!("{path}: NOT reached: KA_DISABLE={value} switches kashim off"));
        report.row("instead", "unset KA_DISABLE");
        return;
    }
    match &examined.reach {
        Reach::Reached => report.line(&format!("{path}: reached")),
        Reach::LeftAlone(by) => report.not_reached(&format!(
            "{path}: NOT reached: {} is {}",
            shown(&examined.executed),
            by.text()
        )),
        Reach::Unreachable(unreachable) => {
            report.not_reached(&format!("{path}: NOT reached: {}", unreachable.why));
            report.row("instead", &unreachable.remedy);
            report.row(
                "or",
                "ka-run --mode cgroup (as root, since Linux 6.1): a BPF program enables keepalive",
            );
        }
        Reach::Unknown(why) => report.unsure(&format!("{path}: cannot tell: {why}")),
    }
}

fn about_settings(report: &mut Report, settings: &Settings, library: &Library) {
    let timing = Timing::new(&settings.global, &defaults::read_or_linux());
    report.row("library", &shown(&library.path));
    report.row("settings", &line(|line| describe::settings(line, settings)));
    report.row(
        "",
        &format!(
            "an idle connection is probed every {} s; a peer that does not answer is given up after {} s",
            timing.period(),
            timing.dead_after()
        ),
    );
}

/// The library as the caller's LD_PRELOAD names it, where nothing is: a crontab or a profile may name another place.
fn missing_preloads() -> Vec<String> {
    let preload = env::var_os("LD_PRELOAD").unwrap_or_default();
    let paths = preload.as_bytes().split(|byte| matches!(byte, b':' | b' '));
    let ours = paths.filter(|path| path.starts_with(b"/") && path.ends_with(b"/libkashim.so"));
    let missing = ours.map(OsStr::from_bytes).filter(|path| !Path::new(path).exists());
    missing.map(shown).collect()
}
