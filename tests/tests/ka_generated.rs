//! What is made of the definition of `ka`'s command line: help, manual pages, completions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use kashim_tests::{Need, Program, Result, Scratch, each, ka, run, trial, workspace};

fn main() -> ExitCode {
    use Need::Program as Prog;
    run(vec![
        trial("manual_pages_are_current", &[], manual_pages_are_current),
        trial("help_names_every_subcommand", &[], help_names_every_subcommand),
        trial("bash", &[Prog("bash")], bash),
        trial("zsh", &[Prog("zsh")], zsh),
        trial("fish", &[Prog("fish")], fish),
    ])
}

const SUBCOMMANDS: [&str; 8] = ["status", "set", "probe", "attach", "detach", "attached", "check", "explain"];

/// The pages of `ka` in a directory.
fn pages(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "ka.1" || name.starts_with("ka-") && name != "ka-run.1" {
            pages.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(pages)
}

fn manual_pages_are_current() -> Result {
    let scratch = Scratch::new()?;
    Program::new(ka()?).args(["generate", "man"]).arg(scratch.path()).succeed()?;
    let (generated, committed) = (pages(scratch.path())?, pages(&workspace().join("docs/man"))?);
    let names: Vec<_> = generated.keys().collect();
    let mut expected: Vec<_> = SUBCOMMANDS.iter().map(|name| format!("ka-{name}.1")).collect();
    expected.push("ka.1".to_owned());
    expected.sort();
    if names != expected.iter().collect::<Vec<_>>() {
        return Err(format!("pages: {names:?}").into());
    }
    if generated == committed {
        return Ok(());
    }
    let stale: Vec<_> = expected.iter().filter(|&name| generated.get(name) != committed.get(name)).collect();
    Err(format!("docs/man is not current: {stale:?}; run: cargo run -p kashim-ka -- generate man docs/man")
        .into())
}

fn help_names_every_subcommand() -> Result {
    let help = String::from_utf8(Program::new(ka()?).arg("--help").succeed()?)?;
    each(&SUBCOMMANDS, |subcommand| {
        let line = help.lines().any(|line| line.trim_start().starts_with(&format!("{subcommand} ")));
        let own = String::from_utf8(Program::new(ka()?).args([*subcommand, "--help"]).succeed()?)?;
        let usage = own.contains(&format!("Usage: ka {subcommand} "));
        if line && usage { Ok(()) } else { Err(format!("{help}{own}").into()) }
    })
}

/// The script with the completions, in a file.
fn script(shell: &str, scratch: &Scratch, name: &str) -> Result<String> {
    let script = Program::new(ka()?).args(["generate", "completions", shell]).succeed()?;
    Ok(scratch.write(name, script)?.display().to_string())
}

fn offers(output: Vec<u8>, words: &[&str]) -> Result {
    let output = String::from_utf8(output)?;
    let offered: Vec<_> = output.split_whitespace().collect();
    if words.iter().all(|word| offered.contains(word)) { Ok(()) } else { Err(output.into()) }
}

fn bash() -> Result {
    let scratch = Scratch::new()?;
    let file = script("bash", &scratch, "ka.bash")?;
    let complete = |words: &str, last: &str| {
        let command = format!(
            "source {file}; COMP_WORDS=(ka {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _ka ka '{last}' ka; \
             echo \"${{COMPREPLY[@]}}\""
        );
        Program::new("bash").args(["--norc", "-c", &command]).succeed()
    };
    offers(complete("''", "")?, &SUBCOMMANDS)?;
    offers(complete("pr", "pr")?, &["probe"])?;
    offers(complete("probe --", "--")?, &["--max", "--json"])
}

/// Its completion only runs in a line editor, so this loads it, and looks at what it is about.
fn zsh() -> Result {
    let scratch = Scratch::new()?;
    let file = script("zsh", &scratch, "_ka")?;
    let directory = scratch.path().display();
    let command = format!(
        "fpath=({directory} $fpath); autoload -Uz compinit && compinit -D -u && autoload +X _ka && echo ${{_comps[ka]}}"
    );
    offers(Program::new("zsh").args(["-f", "-c", &command]).succeed()?, &["_ka"])?;
    let text = fs::read_to_string(file)?;
    each(
        &SUBCOMMANDS,
        |name| if text.contains(&format!("'{name}:")) { Ok(()) } else { Err(text.clone().into()) },
    )
}

fn fish() -> Result {
    let scratch = Scratch::new()?;
    let file = script("fish", &scratch, "ka.fish")?;
    let complete = |line: &str| {
        let command = format!("source {file}; complete --do-complete '{line}'");
        Program::new("fish").args(["--no-config", "-c", &command]).env("HOME", scratch.path()).succeed()
    };
    offers(complete("ka ")?, &SUBCOMMANDS)?;
    offers(complete("ka probe --")?, &["--max", "--json"])
}
