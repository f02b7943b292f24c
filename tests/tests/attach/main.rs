//! `ka attach`, `ka detach`, `ka attached`: what the kernel has for the sockets of programs that no preload reaches, or
//! that have none.

mod decisions;
mod life;
mod programs;
mod refusals;
mod robust;
mod run;
mod services;

use std::process::ExitCode;

use kashim_tests::{Cgroup, Result, mount_cgroups};

use kashim_tests::ka_helpers::{expect_status, run_ka};

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
