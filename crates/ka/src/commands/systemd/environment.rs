//! Who else has a say in a service's environment (systemd.exec(5), "Environment Variables in Spawned Processes").

use std::fs;
use std::path::Path;

use kashim_policy::variables::Variable;

use super::matters::Matters;
use super::names::{below, resolve};
use super::syntax::words;
use super::unit::{Unit, read};
use crate::preload::library::Library;

fn is_ours(name: &str) -> bool {
    name == "LD_PRELOAD" || name.as_bytes().starts_with(Variable::PREFIX)
}

/// Says what wins over `variables`, or takes them away.
pub fn look(
    unit: &Unit,
    root: &Path,
    library: &Library,
    variables: &[(String, String)],
    matters: &mut Matters,
) {
    for word in unit.expanded_words("UnsetEnvironment") {
        let takes = |(name, value): &(String, String)| match word.split_once('=') {
            Some((other, only)) => name == other && value == only,
            None => *name == word,
        };
        if variables.iter().any(takes) {
            matters.errors.push(format!("UnsetEnvironment={word} takes away what the drop-in sets"));
        }
    }
    for word in unit.words("PassEnvironment").iter().filter(|word| is_ours(word)) {
        matters.notes.push(format!("PassEnvironment={word}: what the drop-in sets wins over that"));
    }
    for value in unit.assigned_behind("Environment") {
        let what = "in a drop-in whose name comes behind zz-kashim.conf";
        if value.is_empty() {
            matters
                .errors
                .push(format!("Environment= {what} takes away what this one sets: rename that one"));
        }
        for word in words(value) {
            let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_ours(name)) else {
                continue;
            };
            if name == "LD_PRELOAD" && !names(value, &library.path) {
                matters.errors.push(format!("Environment={word} {what} wins over it: rename that one"));
            } else {
                matters.warnings.push(format!("Environment={word} {what} wins over it"));
            }
        }
    }
    for value in unit.values("EnvironmentFile") {
        environment_file(unit, root, library, value, matters);
    }
}

/// Whether a value of LD_PRELOAD has the library in it.
fn names(value: &str, library: &Path) -> bool {
    value.split([' ', ':', '"', '\'']).any(|part| Path::new(part) == library || part == "libkashim.so")
}

/// The whole value is the name: blanks are part of it.
fn environment_file(unit: &Unit, root: &Path, library: &Library, value: &str, matters: &mut Matters) {
    let wins = "wins over the drop-in";
    let path = value.trim_start_matches('-');
    let expanded = unit.expanded(path).filter(|path| !path.contains(['*', '?', '[']));
    let Some(path) = expanded else {
        matters.warnings.push(format!("EnvironmentFile={path}: what these files set {wins}"));
        return;
    };
    let inside = resolve(root, &below(root, &path));
    if fs::metadata(&inside).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return;
    }
    let Some(text) = read(&inside) else {
        matters.warnings.push(format!("EnvironmentFile={path} cannot be read: what it sets {wins}"));
        return;
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        if name == "LD_PRELOAD" && names(value.trim(), &library.path) {
            continue;
        }
        if is_ours(name) {
            let what = if name == "LD_PRELOAD" { ": put the library there" } else { "" };
            matters.warnings.push(format!("EnvironmentFile={path} sets {name}, and {wins}{what}"));
        }
    }
}
