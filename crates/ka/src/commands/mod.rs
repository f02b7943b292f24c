//! The subcommands, a module each, with its arguments in `args`; and the command line as a whole, the one definition of
//! which help, manual pages and completions are made.

mod attach;
mod attached;
mod check;
mod demo;
mod detach;
mod env;
mod explain;
mod generate;
mod presets;
mod probe;
pub mod run;
mod set;
mod status;
mod systemd;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::error::Error;
use crate::cli::exit::Exit;

/// Enable, show, change and measure the TCP keepalive of programs
#[derive(Debug, Parser)]
#[command(name = "ka", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = run::args::ABOUT)]
    Run(Box<run::args::RunArgs>),
    /// Show connections, their keepalive, and whether they outlive a middlebox
    Status(status::args::StatusArgs),
    /// Change the keepalive of a running program's connections
    Set(set::args::SetArgs),
    /// Measure a path's idle timeout
    Probe(probe::args::ProbeArgs),
    /// Give keepalive to all connections of a service, a container or the host, without a preload
    Attach(attach::args::AttachArgs),
    /// Undo ka attach
    Detach(detach::DetachArgs),
    /// List the attachments, their settings and their counters
    Attached(attached::AttachedArgs),
    /// Say whether the library reaches a command, and which settings apply
    Check(check::args::CheckArgs),
    /// Print the settings for a shell profile, a crontab, systemd or /etc/environment
    Env(env::args::EnvArgs),
    /// Print or write a drop-in that gives keepalive to a systemd service
    Systemd(systemd::args::SystemdArgs),
    /// List the named middleboxes, and whether these settings outlive them
    Presets(presets::args::PresetsArgs),
    /// Show on loopback, in seconds, what the library does
    Demo(demo::args::DemoArgs),
    /// Say what keepalive values mean
    Explain(explain::args::ExplainArgs),
    /// Write manual pages and completions
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Does what a subcommand is for.
pub fn dispatch(command: Command) -> Result<Exit, Error> {
    match command {
        Command::Run(args) => run::run(*args),
        Command::Status(args) => status::run(args),
        Command::Set(args) => set::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Attach(args) => attach::run(args),
        Command::Detach(args) => detach::run(args),
        Command::Attached(args) => attached::run(args),
        Command::Check(args) => check::run(args),
        Command::Env(args) => env::run(args),
        Command::Systemd(args) => systemd::run(args),
        Command::Presets(args) => presets::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Generate(args) => generate::run(args, Cli::command()),
    }
}
