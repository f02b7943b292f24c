//! Long polls: a client asks for something over HTTP, and the answer comes late.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use kashim_tests::lab::{Evidence, Firewall, Lab, Seen, Way, watch};
use kashim_tests::{Listener, Preload, Program, Result, Running, java_classes, read_request};

use super::{IDLE, SILENCE, TIMEOUT, WAYS, fixture, stall};

pub fn python(firewall: Firewall) -> Result {
    let (scenario, what) = (2, "python (urllib) waits for an HTTP answer that comes late");
    long_poll(scenario, "python", what, firewall, &WAYS, python_client)
}

pub fn java(firewall: Firewall) -> Result {
    let classes = java_classes(&fixture("LongPoll.java"))?;
    let (scenario, what) = (2, "java (URLConnection) waits for an HTTP answer that comes late");
    long_poll(scenario, "java", what, firewall, &WAYS, |url| {
        Program::new("java").args(["-XX:+UseSerialGC", "-cp"]).arg(&classes).args(["LongPoll", url])
    })
}

/// Only values that are below the firewall's timeout help, and the interval counts as well as the idle: a healthy silent
/// connection is probed every max(idle, interval) seconds.
pub fn settings(firewall: Firewall) -> Result {
    let ways = [
        Way::WITHOUT,
        Way::dies(Preload::With(&[("KA_IDLE", "9")])),
        Way::dies(Preload::With(&[("KA_IDLE", "2"), ("KA_INTERVAL", "system")])),
        Way::survives(IDLE),
        Way::survives(Preload::With(&[("KA_IDLE", "2"), ("KA_INTERVAL", "1")])),
    ];
    let (scenario, what) = (3, "python waits for an HTTP answer that comes late, with different settings");
    long_poll(scenario, "settings", what, firewall, &ways, python_client)
}

pub fn python_client(url: &str) -> Program {
    Program::new("python3").arg(fixture("poll.py")).arg(url)
}

fn long_poll(
    scenario: u32,
    name: &str,
    what: &str,
    firewall: Firewall,
    ways: &[Way],
    client: impl Fn(&str) -> Program,
) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = lab.listen()?;
    let mut polls = Vec::new();
    for &way in ways {
        polls.push(Poll::start(&lab, &server, way, client(&server.url()))?);
    }
    stall(&lab, SILENCE, polls.iter().map(|poll| (poll.run.0, poll.port)))?;
    let (runs, ends) = answer_all(polls)?;
    let mut evidence = Evidence::new(scenario, name, what, &lab);
    evidence.runs(&runs, &ends);
    evidence.write()
}

/// A client that has asked for something, and waits.
pub struct Poll {
    pub run: (Way, Running),
    /// The server's end. As long as it is there, the client waits for more.
    pub connection: TcpStream,
    /// The client's port.
    pub port: u16,
}

impl Poll {
    pub fn start(lab: &Lab, server: &Listener, way: Way, client: Program) -> Result<Self> {
        let mut client = client.within(lab.client()).preload(way.preload).start()?;
        let mut connection = server.accept()?;
        read_request(&mut connection)?;
        let port = client.socket(|socket| socket.peer_port() == server.port())?.local_port();
        Ok(Self { run: (way, client), connection, port })
    }
}

/// Programs, and how each is run.
pub type Runs = Vec<(Way, Running)>;

/// Answers all of them, and watches what becomes of each.
pub fn answer_all(polls: Vec<Poll>) -> Result<(Runs, Vec<Seen>)> {
    let since = Instant::now();
    let (mut runs, mut connections) = (Vec::new(), Vec::new());
    for poll in polls {
        runs.push(poll.run);
        connections.push(poll.connection);
    }
    for connection in &mut connections {
        answer(connection, "at last")?;
    }
    let ends = watch(&mut runs, since, |client, ended| {
        Ok(ended.is_some_and(|status| status.success()) && client.stdout() == b"at last\n")
    })?;
    Ok((runs, ends))
}

/// Answers a request over HTTP, in one packet: sending the next one would fail after a firewall's RST.
pub fn answer(connection: &mut TcpStream, text: &str) -> Result {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    Ok(connection.write_all(answer.as_bytes())?)
}
