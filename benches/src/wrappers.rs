//! What a program costs that is put before a command.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::preloads::NONE;
use crate::process::Spawner;
use crate::statistics::{estimate, median, quantile, round_robin};
use crate::table::{figure, table};
use crate::{Bench, Result};

/// What all of them start.
const COMMAND: &str = "/bin/true";
/// Places in the list below.
const BARE: usize = 0;
const ENV: usize = 1;

/// Measures them, and tells as a table.
pub fn measure(bench: &Bench) -> Result<String> {
    let ka_run = bench.directory.join("installed/bin/ka-run").display().to_string();
    let wrappers: Vec<(&str, Vec<&str>)> = [
        ("none", vec![]),
        ("`env`", vec!["/usr/bin/env"]),
        ("`env` with two variables", vec!["/usr/bin/env", "A=1", "B=2"]),
        ("`ka-run`", vec![&ka_run]),
        ("`ka-run --idle 5m --rule ':22 off'`", vec![&ka_run, "--idle", "5m", "--rule", ":22 off"]),
        ("`eatmydata`", vec!["/usr/bin/eatmydata"]),
        ("`faketime '1 hour ago'`", vec!["/usr/bin/faketime", "1 hour ago"]),
        ("`torsocks`", vec!["/usr/bin/torsocks"]),
    ]
    .into_iter()
    .filter(|(_, words)| words.first().is_none_or(|program| Path::new(program).exists()))
    .map(|(name, words)| (name, [&words[..], &[COMMAND]].concat()))
    .collect();
    let spawners = wrappers
        .iter()
        .map(|(_, words)| Spawner::new(words, &bench.preloads[NONE]))
        .collect::<Result<Vec<_>>>()?;
    for spawner in &spawners {
        spawner.run()?;
    }
    let rounds = bench.rounds(1000, 20);
    let runs = round_robin(spawners.len(), rounds, |i| spawners[i].run())?;
    let added = |i: usize, rounds: &[usize]| {
        let time = |i: usize| quantile(rounds.iter().map(|&round| runs[i][round].time), 0.25);
        time(i) - time(BARE)
    };
    let mut rows = Vec::new();
    for (i, (name, words)) in wrappers.iter().enumerate() {
        let time = median(runs[i].iter().map(|run| run.time));
        let (executed, processes) = count(bench, words)?;
        let mut row = vec![(*name).to_owned(), format!("{time:.0}")];
        if i == BARE {
            row.extend([String::new(), String::new()]);
        } else {
            row.push(figure(estimate(rounds, |rounds| added(i, rounds)), 0));
            row.push(figure(estimate(rounds, |rounds| added(i, rounds) / added(ENV, rounds)), 2));
        }
        row.extend([executed.to_string(), processes.to_string()]);
        rows.push(row);
    }
    Ok(table(&["before `/bin/true`", "time, µs", "added, µs", "ratio to `env`", "execve", "processes"], rows))
}

/// How many programs are executed, and in how many processes.
fn count(bench: &Bench, words: &[&str]) -> Result<(usize, usize)> {
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=execve", "-e", "status=successful", "--"])
        .args(words)
        .env_clear()
        .envs(bench.preloads[NONE].environment())
        .stdin(Stdio::null())
        .output()?;
    if !strace.status.success() {
        return Err(format!("strace of {words:?}: {}", String::from_utf8_lossy(&strace.stderr)).into());
    }
    let text = String::from_utf8_lossy(&strace.stderr);
    let executed = text.lines().filter(|line| line.contains("execve(")).count();
    let mut processes: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("[pid ")?.split(']').next()).collect();
    processes.sort_unstable();
    processes.dedup();
    Ok((executed, processes.len().max(1)))
}
