//! That the documents of the project say what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use kashim_tests::documents::{blocks, documents, links_resolve};
use kashim_tests::{Need, Program, Result, Scratch, Trial, each, ka, trial, workspace};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let transcripts = ["unshare", "ip", "ss", "python3", "redis-server", "redis-cli"]
        .map(Prog)
        .into_iter()
        .chain([Need::Root, Need::Kernel("cgroups of version 2", has_cgroups)]);
    let transcripts: Vec<_> = transcripts.collect();
    vec![
        trial!(every_script_is_listed),
        trial!(every_link_resolves, &[Prog("git")]),
        trial!(what_is_shown_works, &transcripts),
        trial!(options_and_variables_exist, &[Prog("git")]),
        trial!(options_and_variables_are_documented, &[Prog("git")]),
        trial!(units_are_units, &[Prog("git"), Prog("systemd-analyze")]),
        trial!(readme_is_short),
    ]
}

fn has_cgroups() -> bool {
    fs::read_to_string("/proc/filesystems")
        .is_ok_and(|known| known.lines().any(|line| line.ends_with("\tcgroup2")))
}

/// Once, in `scripts/README.md`; and one that is longer than what can be taken in at once says why.
fn every_script_is_listed() -> Result {
    const LONG: usize = 200;
    let list = fs::read_to_string(workspace().join("scripts/README.md"))?;
    let scripts: Vec<PathBuf> = fs::read_dir(workspace().join("scripts"))?
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &Result<PathBuf>| path.as_ref().is_ok_and(|path| !path.ends_with("README.md")))
        .collect::<Result<_>>()?;
    assert!(scripts.len() > 10, "{scripts:?}");
    each(&scripts, |script| {
        let name = script.file_name().unwrap_or_default().to_string_lossy();
        let rows = list.lines().filter(|line| line.starts_with(&format!("| `{name}` |")));
        let text = fs::read_to_string(script)?;
        let head = text.lines().take(6).any(|line| line.contains("Over 200 lines, because"));
        match (rows.count(), text.lines().count() > LONG && !head) {
            (1, false) => Ok(()),
            (rows, too_long) => Err(format!("{rows} rows; too long without a reason: {too_long}").into()),
        }
    })
}

/// Each link inside the repository.
fn every_link_resolves() -> Result {
    links_resolve(&documents()?)
}

/// Each transcript is recorded, and nobody has edited it since; apart from numbers, the same is printed today. All other
/// commands that are shown work too. The first of them may build ka.
fn what_is_shown_works() -> Result {
    let mut program = Program::new(workspace().join("scripts/transcripts")).arg("--check");
    // Cargo, wherever the tests have it from.
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    program.start()?.output_within(std::time::Duration::from_secs(900))?.success()?;
    Ok(())
}

fn readme_is_short() -> Result {
    let lines = fs::read_to_string(workspace().join("README.md"))?.lines().count();
    if lines <= 200 { Ok(()) } else { Err(format!("{lines} lines").into()) }
}

/// The options of each subcommand, as its help has them.
fn options() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let help = |words: &[&str]| -> Result<String> {
        Ok(String::from_utf8(Program::new(ka()?).args(words).arg("--help").succeed()?)?)
    };
    let all = help(&[])?;
    let (_, commands) = all.split_once("Commands:\n").ok_or("no commands")?;
    let names = commands.lines().take_while(|line| line.starts_with("  "));
    let names =
        names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    let mut options = BTreeMap::new();
    for name in names {
        let text = help(&[name])?;
        let found = text.split_whitespace().filter_map(|word| {
            let word = word.trim_start_matches('[').trim_start_matches('<');
            let name: String = word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            name.starts_with("--").then_some(name).filter(|name| name.len() > 2)
        });
        options.insert(name.to_owned(), found.collect());
    }
    assert!(options.len() > 10, "{options:?}");
    Ok(options)
}

/// The commands of ours in a text, each as the subcommand and what follows up to the end of the line or the code.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let lines = text.lines().map(str::trim_start);
    let code = text.split('`').skip(1).step_by(2);
    for line in lines.chain(code) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let name = word.trim_start_matches(['(', '"', '\'']).rsplit('/').next().unwrap_or_default();
            let rest = |from: usize| words.get(from..).unwrap_or_default().join(" ");
            match name {
                "ka-run" => found.push(("run".to_owned(), rest(at + 1))),
                "ka" => {
                    let command = words.get(at + 1).copied().unwrap_or_default();
                    found
                        .push((command.trim_end_matches([',', '.', ')', '`', ':']).to_owned(), rest(at + 2)));
                }
                _ => {}
            }
        }
    }
    found
}

/// Every command of ours that a document shows has a subcommand that there is, with options that there are, and every
/// variable that is named exists.
fn options_and_variables_exist() -> Result {
    let options = options()?;
    let mut wrong = String::new();
    let mut shown = 0;
    // What is wrong on purpose.
    let misspelt = ["KA_IDEL"];
    let variables: Vec<_> = kashim_policy::variables::Variable::ALL
        .iter()
        .map(|variable| String::from_utf8_lossy(variable.text()).into_owned())
        .collect();
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        let name = document.strip_prefix(workspace())?.display().to_string();
        // It tells of what was.
        if name == "CHANGELOG.md" {
            continue;
        }
        for (command, rest) in commands(&text) {
            let Some(known) = options.get(&command) else { continue };
            let mut is_value = false;
            // What belongs to the command that is run comes behind its name.
            let ours = rest.split_whitespace().take_while(|word| {
                let goes_on = command != "run" || word.starts_with('-') || is_value;
                is_value = word.starts_with("--") && !word.contains('=');
                goes_on
            });
            for word in ours.filter(|word| {
                word.starts_with("--") && word.chars().nth(2).is_some_and(|c| c.is_ascii_lowercase())
            }) {
                shown += 1;
                let option: String =
                    word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                let option = option.trim_end_matches('-').to_owned();
                if !known.contains(&option) && !["--help", "--version"].contains(&option.as_str()) {
                    wrong += &format!("{name}: ka {command} {option}\n");
                }
            }
        }
        for part in text.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit()) {
            let is_one = part.starts_with("KA_") && part.len() > 3;
            if is_one && !variables.iter().any(|known| known == part) && !misspelt.contains(&part) {
                wrong += &format!("{name}: {part}\n");
            }
        }
    }
    assert!(shown > 40, "{shown} options shown");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// And the other way round: what there is stands in README.md or docs/.
fn options_and_variables_are_documented() -> Result {
    let mut all = String::new();
    for document in documents()? {
        if !document.ends_with("CHANGELOG.md") {
            all += &fs::read_to_string(document)?;
        }
    }
    let mut wrong = String::new();
    for (command, options) in options()? {
        if !all.contains(&format!("ka {command}")) && !all.contains(&format!("ka-{command}")) {
            wrong += &format!("ka {command}\n");
        }
        for option in options.iter().filter(|option| !["--help", "--version"].contains(&option.as_str())) {
            // In code, with or without its value.
            let is_there = all.match_indices(option.as_str()).any(|(at, _)| {
                !all[at + option.len()..].starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
            });
            if !is_there {
                wrong += &format!("ka {command} {option}\n");
            }
        }
    }
    for variable in kashim_policy::variables::Variable::ALL {
        let name = String::from_utf8_lossy(variable.text());
        if !all.contains(&*name) {
            wrong += &format!("{name}\n");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// systemd takes the units that are shown; their file's name is in the first line.
fn units_are_units() -> Result {
    let blocks = blocks("ini")?;
    assert!(blocks.len() >= 2, "{} blocks", blocks.len());
    let files = Scratch::new()?;
    let mut paths = Vec::new();
    for block in &blocks {
        let name = block.lines().next().and_then(|line| line.rsplit('/').next()).ok_or("no name")?;
        paths.push(files.write(name, block)?);
    }
    let output = Program::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths).run()?;
    let about = |line: &&str| {
        paths.iter().any(|path| line.contains(&*path.file_name().unwrap_or_default().to_string_lossy()))
    };
    let said: Vec<_> = output.stderr.lines().filter(about).collect();
    if said.is_empty() { Ok(()) } else { Err(said.join("\n").into()) }
}
