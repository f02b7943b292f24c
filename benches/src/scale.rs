//! A hundred thousand connections, and what keeping them alive sends over the wire.

use kashim_policy::keepalive::{DEFAULT_INTERVAL, Values};
use kashim_policy::middleboxes::MIDDLEBOXES;

use crate::preloads::{DONTDIE, KASHIM, NONE};
use crate::process::{command, numbers, output};
use crate::statistics::{estimate, quantile, round_robin};
use crate::table::{figure, table};
use crate::{Bench, Result};

/// Time to open many connections, as a table.
pub fn connections(bench: &Bench) -> Result<String> {
    let count = if bench.quick { 10_000 } else { 100_000 };
    let rounds = bench.rounds(5, 3);
    let preloads = [NONE, DONTDIE, KASHIM].map(|i| &bench.preloads[i]);
    let program = bench.program("many");
    let mut processes = 0.0;
    let times = round_robin(preloads.len(), rounds, |i| {
        match numbers(command(&program, preloads[i]).arg(count.to_string()))?[..] {
            [time, n] => {
                processes = n;
                Ok(time)
            }
            _ => Err("many prints two numbers".into()),
        }
    })?;
    // Seconds are long enough to be disturbed in every round: the fastest is the one that was disturbed least.
    let fastest =
        |i: usize, rounds: &[usize]| rounds.iter().map(|&r| times[i][r]).fold(f64::INFINITY, f64::min);
    let rows = preloads.iter().enumerate().map(|(i, preload)| {
        let part = |part| quantile(times[i].iter().copied(), part) / 1e3;
        let ratio = estimate(rounds, |rounds| fastest(i, rounds) / fastest(0, rounds));
        vec![
            preload.name.clone(),
            format!("{:.2} ({:.2} to {:.2})", part(0.0), part(0.25), part(0.75)),
            if i == 0 { String::new() } else { figure(ratio, 2) },
        ]
    });
    let table = table(&["preload", "seconds, fastest (quartiles)", "ratio of the fastest to none"], rows);
    Ok(format!(
        "{count} connections, both ends of each, in {processes} processes, {rounds} times:\n\n{table}"
    ))
}

/// Bytes of IP in a segment without data, with the timestamp option that Linux sends with each: headers of IPv4 or
/// IPv6 (RFC 791, RFC 8200), TCP (RFC 9293), and the option with its padding (RFC 7323).
const SEGMENT: [u32; 2] = [20 + 20 + 12, 40 + 20 + 12];
/// A probe and its answer.
const SEGMENTS: u32 = 2;

/// What each preset sends, computed, and the computation held against the kernel's counters.
pub fn wire(bench: &Bench) -> Result<String> {
    let defaults = ("defaults", Values::DEFAULT.idle.map_or(0, |n| n.get().into()), DEFAULT_INTERVAL);
    let presets = MIDDLEBOXES.iter().map(|preset| (preset.name, preset.idle, preset.interval));
    let rows = std::iter::once(defaults).chain(presets).map(|(name, idle, interval)| {
        let period = f64::from(idle.max(interval));
        let probes = 3600.0 / period;
        let bytes = |segment: u32| format!("{:.0}", probes * f64::from(SEGMENTS * segment));
        let packets = format!("{:.0}", probes * f64::from(SEGMENTS));
        vec![name.to_owned(), format!("{period:.0} s"), packets, bytes(SEGMENT[0]), bytes(SEGMENT[1])]
    });
    let header =
        ["preset", "a probe every", "packets per hour", "bytes per hour, IPv4", "bytes per hour, IPv6"];
    let computed = table(&header, rows);
    Ok(format!(
        "{computed}\nThe same computation for settings that do not take an hour, and what the kernel has counted:\n\n{}",
        counted(bench)?
    ))
}

fn counted(bench: &Bench) -> Result<String> {
    const CONNECTIONS: u32 = 100;
    const SECONDS: f64 = 7.5;
    let program = bench.program("silence");
    // Side by side: they only wait.
    let cases = [(2, 1, "4"), (1, 3, "4"), (2, 1, "6"), (1, 3, "6")];
    let runs: Vec<_> = cases
        .iter()
        .map(|&(idle, interval, family): &(u32, u32, &str)| {
            let (idle, interval) = (idle.to_string(), interval.to_string());
            let kashim =
                bench.preloads[KASHIM].with("kashim", &[("KA_IDLE", &idle), ("KA_INTERVAL", &interval)]);
            let mut command = command(&program, &kashim);
            command.args([family, &CONNECTIONS.to_string(), &SECONDS.to_string()]);
            std::thread::spawn(move || output(&mut command).map_err(|error| error.to_string()))
        })
        .collect();
    let mut rows = Vec::new();
    for (&(idle, interval, family), run) in cases.iter().zip(runs) {
        let text = run.join().map_err(|_| "a thread has panicked")??;
        let probes = CONNECTIONS * (1 + ((SECONDS - f64::from(idle)) / f64::from(idle.max(interval))) as u32);
        let packets = SEGMENTS * probes;
        let bytes = packets * SEGMENT[usize::from(family == "6")];
        rows.push(vec![
            format!(
                "IPv{family}, {CONNECTIONS} connections, idle {idle} s, interval {interval} s, {SECONDS} s"
            ),
            format!("{probes} {packets} {bytes}"),
            text.trim().to_owned(),
        ]);
    }
    Ok(table(&["", "computed: probes, packets, bytes", "counted"], rows))
}
