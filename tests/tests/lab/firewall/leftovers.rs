//! Nothing of a lab is left, however the tests end.

use std::env;
use std::io::stdin;
use std::process::{self, ExitCode, Stdio};

use kashim_tests::lab::{Firewall, Lab, processes_in_labs};
use kashim_tests::servers::Redis;
use kashim_tests::{Preload, Program, Result, Running, Scratch, run, trial, until};
use rustix::process::{Pid, Signal, kill_process};

use super::TIMEOUT;

/// Says that this is not the tests but a run of them that is to end in the way that is its value.
const ENDS: &str = "KASHIM_TESTS_LAB_ENDS";

pub fn nothing_is_left() -> Result {
    let directory = Scratch::new()?;
    let start = |how: &str| {
        let program = Program::new(env::current_exe()?).env(ENDS, how).env("TMPDIR", directory.path());
        program.stdin(Stdio::piped()).start()
    };
    for how in ["well", "in failure", "in panic"] {
        let mut tests = start(how)?;
        let owner = owner(&mut tests)?;
        drop(tests.stdin());
        assert_eq!(tests.wait()?.success(), how == "well");
        expect_nobody(owner)?;
    }

    let mut interrupted = start("interrupted")?;
    let owner_of_interrupted = owner(&mut interrupted)?;
    signal(interrupted.pid(), Signal::INT)?;
    interrupted.wait()?;
    expect_nobody(owner_of_interrupted)?;

    // Killed without a chance to clean up: the next ones do it.
    let mut killed = start("killed")?;
    let owner_of_killed = owner(&mut killed)?;
    signal(killed.pid(), Signal::KILL)?;
    signal(owner_of_killed, Signal::KILL)?;
    killed.wait()?;
    assert!(processes_in(owner_of_killed) >= 2, "nobody has cleaned up");
    start("well")?.output()?.success()?;
    expect_nobody(owner_of_killed)
}

/// The process whose lab it is, when there are processes on both sides.
fn owner(tests: &mut Running) -> Result<i32> {
    let said = tests.wait_for_output("ready\n")?;
    let owner = said.lines().find_map(|line| line.strip_suffix(" is ready")?.parse().ok());
    let owner = owner.ok_or("no process number")?;
    until("a client and a server in the lab", || Ok((processes_in(owner) >= 2).then_some(())))?;
    Ok(owner)
}

fn signal(pid: i32, signal: Signal) -> Result {
    Ok(kill_process(Pid::from_raw(pid).ok_or("no process")?, signal)?)
}

fn expect_nobody(owner: i32) -> Result {
    until("the processes in the lab to be gone", || Ok((processes_in(owner) == 0).then_some(())))
}

fn processes_in(owner: i32) -> usize {
    processes_in_labs().iter().filter(|process| process.1 == owner).count()
}

/// The run that is to end, if this is one.
pub fn run_that_ends() -> Option<ExitCode> {
    let how = env::var(ENDS).ok()?;
    Some(run(vec![trial("lab", &[], move || {
        let lab = Lab::new(Firewall::Nat, TIMEOUT)?;
        let _server = Redis::start_at(&lab.server_place(), Preload::No)?;
        let _client = Program::new("sleep").arg("600").within(lab.client()).start()?;
        println!("{} is ready", process::id());
        stdin().read_line(&mut String::new())?;
        match how.as_str() {
            "well" => Ok(()),
            "in failure" => Err("it has to".into()),
            _ => panic!("it has to"),
        }
    })]))
}
