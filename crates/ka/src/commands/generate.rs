//! `ka generate`: manual pages and completions, made of the definition of the command line. For whoever packages it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::escape::escaped;
use crate::output::print::print;

/// What the pages show as their date. It is not today's, so that the same sources give the same pages.
const DATE: &str = "2026-11-21";

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
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Fish,
    Zsh,
}

/// Writes what is asked for, made of `command`, the whole command line.
pub fn run(args: GenerateArgs, command: Command) -> Result<Exit, Error> {
    match args.what {
        What::Man { directory } => manual(command, &directory).map_err(|error| {
            let shown = escaped(directory.as_os_str().as_encoded_bytes()).into_owned();
            Error::new(format!("cannot write manual pages into {shown}: {error}"))
        })?,
        What::Completions { shell } => {
            let shell = match shell {
                Supported::Bash => Shell::Bash,
                Supported::Fish => Shell::Fish,
                Supported::Zsh => Shell::Zsh,
            };
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut { command }, "ka", &mut script);
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
        let mut page = Vec::new();
        Man::new(command)
            .title(name.to_uppercase())
            .section("1")
            .date(DATE)
            .source(concat!("kashim ", env!("CARGO_PKG_VERSION")))
            .manual("User Commands")
            .render(&mut page)?;
        fs::write(directory.join(format!("{name}.1")), page)?;
    }
    Ok(())
}
