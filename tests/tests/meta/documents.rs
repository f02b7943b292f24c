//! That the documents of the project say what is there.

use std::fs;
use std::path::{Path, PathBuf};

use kashim_tests::{Need, Program, Result, Trial, each, trial, workspace};

pub fn trials() -> Vec<Trial> {
    vec![trial!(every_script_is_listed), trial!(links_resolve, &[Need::Program("git")])]
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

/// The documents that are in the repository.
fn documents() -> Result<Vec<PathBuf>> {
    let list = Program::new("git").args(["ls-files", "*.md"]).directory(workspace()).succeed()?;
    Ok(String::from_utf8(list)?.lines().map(|name| workspace().join(name)).collect())
}

/// The heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

/// Each link inside the repository: the file is there, and has the heading.
fn links_resolve() -> Result {
    let documents = documents()?;
    let mut links = 0;
    let mut wrong = String::new();
    for document in &documents {
        let text = fs::read_to_string(document)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap_or(Path::new("")).join(path),
            };
            let there = match heading {
                "" => target.exists(),
                heading => fs::read_to_string(&target)
                    .unwrap_or_default()
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line) == heading),
            };
            if !there {
                wrong += &format!("{}: {link}\n", document.display());
            }
        }
    }
    assert!(documents.len() > 5 && links > 5, "{} documents, {links} links", documents.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
