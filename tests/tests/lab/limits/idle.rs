//! Programs with silent connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use kashim_tests::lab::{Evidence, Lab, Way};
use kashim_tests::{Result, Running};

use super::{PATIENCE, python};

/// A program with silent connections: `fixtures/firewall_limits/idle.py`.
pub struct Idle {
    /// How it runs.
    pub way: Way,
    /// It itself.
    pub program: Running,
    uses: usize,
}

/// What came of using the connections to one destination.
pub struct Use {
    /// How many were answered.
    pub answered: usize,
    /// When the last answer came, from the first use on.
    pub last: Duration,
}

impl Idle {
    /// Starts it with so many connections, TCP or MPTCP, to each destination, and waits until it has them.
    pub fn start(
        lab: &Lab,
        way: Way,
        protocol: &str,
        count: usize,
        destinations: &[SocketAddr],
    ) -> Result<Self> {
        let mut program = python("idle.py")
            .args([protocol, PATIENCE, &count.to_string()])
            .args(destinations.iter().map(SocketAddr::to_string))
            .stdin(Stdio::piped())
            .within(lab.client())
            .preload(way.preload)
            .start()?;
        program.wait_for_output("connected")?;
        Ok(Self { way, program, uses: 0 })
    }

    /// Lets it use its connections.
    pub fn begin_to_use(&mut self) -> Result {
        self.uses += 1;
        self.program.write("\n")
    }

    /// What came of it.
    pub fn used(&mut self) -> Result<BTreeMap<SocketAddr, Use>> {
        let uses = self.uses;
        let text = self.program.until("the end of its waiting", |program| {
            let text = String::from_utf8_lossy(&program.stdout()).into_owned();
            Ok((text.matches("used\n").count() == uses).then_some(text))
        })?;
        let last = text.split("used\n").nth(uses - 1).unwrap_or_default();
        let mut used = BTreeMap::new();
        for line in last.lines().filter(|&line| line != "connected") {
            let words: Vec<&str> = line.split(' ').collect();
            let [destination, answered, last] = words[..] else {
                return Err(format!("not a result: {line:?}").into());
            };
            let last = Duration::from_secs_f64(last.parse()?);
            used.insert(destination.parse()?, Use { answered: answered.parse()?, last });
        }
        Ok(used)
    }
}

/// Adds how many of so many connections were answered.
pub fn record(evidence: &mut Evidence, settings: impl ToString, of: usize, seen: &Use) {
    let patience = Duration::from_secs(PATIENCE.parse().expect("a number"));
    match seen.answered {
        0 => evidence.outcome(settings, false, "hangs", patience),
        all if all == of => evidence.outcome(settings, true, "completed", seen.last),
        some => evidence.outcome(settings, false, &format!("{some} of {of} answered"), patience),
    }
}
