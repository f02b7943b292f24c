//! `ka run`, which is `ka-run`: becomes a command, with the library in front of it.

pub mod args;
mod mode;
pub mod usage;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kashim_policy::skip::{self, Skipped};
use kashim_policy::variables::Variable;
use rustix::net::{AddressFamily, getpeername, ipproto, sockopt};

use crate::cgroup::own::{self, Prepared};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, good_settings};
use crate::commands::{check, demo, env as env_of, presets};
use crate::output::say::say;
use crate::preload::library::Library;
use crate::preload::privilege::Caller;
use crate::preload::{self, Examined, Reach, Unreachable, command, library, shown, value};
use crate::process::exec;
use args::RunArgs;
use mode::Mode;

/// Becomes the command; returns only if there is another thing to do, or if that fails.
pub fn run(args: RunArgs) -> Result<Exit, Error> {
    let mode = args.mode.map_or(Ok(Mode::Auto), Mode::read)?;
    if args.check {
        return check::check(args.settings, &args.command, &[]);
    }
    let other = [("--env", args.env.is_some()), ("--list", args.list), ("--demo", args.demo)];
    if let Some((option, _)) = other.iter().find(|(_, given)| *given && !args.command.is_empty()) {
        return Err(Error::new(format!("{option} takes no command; see ka-run --help")));
    }
    match args.env {
        Some(form) => env_of::show(args.settings, form),
        None if args.list => presets::show(args.settings),
        None if args.demo => demo::show(args.settings),
        None => become_command(&args.settings.over_environment()?, &args.command, mode),
    }
}

fn become_command(given: &Given, words: &[OsString], mode: Mode) -> Result<Exit, Error> {
    let Some(called) = words.first() else { return Err(Error::new("which command? see ka-run --help")) };
    if let Some(value) = given.disabled() {
        // Switched off, nothing is used, so nothing can be wrong.
        let path = command::find(called)?;
        let shown = shown(called);
        say(&format!("note: KA_DISABLE={value} switches kashim off: running \"{shown}\" without it"));
        return by_preload(given, &library::find()?, &path, words, &[]);
    }
    match mode {
        Mode::Cgroup | Mode::Scope => {
            let settings = good_settings(given, "nothing was run")?;
            let path = command::find(called)?;
            let policy = given.environment.policy();
            let name = skip::base_name(called.as_bytes());
            if let Some(by @ Skipped::Named) = skip::skipped(name, policy.get(Variable::Skip)) {
                say(&format!(
                    "note: {} is {}: running it without keepalive",
                    shown(OsStr::from_bytes(name)),
                    by.text()
                ));
                return Err(failed(words, &exec::exec(&path, words, &[])));
            }
            if policy.get(Variable::Log).is_some() {
                say(
                    "warning: KA_LOG is for the library, and does nothing here; ka attached counts what was set",
                );
            }
            let prepared = own::prepare(&settings)?;
            in_cgroup(&prepared, mode, &path, words)
        }
        Mode::Auto | Mode::Preload => {
            let library = library::find()?;
            let settings = good_settings(given, "nothing was run")?;
            let path = command::find(called)?;
            let policy = given.environment.policy();
            let examined = preload::examine(
                &library,
                called,
                path.clone(),
                policy.get(Variable::Skip),
                &Caller::ours(),
            )?;
            let Reach::Unreachable(unreachable) = &examined.reach else {
                tell(&shown(called), &examined);
                look_at_stdin();
                return by_preload(given, &library, &path, words, &examined.sanitizers);
            };
            let otherwise = match mode {
                Mode::Auto => match own::prepare(&settings) {
                    Ok(prepared) => {
                        let called = shown(called);
                        say(&format!("note: no preload reaches \"{called}\": {}", unreachable.why));
                        return in_cgroup(&prepared, mode, &path, words);
                    }
                    Err(error) => format!("--mode cgroup would reach it, but not from here: {error}"),
                },
                _ => "--mode cgroup would reach it (as root, since Linux 6.1)".to_owned(),
            };
            Err(refusal(&shown(called), &examined, unreachable, &otherwise))
        }
    }
}

/// Becomes the command with the library in front of it.
fn by_preload(
    given: &Given,
    library: &Library,
    path: &Path,
    words: &[OsString],
    sanitizers: &[OsString],
) -> Result<Exit, Error> {
    let inherited = env::var_os("LD_PRELOAD").unwrap_or_default();
    let mut variables: Vec<_> =
        given.options.iter().map(|(variable, value, _)| (variable.text().to_vec(), value.clone())).collect();
    variables.push((b"LD_PRELOAD".to_vec(), value::preload(&inherited, sanitizers, &library.path)));
    Err(failed(words, &exec::exec(path, words, &variables)))
}

/// Becomes the command in a cgroup whose connections are set up by the kernel. Its environment is ours.
fn in_cgroup(prepared: &Prepared, mode: Mode, path: &Path, words: &[OsString]) -> Result<Exit, Error> {
    if let Some(warning) = &prepared.warning {
        say(&format!("warning: {warning}"));
    }
    let name = match mode {
        Mode::Scope => prepared.attach_here()?,
        _ => {
            // Without systemd-run a cgroup of our own does.
            let scope = own::in_scope(again_as_scope(words));
            let scope = scope.and_then(|scope| Some((command::find(scope.first()?).ok()?, scope)));
            if let Some((systemd_run, scope)) = scope {
                return Err(failed(&scope, &exec::exec(&systemd_run, &scope, &[])));
            }
            prepared.enter()?
        }
    };
    say(&format!("note: running it in the cgroup {name}, where a BPF program enables keepalive"));
    Err(failed(words, &exec::exec(path, words, &[])))
}

/// Our own words, but that what is to be done is done in the cgroup that we are in by then.
fn again_as_scope(command: &[OsString]) -> Vec<OsString> {
    let all: Vec<OsString> = env::args_os().collect();
    let by_name = Path::new(&all[0]).file_name().is_some_and(|name| name == "ka-run");
    let mut options = all[if by_name { 1 } else { 2 }..all.len() - command.len()].to_vec();
    if options.last().is_some_and(|last| last == "--") {
        options.pop();
    }
    options.extend(["--mode".into(), Mode::SCOPE.into(), "--".into()]);
    options.extend_from_slice(command);
    options
}

fn failed(words: &[OsString], error: &io::Error) -> Error {
    let text = format!("\"{}\" cannot be run: {error}", words.first().map(shown).unwrap_or_default());
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(text),
        _ => Error::cannot_execute(text),
    }
}

/// Says what there is to say about a command that is run.
fn tell(called: &str, examined: &Examined) {
    match &examined.reach {
        Reach::Reached | Reach::Unreachable(_) => {}
        Reach::LeftAlone(by) => {
            let name = shown(&examined.executed);
            say(&format!("note: {name} is {}: running it without keepalive", by.text()));
        }
        Reach::Unknown(why) => {
            say(&format!("warning: cannot tell whether the library reaches \"{called}\": {why}"));
        }
    }
}

/// Why a command is not run, and what to do instead.
fn refusal(called: &str, examined: &Examined, unreachable: &Unreachable, otherwise: &str) -> Error {
    let chain = examined.script().map(|chain| format!(" ({chain})")).unwrap_or_default();
    let mut text = format!(
        "the library does not reach \"{called}\"{chain}: {}\n{}\n{otherwise}\n",
        unreachable.why, unreachable.remedy
    );
    if unreachable.children {
        text.push_str(&format!("if only what it starts needs keepalive: ka-run env {called} ...\n"));
    }
    text.push_str("nothing was run");
    Error::new(text)
}

/// Warns if standard input is a TCP connection: it was there before the library, so no hook has seen it.
fn look_at_stdin() {
    let stdin = io::stdin();
    let is_ip = sockopt::socket_domain(&stdin)
        .is_ok_and(|domain| matches!(domain, AddressFamily::INET | AddressFamily::INET6));
    let is_tcp =
        is_ip && sockopt::socket_protocol(&stdin).is_ok_and(|protocol| protocol == Some(ipproto::TCP));
    if is_tcp && getpeername(&stdin).is_ok() {
        say(
            "warning: standard input is a TCP connection that was there before the command (inetd, Accept=yes)\n\
             no preload gives it keepalive: use KeepAlive= in the systemd socket unit, or run what accepts it under ka-run",
        );
    }
}
