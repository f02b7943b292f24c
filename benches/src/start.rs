//! What a preload adds to the start of a process.

use crate::preloads::{KASHIM, MINIMAL, NONE, Preload};
use crate::process::{Run, Spawner};
use crate::statistics::{Estimate, estimate, median, quantile, round_robin};
use crate::table::{figure, number, table};
use crate::{Bench, Result};

/// Rounds that follow each other are not independent, so a block of them counts as one.
const BLOCK: usize = 40;
/// With the time that so many of its rounds kept below: what else runs on the machine only ever adds to a time.
const PART: f64 = 0.25;

/// One program's start under each preload.
pub struct Start {
    /// Median, and lower and upper quartile, in microseconds.
    times: Vec<[f64; 3]>,
    /// What is added to it.
    added: Vec<Estimate>,
    /// The same in terms of what minimal C adds.
    pub ratios: Vec<Estimate>,
    /// Page faults added, on the average.
    pub faults: Vec<f64>,
}

/// Measures it.
pub fn measure(bench: &Bench, program: &str) -> Result<Start> {
    let blocks = bench.rounds(200, 15);
    let spawners =
        bench.preloads.iter().map(|p: &Preload| Spawner::new(&[program], p)).collect::<Result<Vec<_>>>()?;
    for spawner in &spawners {
        spawner.run()?;
    }
    let runs = round_robin(spawners.len(), blocks * BLOCK, |i| spawners[i].run())?;
    let time = |run: &Run| run.time;
    let times: Vec<Vec<f64>> = runs
        .iter()
        .map(|runs| runs.chunks(BLOCK).map(|block| quantile(block.iter().map(time), PART)).collect())
        .collect();
    let added = |i: usize, blocks: &[usize]| median(blocks.iter().map(|&b| times[i][b] - times[NONE][b]));
    let preloads = 0..spawners.len();
    // Whole numbers, and none is far off: the mean says more than the median.
    let mean = |runs: &Vec<Run>| runs.iter().map(|run| run.faults).sum::<f64>() / runs.len() as f64;
    let faults: Vec<f64> = runs.iter().map(mean).collect();
    Ok(Start {
        times: runs
            .iter()
            .map(|r| [0.5, 0.25, 0.75].map(|part| quantile(r.iter().map(time), part)))
            .collect(),
        added: preloads.clone().map(|i| estimate(blocks, |b| added(i, b))).collect(),
        ratios: preloads.map(|i| estimate(blocks, |b| added(i, b) / added(MINIMAL, b))).collect(),
        faults: faults.iter().map(|f| f - faults[NONE]).collect(),
    })
}

impl Start {
    /// As a table.
    pub fn table(&self, bench: &Bench) -> String {
        let header =
            ["preload", "time, µs (quartiles)", "added, µs", "ratio to minimal C", "page faults added"];
        let rows = bench.preloads.iter().enumerate().map(|(i, preload)| {
            let [middle, low, high] = self.times[i];
            let time = format!("{middle:.1} ({low:.1} to {high:.1})");
            let mut row = vec![preload.name.clone(), time];
            if i == NONE {
                row.resize(header.len(), String::new());
            } else {
                row.extend([figure(self.added[i], 1), figure(self.ratios[i], 2), number(self.faults[i], 1)]);
            }
            row
        });
        table(&header, rows)
    }

    /// Ours.
    pub fn kashim(&self) -> Estimate {
        self.ratios[KASHIM]
    }
}
