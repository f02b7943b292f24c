//! `ka attach`, `ka detach`, `ka attached`: what the kernel has for the sockets of programs that no preload reaches, or
//! that have none.

mod decisions;
mod life;
mod programs;
mod refusals;
mod robust;
mod run;
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kashim_tests::{Cgroup, Program, Result, Running, ka, mount_cgroups};

use kashim_tests::ka_helpers::{Holder, expect_status, run_ka};

fn main() -> ExitCode {
    // Before there are threads.
    mount_cgroups();
    let trials = [
        programs::trials(),
        decisions::trials(),
        life::trials(),
        refusals::trials(),
        robust::trials(),
        run::trials(),
        services::trials(),
    ];
    kashim_tests::run(trials.into_iter().flatten().collect())
}

/// `ka attach` to a cgroup, which must succeed; what it said.
fn attach(cgroup: &Cgroup, arguments: &[&str]) -> Result<String> {
    let path = cgroup.path().display().to_string();
    let output = run_ka(&[&["attach", &path], arguments].concat())?;
    expect_status(&output, 0)?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr))
}

/// What `ka attached --json` says of a cgroup; null if nothing.
fn attached(cgroup: &Cgroup) -> Result<serde_json::Value> {
    let output = run_ka(&["attached", "--json"])?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", output.stderr))?;
    let all = report["attached"].as_array().ok_or("no list")?;
    Ok(all.iter().find(|entry| entry["cgroup"] == cgroup.name().as_str()).cloned().unwrap_or_default())
}

/// A counter of a cgroup.
fn count(cgroup: &Cgroup, counter: &str) -> Result<u64> {
    let entry = attached(cgroup)?;
    Ok(entry["counts"][counter].as_u64().ok_or_else(|| format!("no {counter} in {entry}"))?)
}

/// `ka detach`, which must succeed.
fn detach(cgroup: &Cgroup) -> Result {
    expect_status(&run_ka(&["detach", &cgroup.path().display().to_string()])?, 0)
}

/// A program in the cgroup that holds sockets.
fn start_in(cgroup: &Cgroup) -> Result<Holder> {
    cgroup.enter(Holder::start)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/attach").join(name)
}

/// Attaches another owner's program: its kind, how, and its name if it has one. Its number.
fn other(cgroup: &Cgroup, words: &[&str]) -> Result<u64> {
    let output = Program::new("python3").arg(fixture("other.py")).arg(cgroup.path()).args(words).succeed()?;
    Ok(String::from_utf8(output)?.trim().parse()?)
}

/// `ka` under strace, killed at its n-th call of bpf(2). Whether it got that far.
fn killed_at(n: u32, arguments: &[&str]) -> Result<bool> {
    let inject = format!("inject=bpf:signal=KILL:when={n}");
    let output = Program::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=bpf", "-e", &inject])
        .arg(ka()?)
        .args(arguments)
        .run()?;
    Ok(!output.status.success())
}

/// Who watches over the cgroup of this command of ka run.
fn watcher(command: &Running) -> Result<i32> {
    let name = format!("ka-watcher {}", command.pid());
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|&b| b == 0).next() == Some(name.as_bytes()) {
            return Ok(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Err("nobody watches".into())
}
