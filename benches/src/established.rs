//! What a preload costs an established connection: nothing is the expected answer.

use crate::preloads::{KASHIM, NONE};
use crate::process::{command, numbers};
use crate::statistics::{estimate, median, quantile, round_robin};
use crate::table::{figure, table};
use crate::{Bench, Result};

/// Name, unit, what it is divided by, and arguments of the program.
const KINDS: [(&str, &str, f64, [&str; 2]); 2] = [
    ("throughput, 128 MiB in writes of 64 KiB", "µs per MiB", 1e3, ["bulk", "128"]),
    ("latency, 3000 round trips of one byte", "µs per round trip", 1e3, ["pingpong", "3000"]),
];

/// As a table.
pub fn measure(bench: &Bench) -> Result<String> {
    let rounds = bench.rounds(80, 8);
    let program = bench.program("stream");
    let none = &bench.preloads[NONE];
    // Nothing twice: how far apart two of the same are.
    let preloads = [none, none, &bench.preloads[KASHIM]];
    let mut rows = Vec::new();
    for (name, unit, by, arguments) in KINDS {
        let times = round_robin(preloads.len(), rounds, |i| {
            let one = numbers(command(&program, preloads[i]).args(arguments))?;
            Ok(one.first().copied().unwrap_or(f64::NAN) / by)
        })?;
        let ratio =
            |i: usize| estimate(rounds, |rounds| median(rounds.iter().map(|&r| times[i][r] / times[0][r])));
        let bare = |part| quantile(times[0].iter().copied(), part);
        rows.push(vec![
            name.to_owned(),
            format!("{:.2} ({:.2} to {:.2}) {unit}", bare(0.5), bare(0.25), bare(0.75)),
            figure(ratio(1), 3),
            figure(ratio(2), 3),
        ]);
    }
    Ok(table(&["", "without (quartiles)", "without / without", "kashim / without"], rows))
}
