//! The project's documents, and what they show.

use std::fs;
use std::path::PathBuf;

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
