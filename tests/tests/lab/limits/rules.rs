//! Rules for some of the destinations of one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;

use kashim_tests::lab::{Evidence, Firewall, Lab, SERVER, Way, ip};
use kashim_tests::{Keepalive, Preload, Result};

use super::idle::{Idle, record};
use super::{OTHER_PORT, PORT, SILENCE, TIMEOUT, python, serve};

/// Three destinations of one process: a rule with other values for one, none at all for another, and the plain settings
/// for the rest.
pub fn rules() -> Result {
    const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 3);
    let way = Way::survives(Preload::With(&[
        ("KA_IDLE", "2"),
        ("KA_RULES", "10.77.2.2/32:7001 idle=1 count=5; 10.77.2.3 off"),
    ]));
    let short = SocketAddr::from((SERVER, PORT));
    let plain = SocketAddr::from((SERVER, OTHER_PORT));
    let off = SocketAddr::from((OTHER_SERVER, PORT));
    let destinations = [
        (short, "idle=1 count=5", Keepalive::new(1, 1, 5)),
        (plain, "no rule, idle 2", Keepalive::new(2, 2, 9)),
        (off, "off", Keepalive::untouched()),
    ];
    let lab = Lab::new(Firewall::Drop, TIMEOUT)?;
    ip(lab.server(), &[&format!("address add {OTHER_SERVER}/32 dev lo")])?;
    let _echo = serve(&lab, python("echo.py").args(["tcp", &PORT.to_string(), &OTHER_PORT.to_string()]))?;
    let mut programs = Vec::new();
    for way in [Way::WITHOUT, way] {
        let mut idle = Idle::start(&lab, way, "tcp", 1, &destinations.map(|(to, ..)| to))?;
        let mut ports = Vec::new();
        for (to, _, keepalive) in destinations {
            let want = if way.survives { keepalive } else { Keepalive::untouched() };
            ports.push(idle.program.expect(|socket| socket.peer == Some(to), want)?.local_port());
        }
        programs.push((idle, ports));
    }
    sleep(SILENCE);
    for (idle, ports) in &mut programs {
        for (port, (to, ..)) in ports.iter().zip(destinations) {
            let known = lab.knows(*port)?;
            assert_eq!(known, idle.way.survives && to != off, "{}: {to}: known to the firewall", idle.way);
        }
        idle.begin_to_use()?;
    }
    let what = format!("python uses three connections of one process after {} s", SILENCE.as_secs());
    let mut evidence = Evidence::new(6, "rules", &what, &lab);
    for (idle, _) in &mut programs {
        let used = idle.used()?;
        for (to, rule, _) in destinations {
            let seen = &used[&to];
            let want = usize::from(idle.way.survives && to != off);
            assert_eq!(seen.answered, want, "{}: {to}: answered", idle.way);
            let settings = if idle.way.survives { format!("with {rule}") } else { "without".into() };
            record(&mut evidence, format!("{settings}, to {to}"), 1, seen);
        }
    }
    evidence.write()
}
