//! What is started from a login shell.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use kashim_tests::lab::{Evidence, Firewall, Lab, SERVER};
use kashim_tests::{Keepalive, Program, Result, Scratch, checkout};

use super::{SILENCE, TIMEOUT, fixture, python, serve};

/// The programs in `session.sh`: the name that each says, its port, and whether it has a value of its own, which is too
/// long.
const SESSION: [(&str, u16, bool); 4] =
    [("python", 7001, false), ("override", 7002, true), ("perl", 7003, false), ("bash", 7004, false)];

/// What is started from a login shell, directly or not, gets what its profile says, unless it says otherwise.
pub fn profile(shell: &'static str) -> Result {
    let prefix = Scratch::new()?;
    Program::new(checkout()?.join("scripts/install")).arg("--prefix").arg(prefix.path()).succeed()?;
    let snippet = prefix.join("bin/kashim-profile.sh");
    let lab = Lab::new(Firewall::Drop, TIMEOUT)?;
    let ports = SESSION.map(|(_, port, _)| port.to_string());
    let _echo = serve(&lab, python("echo.py").arg("tcp").args(&ports))?;
    let homes = [
        ("without", Scratch::new()?, String::new()),
        ("profile", Scratch::new()?, format!("KA_IDLE=1\n. '{}'\n", snippet.display())),
    ];
    let mut sessions = Vec::new();
    for (name, home, profile) in &homes {
        home.write(".profile", profile)?;
        let mut session = Program::new(shell)
            .arg("-l")
            .arg(fixture("session.sh"))
            .args([SERVER.to_string(), SILENCE.as_secs().to_string()])
            .env("HOME", home.path())
            .within(lab.client())
            .start()?;
        for (word, port, own) in SESSION {
            let socket = session.until(&format!("the connection of {word}"), |session| {
                Ok(session.sockets().into_iter().find(|socket| socket.peer_port() == port))
            })?;
            let maps = fs::read_to_string(format!("/proc/{}/maps", socket.pid))?;
            let mapped = maps.lines().any(|line| {
                line.contains(&*prefix.path().to_string_lossy()) && line.ends_with("/libkashim.so")
            });
            let (library, want) = match (*name, own) {
                ("without", _) => (false, Keepalive::untouched()),
                (_, false) => (true, Keepalive::new(1, 1, 9)),
                // The interval that nobody set is 15.
                (_, true) => (true, Keepalive::new(30, 15, 9)),
            };
            assert_eq!(mapped, library, "{name}: {word}: has the library");
            assert_eq!(socket.keepalive, want, "{name}: {word}");
        }
        sessions.push((*name, session));
    }
    let since = Instant::now();
    let what = format!("programs from a login shell ({shell}) are silent for {} s", SILENCE.as_secs());
    let mut evidence = Evidence::new(7, &format!("profile-{shell}"), &what, &lab);
    let mut times = BTreeMap::new();
    for (name, session) in &mut sessions {
        for (word, _, own) in SESSION {
            if *name == "profile" && !own {
                session.wait_for_output(&format!("{word}\n"))?;
                times.insert((*name, word), since.elapsed());
            }
        }
    }
    for (name, mut session) in sessions {
        // Until those that are not answered have given up.
        session.wait()?;
        let said = String::from_utf8_lossy(&session.stdout()).into_owned();
        for (word, _, own) in SESSION {
            let answered = times.get(&(name, word));
            assert_eq!(said.contains(word), answered.is_some(), "{name}: {word} was answered");
            let outcome = if answered.is_some() { "completed" } else { "hangs" };
            let after = answered.copied().unwrap_or_else(|| since.elapsed()).saturating_sub(SILENCE);
            let command = if own { "KA_IDLE=30 python" } else { word };
            evidence.outcome(format!("{name}: {command}"), answered.is_some(), outcome, after);
        }
    }
    evidence.write()
}
