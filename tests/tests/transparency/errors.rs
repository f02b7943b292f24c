//! Every hook with good, bad and absurd arguments in every combination: what it returns, and what it does to errno and to
//! memory, is what the kernel does, whatever the settings.

use super::guest::{Transcript, compile, crowded, every_way, logged_to_file, transcript};
use kashim_tests::{Need, Preload, Program, Result, Trial, trial};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    let filters =
        Need::Kernel("seccomp filters", || std::path::Path::new("/proc/sys/kernel/seccomp").exists());
    vec![
        trial("arguments_of_socket", &[CC], || arguments("socket", 7000)),
        trial("arguments_of_connect", &[CC], || arguments("connect", 8000)),
        trial("arguments_of_accept_and_accept4", &[CC], || arguments("accept", 7000)),
        trial("arguments_of_setsockopt", &[CC], || arguments("setsockopt", 30_000)),
        trial!(every_error_number, &[CC, filters]),
        trial!(errors_that_take_preparation, &[CC]),
    ]
}

/// The ways in which settings make the hooks do more.
fn ways() -> Vec<Preload> {
    const RULES: Preload = Preload::With(&[
        ("KA_FORCE", "1"),
        ("KA_USER_TIMEOUT", "auto"),
        ("KA_RULES", "127.0.0.1 idle=5 user-timeout=off; [::1] off; * interval=3"),
    ]);
    const SYSTEM: Preload = Preload::With(&[("KA_IDLE", "system"), ("KA_COUNT", "7")]);
    let mut ways = every_way().to_vec();
    ways.extend([RULES, SYSTEM]);
    ways
}

/// Runs the program without the library and with it in these ways, at least one of whose sockets then shows that it is
/// there. Everything else has to be the same, and errno as the kernel leaves it.
fn alike(what: &str, ways: &[Preload]) -> Result<Transcript> {
    let program = compile("cc", "errors.c", &[])?;
    let run = |way| Program::new(&program).arg(what).preload(way).run().map(transcript);
    let without = run(Preload::No)?;
    if without.text.contains("errno became") || without.status != "exit status: 0" {
        return Err(format!("without the library: {}\n{}", without.status, without.stderr).into());
    }
    for way in ways {
        let with = run(*way)?;
        // All of it would be too much to read.
        let pairs = without.text.lines().zip(with.text.lines());
        let different: Vec<_> = pairs.filter(|(without, with)| without != with).take(5).collect();
        let complete = without.text.len() == with.text.len();
        if !different.is_empty() || !complete || with.status != without.status {
            return Err(format!("{way:?}: {}, {different:#?}", with.status).into());
        }
        if with.stderr != without.stderr {
            return Err(format!("{way:?}: {}", with.stderr).into());
        }
        if with.keepalive == without.keepalive {
            return Err(format!("{way:?}: the library is not there").into());
        }
    }
    Ok(without)
}

/// All calls of one hook, of which there are at least so many.
fn arguments(hook: &str, calls: usize) -> Result {
    let made = alike(hook, &ways())?.text.lines().count();
    if made < calls { Err(format!("only {made} calls").into()) } else { Ok(()) }
}

/// All that a system call can return, made up by a filter.
fn every_error_number() -> Result {
    let transcript = alike("injected", &ways())?;
    if transcript.text.matches(": 0 wrong\n").count() == 6 { Ok(()) } else { Err(transcript.all.into()) }
}

/// ETIMEDOUT, EALREADY, EADDRNOTAVAIL and others that need somebody at the other end, or to be somebody else.
fn errors_that_take_preparation() -> Result {
    // One with a user timeout of its own changes when the program's is over, which is what it is for.
    let ways = [Preload::OURS, Preload::FORCED, logged_to_file(), crowded()];
    alike("prepared", &ways).map(|_| ())
}
