//! The project's documents, and what they show.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Program, Result, workspace};

/// The documents that are in the repository.
pub fn documents() -> Result<Vec<PathBuf>> {
    let list = Program::new("git").args(["ls-files", "*.md"]).directory(workspace()).succeed()?;
    Ok(String::from_utf8(list)?.lines().map(|name| workspace().join(name)).collect())
}

/// The blocks of this language in all documents.
pub fn blocks(language: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for document in documents()? {
        let text = fs::read_to_string(document)?;
        let begin = format!("```{language}\n");
        let parts = text.split(&begin).skip(1);
        found.extend(parts.filter_map(|part| Some(part.split_once("```")?.0.to_owned())));
    }
    Ok(found)
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

/// Each link of these documents to a file: it is there, and has the heading.
pub fn links_resolve(documents: &[PathBuf]) -> Result {
    let mut links = 0;
    let mut wrong = String::new();
    for document in documents {
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
