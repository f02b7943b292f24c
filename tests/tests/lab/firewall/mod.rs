//! Connections through a firewall that forgets them: real programs, each run without the library, when it hangs or fails
//! as users report it, and at the same time with it, when it completes. All in the lab of [`kashim_tests::lab`]. Times
//! are seconds where they are minutes in the world; nothing else is scaled.

mod dump;
mod leftovers;
mod outages;
mod polls;
mod programs;

pub use leftovers::run_that_ends;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Firewall, Lab, Way};
use kashim_tests::{Need, Preload, Program, Result, Running, Trial, trial};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Python};
    let mysql = [Prog("mariadbd"), Prog("mariadb-install-db"), Prog("mysql"), Prog("mysqldump")];
    let postgres = [Prog("postgres"), Prog("initdb"), Prog("psql"), Prog("pg_dump")];
    let ssh = [Prog("ssh"), Prog("sshd"), Prog("ssh-keygen")];
    let redis = [Prog("redis-cli"), Prog("redis-server")];
    let python = [Prog("python3"), Python("urllib.request")];
    let java = [Prog("java"), Prog("javac")];
    let nginx = [Prog("nginx"), Prog("curl")];
    use Firewall::{Drop, Nat, Reset};
    vec![
        // The longest first.
        in_lab("short_outage", Nat, &python, outages::short),
        in_lab("long_outage", Nat, &python, outages::long),
        in_lab("vanished_peer", Drop, &python, outages::vanished_peer),
        in_lab("mysqldump", Drop, &mysql, dump::mysqldump),
        in_lab("mysqldump", Nat, &mysql, dump::mysqldump),
        in_lab("mysqldump", Reset, &mysql, dump::mysqldump),
        in_lab("pg_dump", Drop, &postgres, dump::pg_dump),
        in_lab("psql", Nat, &postgres, programs::psql),
        in_lab("server_side", Nat, &postgres, programs::server_side),
        in_lab("java", Nat, &java, polls::java),
        in_lab("ssh", Nat, &ssh, programs::ssh),
        in_lab("ssh", Reset, &ssh, programs::ssh),
        in_lab("redis_cli", Nat, &redis, programs::redis_cli),
        in_lab("rsync", Drop, &[Prog("rsync")], programs::rsync),
        in_lab("nginx", Nat, &nginx, programs::nginx),
        in_lab("python", Drop, &python, polls::python),
        in_lab("settings", Drop, &python, polls::settings),
        in_lab("settings", Nat, &python, polls::settings),
        in_lab("settings", Reset, &python, polls::settings),
        trial("nothing_is_left", &Lab::needs(&[Prog("redis-server")]), leftovers::nothing_is_left),
    ]
}

fn in_lab(name: &str, firewall: Firewall, needs: &[Need], test: fn(Firewall) -> Result) -> Trial {
    trial(format!("{name}_{}", firewall.name()), &Lab::needs(needs), move || test(firewall))
}

/// The trials mostly wait. With many more at once, starting all the servers would make a small machine slow.
pub const AT_ONCE: usize = 10;

/// When the firewall forgets a silent connection, except in the outages.
const TIMEOUT: Duration = Duration::from_secs(6);
/// How long nothing happens on a connection: more than twice that, so that a packet more or less does not count.
const SILENCE: Duration = Duration::from_secs(15);

/// Well below [`TIMEOUT`]: a probe would have to come four seconds late.
const IDLE: Preload = Preload::With(&[("KA_IDLE", "2")]);
/// The contrast.
const WAYS: [Way; 2] = [Way::WITHOUT, Way::survives(IDLE)];

/// A program in several ways behind one firewall, each with one connection through it.
struct Clients {
    runs: Vec<(Way, Running)>,
    /// From where they connected.
    ports: Vec<u16>,
}

impl Clients {
    /// Starts the program in each way, and waits until it has connected to this port of the server.
    fn start(
        lab: &Lab,
        server: u16,
        ways: &[Way],
        program: impl Fn(&Way) -> Result<Program>,
    ) -> Result<Self> {
        let mut clients = Self { runs: Vec::new(), ports: Vec::new() };
        for &way in ways {
            let mut client = program(&way)?.within(lab.client()).preload(way.preload).start()?;
            clients.ports.push(client.socket(|socket| socket.peer_port() == server)?.local_port());
            clients.runs.push((way, client));
        }
        Ok(clients)
    }

    /// Lets [`SILENCE`] pass, in which the firewall has to forget the connections that are not kept open, and no other.
    /// Returns when it forgot each.
    fn stall(&self, lab: &Lab) -> Result<Vec<Option<Instant>>> {
        stall(lab, SILENCE, self.runs.iter().map(|run| run.0).zip(self.ports.iter().copied()))
    }
}

/// [`Clients::stall`], for connections given with their ports on the client.
fn stall(
    lab: &Lab,
    silence: Duration,
    connections: impl IntoIterator<Item = (Way, u16)>,
) -> Result<Vec<Option<Instant>>> {
    let connections: Vec<_> = connections.into_iter().collect();
    let mut forgotten = vec![None; connections.len()];
    let end = Instant::now() + silence;
    while Instant::now() < end {
        for ((_, port), at) in connections.iter().zip(&mut forgotten) {
            if at.is_none() && !lab.knows(*port)? {
                *at = Some(Instant::now());
            }
        }
        sleep(Duration::from_millis(50));
    }
    for ((way, _), at) in connections.iter().zip(&forgotten) {
        if way.survives != at.is_none() {
            let does = if way.survives { "has forgotten" } else { "still knows" };
            return Err(format!("{way}: the firewall {does} the connection").into());
        }
    }
    Ok(forgotten)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/firewall").join(name)
}
