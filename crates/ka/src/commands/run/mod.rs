//! `ka run`, which is `ka-run`: becomes a command, with the library in front of it.

pub mod args;
pub mod usage;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use kashim_policy::variables::Variable;
use rustix::net::{AddressFamily, getpeername, ipproto, sockopt};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, refuse_bad};
use crate::commands::{check, demo, env as env_of, presets};
use crate::output::escape::escaped;
use crate::output::say::say;
use crate::preload::{self, Examined, Reach, command, library, shown, value};
use crate::process::exec;
use args::RunArgs;

/// Runs it. Returns only if there is another thing to do than to become the command, or if that fails.
pub fn run(args: RunArgs) -> Result<Exit, Error> {
    check_mode(args.mode)?;
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
        None => become_command(&args.settings.over_environment()?, &args.command),
    }
}

fn check_mode(mode: Option<OsString>) -> Result<(), Error> {
    let Some(mode) = mode.map(OsStringExt::into_vec) else { return Ok(()) };
    match mode.as_slice() {
        b"" => Err(Error::usage("--mode needs a value that is not empty; see ka-run --help")),
        b"auto" | b"preload" => Ok(()),
        b"supervise" => Err(Error::usage(
            "--mode supervise is not there yet; --mode preload reaches dynamically linked programs",
        )),
        other => Err(Error::usage(format!(
            "--mode \"{}\": no such mode; accepted: auto, preload, supervise",
            escaped(other)
        ))),
    }
}

fn become_command(given: &Given, words: &[OsString]) -> Result<Exit, Error> {
    let Some(called) = words.first() else { return Err(Error::new("which command? see ka-run --help")) };
    let library = library::find()?;
    let disabled = given.disabled();
    // Switched off, nothing is used, so nothing can be wrong.
    if disabled.is_none() {
        refuse_bad(given, "nothing was run")?;
    }
    let path = command::find(called)?;
    let mut sanitizers = Vec::new();
    if let Some(value) = disabled {
        say(&format!(
            "note: KA_DISABLE={value} switches kashim off: running \"{}\" without it",
            shown(called)
        ));
    } else {
        let policy = given.environment.policy();
        let examined = preload::examine(&library, called, path.clone(), policy.get(Variable::Skip))?;
        tell(&shown(called), &examined)?;
        look_at_stdin();
        sanitizers = examined.sanitizers;
    }
    let inherited = env::var_os("LD_PRELOAD").unwrap_or_default();
    let mut variables: Vec<_> =
        given.options.iter().map(|(variable, value, _)| (variable.text().to_vec(), value.clone())).collect();
    variables.push((b"LD_PRELOAD".to_vec(), value::preload(&inherited, &sanitizers, &library.path)));
    let error = exec::exec(&path, words, &variables);
    let text = format!("\"{}\" cannot be run: {error}", shown(called));
    Err(match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(text),
        _ => Error::cannot_execute(text),
    })
}

/// Says what there is to say about a command, or why it is not run.
fn tell(called: &str, examined: &Examined) -> Result<(), Error> {
    match &examined.reach {
        Reach::Reached => {}
        Reach::LeftAlone(by) => {
            let name = shown(&examined.executed);
            say(&format!("note: {name} is {}: running it without keepalive", by.text()));
        }
        Reach::Unknown(why) => {
            say(&format!("warning: cannot tell whether the library reaches \"{called}\": {why}"));
        }
        Reach::Unreachable(unreachable) => {
            let chain = examined.script().map(|chain| format!(" ({chain})")).unwrap_or_default();
            let mut text = format!(
                "the library does not reach \"{called}\"{chain}: {}\n{}\n",
                unreachable.why, unreachable.remedy
            );
            if unreachable.children {
                text.push_str(&format!("if only what it starts needs keepalive: ka-run env {called} ...\n"));
            }
            text.push_str("nothing was run");
            return Err(Error::new(text));
        }
    }
    Ok(())
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
