//! `ka generate`: manual pages and completions, made of the definition of the command line. For whoever packages it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Command, CommandFactory, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::commands::run::args::KaRun;
use crate::output::escape::escaped;
use crate::output::print::print;

/// What the pages show as their date. It is not today's, so that the same sources give the same pages.
const DATE: &str = "2026-11-21";

/// What roff begins a page with: how an apostrophe is written.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The command line of `ka generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to generate
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write ka.1 and a page for each subcommand into a directory
    Man {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Supported,
        /// Of which command
        #[arg(default_value = "ka")]
        name: Name,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Fish,
    Zsh,
}

/// A name that this program is called by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    Ka,
    KaRun,
}

/// Writes what is asked for, made of `command`, the whole command line.
pub fn run(args: GenerateArgs, command: Command) -> Result<Exit, Error> {
    match args.what {
        What::Man { directory } => manual(command, &directory).map_err(|error| {
            let shown = escaped(directory.as_os_str().as_encoded_bytes()).into_owned();
            Error::new(format!("cannot write manual pages into {shown}: {error}"))
        })?,
        What::Completions { shell, name } => {
            let shell = match shell {
                Supported::Bash => Shell::Bash,
                Supported::Fish => Shell::Fish,
                Supported::Zsh => Shell::Zsh,
            };
            let mut script = Vec::new();
            match name {
                Name::Ka => clap_complete::generate(shell, &mut { command }, "ka", &mut script),
                Name::KaRun => clap_complete::generate(shell, &mut KaRun::command(), "ka-run", &mut script),
            }
            print(&script)?;
        }
    }
    Ok(Exit::Yes)
}

/// Writes a page for the command, and one for each of its subcommands.
fn manual(mut command: Command, directory: &Path) -> io::Result<()> {
    // Gives the subcommands their full names.
    command.build();
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned();
    for command in std::iter::once(command.clone()).chain(subcommands) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        fs::write(directory.join(format!("{name}.1")), page(&command, &name)?)?;
    }
    Ok(())
}

/// A manual page, with the sections that man-pages(7) wants.
fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(concat!("kashim ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().any(|subcommand| !subcommand.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    after_help(command).to_writer(&mut page)?;
    // Each part begins with the same two lines, which are needed once.
    let page = String::from_utf8_lossy(&page);
    Ok(format!("{PREAMBLE}{}", page.replace(PREAMBLE, "")).into_bytes())
}

/// How the command is called. Each option comes with its value, which clap_mangen's own section leaves out.
fn synopsis(command: &Command) -> Roff {
    let mut line = vec![bold(command.get_bin_name().unwrap_or(command.get_name()))];
    let (operands, options): (Vec<_>, Vec<_>) =
        command.get_arguments().filter(|argument| !argument.is_hide_set()).partition(|it| it.is_positional());
    for argument in options.into_iter().chain(operands) {
        let value = argument.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
        let takes_value = argument.get_action().takes_values();
        line.push(roman(if argument.is_required_set() { " " } else { " [" }));
        if argument.is_positional() {
            line.push(italic(value.unwrap_or_else(|| argument.get_id().to_string())));
        } else {
            if let Some(short) = argument.get_short() {
                line.extend([bold(format!("-{short}")), roman("|")]);
            }
            line.push(bold(format!("--{}", argument.get_long().unwrap_or_default())));
            if let Some(value) = value.filter(|_| takes_value) {
                line.extend([roman(" "), italic(value)]);
            }
        }
        if !argument.is_required_set() {
            line.push(roman("]"));
        }
        let repeated = matches!(argument.get_action(), ArgAction::Append)
            || argument.get_num_args().is_some_and(|range| range.max_values() > 1);
        if repeated {
            line.push(roman("..."));
        }
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("SUBCOMMAND"), roman(" ...")]);
    }
    let mut section = Roff::new();
    section.control("SH", ["SYNOPSIS"]).text(line);
    section
}

/// What the help says after the options. Its paragraph on the exit status gets a section of its own.
fn after_help(command: &Command) -> Roff {
    const EXIT: &str = "Exit status: ";
    let text = command.get_after_long_help().or(command.get_after_help());
    let text = text.map(ToString::to_string).unwrap_or_default();
    let (exit, notes): (Vec<_>, Vec<_>) =
        text.split("\n\n").filter(|text| !text.is_empty()).partition(|text| text.starts_with(EXIT));
    let mut sections = Roff::new();
    if let Some(status) = exit.first() {
        sections.control("SH", ["EXIT STATUS"]).text([roman(&status[EXIT.len()..])]);
    }
    for (number, paragraph) in notes.into_iter().enumerate() {
        if number == 0 {
            sections.control("SH", ["NOTES"]);
        } else {
            sections.control("PP", []);
        }
        sections.text([roman(paragraph)]);
    }
    sections
}
