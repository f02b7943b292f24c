//! Data in flight: when the path goes dead, and when the reader only pauses.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Evidence, Firewall, Lab, SERVER, Seen, Way, watch};
use kashim_tests::{Keepalive, Preload, Result, Running};

use super::{PORT, REMEMBERS, TIMEOUT, python, serve};

/// What the router does when the path is dead.
pub struct DeadPath {
    name: &'static str,
    what: &'static str,
    rules: &'static str,
    error: &'static str,
    /// As Python says it.
    words: &'static str,
}

/// It says nothing.
pub const SILENT: DeadPath = DeadPath {
    name: "in-flight",
    what: "the path is dead",
    rules: "add rule inet firewall outage drop",
    error: "ETIMEDOUT",
    words: "[Errno 110] Connection timed out",
};

/// It says so.
pub const UNREACHABLE: DeadPath = DeadPath {
    name: "in-flight-unreachable",
    what: "the router says that the server is unreachable",
    rules: "add rule inet firewall outage iifname \"client\" reject with icmpx type host-unreachable
            add rule inet firewall outage drop",
    error: "EHOSTUNREACH",
    words: "[Errno 113] No route to host",
};

/// Keepalive does not run while data is unacknowledged: it would end a silent connection here after 3 seconds. Only
/// the user timeout bounds the wait.
pub fn dead_path(path: &DeadPath) -> Result {
    const BOUND: Duration = Duration::from_secs(3);
    // The kernel counts from when it first sends again, and looks at the time whenever it does so. Where the router answers,
    // it may be one interval late, which has grown to a second or two by then; the rest is for a loaded machine.
    const LATE: Duration = Duration::from_secs(3);
    let ways = [
        Way::WITHOUT,
        Way::dies(Preload::With(&[("KA_IDLE", "1"), ("KA_COUNT", "2")])),
        Way::dies(Preload::With(&[("KA_IDLE", "1"), ("KA_COUNT", "2"), ("KA_USER_TIMEOUT", "3")])),
    ];
    let bounded = ways.len() - 1;
    let keepalives = [
        Keepalive::untouched(),
        Keepalive::new(1, 1, 2),
        Keepalive { user_timeout: 3000, ..Keepalive::new(1, 1, 2) },
    ];
    let lab = Lab::new(Firewall::Drop, REMEMBERS)?;
    // It says so to everybody who asks, not only to one a second.
    lab.router().enter(|| Ok(fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?))?;
    let mut reader = serve(&lab, python("reader.py").args([PORT.to_string(), "0".into()]))?;
    // More than a minute's work.
    let mut runs = uploads(&lab, &ways, ["128", "0.05"])?;
    for ((_, upload), keepalive) in runs.iter_mut().zip(keepalives) {
        upload.expect(|socket| socket.peer_port() == PORT, keepalive)?;
    }
    all_pause(&mut reader, runs.len())?;

    let before = Instant::now();
    lab.nft(path.rules)?;
    let since = Instant::now();
    let ends = watch(&mut runs, since, |upload, _| Ok(!upload.stdout().is_empty()))?;
    let mut evidence = Evidence::new(5, path.name, &format!("python uploads when {}", path.what), &lab);
    for (i, ((way, upload), end)) in runs.iter_mut().zip(&ends).enumerate() {
        match end {
            Seen::Failed(after, words) if i == bounded => {
                assert!(words.contains(path.words), "{way}: {words}");
                // The path died between the two times.
                let soon = *after + (since - before) < BOUND;
                assert!(!soon && *after <= BOUND + LATE, "{way}: ended after {after:?}");
                evidence.outcome(*way, true, path.error, *after);
            }
            // The kernel still believes in the connection.
            Seen::Hung(_) if i != bounded => {
                upload.socket(|socket| socket.peer_port() == PORT)?;
                evidence.run(*way, end);
            }
            _ => return Err(format!("{way}: {end:?}").into()),
        }
    }
    evidence.write()
}

/// Starts `upload.py` in these ways: so many megabytes, with so many seconds after each piece.
fn uploads(lab: &Lab, ways: &[Way], how: [&str; 2]) -> Result<Vec<(Way, Running)>> {
    let upload = || python("upload.py").args([SERVER.to_string(), PORT.to_string()]).args(how);
    ways.iter().map(|way| Ok((*way, upload().within(lab.client()).preload(way.preload).start()?))).collect()
}

/// Waits until so many uploads have brought their first megabyte.
fn all_pause(reader: &mut Running, uploads: usize) -> Result {
    reader.until("a megabyte of each", |reader| {
        Ok((String::from_utf8_lossy(&reader.stdout()).matches("pausing").count() == uploads).then_some(()))
    })
}

/// Nobody is dead here, but a reader that pauses keeps data unacknowledged, and a user timeout ends that.
pub fn reader_pauses() -> Result {
    const PAUSE: Duration = Duration::from_secs(12);
    /// 2 + 2 * 2 seconds.
    const AUTO: Duration = Duration::from_secs(6);
    let ways = [
        Way::survives(Preload::No),
        Way::survives(Preload::With(&[("KA_IDLE", "2"), ("KA_COUNT", "2"), ("KA_USER_TIMEOUT", "off")])),
        Way::dies(Preload::With(&[("KA_IDLE", "2"), ("KA_COUNT", "2"), ("KA_USER_TIMEOUT", "auto")])),
    ];
    let keepalives = [
        Keepalive::untouched(),
        Keepalive::new(2, 2, 2),
        Keepalive { user_timeout: 6000, ..Keepalive::new(2, 2, 2) },
    ];
    let lab = Lab::new(Firewall::Drop, REMEMBERS)?;
    let mut reader = serve(&lab, python("reader.py").args([PORT.to_string(), PAUSE.as_secs().to_string()]))?;
    let mut runs = uploads(&lab, &ways, ["64", "0"])?;
    for ((_, upload), keepalive) in runs.iter_mut().zip(keepalives) {
        upload.expect(|socket| socket.peer_port() == PORT, keepalive)?;
    }
    all_pause(&mut reader, runs.len())?;
    let since = Instant::now();
    let ends = watch(&mut runs, since, |upload, _| Ok(upload.stdout() == b"received 67108864\n"))?;
    let what = format!("python uploads 64 MiB to a reader that pauses for {} s", PAUSE.as_secs());
    let mut evidence = Evidence::new(5, "pause", &what, &lab);
    for ((way, _), end) in runs.iter().zip(&ends) {
        match end {
            Seen::Completed(_) => evidence.run(way, end),
            // The other pauses may have begun a little later.
            Seen::Failed(after, words) => {
                assert!(words.contains(SILENT.words), "{way}: {words}");
                assert!((AUTO / 2..PAUSE).contains(after), "{way}: ended after {after:?}");
                let outcome = format!("{} after {:.1} s", SILENT.error, after.as_secs_f64());
                evidence.outcome(way, false, &outcome, *after);
            }
            Seen::Hung(_) => return Err(format!("{way}: {end:?}").into()),
        }
    }
    evidence.write()
}

/// Nor does keepalive run here, where data waits for the reader. The kernel asks the reader whether it goes on, but less
/// and less often, in the end every two minutes: a firewall that forgets sooner than that forgets such a connection.
pub fn reader_pauses_for_too_long() -> Result {
    // The gaps double from 0.2 seconds on, so one that is longer than the timeout has passed after three times that.
    const PAUSE: Duration = Duration::from_secs(14);
    let ways = [Way::WITHOUT, Way::dies(Preload::With(&[("KA_IDLE", "1")]))];
    let lab = Lab::new(Firewall::Drop, TIMEOUT)?;
    let mut reader = serve(&lab, python("reader.py").args([PORT.to_string(), PAUSE.as_secs().to_string()]))?;
    let mut runs = uploads(&lab, &ways, ["64", "0"])?;
    all_pause(&mut reader, runs.len())?;
    let since = Instant::now() + PAUSE;
    let mut ports = Vec::new();
    for (_, upload) in &mut runs {
        ports.push(upload.socket(|socket| socket.peer_port() == PORT)?.local_port());
    }
    sleep(since - Instant::now());
    for port in ports {
        assert!(!lab.knows(port)?, "the firewall still knows the connection");
    }
    let ends = watch(&mut runs, since, |upload, _| Ok(!upload.stdout().is_empty()))?;
    let what = format!("python uploads 64 MiB to a reader that pauses for {} s", PAUSE.as_secs());
    let mut evidence = Evidence::new(5, "pause-forgotten", &what, &lab);
    evidence.runs(&runs, &ends);
    evidence.write()
}
