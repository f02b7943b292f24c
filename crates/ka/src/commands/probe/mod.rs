//! `ka probe`: after how much silence a path forgets a connection, measured from the client alone.

mod advice;
pub mod args;
mod connection;
mod diagnosis;
mod json;
mod progress;
mod report;
mod round;
mod schedule;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use kashim_policy::parse::{self, MAX_SECONDS};
use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::host_port::HostPort;
use crate::cli::values;
use crate::output::escape::escaped;
use crate::output::print::print;

use crate::process::signals::Stop;
use connection::{CONNECTS_WITHIN, Failure, Observation};
use diagnosis::{Diagnosis, End};
use progress::Progress;
use round::{Event, Round};

/// Where nobody answers is found out, and most firewalls let through.
const DEFAULT_PORT: u16 = 443;
/// Where no service is (RFC 1078 gave it to one that nobody runs), so that who answers there answers everywhere.
const NOBODYS_PORT: u16 = 1;
/// How many connections may be asked for.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 2..=64;

/// Measures the path's idle timeout.
pub fn run(args: args::ProbeArgs) -> Result<Exit, Error> {
    let target = HostPort::read(&args.target)?;
    let max = values::duration("--max", &args.max, MAX_SECONDS)?;
    if max < 2 {
        return Err(Error::usage("--max: at least 2 seconds"));
    }
    let connections = parse::count(args.connections.as_bytes(), *CONNECTIONS.end())
        .ok()
        .filter(|n| CONNECTIONS.contains(n))
        .ok_or_else(|| {
            let shown = escaped(args.connections.as_bytes()).into_owned();
            Error::usage(format!("--connections \"{shown}\": accepted: 2 to 64"))
        })?;
    let port = target.port.unwrap_or(DEFAULT_PORT);
    let max = Duration::from_secs(max.into());
    let mut probe = Probe {
        max,
        connections: connections as usize,
        document: args.json.then(|| json::head(&target.host, port, max, connections as usize)),
        observations: Vec::new(),
        failed: 0,
    };
    let addresses = target.resolve(port)?;
    // Not before, because looking a name up is not to be interrupted halfway.
    let stop = Stop::listen().map_err(|error| Error::new(format!("cannot listen for signals: {error}")))?;
    let exit = probe.measure(&target.host, &addresses, &stop)?;
    if let Some(document) = &probe.document {
        print(format!("{document:#}\n"))?;
    }
    stop.obey();
    Ok(exit)
}

/// One measurement.
struct Probe {
    max: Duration,
    connections: usize,
    /// What is written at the end, instead of lines as they come.
    document: Option<Value>,
    observations: Vec<Observation>,
    failed: usize,
}

impl Probe {
    fn measure(&mut self, host: &str, addresses: &[SocketAddr], stop: &Stop) -> Result<Exit, Error> {
        let shown = escaped(host.as_bytes()).into_owned();
        let (address, took) = match reach(&shown, addresses, stop)? {
            Ok(reached) => reached,
            Err(failure) => {
                if let Some(document) = &mut self.document {
                    json::failure(document, failure, stop.asked());
                }
                return Ok(Exit::CannotTell);
            }
        };
        if let Some(document) = &mut self.document {
            document["address"] = address.ip().to_string().into();
        }
        let proxy = answers_everywhere(address, took, stop).then_some(NOBODYS_PORT);
        let mut silences = schedule::first(self.max, self.connections);
        self.words(|| report::intention(&shown, &address.to_string(), &silences, took))?;
        let mut diagnosis = Diagnosis::new(&[], self.max);
        for number in 1..=schedule::ROUNDS {
            self.round(number, address, &silences, stop)?;
            diagnosis = Diagnosis::new(&self.observations, self.max);
            silences = schedule::next(&diagnosis, self.max, self.connections);
            if stop.asked() || silences.is_empty() || number == schedule::ROUNDS {
                break;
            }
            self.words(|| report::next_intention(&silences))?;
        }
        if let (End::ResetInSilence(after), false) = (diagnosis.end, stop.asked()) {
            self.words(|| report::whose_reset(after))?;
            // Where that cannot be told, it stays open.
            if round::kept_alive_ends(address, after, stop) == Ok(true) {
                diagnosis.end = End::ResetByServer(after);
            }
        }
        self.words(|| report::diagnosis(&diagnosis, self.max, proxy, stop.asked()))?;
        if let Some(document) = &mut self.document {
            json::diagnosis(document, &diagnosis, proxy.is_some(), stop.asked());
            document["failed_connections"] = self.failed.into();
        }
        Ok(match diagnosis.end {
            End::Dropped(_) | End::Reset(_) | End::Never if diagnosis.is_certain() => Exit::Yes,
            _ => Exit::CannotTell,
        })
    }

    fn round(
        &mut self,
        number: u32,
        address: SocketAddr,
        silences: &[Duration],
        stop: &Stop,
    ) -> Result<(), Error> {
        let longest = silences.last().copied().unwrap_or_default();
        let progress = Progress::new(longest);
        let quiet = self.document.is_some();
        let (mut written, mut last) = (Ok(()), None);
        let result = round::run(address, silences, stop, &mut |event| match event {
            Event::Passed(time) => progress.at(time),
            Event::Seen(_) if quiet || written.is_err() => {}
            // What ends them all at the same time is told once.
            Event::Seen(seen)
                if last.replace(seen.outcome) == Some(seen.outcome) && seen.outcome.is_unasked() => {}
            Event::Seen(seen) => written = progress.aside(|| print(report::observation(seen))),
        });
        drop(progress);
        written?;
        let Round { observations, failures } = result.map_err(|error| {
            Error::new(format!("cannot open connections: {error}; try fewer with --connections"))
        })?;
        self.words(|| report::failures(&failures, silences.len()))?;
        self.failed += failures.len();
        if let Some(document) = self.document.as_mut().and_then(|d| d["observations"].as_array_mut()) {
            document.extend(observations.iter().map(|seen| json::observation(number, seen)));
        }
        self.observations.extend(observations);
        Ok(())
    }

    /// Writes these words, unless it is a document that is wanted.
    fn words(&self, words: impl FnOnce() -> String) -> Result<(), Error> {
        if self.document.is_some() { Ok(()) } else { print(words()) }
    }
}

/// Finds the first address that answers. Why none does is said on standard error.
fn reach(
    host: &str,
    addresses: &[SocketAddr],
    stop: &Stop,
) -> Result<Result<(SocketAddr, Duration), Failure>, Error> {
    let mut last = Failure::HOSTUNREACH;
    for &address in addresses {
        match round::reach(address, CONNECTS_WITHIN, stop) {
            Ok(took) => return Ok(Ok((address, took))),
            Err(_) if stop.asked() => return Ok(Err(Failure::INTR)),
            Err(failure) => {
                let advice = match failure {
                    Failure::CONNREFUSED => {
                        "nothing listens there, though something answers; is it the right port?"
                    }
                    Failure::TIMEDOUT => {
                        "no answer within 10 s; is it the right host, and may one connect from here?"
                    }
                    _ => "is there a way to it from here?",
                };
                let line = format!("ka: error: {host} ({address}): {failure}: {advice}\n");
                let _ = io::stderr().write_all(line.as_bytes());
                last = failure;
            }
        }
    }
    Ok(Err(last))
}

/// Whether something on the way accepts connections also where nothing listens. An answer to that comes as soon as the
/// other one came; none at all is none.
fn answers_everywhere(address: SocketAddr, took: Duration, stop: &Stop) -> bool {
    let nobodys = SocketAddr::new(address.ip(), NOBODYS_PORT);
    address.port() != NOBODYS_PORT
        && round::reach(nobodys, 2 * took + Duration::from_millis(500), stop).is_ok()
}
