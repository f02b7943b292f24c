//! Clients and servers that are quiet for a while, each in its own way.

use std::fs;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use kashim_tests::lab::{Evidence, Firewall, Lab, Way, watch};
use kashim_tests::servers::{Nginx, PostgresData, Redis, Rsync, Ssh};
use kashim_tests::{Preload, Program, Result, Scratch, read_request, until};

use super::polls::answer;
use super::{Clients, IDLE, SILENCE, TIMEOUT, WAYS, stall};

/// Longer than [`SILENCE`], so that it ends after the firewall was asked.
const SLEEP: &str = "SELECT 'slept' FROM pg_sleep(17)";

pub fn psql(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let data = PostgresData::install()?;
    let server = data.start_at(&lab.server_place(), Preload::No)?;
    let mut clients = Clients::start(&lab, server.port, &WAYS, |_| Ok(server.psql().arg("-c").arg(SLEEP)))?;
    until("both to sleep", || Ok((server.query(SLEEPING)? == "2\n").then_some(())))?;
    let since = Instant::now();
    clients.stall(&lab)?;
    let ends = watch(&mut clients.runs, since, |client, _| Ok(client.stdout() == b"slept\n"))?;
    let mut evidence = Evidence::new(2, "psql", "psql waits for a query that takes 17 s", &lab);
    evidence.runs(&clients.runs, &ends);
    evidence.write()
}

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// The server's keepalives do it as well: they pass through the same firewall, and nobody has to touch the clients.
pub fn server_side(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let (mut servers, mut clients, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for way in WAYS {
        let data = PostgresData::install()?;
        let mut server = data.start_at(&lab.server_place(), way.preload)?;
        let psql = server.psql().arg("-c").arg(SLEEP);
        let mut psql = psql.within(lab.client()).start()?;
        ports.push(psql.socket(|socket| socket.peer_port() == server.port)?.local_port());
        // The proof that the library is in the one server and not in the other.
        server.server.socket(|socket| socket.local_port() == server.port && socket.peer.is_some())?;
        until("the server to sleep", || Ok((server.query(SLEEPING)? == "1\n").then_some(())))?;
        clients.push((way, psql));
        servers.push((data, server));
    }
    let since = Instant::now();
    stall(&lab, SILENCE, WAYS.into_iter().zip(ports))?;
    let ends = watch(&mut clients, since, |client, _| Ok(client.stdout() == b"slept\n"))?;
    let mut evidence = Evidence::new(
        2,
        "server-side",
        "psql waits for a query that takes 17 s; the server has the library",
        &lab,
    );
    evidence.runs(&clients, &ends);
    evidence.write()
}

pub fn ssh(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = Ssh::start_at(&lab.server_place(), Preload::No)?;
    let mut clients = Clients::start(&lab, server.port, &WAYS, |_| {
        Ok(server.client("echo ready; exec cat").stdin(Stdio::piped()))
    })?;
    for (_, ssh) in &mut clients.runs {
        ssh.wait_for_output("ready\n")?;
    }
    clients.stall(&lab)?;
    let since = Instant::now();
    for (_, ssh) in &mut clients.runs {
        ssh.write("still there?\n")?;
    }
    let ends = watch(&mut clients.runs, since, |ssh, _| Ok(ssh.stdout() == b"ready\nstill there?\n"))?;
    let mut evidence = Evidence::new(2, "ssh", "an idle ssh session is used again", &lab);
    evidence.runs(&clients.runs, &ends);
    evidence.write()
}

/// redis-cli sets keepalive itself, to 15/5/3, after it has connected: ours does not win unless it is forced.
pub fn redis_cli(firewall: Firewall) -> Result {
    const FORCED: Preload = Preload::With(&[("KA_IDLE", "2"), ("KA_FORCE", "1")]);
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = Redis::start_at(&lab.server_place(), Preload::No)?;
    let ways = [Way::WITHOUT, Way::dies(IDLE), Way::survives(FORCED)];
    let mut clients =
        Clients::start(&lab, server.port, &ways, |_| Ok(server.client().args(["SUBSCRIBE", "news"])))?;
    for (_, client) in &mut clients.runs {
        client.wait_for_output("subscribe\nnews\n1\n")?;
    }
    clients.stall(&lab)?;
    let since = Instant::now();
    let subscribers = server.client().within(lab.server()).args(["PUBLISH", "news", "at last"]).succeed()?;
    assert_eq!(subscribers, b"3\n", "the server has noticed nothing");
    let ends = watch(&mut clients.runs, since, |client, _| {
        Ok(client.stdout().ends_with(b"message\nnews\nat last\n"))
    })?;
    let mut evidence = Evidence::new(
        2,
        "redis-cli",
        "redis-cli SUBSCRIBE waits for a message (it sets 15/5/3 itself)",
        &lab,
    );
    evidence.runs(&clients.runs, &ends);
    evidence.write()
}

pub fn rsync(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let server = Rsync::start_at(&lab.server_place(), Preload::No)?;
    let to = Scratch::new()?;
    let copy = |way: &Way| to.join(way.to_string());
    let mut clients = Clients::start(&lab, server.port, &WAYS, |way| Ok(server.client(&copy(way))))?;
    server.gate.wait()?;
    clients.stall(&lab)?;
    let since = Instant::now();
    server.gate.open()?;
    let ends = watch(&mut clients.runs, since, |_, ended| Ok(ended.is_some_and(|status| status.success())))?;
    for way in WAYS {
        for file in ["small", "large"] {
            let same = fs::read(copy(&way).join(file)).ok() == Some(fs::read(server.data().join(file))?);
            assert_eq!(same, way.survives, "{way}: {file}");
        }
    }
    let mut evidence = Evidence::new(2, "rsync", "rsync waits for a daemon that is busy", &lab);
    evidence.runs(&clients.runs, &ends);
    evidence.write()
}

/// nginx keeps the connection to its upstream, and sends the next request on it.
pub fn nginx(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let upstream = Arc::new(lab.listen()?);
    let accepts = Arc::clone(&upstream);
    thread::spawn(move || {
        let mut number = 0;
        while let Ok(connection) = accepts.accept() {
            thread::spawn(move || serve(connection, number));
            number += 1;
        }
    });
    let (mut proxies, mut before, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for way in WAYS {
        let mut nginx = Nginx::start_in(lab.client(), &upstream.address(), way.preload)?;
        before.push(request(&lab, nginx.port).succeed()?);
        let connection = nginx.server.socket(|socket| socket.peer_port() == upstream.port())?;
        ports.push(connection.local_port());
        proxies.push(nginx);
    }
    stall(&lab, SILENCE, WAYS.into_iter().zip(ports))?;
    let since = Instant::now();
    let mut requests = Vec::new();
    for (way, nginx) in WAYS.into_iter().zip(&proxies) {
        requests.push((way, request(&lab, nginx.port).start()?));
    }
    let ends = watch(&mut requests, since, |_, ended| Ok(ended.is_some_and(|status| status.success())))?;
    assert_eq!(requests[1].1.stdout(), before[1], "answered on the same connection");
    let mut evidence = Evidence::new(
        2,
        "nginx",
        "nginx sends a request on the connection that it keeps to its upstream",
        &lab,
    );
    evidence.runs(&requests, &ends);
    evidence.write()
}

fn request(lab: &Lab, port: u16) -> Program {
    Program::new("curl").args(["-sSf", &format!("http://127.0.0.1:{port}/")]).within(lab.client())
}

/// Answers every request on a connection with the connection's number.
fn serve(mut connection: TcpStream, number: u32) {
    while read_request(&mut connection).is_ok() {
        if answer(&mut connection, &format!("connection {number}")).is_err() {
            return;
        }
    }
}
