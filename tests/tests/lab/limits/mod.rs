//! Where keepalive alone is not enough, who gets it and what it costs: data in flight, rules, a profile, MPTCP, and a
//! crowd of connections. All in the lab of [`kashim_tests::lab`], where times are seconds that are minutes in the world.

mod crowd;
mod idle;
mod in_flight;
mod mptcp;
mod profile;
mod rules;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kashim_tests::lab::Lab;
use kashim_tests::{Need, Program, Result, Running, Trial, trial};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let python = Lab::needs(&[Prog("python3")]);
    let and = |more: &[Need]| [&python[..], more].concat();
    let mptcp = and(&[Need::Kernel("keepalive on MPTCP", mptcp::is_there), Prog("ss")]);
    let mut trials = vec![
        trial("data_in_flight_silent", &python, || in_flight::dead_path(&in_flight::SILENT)),
        trial("data_in_flight_unreachable", &python, || in_flight::dead_path(&in_flight::UNREACHABLE)),
        trial("upload_whose_reader_pauses", &python, in_flight::reader_pauses),
        trial("upload_whose_reader_pauses_for_too_long", &python, in_flight::reader_pauses_for_too_long),
        trial("rules", &python, rules::rules),
        trial("mptcp", &mptcp, mptcp::subflows),
        trial("two_thousand_connections", &python, crowd::two_thousand_connections),
    ];
    for shell in ["dash", "bash"] {
        let needs = and(&[Prog(shell), Prog("bash"), Prog("perl")]);
        trials.push(trial(format!("profile_{shell}"), &needs, move || profile::profile(shell)));
    }
    trials
}

/// When the firewall forgets a silent connection.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A silence that it cannot mistake.
const SILENCE: Duration = Duration::from_secs(10);
/// A firewall that is not what the test is about: it remembers.
const REMEMBERS: Duration = Duration::from_secs(300);
/// How many seconds a program waits for an answer. Those that get one get it in a fraction of a second.
const PATIENCE: &str = "8";

/// The ports of the server belong to nobody else.
const PORT: u16 = 7001;
const OTHER_PORT: u16 = 7002;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/firewall_limits").join(name)
}

fn python(name: &str) -> Program {
    Program::new("python3").arg(fixture(name))
}

/// Starts a server.
fn serve(lab: &Lab, server: Program) -> Result<Running> {
    let mut server = server.within(lab.server()).start()?;
    server.wait_for_output("listening")?;
    Ok(server)
}
