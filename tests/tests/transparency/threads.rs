//! Threads and signals: cancelled in a hook, interrupted in one, on the smallest stacks, and many at once.

use std::path::{Path, PathBuf};

use super::guest::{
    self, LOGGED, Sockets, alike, alike_by, among, compile, crowded, every_way, logged_to_file, long,
    run_patiently, without_rules,
};
use kashim_tests::{Need, Preload, Program, Result, Scratch, Trial, debug_library, each, trial};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    let mut trials = vec![
        trial!(cancelled, &[CC]),
        trial!(cancelled_in_a_debug_build, &[CC]),
        trial("cancelled_anywhere", &[CC], || cancelled_anywhere(every_way().as_slice())),
        trial("handler_in_malloc", &[CC], || handler("malloc", 200)),
        trial("handler_in_hooks", &[CC], || handler("hooks", 200)),
        trial!(handler_in_each_call_of_ours, &[CC]),
        trial("handler_and_thread_in_our_constructor", &[CC], in_our_constructor),
        trial!(interrupted_calls, &[CC]),
        trial!(jumps_out_of_calls, &[CC]),
        trial("address_unmapped_while_connect_blocks", &[CC], address_unmapped),
        trial("number_reused_while_connect_blocks", &[CC], number_reused),
        trial!(what_many_threads_have_chosen, &[CC]),
        trial!(smallest_stacks, &[CC]),
        trial("the_log_is_not_seen", &[CC], || {
            the_log_is_not_seen(&[
                ("table", 2000),
                ("fork", 500),
                ("number", 50_000),
                ("data", 50_000),
                ("jump", 1000),
                ("pending", 1),
                ("wait", 100),
            ])
        }),
        trial("the_log_is_no_namespaces_init", &[CC, Need::Root], || {
            the_log_is_not_seen(&[("namespace", 1)])
        }),
        trial("many_threads", &[CC], || many_threads(&[Preload::OURS], 2000)),
    ];
    if long() {
        trials.extend([
            trial("long_many_threads", &[CC], || many_threads(&[Preload::OURS], 100_000)),
            trial("long_many_threads_in_every_way", &[CC], || {
                many_threads(&[Preload::FORCED, logged_to_file(), crowded()], 10_000)
            }),
            trial("long_handler_in_malloc", &[CC], || handler("malloc", 5_000)),
            trial("long_handler_in_hooks", &[CC], || handler("hooks", 5_000)),
        ]);
    }
    trials
}

const CALLS: [&str; 3] = ["accept", "accept4", "connect"];

fn threads() -> Result<PathBuf> {
    compile("cc", "threads.c", &["-pthread", "-fexceptions"])
}

/// Compiled so, a clean-up handler runs wherever its thread is cancelled. By unwinding, it runs only where the compiler
/// expected the thread to be left: not in `socket`, for one, which is declared never to do that.
fn threads_without_exceptions() -> Result<PathBuf> {
    compile("cc", "threads.c", &["-pthread", "-fno-exceptions"])
}

/// A thread that blocks in a call, in every state that cancellation can be in: clean-up handlers run and frames are
/// left, or the thread goes on.
fn cancelled() -> Result {
    let program = threads()?;
    for call in CALLS {
        for how in ["deferred", "asynchronous", "pending", "disabled"] {
            // It is forced where the program sets keepalive itself.
            alike(&[Preload::FORCED, crowded()], Sockets::Ours, || {
                Ok(Program::new(&program).args(["cancel", call, how]))
            })?;
            let all = alike(&[Preload::OURS, LOGGED], Sockets::SomeOurs, || {
                Ok(Program::new(&program).args(["cancel", call, how]))
            })?;
            let cleaned = "cleaned up: inner\ncleaned up: outer\nframe 1 left\ncancelled\n";
            if let Some(wrong) = all.iter().find(|transcript| !transcript.text.contains(cleaned)) {
                return Err(format!("{call} {how}:\n{}", wrong.all).into());
            }
        }
    }
    Ok(())
}

fn cancelled_in_a_debug_build() -> Result {
    let scratch = Scratch::new()?;
    let debug = debug_library(&scratch)?;
    let program = threads()?;
    let run_in = |program: &Path, arguments: &[&str], way| {
        let mut program = Program::new(program).args(arguments).preloads_others(way);
        if let Preload::With(settings) = way {
            program.command().env("LD_PRELOAD", &debug).envs(settings.iter().copied());
        }
        program.run()
    };
    let run = |arguments: &[&str], way| run_in(&program, arguments, way);
    for call in CALLS {
        for how in ["deferred", "asynchronous"] {
            alike_by(&[Preload::FORCED], Sockets::Ours, |way| run(&["cancel", call, how], way))?;
        }
    }
    let program = threads_without_exceptions()?;
    for call in ["socket", "connect", "accept", "setsockopt"] {
        alike_by(&[Preload::FORCED], Sockets::Ours, |way| run_in(&program, &["storm", call, "50"], way))?;
    }
    alike_by(&[Preload::FORCED], Sockets::SomeOurs, |way| run(&["small"], way))?;
    Ok(())
}

/// Threads that are cancelled asynchronously somewhere in a hook, or in the call that it makes.
fn cancelled_anywhere(ways: &[Preload]) -> Result {
    let program = threads_without_exceptions()?;
    each(&["socket", "connect", "accept", "setsockopt"], |call| {
        alike(ways, Sockets::Ours, || Ok(Program::new(&program).args(["storm", call, "50"])))?;
        Ok(())
    })
}

/// A handler that goes through all hooks, while the main line allocates, or is in the hooks itself.
fn handler(main_line: &str, times: u32) -> Result {
    let program = threads()?;
    alike_by(&every_way(), Sockets::Ours, |way| {
        let program = Program::new(&program).args([main_line, &times.to_string()]).preload(way);
        run_patiently(program)
    })?;
    Ok(())
}

/// While a hook of ours reads or sets an option, for each of them.
fn handler_in_each_call_of_ours() -> Result {
    let program = threads()?;
    let interrupt = compile("cc", "interrupt.c", &["-shared", "-fPIC"])?;
    let all = alike_by(&every_way(), Sockets::SomeOurs, |way| {
        among(Program::new(&program).arg("interrupted"), way, &[], &[&interrupt])?.run()
    })?;
    for transcript in &all {
        if transcript.keepalive[0] != "inside hooks"
            || transcript.keepalive[1..].iter().any(|k| *k != guest::ours())
        {
            return Err(transcript.all.clone().into());
        }
    }
    Ok(())
}

/// A signal handler and another thread that go through all hooks while our constructor runs. They must not wait for it, so
/// these sockets are left alone. What follows is not.
fn in_our_constructor() -> Result {
    let program = threads()?;
    let constructor = compile("cc", "constructor.c", &["-shared", "-fPIC", "-pthread"])?;
    // Our constructor runs before that of a preload that stands before us.
    let all = alike_by(&without_rules(), Sockets::SomeOurs, |way| {
        among(Program::new(&program), way, &[&constructor], &[])?.run()
    })?;
    for transcript in &all {
        let (of_constructor, afterwards) = transcript.keepalive.split_at(5);
        if of_constructor[0] != "inside" || afterwards.iter().any(|k| *k != guest::ours()) {
            return Err(transcript.all.clone().into());
        }
    }
    // And after one that stands behind us: by then everything is as usual.
    let all = alike_by(&without_rules(), Sockets::SomeOurs, |way| {
        among(Program::new(&program), way, &[], &[&constructor])?.run()
    })?;
    for transcript in &all {
        if transcript.keepalive[0] != "outside"
            || transcript.keepalive[1..].iter().any(|k| *k != guest::ours())
        {
            return Err(transcript.all.clone().into());
        }
    }
    Ok(())
}

/// By a handler with SA_RESTART, after which the kernel begins the call again, and one without.
fn interrupted_calls() -> Result {
    let program = threads()?;
    each(&CALLS, |call| {
        for (how, result) in [("restart", "returned, 1 handled"), ("no", "EINTR, 1 handled")] {
            let all = alike(&[Preload::OURS, crowded()], Sockets::Ours, || {
                Ok(Program::new(&program).args(["restart", call, how]))
            })?;
            if let Some(wrong) = all.iter().find(|t| !t.text.starts_with(&format!("{call}: {result}"))) {
                return Err(wrong.all.clone().into());
            }
        }
        Ok(())
    })
}

fn jumps_out_of_calls() -> Result {
    let program = threads()?;
    each(&CALLS, |call| {
        alike(&every_way(), Sockets::Ours, || Ok(Program::new(&program).args(["jump", call])))?;
        Ok(())
    })
}

/// No memory of the program's is read after a call that may have blocked, also where the connection is still being made
/// when `connect` returns, and whether or not the peer matters.
fn address_unmapped() -> Result {
    let program = compile("cc", "late.c", &["-pthread"])?;
    for how in ["unmapped", "unmapped late"] {
        let ways = [Preload::OURS, Preload::FORCED, LOGGED, crowded(), BY_PEER];
        alike(&ways, Sockets::Ours, || Ok(Program::new(&program).arg(how)))?;
    }
    Ok(())
}

/// 77/11/5 for one peer, and nothing for the others.
const BY_PEER: Preload = Preload::With(&[
    ("KA_IDLE", "77"),
    ("KA_INTERVAL", "11"),
    ("KA_COUNT", "5"),
    ("KA_RULES", "127.0.0.3 count=5; * off"),
]);

/// The rule is the one for the connection that is there when `connect` returns, and its peer is not what stands in the
/// program's memory by then.
fn number_reused() -> Result {
    const OTHERS: Preload = Preload::With(&[
        ("KA_IDLE", "77"),
        ("KA_INTERVAL", "11"),
        ("KA_COUNT", "5"),
        ("KA_RULES", "127.0.0.3 off"),
    ]);
    let program = compile("cc", "late.c", &["-pthread"])?;
    for (how, way) in [("reused", OTHERS), ("changed", BY_PEER)] {
        for transcript in alike(&[way], Sockets::SomeOurs, || Ok(Program::new(&program).arg(how)))? {
            if transcript.keepalive != [guest::ours()] {
                return Err(transcript.all.into());
            }
        }
    }
    Ok(())
}

/// More sockets, whose program chooses what the kernel has by itself, than the library can keep in mind at a time.
fn what_many_threads_have_chosen() -> Result {
    const DEFAULTS: Preload = Preload::With(&[]);
    let program = compile("cc", "choices.c", &["-pthread"])?;
    let all = alike(&[DEFAULTS], Sockets::Anything, || Ok(Program::new(&program).arg("50")))?;
    for transcript in all {
        assert_eq!(transcript.all, "8000 sockets, 0 wrong, 0 failed\na socket [set]\n");
    }
    Ok(())
}

fn smallest_stacks() -> Result {
    const COMPLAINING: Preload = Preload::With(&[
        ("KA_IDLE", "77"),
        ("KA_INTERVAL", "11"),
        ("KA_COUNT", "5"),
        ("KA_USER_TIMEOUT", "long"),
        ("KA_RULES", "10.0.0.1 idle=1; 10.0.0.0/33 off; 127.0.0.1"),
    ]);
    let program = threads()?;
    let mut ways = every_way().to_vec();
    ways.push(COMPLAINING);
    let all = alike(&ways, Sockets::SomeOurs, || Ok(Program::new(&program).arg("small")))?;
    for transcript in &all {
        for k in &transcript.keepalive {
            // `used N of M`, thread and all.
            let used = k.split(' ').next().and_then(|n| n.parse::<u32>().ok());
            if used.is_none_or(|used| used > 8192) && *k != guest::ours() {
                return Err(transcript.all.clone().into());
            }
        }
    }
    Ok(())
}

/// 64 threads, each with so many connections to itself: all sockets alike, no descriptor and no memory lost.
fn many_threads(ways: &[Preload], connections: u32) -> Result {
    let program = threads()?;
    let all = alike_by(ways, Sockets::Ours, |way| {
        let program = Program::new(&program).args(["many", "64", &connections.to_string()]).preload(way);
        run_patiently(program)
    })?;
    for transcript in &all {
        if !transcript.text.ends_with("\n0 descriptors more\nno more memory\n") {
            return Err(transcript.all.clone().into());
        }
    }
    Ok(())
}

/// Neither the descriptor that a log file is written through nor the mask that is in force meanwhile is seen by another
/// thread, a forked child, a handler that jumps out of it, or somebody who waits for children.
fn the_log_is_not_seen(scenes: &[(&str, u32)]) -> Result {
    let program = compile("cc", "apart.c", &["-pthread"])?;
    each(scenes, |(what, rounds)| {
        let scratch = Scratch::new()?;
        let log = scratch.join("log");
        let output = Program::new(&program)
            .arg(what)
            .arg(&log)
            .arg(rounds.to_string())
            .preload(Preload::With(&[]))
            .env("KA_LOG", &log)
            .env("KA_FORCE", "1")
            .run()?;
        if output.stdout != b"0\n" {
            return Err(format!("{what}: {} times seen", String::from_utf8_lossy(&output.stdout)).into());
        }
        // It was logged all the while.
        let lines = std::fs::read_to_string(&log)?.lines().count();
        if lines < 2 { Err(format!("{what}: {lines} lines").into()) } else { Ok(()) }
    })
}
