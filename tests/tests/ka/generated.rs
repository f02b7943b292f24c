//! What is made of the definition of `ka`'s command line: help, manual pages, completions.

use std::collections::BTreeMap;
use std::fs;

use kashim_policy::middleboxes::MIDDLEBOXES;
use kashim_tests::{Need, Program, Result, Scratch, Trial, each, ka, trial};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    vec![
        trial!(manual_pages),
        trial!(help_names_every_subcommand),
        trial!(help_says_what_the_exit_status_means),
        trial!(bash, &[Prog("bash")]),
        trial!(zsh, &[Prog("zsh")]),
        trial!(fish, &[Prog("fish")]),
    ]
}

const SUBCOMMANDS: [&str; 13] = [
    "run", "status", "set", "probe", "attach", "detach", "attached", "check", "env", "presets", "systemd",
    "demo", "explain",
];

/// The names that `--for` takes.
fn middleboxes() -> [&'static str; 8] {
    MIDDLEBOXES.map(|preset| preset.name)
}

/// A page for each subcommand and one for `ka`, with the sections that man-pages(7) asks for.
fn manual_pages() -> Result {
    let scratch = Scratch::new()?;
    Program::new(ka()?).args(["generate", "man"]).arg(scratch.path()).succeed()?;
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(scratch.path())? {
        let entry = entry?;
        pages.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    assert!(pages.contains_key("ka.1"), "{:?}", pages.keys());
    each(&SUBCOMMANDS, |name| {
        let page = pages.get(&format!("ka-{name}.1")).ok_or("no page")?;
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\""] {
            if page.matches(&format!("\n.SH {section}\n")).count() != 1 {
                return Err(format!("{section}: {page}").into());
            }
        }
        assert!(!page.contains("Exit status:"), "{page}");
        Ok(())
    })?;
    let synopsis = r"\fBka probe\fR [\fB\-\-max\fR \fIDURATION\fR] [\fB\-\-connections\fR \fIN\fR] [\fB\-\-json\fR] [\fB\-h\fR|\fB\-\-help\fR] \fIHOST[:PORT]\fR";
    assert!(pages["ka-probe.1"].contains(synopsis), "{}", pages["ka-probe.1"]);
    Ok(())
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

/// Each subcommand says what its exit status means, in the same words for the same thing.
fn help_says_what_the_exit_status_means() -> Result {
    each(&SUBCOMMANDS, |subcommand| {
        let help = String::from_utf8(Program::new(ka()?).args([*subcommand, "--help"]).succeed()?)?;
        let (_, last) = help.split_once("Exit status: ").ok_or("no exit status")?;
        let last = last.split_whitespace().collect::<Vec<_>>().join(" ");
        // What `ka run` says of itself is said as env(1) and nohup(1) say it: 2 may be the command's.
        let usage = *subcommand == "run" || last.contains("2 for a bad command line");
        if usage && last.contains("125 if ") { Ok(()) } else { Err(last.into()) }
    })?;
    // And it is so: a bad command line, and an output that takes nothing.
    each(&SUBCOMMANDS, |subcommand| {
        let bad = Program::new(ka()?).args([*subcommand, "--no-such-option"]).run()?.status.code();
        let want = if *subcommand == "run" { 125 } else { 2 };
        if bad == Some(want) { Ok(()) } else { Err(format!("a bad option: {bad:?}").into()) }
    })?;
    each(
        &["explain", "presets", "env", "check true", "status", "status --json", "run --check true"],
        |line| {
            let command = format!("{} {line} >/dev/full", ka()?.display());
            let status = Program::new("sh").args(["-c", &command]).run()?.status.code();
            if status == Some(125) { Ok(()) } else { Err(format!("a full disk: {status:?}").into()) }
        },
    )
}

/// The script with the completions, in a file.
fn script(shell: &str, scratch: &Scratch, file: &str, name: &str) -> Result<String> {
    let script = Program::new(ka()?).args(["generate", "completions", shell, name]).succeed()?;
    Ok(scratch.write(file, script)?.display().to_string())
}

fn offers(output: Vec<u8>, words: &[&str]) -> Result {
    let output = String::from_utf8(output)?;
    let offered: Vec<_> = output.split_whitespace().collect();
    if words.iter().all(|word| offered.contains(word)) { Ok(()) } else { Err(output.into()) }
}

fn bash() -> Result {
    let scratch = Scratch::new()?;
    let file = script("bash", &scratch, "ka.bash", "ka")?;
    let complete = |words: &str, last: &str| {
        let command = format!(
            "source {file}; COMP_WORDS=(ka {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _ka ka '{last}' \"${{COMP_WORDS[-2]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        Program::new("bash").args(["--norc", "-c", &command]).succeed()
    };
    offers(complete("''", "")?, &SUBCOMMANDS)?;
    offers(complete("pr", "pr")?, &["probe"])?;
    offers(complete("probe --", "--")?, &["--max", "--json"])?;
    offers(complete("run --for ''", "")?, &middleboxes())?;
    let ka_run = script("bash", &scratch, "ka-run.bash", "ka-run")?;
    let command = format!(
        "source {ka_run}; COMP_WORDS=(ka-run --i); COMP_CWORD=1; $(complete -p ka-run | sed 's/.*-F \\([^ ]*\\).*/\\1/') ka-run --i ka-run; \
         echo \"${{COMPREPLY[@]}}\""
    );
    offers(Program::new("bash").args(["--norc", "-c", &command]).succeed()?, &["--idle", "--interval"])
}

/// Its completion only runs in a line editor, so this loads it, and looks at what it is about.
fn zsh() -> Result {
    let scratch = Scratch::new()?;
    let file = script("zsh", &scratch, "_ka", "ka")?;
    let ka_run = script("zsh", &scratch, "_ka-run", "ka-run")?;
    let directory = scratch.path().display();
    let command = format!(
        "fpath=({directory} $fpath); autoload -Uz compinit && compinit -D -u && autoload +X _ka && echo ${{_comps[ka]}} ${{_comps[ka-run]}}"
    );
    offers(Program::new("zsh").args(["-f", "-c", &command]).succeed()?, &["_ka", "_ka-run"])?;
    let text = fs::read_to_string(ka_run)?;
    assert!(text.contains("--idle="));
    each(&middleboxes(), |name| {
        if text.contains(&format!("{name}\\:\"")) { Ok(()) } else { Err(text.clone().into()) }
    })?;
    let text = fs::read_to_string(file)?;
    each(
        &SUBCOMMANDS,
        |name| if text.contains(&format!("'{name}:")) { Ok(()) } else { Err(text.clone().into()) },
    )
}

fn fish() -> Result {
    let scratch = Scratch::new()?;
    let file = script("fish", &scratch, "ka.fish", "ka")?;
    let ka_run = script("fish", &scratch, "ka-run.fish", "ka-run")?;
    let complete = |line: &str| {
        let command = format!("source {file}; source {ka_run}; complete --do-complete '{line}'");
        Program::new("fish").args(["--no-config", "-c", &command]).env("HOME", scratch.path()).succeed()
    };
    offers(complete("ka ")?, &SUBCOMMANDS)?;
    offers(complete("ka probe --")?, &["--max", "--json"])?;
    offers(complete("ka status --for ")?, &middleboxes())?;
    offers(complete("ka-run --i")?, &["--idle", "--interval"])
}
