//! `ka presets`: the middleboxes that have a name, and what outlives them.

pub mod args;

use std::fmt::Write as _;

use kashim_policy::middleboxes::{ABOUT_STRICT, MIDDLEBOXES};
use kashim_policy::timing::Timing;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{SettingArgs, good_settings};
use crate::output::print::print;
use crate::tcp::defaults;
use args::PresetsArgs;

/// Lists the middleboxes.
pub fn run(args: PresetsArgs) -> Result<Exit, Error> {
    show(args.settings)
}

/// Prints the list, with a column for these settings.
pub fn show(settings: SettingArgs) -> Result<Exit, Error> {
    let given = settings.over_environment()?;
    let settings = good_settings(&given, "nothing was printed")?;
    let yours = Timing::new(&settings.global, &defaults::read_or_linux());
    print(table(&yours))?;
    Ok(Exit::Yes)
}

fn table(yours: &Timing) -> String {
    let mut out = "Middleboxes, after how many idle seconds they forget a connection, and whether one outlives them:\n\n"
        .to_owned();
    let mut row = |name: &str, timeout: &str, values: &str, theirs: &str, ours: &str, what: &str| {
        let line = format!("{name:<9} {timeout:>8}   {values:<14} {theirs:<9} {ours:<17} {what}");
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row("NAME", "TIMEOUT", "--for sets", "so it", "yours", "what it is");
    let Timing { idle, interval, count, .. } = *yours;
    row("", "", "", "outlives", &format!("({idle}/{interval}/{count})"), "");
    for preset in MIDDLEBOXES {
        let theirs =
            Timing { idle: preset.idle, interval: preset.interval, count: preset.count, user_timeout: None };
        row(
            preset.name,
            &format!("{} s", preset.timeout),
            &format!("{}/{}/{}", theirs.idle, theirs.interval, theirs.count),
            theirs.outlives(preset.timeout).word(),
            yours.outlives(preset.timeout).word(),
            preset.what,
        );
    }
    let _ = writeln!(
        out,
        "\nValues are idle/interval/count, in seconds. risky: a probe comes in time, but not if two of them get lost.\n\
         {ABOUT_STRICT}."
    );
    out
}
