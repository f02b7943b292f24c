//! Processes: forked, executed with the library and without, with their descriptors closed or used up, and how they end.

use std::fs;
use std::path::PathBuf;

use super::guest::{
    LOGGED, Sockets, alike, alike_by, compile, crowded, every_way, long, ours, run_patiently, without_rules,
};
use kashim_tests::{
    Keepalive, Need, Output, Preload, Program, Result, Scratch, Trial, both_with, each, log_file, trial,
    until,
};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    let mut trials = vec![
        trial("fork_among_threads", &[CC], || in_every_way(&["fork"])),
        trial("vfork_and_clone", &[CC], || in_every_way(&["borrow"])),
        trial("posix_spawn_system_and_popen", &[CC], || in_every_way(&["spawn"])),
        trial!(exec_with_the_library_and_without, &[CC]),
        trial!(started_by_env_i, &[CC]),
        trial("environment_changed", &[CC], || in_every_way(&["environment"])),
        trial!(daemons, &[CC]),
        trial!(closed_at_the_start, &[CC]),
        trial("no_descriptor_left", &[CC], || in_every_way(&["out"])),
        trial(
            "no_descriptor_left_for_the_namespaces_defaults",
            &[CC, Need::Root],
            no_descriptor_for_defaults,
        ),
        trial!(in_a_chroot_and_as_another_user, &[CC, Need::Root]),
        trial!(ends, &[CC]),
        trial("many_sockets", &[CC], || many_sockets(100_000, &[Preload::OURS, crowded()])),
    ];
    if long() {
        trials.push(trial("long_many_sockets", &[CC], || many_sockets(1_000_000, &every_way())));
    }
    trials
}

fn processes() -> Result<PathBuf> {
    compile("cc", "processes.c", &["-pthread"])
}

/// All of whose sockets are ours.
fn in_every_way(arguments: &[&str]) -> Result {
    let program = processes()?;
    alike(&every_way(), Sockets::Ours, || Ok(Program::new(&program).args(arguments)))?;
    Ok(())
}

/// A process that executes itself again and again: what it opens depends on whether the library is there just then, what
/// it had opened before stays as it was.
fn exec_with_the_library_and_without() -> Result {
    const CHAIN: [&str; 7] = ["keep", "drop", "keep", "again", "clear", "again", "keep"];
    const HAS_IT: [bool; 8] = [true, true, false, false, true, false, true, true];
    let program = processes()?;
    for transcript in alike(&without_rules(), Sockets::SomeOurs, || {
        Ok(Program::new(&program).args(["chain", "begin"]).args(CHAIN))
    })? {
        let untouched = format!("{:?}", Keepalive::untouched());
        let opened = |has_it: bool| if has_it { ours() } else { untouched.clone() };
        let expected: Vec<_> = HAS_IT.iter().flat_map(|&has_it| [ours(), opened(has_it)]).collect();
        if transcript.keepalive != expected {
            return Err(transcript.all.into());
        }
    }
    Ok(())
}

fn started_by_env_i() -> Result {
    let program = processes()?;
    alike(&every_way(), Sockets::Unseen, || Ok(Program::new("env").arg("-i").arg(&program).arg("open")))?;
    Ok(())
}

/// Runs a program whose transcript goes to a file, to which it writes `last` last of all.
fn reported(way: Preload, program: Program, last: &str) -> Result<Output> {
    let scratch = Scratch::new()?;
    let report = scratch.join("report");
    let program = program.env("REPORT", &report).preload(way).start()?;
    let stdout = until("the end of the report", || {
        let text = fs::read(&report).unwrap_or_default();
        Ok(text.ends_with(last.as_bytes()).then_some(text))
    })?;
    Ok(Output { stdout, ..program.output()? })
}

/// With a bad setting as well, about which something would be said if it could.
fn every_way_and_a_complaint() -> Vec<Preload> {
    const COMPLAINING: Preload = Preload::With(&[
        ("KA_IDLE", "77"),
        ("KA_INTERVAL", "11"),
        ("KA_COUNT", "5"),
        ("KA_USER_TIMEOUT", "long"),
    ]);
    let mut ways = every_way().to_vec();
    ways.push(COMPLAINING);
    ways
}

/// Processes that close all of their descriptors. Then sockets and files of theirs stand in the place of standard error, and
/// nothing of ours gets into those.
fn daemons() -> Result {
    let program = processes()?;
    each(&["daemon", "close", "close_range", "closefrom"], |how| {
        alike_by(&every_way_and_a_complaint(), Sockets::Ours, |way| {
            reported(way, Program::new(&program).args(["daemon", how]), "\nend\n")
        })?;
        Ok(())
    })
}

/// Descriptors are given to the program in the same order, although our log opens one too.
fn closed_at_the_start() -> Result {
    let program = processes()?;
    each(&["<&- >&- 2>&-", "<&-", ">&-", "2>&-", "<&- 2>&-", ">&- 2>&-"], |closed| {
        alike_by(&every_way_and_a_complaint(), Sockets::Ours, |way| {
            let shell = Program::new("sh").arg("-c").arg(format!("exec \"$0\" low {closed}")).arg(&program);
            reported(way, shell, " bytes\n")
        })?;
        Ok(())
    })
}

/// To know a foreign socket's values for the namespace's takes a descriptor. Where there is none the socket is left
/// alone, and the next one, when there are some again, is not.
fn no_descriptor_for_defaults() -> Result {
    each(&[&[][..], &[("KA_LOG", log_file())]], |log| {
        both_with(
            Preload::OURS,
            log,
            "namespace 300 75 9; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; d=rawsocket inet stream 0
             f=dup 0; limit nofile 7; connect c @l; show c -> off 300/75/9; close f; connect d @l
             show d -> off 300/75/9 | ours; e=socket inet stream 0; show e -> off 300/75/9 | ours",
        )?;
        both_with(
            Preload::With(&[("KA_IDLE", "system"), ("KA_COUNT", "5")]),
            log,
            "namespace 10 20 3; l=listener 127.0.0.1:0; c=rawsocket inet stream 0; d=rawsocket inet stream 0
             f=dup 0; limit nofile 7; connect c @l; close f; connect d @l
             show d -> off 10/20/3 | on 10/10/5; e=socket inet stream 0; show e -> off 10/20/3 | on 10/10/5",
        )
    })
}

fn in_a_chroot_and_as_another_user() -> Result {
    let program = processes()?;
    let empty = Scratch::new()?;
    alike(&every_way(), Sockets::Ours, || Ok(Program::new(&program).arg("chroot").arg(empty.path())))?;
    alike(&every_way(), Sockets::Ours, || Ok(Program::new(&program).arg("user")))?;
    Ok(())
}

/// However a program ends, and whatever it opens on its way out.
fn ends() -> Result {
    let program = processes()?;
    let ways = ["return", "exit", "_exit", "quick_exit", "abort", "kill", "term", "segv", "thread"];
    each(&ways, |how| {
        alike(&[Preload::OURS, LOGGED, crowded()], Sockets::Ours, || {
            Ok(Program::new(&program).args(["end", how]))
        })?;
        Ok(())
    })
}

/// One process that opens and closes so many sockets: no descriptor and no memory lost.
fn many_sockets(number: u32, ways: &[Preload]) -> Result {
    let program = processes()?;
    let ways: Vec<_> = ways.iter().copied().filter(|&way| way != LOGGED).collect();
    for transcript in alike_by(&ways, Sockets::Ours, |way| {
        let program = Program::new(&program).args(["many", &number.to_string()]).preload(way);
        run_patiently(program)
    })? {
        if !transcript.text.ends_with("\n0 descriptors more, 0 KiB more\n") {
            return Err(transcript.all.into());
        }
    }
    Ok(())
}
