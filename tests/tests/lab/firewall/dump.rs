//! Dumps that wait for a lock, while nothing passes on their connection.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kashim_tests::lab::{Evidence, Firewall, Lab, Packet, Sniffer, watch};
use kashim_tests::servers::{MariaDbData, PostgresData};
use kashim_tests::{Preload, Program, Result, Running, until};

use super::{Clients, TIMEOUT, WAYS};

pub fn mysqldump(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let data = MariaDbData::install()?;
    let server = data.start_at(&lab.server_place(), Preload::No)?;
    server.query(
        "CREATE DATABASE shop; USE shop; CREATE TABLE orders
           (id INT PRIMARY KEY, note VARCHAR(80), made DATETIME, label BLOB);
         INSERT INTO orders SELECT seq, CONCAT('Größe ', MD5(seq)),
           '2020-02-29' + INTERVAL seq MINUTE, UNHEX(REPEAT(SHA2(seq, 512), 8)) FROM seq_1_to_3000",
    )?;
    let dump = || server.client("mysqldump").args(["--skip-dump-date", "shop"]);
    let whole = dump().within(lab.server()).succeed()?;

    let mut other = server.mysql().within(lab.server()).stdin(Stdio::piped()).start()?;
    other.write("LOCK TABLES shop.orders WRITE; SELECT 'locked';\n")?;
    other.wait_for_output("locked")?;
    let sniffers = [Sniffer::start(lab.client())?, Sniffer::start(lab.server())?];
    let start = Instant::now();
    let mut dumps = Clients::start(&lab, server.port, &WAYS, |_| Ok(dump()))?;
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for %lock'";
    until("the dumps to wait", || Ok((server.query(waiting)? == "2\n").then_some(())))?;
    let forgotten = dumps.stall(&lab)?;

    let released = Instant::now();
    other.write("UNLOCK TABLES;\n")?;
    let ends = watch(&mut dumps.runs, released, complete(&whole))?;

    let mut evidence = Evidence::new(
        1,
        "mysqldump",
        "mysqldump waits for a table that another connection has locked; the dump is compared byte by byte",
        &lab,
    );
    evidence.runs(&dumps.runs, &ends);
    evidence.number("bytes", whole.len() as f64);
    let [client, server] = sniffers.map(Sniffer::stop);
    let (client, server) = (client?, server?);
    let seconds = |at: Instant| format!("{:.3}", at.saturating_duration_since(start).as_secs_f64());
    evidence.json("released", seconds(released));
    let flows: Vec<_> = dumps.ports.iter().map(|&port| flow(port, &client, &server, seconds)).collect();
    evidence.json("packets", format!("[\n    {}\n  ]", flows.join(",\n    ")));
    let forgotten: Vec<_> = forgotten.into_iter().map(|at| at.map_or("null".to_owned(), seconds)).collect();
    evidence.json("forgotten", format!("[{}]", forgotten.join(", ")));
    evidence.write()
}

/// The packets of a connection, as JSON: when one was sent, by whom, how many bytes of data it carried, whether it was a
/// keepalive probe, and whether it arrived.
fn flow(port: u16, client: &[Packet], server: &[Packet], seconds: impl Fn(Instant) -> String) -> String {
    let mut sent: Vec<(Instant, String)> = Vec::new();
    for (by, here, there) in [("client", client, server), ("server", server, client)] {
        // The port is the client's own also behind the NAT, which changes it only if it must.
        let of_client = |packet: &&Packet| packet.from.port() == port;
        let of_server = |packet: &&Packet| packet.to.port() == port;
        let ours = |packet: &&Packet| if by == "client" { of_client(packet) } else { of_server(packet) };
        let arrived: Vec<_> = there.iter().filter(ours).collect();
        let mut next = None;
        for packet in here.iter().filter(ours) {
            // A probe repeats the last sequence number that has been acknowledged.
            let probe =
                packet.data == 0 && next == Some(packet.sequence.wrapping_add(1)) && packet.flags == 16;
            if !probe {
                let length = packet.data + usize::from(packet.flags & 3 != 0);
                next = Some(packet.sequence.wrapping_add(u32::try_from(length).unwrap_or(0)));
            }
            // On its way, data may be cut and joined again: what counts is whether its first byte arrives.
            let has = |other: &&&Packet| {
                let offset = packet.sequence.wrapping_sub(other.sequence) as usize;
                let same = if packet.data > 0 {
                    offset < other.data
                } else {
                    offset == 0 && packet.flags == other.flags
                };
                let later = other.at + Duration::from_millis(20);
                same && (packet.at..packet.at + Duration::from_millis(520)).contains(&later)
            };
            let lost = !arrived.iter().any(|other| has(&other));
            sent.push((
                packet.at,
                format!(
                    "{{\"at\": {}, \"by\": \"{by}\", \"data\": {}, \"probe\": {probe}, \"lost\": {lost}}}",
                    seconds(packet.at),
                    packet.data
                ),
            ));
        }
    }
    sent.sort();
    let sent: Vec<_> = sent.into_iter().map(|(_, text)| text).collect();
    format!("[{}]", sent.join(",\n     "))
}

pub fn pg_dump(firewall: Firewall) -> Result {
    let lab = Lab::new(firewall, TIMEOUT)?;
    let data = PostgresData::install()?;
    let server = data.start_at(&lab.server_place(), Preload::No)?;
    server.query(
        "CREATE TABLE orders AS
           SELECT id, 'Größe ' || md5(id::text) AS note, decode(repeat(md5(id::text), 16), 'hex') AS label
           FROM generate_series(1, 3000) AS id",
    )?;
    // Newer versions write a random key otherwise.
    let help = String::from_utf8(Program::new("pg_dump").arg("--help").succeed()?)?;
    let key = help.contains("--restrict-key").then_some("--restrict-key=key");
    let dump = || Program::new("pg_dump").args(key).arg("--dbname").arg(server.conninfo());
    let whole = dump().within(lab.server()).succeed()?;

    let mut other = server.psql().within(lab.server()).stdin(Stdio::piped()).start()?;
    other.write("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")?;
    other.wait_for_output("locked")?;
    let mut dumps = Clients::start(&lab, server.port, &WAYS, |_| Ok(dump()))?;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until("the dumps to wait", || Ok((server.query(waiting)? == "2\n").then_some(())))?;
    dumps.stall(&lab)?;

    let released = Instant::now();
    other.write("COMMIT;\n")?;
    let ends = watch(&mut dumps.runs, released, complete(&whole))?;
    let mut evidence = Evidence::new(
        2,
        "pg_dump",
        "pg_dump waits for a table that another connection has locked; the dump is compared byte by byte",
        &lab,
    );
    evidence.runs(&dumps.runs, &ends);
    evidence.number("bytes", whole.len() as f64);
    evidence.write()
}

/// Whether a dump has succeeded; then it has to be this one, byte by byte.
fn complete(whole: &[u8]) -> impl Fn(&Running, Option<ExitStatus>) -> Result<bool> {
    move |dump, ended| {
        if !ended.is_some_and(|status| status.success()) {
            return Ok(false);
        }
        let (is, want) = (dump.stdout().len(), whole.len());
        if dump.stdout() != whole {
            return Err(format!("the dump differs: {is} bytes, not {want}").into());
        }
        Ok(true)
    }
}
