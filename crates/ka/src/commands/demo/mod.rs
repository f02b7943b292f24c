//! `ka demo`: shows on loopback what the library does, with a program that is there anyway.

pub mod args;
mod client;
mod proc_net_tcp;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use kashim_policy::describe;
use kashim_policy::settings::Settings;
use kashim_policy::timing::Timing;
use kashim_policy::variables::Variable;

use crate::cli::environment::text_of;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{Given, SettingArgs, good_settings};
use crate::output::line::line;
use crate::output::print::print;
use crate::preload::library::Library;
use crate::preload::privilege::Caller;
use crate::preload::{self, Reach, command, library, shown, value};
use crate::tcp::defaults;
use args::DemoArgs;
use client::{CLIENTS, Client};

/// What would spoil it: variables that keep the library from the connection, or write between the lines.
const LEFT_OUT: [Variable; 4] = [Variable::Disable, Variable::Skip, Variable::Rules, Variable::Log];

/// Shows a connection without the library and with it.
pub fn run(args: DemoArgs) -> Result<Exit, Error> {
    show(args.settings)
}

/// Shows it with these settings.
pub fn show(settings: SettingArgs) -> Result<Exit, Error> {
    let given = settings.over_environment()?;
    let library = library::find()?;
    let settings = good_settings(&given, "nothing was run")?;
    let (client, path) = find_client(&library)?;
    let name = client.name;
    print(format!(
        "{name} ({}) opens a connection on loopback, twice, the same way.\n\
         Each time this is what the kernel says about that connection, in /proc/net/tcp.\n\n\
         1. without kashim: {name}\n\n",
        shown(&path)
    ))?;
    print(client.connect(&path, &[])?)?;
    let in_force = line(|line| describe::values(line, &settings.global));
    print(format!("\n2. with it: ka-run {name}    ({in_force})\n\n"))?;
    print(client.connect(&path, &variables(&given, &library))?)?;
    print(epilogue(&settings))?;
    Ok(Exit::Yes)
}

/// The first that is there and that the library reaches.
fn find_client(library: &Library) -> Result<(&'static Client, PathBuf), Error> {
    for client in &CLIENTS {
        let Ok(path) = command::find(client.name.as_ref()) else { continue };
        let examined = preload::examine(library, client.name.as_ref(), path.clone(), None, &Caller::ours());
        if examined.is_ok_and(|examined| matches!(examined.reach, Reach::Reached)) && client.works(&path) {
            return Ok((client, path));
        }
    }
    Err(Error::new(
        "the demo needs python3, perl or busybox with nc to open a connection; there is none here",
    ))
}

/// What `ka-run` would change in the environment.
fn variables(given: &Given, library: &Library) -> Vec<(String, OsString)> {
    let inherited = env::var_os("LD_PRELOAD").unwrap_or_default();
    let options = given.options.iter().filter(|(variable, ..)| !LEFT_OUT.contains(variable));
    options
        .map(|(variable, value, _)| (text_of(*variable), value.clone()))
        .chain([("LD_PRELOAD".to_owned(), value::preload(&inherited, &[], &library.path))])
        .collect()
}

fn epilogue(settings: &Settings) -> String {
    let timing = Timing::new(&settings.global, &defaults::read_or_linux());
    let (period, probes, interval) = (timing.period(), timing.probes(), timing.interval);
    format!(
        "   Then the kernel sends a probe, and one every {period} s as long as the connection is idle: each path sees\n   \
         traffic. After {probes} probes without an answer, {interval} s apart, the program gets an error instead of waiting.\n\n\
         The program was not changed. Yours: ka-run COMMAND; whether it can be reached: ka-run --check COMMAND\n"
    )
}
