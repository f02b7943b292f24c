//! MPTCP, whose subflows each pass the firewall.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;

use kashim_tests::lab::{CLIENT, Evidence, Firewall, Lab, SERVER, Way, ip};
use kashim_tests::{Keepalive, Preload, Program, Result, until};

use super::idle::{Idle, record};
use super::{OTHER_PORT, PORT, SILENCE, TIMEOUT, python, serve};

/// Whether the kernel has it, with values for keepalive.
pub fn is_there() -> bool {
    const TRY: &str =
        "import socket; socket.socket(2, 1, 262).setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 9)";
    Program::new("python3").args(["-c", TRY]).succeed().is_ok()
}

/// A connection with two subflows. Each is a TCP connection to the firewall, so each has to be kept open.
pub fn subflows() -> Result {
    const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 3);
    let lab = Lab::new(Firewall::Nat, TIMEOUT)?;
    ip(
        lab.client(),
        &[
            &format!("address add {OTHER_CLIENT}/32 dev lo"),
            "mptcp limits set subflows 2",
            &format!("mptcp endpoint add {OTHER_CLIENT} subflow"),
        ],
    )?;
    ip(lab.server(), &["mptcp limits set subflows 2"])?;
    let _echo = serve(&lab, python("echo.py").args(["mptcp", &PORT.to_string(), &OTHER_PORT.to_string()]))?;
    let mut programs = Vec::new();
    for (way, port) in [(Way::WITHOUT, PORT), (Way::survives(Preload::With(&[("KA_IDLE", "1")])), OTHER_PORT)]
    {
        let to = SocketAddr::from((SERVER, port));
        let mut idle = Idle::start(&lab, way, "mptcp", 1, &[to])?;
        let want = if way.survives { Keepalive::new(1, 1, 9) } else { Keepalive::untouched() };
        let socket = idle.program.expect(|socket| socket.peer == Some(to), want)?;
        assert!(socket.mptcp);
        let subflows = until("two subflows, and their timers", || {
            let subflows = established(&lab, to)?;
            let right = |subflow: &Subflow| subflow.keepalive == way.survives;
            Ok((subflows.len() == 2 && subflows.iter().all(right)).then_some(subflows))
        })?;
        programs.push((idle, to, subflows));
    }
    sleep(SILENCE);
    for (idle, _, subflows) in &mut programs {
        for subflow in subflows {
            let Subflow { local, .. } = subflow;
            let known = lab.knows(local.port())?;
            assert_eq!(known, idle.way.survives, "{}: {local}: known to the firewall", idle.way);
        }
        idle.begin_to_use()?;
    }
    let what = format!("python uses an MPTCP connection with two subflows after {} s", SILENCE.as_secs());
    let mut evidence = Evidence::new(8, "mptcp", &what, &lab);
    for (idle, to, _) in &mut programs {
        let seen = &idle.used()?[to];
        assert_eq!(seen.answered, usize::from(idle.way.survives), "{}: answered", idle.way);
        record(&mut evidence, idle.way, 1, seen);
    }
    // Nor is it the first subflow alone that carries: without it the second one does.
    lab.nft(&format!("add rule inet firewall outage ip saddr {CLIENT} drop"))?;
    if let Some((idle, to, _)) = programs.last_mut() {
        idle.begin_to_use()?;
        let seen = &idle.used()?[to];
        assert_eq!(seen.answered, 1, "{}: answered over the second subflow", idle.way);
        record(&mut evidence, format!("{}, then the first subflow's path dead", idle.way), 1, seen);
    }
    evidence.write()
}

/// A TCP connection of the client's.
struct Subflow {
    local: SocketAddr,
    /// Whether its timer is that of keepalive.
    keepalive: bool,
}

/// The established TCP connections to there, as the client's kernel shows them.
fn established(lab: &Lab, to: SocketAddr) -> Result<Vec<Subflow>> {
    let list = ["-Htno", "state", "established", "dst", &to.to_string()];
    let text = String::from_utf8(Program::new("ss").args(list).within(lab.client()).succeed()?)?;
    text.lines()
        .map(|line| {
            let local = line.split_whitespace().nth(2).ok_or("a line without an address")?;
            // One that is bound to an interface is shown with it.
            let (address, port) = local.split_once(':').ok_or("an address without a port")?;
            let address: Ipv4Addr = address.split('%').next().unwrap_or_default().parse()?;
            Ok(Subflow {
                local: SocketAddr::from((address, port.parse::<u16>()?)),
                keepalive: line.contains("timer:(keepalive,"),
            })
        })
        .collect()
}
