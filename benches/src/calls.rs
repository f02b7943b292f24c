//! The system calls that a preload adds, counted.

use std::collections::BTreeMap;
use std::fs;

use crate::preloads::{KASHIM, NONE, Preload};
use crate::process::{command, output};
use crate::table::table;
use crate::{Bench, Result};

/// How often each step is taken: few enough for a listener's queue.
const COUNT: i64 = 20;

/// What is measured, and what stands before it in the same run and is to be left out.
const HOOKS: [(&str, &str, [&str; 4], Option<&str>); 4] = [
    ("`socket`", "socket", ["tcp4", "tcp6", "udp", "unix"], None),
    ("`connect`", "connect", ["tcp4", "tcp6", "udp", "unix"], Some("socket")),
    ("`accept`", "accept", ["tcp4", "tcp6", "", "unix"], Some("connect")),
    ("`setsockopt`, SO_KEEPALIVE", "keepalive", ["tcp4", "tcp6", "udp", "unix"], Some("socket")),
];

type Counts = BTreeMap<String, i64>;

/// How often a program makes each system call.
fn count(bench: &Bench, preload: &Preload, arguments: &[&str]) -> Result<Counts> {
    let summary = bench.directory.join("strace");
    let mut strace = command("strace", &bench.preloads[NONE]);
    strace.args(["-f", "-qq", "-c", "-U", "calls,name", "-o"]).arg(&summary);
    for (name, value) in preload.environment() {
        strace.arg("-E").arg(format!("{name}={value}"));
    }
    output(strace.args(arguments))?;
    let text = fs::read_to_string(&summary)?;
    let line = |line: &str| {
        let (calls, name) = line.trim().split_once(char::is_whitespace)?;
        Some((name.trim().to_owned(), calls.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).filter(|(name, _)| name != "total").collect())
}

/// What one more of a step takes.
fn each(bench: &Bench, preload: &Preload, step: &str) -> Result<Counts> {
    let program = bench.program("sockets");
    let run = |n: i64| count(bench, preload, &[&program, "1", &n.to_string(), step]);
    // One, at least: what is done once in a process is not what is asked for.
    let mut counts = run(COUNT + 1)?;
    subtract(&mut counts, &run(1)?);
    for calls in counts.values_mut() {
        *calls /= COUNT;
    }
    Ok(counts)
}

fn subtract(from: &mut Counts, other: &Counts) {
    for (name, calls) in other {
        *from.entry(name.clone()).or_default() -= calls;
    }
}

/// In words.
fn show(counts: &Counts) -> String {
    let calls: Vec<String> = counts
        .iter()
        .filter(|&(_, &n)| n != 0)
        .map(|(name, n)| if *n == 1 { name.clone() } else { format!("{n} {name}") })
        .collect();
    if calls.is_empty() { "0".to_owned() } else { calls.join(", ") }
}

/// Calls added by each hook and to the start of a process, as tables.
pub fn measure(bench: &Bench) -> Result<String> {
    let mut preloads = bench.preloads.clone();
    let kashim = preloads[KASHIM].clone();
    preloads.push(kashim.with("kashim, `KA_USER_TIMEOUT=auto`", &[("KA_USER_TIMEOUT", "auto")]));
    preloads.push(kashim.with("kashim, a rule for others", &[("KA_RULES", "10.0.0.1 off")]));
    preloads.push(kashim.with("kashim, `KA_FORCE=1`", &[("KA_FORCE", "1")]));
    // The two in which there is nothing to count go without saying.
    let measured: Vec<&Preload> = preloads.iter().skip(2).collect();
    let mut rows = Vec::new();
    for (name, step, families, before) in HOOKS {
        for preload in &measured {
            let mut row = vec![name.to_owned(), preload.name.clone()];
            for family in families {
                if family.is_empty() {
                    row.push("n/a".to_owned());
                    continue;
                }
                let mut added = each(bench, preload, &format!("{family}:{step}"))?;
                subtract(&mut added, &each(bench, &preloads[NONE], &format!("{family}:{step}"))?);
                if let Some(before) = before {
                    subtract(&mut added, &each(bench, preload, &format!("{family}:{before}"))?);
                    let mut own = each(bench, &preloads[NONE], &format!("{family}:{before}"))?;
                    own.values_mut().for_each(|n| *n = -*n);
                    subtract(&mut added, &own);
                }
                row.push(show(&added));
            }
            rows.push(row);
        }
    }
    let hooks = table(&["hook", "preload", "TCP, IPv4", "TCP, IPv6", "UDP", "UNIX"], rows);
    let bare = count(bench, &preloads[NONE], &["/bin/true"])?;
    let mut rows = Vec::new();
    for preload in bench.preloads.iter().skip(1) {
        let mut added = count(bench, preload, &["/bin/true"])?;
        subtract(&mut added, &bare);
        let total: i64 = added.values().sum();
        rows.push(vec![preload.name.clone(), total.to_string(), show(&added)]);
    }
    let start = table(&["preload", "calls", "which"], rows);
    Ok(format!("{hooks}\nAdded to the start of a process, all of them by the loader:\n\n{start}"))
}
