//! The JSON. Its form is described in docs/ka-status-json.md, and what is said there is a promise.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::Serialize;

use super::assess::{Keepalive, Report, Row};
use super::config::Config;
use crate::output::escape::escaped;
use crate::tcp::sock_diag::Timer;

/// Changes when a program that reads it could break; a new member does not.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Connection<'a> {
    process: Option<&'a str>,
    pid: Option<i32>,
    fd: Option<i32>,
    shared_with: Vec<Shared>,
    uid: Option<u32>,
    network_namespace: Option<u64>,
    family: &'static str,
    protocol: &'static str,
    local: Address,
    peer: Option<Address>,
    state: &'static str,
    keepalive: Option<bool>,
    idle_s: Option<u32>,
    interval_s: Option<u32>,
    count: Option<u32>,
    user_timeout_ms: Option<u32>,
    values_missing: Option<Missing>,
    timer: &'static str,
    next_probe_ms: Option<u32>,
    unanswered_probes: Option<u8>,
    last_received_ms: Option<u32>,
    preloaded: Option<bool>,
    attached: Option<bool>,
    outlives: Option<&'static str>,
    why: Option<String>,
}

#[derive(Serialize)]
struct Shared {
    pid: i32,
    fd: i32,
}

#[derive(Serialize)]
struct Address {
    address: String,
    port: u16,
}

#[derive(Serialize)]
struct Missing {
    reason: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Middlebox {
    name: Option<&'static str>,
    timeout_s: u32,
}

/// Writes everything, a connection in a line.
pub fn write(out: &mut impl Write, config: &Config, report: &Report) -> io::Result<()> {
    let middlebox = config.lifetime.map(|l| Middlebox { name: l.name, timeout_s: l.timeout });
    write!(out, "{{\"version\":{VERSION},\"ka\":\"{}\",\"middlebox\":", env!("CARGO_PKG_VERSION"))?;
    serde_json::to_writer(&mut *out, &middlebox)?;
    out.write_all(b",\"notes\":")?;
    serde_json::to_writer(&mut *out, &report.all.notes)?;
    out.write_all(b",\"connections\":[")?;
    for (n, row) in report.rows.iter().enumerate() {
        out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
        connection(out, report, row)?;
    }
    out.write_all(b"\n]}\n")
}

fn connection(out: &mut impl Write, report: &Report, row: &Row) -> io::Result<()> {
    let sock = &row.found.sock;
    let holders = report.holders(row);
    let first = holders.first();
    let holding = first.and_then(|first| report.process(first));
    let name = holding.map(|holding| escaped(&holding.name));
    let shared = holders
        .iter()
        .skip(1)
        .filter_map(|holder| Some(Shared { pid: report.process(holder)?.pid, fd: holder.descriptor.fd }));
    let options = row.options.ok();
    let connection = Connection {
        process: name.as_deref(),
        pid: holding.map(|holding| holding.pid),
        fd: first.map(|first| first.descriptor.fd),
        shared_with: shared.collect(),
        uid: sock.uid,
        network_namespace: row.found.namespace,
        family: if sock.ipv6 { "ipv6" } else { "ipv4" },
        protocol: if sock.subflow { "mptcp" } else { "tcp" },
        local: address(sock.local),
        peer: (!sock.listens()).then(|| address(sock.peer)),
        state: sock.state.name(),
        keepalive: match row.keepalive {
            Keepalive::On => Some(true),
            Keepalive::Off => Some(false),
            Keepalive::Busy | Keepalive::Unknown => None,
        },
        idle_s: options.map(|o| o.idle),
        interval_s: options.map(|o| o.interval),
        count: options.map(|o| o.count),
        user_timeout_ms: options.map(|o| o.user_timeout),
        values_missing: row
            .options
            .err()
            .map(|missing| Missing { reason: missing.name(), text: missing.text() }),
        timer: match sock.timer {
            Timer::None => "none",
            Timer::Keepalive { .. } => "keepalive",
            Timer::Busy => "busy",
            Timer::Unknown { .. } => "unknown",
        },
        next_probe_ms: row.next_probe(),
        unanswered_probes: row.unanswered(),
        last_received_ms: sock.last_received,
        preloaded: first.and_then(|first| report.preloaded(first)),
        attached: report.attached(row),
        outlives: row.outlives.map(|outlives| outlives.answer().word()),
        why: row.outlives.map(|outlives| outlives.why()),
    };
    serde_json::to_writer(out, &connection)?;
    Ok(())
}

fn address(address: SocketAddr) -> Address {
    Address { address: address.ip().to_string(), port: address.port() }
}
