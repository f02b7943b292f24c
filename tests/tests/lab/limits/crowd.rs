//! Many connections at once, and what their probes cost on the wire.

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Evidence, Firewall, Lab, SERVER, Way};
use kashim_tests::{Keepalive, Preload, Result};

use super::idle::{Idle, record};
use super::{PORT, python, serve};

/// As many as a large pool has, silent for twenty timeouts; and what that costs on the wire.
pub fn two_thousand_connections() -> Result {
    const CONNECTIONS: usize = 2000;
    const TIMEOUT: Duration = Duration::from_secs(3);
    const PERIODS: u32 = 20;
    const IDLE: Duration = Duration::from_secs(1);
    let with = Way::survives(Preload::With(&[("KA_IDLE", "1")]));
    let to = SocketAddr::from((SERVER, PORT));
    let mut crowds = Vec::new();
    for way in [Way::WITHOUT, with] {
        let lab = Lab::new(Firewall::Nat, TIMEOUT)?;
        lab.nft(COUNTERS)?;
        let echo = serve(&lab, python("echo.py").args(["tcp", &PORT.to_string()]))?;
        let mut idle = Idle::start(&lab, way, "tcp", CONNECTIONS, &[to])?;
        let want = if way.survives { Keepalive::new(1, 1, 9) } else { Keepalive::untouched() };
        idle.program.expect(|socket| socket.peer == Some(to), want)?;
        crowds.push((lab, echo, idle));
    }
    let [(lab_without, _, without), (lab, _, with)] = &mut crowds[..] else { unreachable!() };
    // The last acknowledgement of the handshakes may wait for a moment.
    sleep(Duration::from_secs(1));
    let start = Instant::now();
    let before = Traffic::seen(lab)?;
    let before_without = Traffic::seen(lab_without)?;

    sleep(TIMEOUT * 2 + Duration::from_secs(1));
    let traffic = Traffic::seen(lab_without)?.since(&before_without);
    assert_eq!((traffic.probes, traffic.answers, traffic.others), (0, 0, 0), "without: packets");
    assert_eq!(known(lab_without)?, 0, "without: known to the firewall");
    without.begin_to_use()?;
    let seen_without = without.used()?.remove(&to).ok_or("no result")?;
    assert_eq!(seen_without.answered, 0, "without: answered");

    let all = TIMEOUT * PERIODS;
    sleep(all.saturating_sub(start.elapsed()));
    // Reading the counters takes as long in the end as in the beginning.
    let seconds = start.elapsed().as_secs_f64();
    let traffic = Traffic::seen(lab)?.since(&before);
    assert_eq!(known(lab)?, CONNECTIONS, "known to the firewall");
    with.begin_to_use()?;
    let seen = with.used()?.remove(&to).ok_or("no result")?;
    assert_eq!(seen.answered, CONNECTIONS, "answered");

    let predicted = CONNECTIONS as f64 * seconds / IDLE.as_secs_f64();
    let what = format!("python uses {CONNECTIONS} connections after {PERIODS} timeouts");
    let mut evidence = Evidence::new(9, "crowd", &what, lab);
    record(&mut evidence, without.way, CONNECTIONS, &seen_without);
    record(&mut evidence, with.way, CONNECTIONS, &seen);
    evidence.number("seconds", seconds.round());
    evidence.number("probes_predicted", predicted.round());
    evidence.number("probes", traffic.probes as f64);
    evidence.number("answers", traffic.answers as f64);
    evidence.number("other_packets", traffic.others as f64);
    for (name, packets) in [("probes", traffic.probes), ("answers", traffic.answers)] {
        let ratio = packets as f64 / predicted;
        assert!((0.8..=1.2).contains(&ratio), "{packets} {name} in {seconds} s, predicted {predicted}");
    }
    assert_eq!(traffic.others, 0, "packets that are neither probes nor answers");
    evidence.write()
}

/// On a silent connection a segment without data from the client is a probe, and one from the server an answer. (There
/// is room for options in their length.)
const COUNTERS: &str = "
    table inet firewall {
        counter probes { }
        counter answers { }
        counter others { }
        chain count {
            type filter hook forward priority filter - 1;
            iifname \"client\" tcp flags & (fin|syn|rst|psh|ack) == ack ip length <= 72 counter name probes return
            iifname \"server\" tcp flags & (fin|syn|rst|psh|ack) == ack ip length <= 72 counter name answers return
            counter name others
        }
    }";

/// What the router has counted.
struct Traffic {
    probes: u64,
    answers: u64,
    others: u64,
}

impl Traffic {
    fn seen(lab: &Lab) -> Result<Self> {
        Ok(Self {
            probes: lab.counter("probes")?,
            answers: lab.counter("answers")?,
            others: lab.counter("others")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            probes: self.probes - before.probes,
            answers: self.answers - before.answers,
            others: self.others - before.others,
        }
    }
}

/// How many connections the firewall knows.
fn known(lab: &Lab) -> Result<usize> {
    lab.router().enter(|| {
        let known = fs::read_to_string("/proc/thread-self/net/nf_conntrack")?;
        Ok(known.lines().filter(|line| line.contains(" ESTABLISHED ")).count())
    })
}
