//! What a preload adds to each socket.

use crate::preloads::{KASHIM, NONE, Preload};
use crate::process::{command, numbers};
use crate::statistics::{Estimate, estimate, median, round_robin};
use crate::table::{figure, number, table};
use crate::{Bench, Result};

/// What is done with a socket, and what it is called.
const STEPS: [(&str, &str); 6] = [
    ("tcp4:socket", "TCP, IPv4"),
    ("tcp6:socket", "TCP, IPv6"),
    ("udp:socket", "UDP"),
    ("unix:socket", "UNIX"),
    ("tcp4:accept", "connection, IPv4"),
    ("tcp6:accept", "connection, IPv6"),
];
const TCP: usize = 0;
const CONNECTION: usize = 4;
/// In one batch, short enough to be left undisturbed now and then, and batches in one process. The fastest is taken.
const COUNT: &str = "50";
const BATCHES: &str = "20";
/// Connections look at the rules at both ends.
const LOOKS: f64 = 2.0;

/// Each step under each preload, and under kashim with more settings.
pub struct Sockets {
    names: Vec<String>,
    /// Nanoseconds without a preload.
    bare: Vec<f64>,
    /// Nanoseconds added, by preload and step.
    added: Vec<Vec<Estimate>>,
    /// Nanoseconds over the same system calls made by the program itself.
    pub over_calls: Estimate,
    over_calls_connected: Estimate,
    per_rule: Estimate,
}

/// So many rules, of which the last is for everything on loopback and says what is set anyway.
fn rules(n: usize) -> String {
    let others = (1..n).map(|i| format!("10.0.{i}.0/24:3306 idle=30;"));
    others.chain(["* idle=60".to_owned()]).collect()
}

/// Measures it.
pub fn measure(bench: &Bench) -> Result<Sockets> {
    let rounds = bench.rounds(60, 6);
    let mut preloads = bench.preloads.clone();
    let kashim = preloads[KASHIM].clone();
    let own = preloads.len();
    preloads.push(preloads[NONE].with("none, the program makes kashim's calls", &[("OWN", "1")]));
    let few = preloads.len();
    preloads.push(kashim.with("kashim, 1 rule", &[("KA_RULES", &rules(1))]));
    preloads.push(kashim.with("kashim, 16 rules", &[("KA_RULES", &rules(16))]));
    let many = preloads.len();
    preloads.push(kashim.with("kashim, 64 rules", &[("KA_RULES", &rules(64))]));
    preloads.push(kashim.with("kashim, `KA_FORCE=1`", &[("KA_FORCE", "1")]));

    let program = bench.program("sockets");
    // By preload, round and step.
    let times = round_robin(preloads.len(), rounds, |i| {
        numbers(command(&program, &preloads[i]).args([BATCHES, COUNT]).args(STEPS.map(|(step, _)| step)))
    })?;
    let between = |more: usize, less: usize, step: usize, by: f64| {
        estimate(rounds, |rounds| {
            median(rounds.iter().map(|&r| (times[more][r][step] - times[less][r][step]) / by))
        })
    };
    let steps = || 0..STEPS.len();
    Ok(Sockets {
        names: preloads.iter().map(|p: &Preload| p.name.clone()).collect(),
        bare: steps().map(|step| median(times[NONE].iter().map(|round| round[step]))).collect(),
        added: (0..preloads.len())
            .map(|i| steps().map(|step| between(i, NONE, step, 1.0)).collect())
            .collect(),
        over_calls: between(KASHIM, own, TCP, 1.0),
        over_calls_connected: between(KASHIM, own, CONNECTION, 1.0),
        per_rule: between(many, few, CONNECTION, 63.0 * LOOKS),
    })
}

impl Sockets {
    /// As a table, and what follows from it.
    pub fn table(&self) -> String {
        let mut header = vec!["preload"];
        header.extend(STEPS.map(|(_, name)| name));
        let rows = self.names.iter().enumerate().map(|(i, name)| {
            let mut row = vec![name.clone()];
            row.extend((0..STEPS.len()).map(|step| match i {
                NONE => number(self.bare[step], 0),
                _ => format!("+{}", figure(self.added[i][step], 0)).replace("+-", "-"),
            }));
            row
        });
        format!(
            "{}\nkashim over the same system calls made by the program itself: {} ns for a TCP socket, {} ns for a \
             connection with both its ends.\nOne more rule: {} ns each time that the rules are looked at.\n",
            table(&header, rows),
            figure(self.over_calls, 0),
            figure(self.over_calls_connected, 0),
            figure(self.per_rule, 1),
        )
    }

    /// Nanoseconds that a preload adds to a TCP socket.
    pub fn tcp(&self, preload: usize) -> Estimate {
        self.added[preload][TCP]
    }
}
