//! Connections through a firewall that forgets them: real programs, each run without the library, when it hangs or fails
//! as users report it, and at the same time with it, when it completes. All in the lab of [`kashim_tests::lab`]. Times
//! are seconds where they are minutes in the world; nothing else is scaled.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Evidence, Firewall, Lab, Way, watch};
use kashim_tests::{Listener, Need, Preload, Program, Result, Running, read_request, run_at_once, trial};

fn main() -> ExitCode {
    use Need::Program as Prog;
    let mut trials = Vec::new();
    for firewall in Firewall::ALL {
        trials.push(trial(
            format!("settings_{}", firewall.name()),
            &Lab::needs(&[Prog("python3")]),
            move || settings(firewall),
        ));
    }
    run_at_once(AT_ONCE, trials)
}

/// The trials mostly wait. More would not make it faster, because starting servers is work.
const AT_ONCE: usize = 8;

/// When the firewall forgets a silent connection.
const TIMEOUT: Duration = Duration::from_secs(6);
/// How long nothing happens on a connection: more than twice that, so that a packet more or less does not count.
const SILENCE: Duration = Duration::from_secs(15);

/// Well below [`TIMEOUT`]: two probes may come too late by a second.
const IDLE: Preload = Preload::With(&[("KA_IDLE", "2")]);

/// Only values that are below the firewall's timeout help, and the interval counts as well as the idle: a healthy silent
/// connection is probed every max(idle, interval) seconds.
fn settings(firewall: Firewall) -> Result {
    let ways = [
        Way::WITHOUT,
        Way::dies(Preload::With(&[("KA_IDLE", "9")])),
        Way::dies(Preload::With(&[("KA_IDLE", "2"), ("KA_INTERVAL", "system")])),
        Way::survives(IDLE),
        Way::survives(Preload::With(&[("KA_IDLE", "2"), ("KA_INTERVAL", "1")])),
    ];
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = lab.listen()?;
    let mut polls = Vec::new();
    for way in ways {
        let poll = Program::new("python3").arg(fixture("poll.py")).arg(server.url());
        polls.push(LongPoll::start(&lab, &server, way, poll)?);
    }
    sleep(SILENCE);
    check_forgotten(&lab, polls.iter().map(|poll| (poll.run.0, poll.port)))?;
    let since = Instant::now();
    let mut runs = Vec::new();
    // Dropping a connection too early would make its client complete.
    let mut connections = Vec::new();
    for mut poll in polls {
        answer(&mut poll.connection, "at last")?;
        connections.push(poll.connection);
        runs.push(poll.run);
    }
    let ends = watch(&mut runs, since, |poll, ended| {
        Ok(ended.is_some_and(|status| status.success()) && poll.stdout() == b"at last\n")
    })?;
    let mut evidence = Evidence::new(3, "settings", "python waits 15 s for an HTTP answer", &lab);
    for ((way, _), end) in runs.iter().zip(&ends) {
        evidence.run(way, end);
    }
    evidence.write()
}

/// A client that has asked for something over HTTP, and waits.
struct LongPoll {
    run: (Way, Running),
    connection: TcpStream,
    port: u16,
}

impl LongPoll {
    fn start(lab: &Lab, server: &Listener, way: Way, program: Program) -> Result<Self> {
        let mut program = program.within(lab.client()).preload(way.preload).start()?;
        let mut connection = server.accept()?;
        read_request(&mut connection)?;
        let port = program.socket(|socket| socket.peer_port() == server.port())?.local_port();
        Ok(Self { run: (way, program), connection, port })
    }
}

/// Answers a request over HTTP, in one packet: the next one would find out that a firewall has answered with a RST.
fn answer(connection: &mut TcpStream, text: &str) -> Result {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    Ok(connection.write_all(answer.as_bytes())?)
}

/// The firewall's own word: of these connections, given with their ports on the client, it knows those that are to
/// survive, and no other.
fn check_forgotten(lab: &Lab, connections: impl IntoIterator<Item = (Way, u16)>) -> Result {
    for (way, port) in connections {
        if lab.knows(port)? != way.survives {
            let does = if way.survives { "has forgotten" } else { "still knows" };
            return Err(format!("{way}: the firewall {does} the connection").into());
        }
    }
    Ok(())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/firewall").join(name)
}
