//! The network goes down while a program is idle, for a while or for good.
//!
//! The defaults 60/15/9 and a firewall of 240 seconds are scaled by 15: 4/1/9 and 16 seconds. So two minutes are eight
//! seconds: just what 4/1/9 bear at the worst moment, when the outage begins as a probe goes. The last of nine probes
//! goes eight seconds later, and one that is answered is enough.

use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Evidence, Firewall, Lab, SERVER, Sniffer, Way, watch};
use kashim_tests::{Preload, Result};

use super::polls::{Poll, answer_all, python_client};
use super::stall;

const TIMEOUT: Duration = Duration::from_secs(16);
/// The interval, which is min(15, idle) if unset, has to be scaled as well.
const SCALED: Preload = Preload::With(&[("KA_IDLE", "4"), ("KA_INTERVAL", "1")]);
const QUICK: Preload = Preload::With(&[("KA_IDLE", "2"), ("KA_COUNT", "3")]);

/// Two minutes.
const OUTAGE: Duration = Duration::from_secs(8);

const CONNECTIONS: u64 = 8;

/// Many connections, which are at different moments of their cycle when the outage begins. None may be lost.
pub fn short(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = lab.listen()?;
    let mut polls = vec![Poll::start(&lab, &server, Way::WITHOUT, python_client(&server.url()))?];
    for _ in 0..CONNECTIONS {
        let way = Way::survives(SCALED);
        polls.push(Poll::start(&lab, &server, way, python_client(&server.url()))?);
        sleep(Duration::from_millis(550));
    }
    lab.cut_for(OUTAGE)?;
    sleep(OUTAGE);
    // Each has sent four probes in vain at least, since the first is due four seconds after the last.
    let lost = lab.lost()?;
    assert!(lost >= CONNECTIONS * 4, "only {lost} probes were lost");
    // Until the firewall has forgotten what was silent all the time.
    let connections: Vec<_> = polls.iter().map(|poll| (poll.run.0, poll.port)).collect();
    stall(&lab, TIMEOUT - Duration::from_secs(6), connections)?;
    let (runs, ends) = answer_all(polls)?;
    let mut evidence = Evidence::new(
        4,
        "bearable-outage",
        "python waits for an HTTP answer; meanwhile the network is down for 8 s, then up again \
         (60/15/9, two minutes, and a firewall of 240 s, all divided by 15)",
        &lab,
    );
    evidence.number("connections", CONNECTIONS as f64);
    evidence.number("probes_lost", lost as f64);
    evidence.runs(&runs[..2], &ends[..2]);
    evidence.write()
}

/// The path is dead for longer than that, and says nothing.
pub fn long(firewall: Firewall) -> Result {
    ends_in_time(firewall, "longer-outage", "the network goes down and stays down", Lab::cut)
}

/// The server's cable is pulled; the router says that it finds no way to it, which ends no idle connection.
pub fn vanished_peer(firewall: Firewall) -> Result {
    ends_in_time(firewall, "vanished-peer", "the server vanishes", Lab::unplug_server)
}

fn ends_in_time(firewall: Firewall, name: &str, event: &str, happens: fn(&Lab) -> Result) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = lab.listen()?;
    // With idle + interval * count, in seconds. The interval of QUICK is its idle.
    let ways = [(Way::WITHOUT, 0), (Way::survives(SCALED), 4 + 9), (Way::survives(QUICK), 2 + 2 * 3)];
    let sniffer = Sniffer::start(lab.client())?;
    let mut polls = Vec::new();
    for (way, _) in ways {
        polls.push(Poll::start(&lab, &server, way, python_client(&server.url()))?);
    }
    // Some probes are answered before.
    sleep(Duration::from_secs(5));
    let since = Instant::now();
    happens(&lab)?;
    let (mut runs, mut connections, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for poll in polls {
        runs.push(poll.run);
        connections.push(poll.connection);
        ports.push(poll.port);
    }
    let ends = watch(&mut runs, since, |client, ended| {
        Ok(ended.is_some() && client.stderr().contains("TimeoutError: [Errno 110] Connection timed out"))
    })?;
    let packets = sniffer.stop()?;
    let what = format!("python waits for an HTTP answer; meanwhile {event}");
    let mut evidence = Evidence::new(4, name, &what, &lab);
    for (((way, bound), port), end) in ways.into_iter().zip(ports).zip(&ends) {
        let Way { survives: true, .. } = way else {
            evidence.run(way, end);
            continue;
        };
        let heard = packets.iter().filter(|packet| *packet.from.ip() == SERVER && packet.to.port() == port);
        let heard = heard.map(|packet| packet.at).max().ok_or("the server was never heard")?;
        // The kernel tells the peer as well when it gives a connection up.
        let reset = packets.iter().find(|packet| packet.from.port() == port && packet.flags & 4 != 0);
        let reset = reset.ok_or("the connection was not given up with a RST")?.at;
        let after = reset.saturating_duration_since(heard);
        let bound = Duration::from_secs(bound);
        // Linux sets a timer of some seconds up to an eighth later than asked, and never earlier. The rest is for the
        // sniffer, which looks at a clock some time after the packet has passed.
        let tolerance = bound / 8 + Duration::from_secs(1);
        if after + Duration::from_millis(100) < bound || after > bound + tolerance {
            return Err(format!("{way}: given up after {after:?} of silence, not {bound:?}").into());
        }
        evidence.outcome(way, true, "ETIMEDOUT", after);
    }
    evidence.write()
}
