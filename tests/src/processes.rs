//! Processes, as /proc shows them.

use std::fs;

use crate::{Result, library};

/// The process and everything it started that still has a line of living parents up to it.
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // The name of the program, in brackets, may hold anything; the parent is the second word after it.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if let Some(parent) = parent {
            parents.push((child, parent));
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
        next += 1;
    }
    found
}

/// Whether the library is mapped into this process.
pub fn maps_library(pid: i32) -> Result<bool> {
    let library = library()?.to_str().ok_or("the library's path is not UTF-8")?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))
        .map_err(|error| format!("/proc/{pid}/maps: {error}"))?;
    Ok(maps.lines().any(|line| line.ends_with(library)))
}
