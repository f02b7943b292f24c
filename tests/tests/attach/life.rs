//! Attaching, attaching again and detaching: what is there afterwards, also if something goes wrong in between.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use kashim_tests::{
    Cgroup, Keepalive, Need, Output, Program, Result, Scratch, Trial, cgroups, ka, trial, workspace,
};

use super::{attach, attached, detach, fixture, killed_at, other, start_in};
use kashim_tests::ka_helpers::{Holder, as_nobody, command, expect_in, expect_status, run_ka};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        trial(name, &[&cgroups()[..], needs].concat(), test)
    };
    let python = [Prog("python3")];
    let others = [Prog("python3"), Prog("bpftool")];
    vec![
        trial("object_is_that_of_the_source", &[Prog("clang-14")], object),
        with("detached_is_as_before", &python, detached),
        with("connections_that_exist", &python, now),
        with("status_tells", &python, status_tells),
        with("dry_run", &python, dry_run),
        with("others_stay_and_keep_their_order", &others, others_stay),
        with("killed_at_each_call", &[Prog("strace"), Prog("bpftool")], killed),
        with("under_load", &python, under_load),
        with("goes_with_the_cgroup", &[], goes),
        with("hostile_names", &[], hostile_names),
        with("targets", &[Prog("sleep")], targets),
        with("with_two_capabilities", &[Prog("setpriv")], capabilities),
    ]
}

fn object() -> Result {
    let files = Scratch::new()?;
    let made = files.join("keepalive.bpf.o");
    Program::new(workspace().join("scripts/build-bpf")).arg(&made).succeed()?;
    let committed = fs::read(workspace().join("crates/ka/bpf/keepalive.bpf.o"))?;
    if fs::read(made)? == committed {
        return Ok(());
    }
    Err("crates/ka/bpf/keepalive.bpf.o is not what scripts/build-bpf makes; run it and commit the result"
        .into())
}

/// What a new connection in the cgroup has: both ends.
fn expect(cgroup: &Cgroup, want: Keepalive) -> Result {
    let mut holder = start_in(cgroup)?;
    let [listener, client, server] = holder.pair("4")?;
    for (fd, want) in [(listener, Keepalive::untouched()), (client, want), (server, want)] {
        let is = holder.socket(fd)?.keepalive;
        if is != want {
            return Err(format!("descriptor {fd}: {is:?} instead of {want:?}").into());
        }
    }
    Ok(())
}

fn detached() -> Result {
    let cgroup = Cgroup::new()?;
    expect(&cgroup, Keepalive::untouched())?;
    for force in [&[][..], &["--force"]] {
        attach(&cgroup, &[&["--idle", "77"], force].concat())?;
        expect(&cgroup, Keepalive::new(77, 15, 9))?;
        // What was set keeps its values.
        let mut holder = start_in(&cgroup)?;
        let [_, client, _] = holder.pair("4")?;
        detach(&cgroup)?;
        if holder.socket(client)?.keepalive != Keepalive::new(77, 15, 9) {
            return Err("a socket has lost its values".into());
        }
        expect(&cgroup, Keepalive::untouched())?;
        if !attached(&cgroup)?.is_null() {
            return Err("something is attached".into());
        }
        let again = run_ka(&["detach", &cgroup.path().display().to_string()])?;
        expect_status(&again, 0)?;
        expect_in(&again.stderr, "nothing of ka's is attached to")?;
    }
    Ok(())
}

fn now() -> Result {
    let cgroup = Cgroup::new()?;
    let mut holder = start_in(&cgroup)?;
    let [_, client, server] = holder.pair("4")?;
    let [_, own, _] = holder.pair("6")?;
    holder.tell(&format!("set {own} 33 34 35"))?;
    let said = attach(&cgroup, &["--idle", "77", "--now", "--dry-run"])?;
    expect_in(&said, "existing connections: 3 would be set, 1 left alone (the program's own settings)")?;
    let said = attach(&cgroup, &["--idle", "77", "--now"])?;
    expect_in(&said, "existing connections: 3 set, 1 left alone (the program's own settings)")?;
    let values = [
        (client, Keepalive::new(77, 15, 9)),
        (server, Keepalive::new(77, 15, 9)),
        (own, Keepalive::new(33, 34, 35)),
    ];
    for (fd, want) in values {
        let is = holder.socket(fd)?.keepalive;
        if is != want {
            return Err(format!("descriptor {fd}: {is:?} instead of {want:?}").into());
        }
    }
    Ok(())
}

/// What `ka status --json` says of the connections of a process: whether an attachment serves them.
fn served(holder: &Holder, by: fn(&[&str]) -> Result<Output>) -> Result<Vec<serde_json::Value>> {
    let output = by(&["status", &holder.pid().to_string(), "--json"])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let all = report["connections"].as_array().ok_or("no list")?;
    Ok(all.iter().map(|connection| connection["attached"].clone()).collect())
}

fn status_tells() -> Result {
    let cgroup = Cgroup::new()?;
    let inner = cgroup.inner("inner")?;
    let (mut inside, mut below, mut outside) = (start_in(&cgroup)?, start_in(&inner)?, Holder::start()?);
    attach(&cgroup, &["--idle", "77"])?;
    for (holder, want) in [(&mut inside, true), (&mut below, true), (&mut outside, false)] {
        holder.pair("4")?;
        let found = served(holder, run_ka)?;
        if found.len() != 3 || found.iter().any(|it| *it != want) {
            return Err(format!("{found:?} instead of {want}").into());
        }
    }
    let table = run_ka(&["status", &inside.pid().to_string()])?;
    expect_in(&String::from_utf8_lossy(&table.stdout), "ATTACHED")?;
    // Who may not know does not claim it.
    let found = served(&outside, as_nobody)?;
    if found.is_empty() || found.iter().any(|it| !it.is_null()) {
        return Err(format!("as nobody: {found:?}").into());
    }
    detach(&cgroup)?;
    let found = served(&inside, run_ka)?;
    if found.iter().all(|it| *it == false) { Ok(()) } else { Err(format!("detached: {found:?}").into()) }
}

fn dry_run() -> Result {
    let cgroup = Cgroup::new()?;
    let _holder = start_in(&cgroup)?;
    let said = attach(&cgroup, &["--idle", "77", "--dry-run", "--rule", ":22 off"])?;
    expect_in(
        &said,
        &format!("{}: would be attached (77/15/9, 1 rule); 1 process there now", cgroup.name()),
    )?;
    if attached(&cgroup)?.is_null() {
        expect(&cgroup, Keepalive::untouched())
    } else {
        Err("attached".into())
    }
}

/// The programs that are attached to a cgroup, as another tool sees them: number and name, in their order.
fn programs(cgroup: &Cgroup) -> Result<Vec<(u64, String)>> {
    let output = Program::new("bpftool").args(["-j", "cgroup", "show"]).arg(cgroup.path()).run()?;
    // It says nothing where there is nothing.
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stdout)))?;
    let of = |entry: &serde_json::Value| {
        (entry["id"].as_u64().unwrap_or(0), entry["name"].as_str().unwrap_or_default().to_owned())
    };
    Ok(list.as_array().into_iter().flatten().map(of).collect())
}

fn others_stay() -> Result {
    let cgroup = Cgroup::new()?;
    let before = other(&cgroup, &["sock_ops", "multi"])?;
    let hold_before = other(&cgroup, &["setsockopt", "multi"])?;
    attach(&cgroup, &["--idle", "77", "--force"])?;
    let after = other(&cgroup, &["sock_ops", "multi"])?;
    let sock_ops = |want: &[Option<u64>]| -> Result {
        let all = programs(&cgroup)?;
        let is: Vec<_> = all
            .iter()
            .filter(|(id, name)| name == "ka_decide" || *id == before || *id == after)
            .map(|(id, name)| (name != "ka_decide").then_some(*id))
            .collect();
        if is == want { Ok(()) } else { Err(format!("{is:?} instead of {want:?}: {all:?}").into()) }
    };
    sock_ops(&[Some(before), None, Some(after)])?;
    expect(&cgroup, Keepalive::new(77, 15, 9))?;
    attach(&cgroup, &["--idle", "33"])?;
    sock_ops(&[Some(before), None, Some(after)])?;
    expect(&cgroup, Keepalive::new(33, 15, 9))?;
    detach(&cgroup)?;
    sock_ops(&[Some(before), Some(after)])?;
    let left: Vec<_> = programs(&cgroup)?.into_iter().map(|(id, _)| id).collect();
    if left.contains(&hold_before) && left.len() == 3 {
        Ok(())
    } else {
        Err(format!("left: {left:?}").into())
    }
}

fn killed() -> Result {
    for force in [&[][..], &["--force"]] {
        let mut n = 1;
        loop {
            let cgroup = Cgroup::new()?;
            let path = cgroup.path().display().to_string();
            let was_killed = killed_at(n, &[&["attach", &path, "--idle", "77"], force].concat())?;
            let names: Vec<_> = programs(&cgroup)?.into_iter().map(|(_, name)| name).collect();
            let complete: &[&str] = if force.is_empty() { &["ka_decide"] } else { &["ka_decide", "ka_hold"] };
            // The one that holds values does nothing as long as nothing is set.
            let inert = !force.is_empty() && names == ["ka_hold"];
            if !(names.is_empty() || names == complete || inert) {
                return Err(format!("killed at call {n}: {names:?}").into());
            }
            let decides = names.iter().any(|name| name == "ka_decide");
            expect(&cgroup, if decides { Keepalive::new(77, 15, 9) } else { Keepalive::untouched() })?;
            // Half of a detachment can be done again.
            attach(&cgroup, force)?;
            killed_at(n, &["detach", &path])?;
            run_ka(&["detach", &path])?;
            if !programs(&cgroup)?.is_empty() {
                return Err(format!("killed at call {n} of detaching: {:?}", programs(&cgroup)?).into());
            }
            if !was_killed {
                break;
            }
            n += 1;
        }
        if n < 8 {
            return Err(format!("only {n} calls").into());
        }
    }
    Ok(())
}

fn under_load() -> Result {
    let cgroup = Cgroup::new()?;
    let program = Program::new("python3").arg(fixture("many.py")).stdin(Stdio::piped());
    let mut many = cgroup.enter(|| program.start())?;
    many.wait_for_output("alive 1000")?;
    for round in 0..40 {
        attach(&cgroup, &["--idle", "77", "--interval", "7", "--count", "5"])?;
        attach(&cgroup, &["--idle", "33", "--interval", "3", "--count", "4", "--force"])?;
        if round % 2 == 0 {
            detach(&cgroup)?;
        }
    }
    many.until("thousands of connections", |many| {
        let said = String::from_utf8_lossy(&many.stdout()).into_owned();
        let last = said.lines().filter_map(|line| line.strip_prefix("alive ")?.parse::<u32>().ok()).max();
        Ok((last > Some(8000)).then_some(()))
    })?;
    many.write("stop\n")?;
    let said = String::from_utf8(many.output()?.success()?)?;
    let found: BTreeMap<&str, u32> = said
        .lines()
        .filter_map(|line| line.strip_prefix("found ")?.split_once(' '))
        .filter_map(|(count, values)| Some((values, count.parse().ok()?)))
        .collect();
    // Nothing in between, and no connection failed.
    let allowed = ["0/7200/75/9", "1/77/7/5", "1/33/3/4"];
    if found.len() == 3 && found.keys().all(|values| allowed.contains(values)) {
        return Ok(());
    }
    Err(format!("{found:?}").into())
}

fn goes() -> Result {
    let outer = Cgroup::new()?;
    let inner = outer.inner("service")?;
    attach(&inner, &["--force"])?;
    let name = inner.name();
    drop(inner);
    let output = run_ka(&["attached", "--json"])?;
    if String::from_utf8_lossy(&output.stdout).contains(&name) {
        return Err("attached to a cgroup that is gone".into());
    }
    Ok(())
}

fn hostile_names() -> Result {
    let outer = Cgroup::new()?;
    let inner = outer.inner("a\x1b[31m\u{9b}b;$(reboot) c.service")?;
    let shown = format!("{}/a\\x1b[31m\\xc2\\x9bb;$(reboot) c.service", outer.name());
    expect_in(&attach(&inner, &["--dry-run"])?, &format!("{shown}: would be attached"))?;
    expect_in(&attach(&inner, &[])?, &format!("{shown}: attached"))?;
    let text = run_ka(&["attached"])?.stdout;
    expect_in(&String::from_utf8_lossy(&text), &format!("{shown}\n  settings"))?;
    let said = run_ka(&["detach", &inner.path().display().to_string()])?;
    expect_in(&String::from_utf8_lossy(&said.stdout), &format!("{shown}: detached"))?;
    // Also in what is refused.
    let said = run_ka(&["attach", "x\x1b[31m.service"])?;
    expect_in(&said.stderr, "x\\x1b[31m.service: no running systemd unit")
}

/// The same cgroup by each of its names.
fn targets() -> Result {
    let outer = Cgroup::new()?;
    let unit = format!("kashim-test-{}.service", std::process::id());
    let service = outer.inner(&unit)?;
    let sleeper = service.enter(|| Program::new("sleep").arg("99").start())?;
    let pid = sleeper.pid().to_string();
    let directory = service.path().display().to_string();
    let stem = unit.trim_end_matches(".service");
    for target in [directory.as_str(), &unit, stem, &pid, &service.name(), &format!("{directory}/")] {
        let output = run_ka(&["attach", target])?;
        expect_status(&output, 0)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        expect_in(&text, &format!("{}: attached (60/15/9); 1 process there now", service.name()))?;
        let output = run_ka(&["detach", target])?;
        expect_status(&output, 0)?;
        if !attached(&service)?.is_null() {
            return Err(format!("{target}: still attached").into());
        }
    }
    // The top of the tree is all that there is, so it has to be named itself.
    let elsewhere = Program::new("sleep").arg("99").start()?;
    if fs::read_to_string(format!("/proc/{}/cgroup", elsewhere.pid()))?.lines().any(|line| line == "0::/") {
        let output = run_ka(&["attach", &elsewhere.pid().to_string()])?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, "its cgroup is the top of the tree")?;
    }
    let other = outer.inner("other")?;
    let _same = other.inner(&unit)?;
    let output = run_ka(&["attach", &unit])?;
    expect_status(&output, 125)?;
    expect_in(&output.stderr, "several units have this name")
}

/// CAP_BPF and CAP_NET_ADMIN are enough where nothing is attached yet.
fn capabilities() -> Result {
    let cgroup = Cgroup::new()?;
    let path = cgroup.path().display().to_string();
    let run = |capabilities: &str, arguments: &[&str]| {
        Program::new("setpriv")
            .arg(format!("--bounding-set=-all{capabilities}"))
            .args(["--inh-caps=-all", "--"])
            .arg(ka()?)
            .args(arguments)
            .run()
    };
    let output = run(",+bpf,+net_admin", &["attach", &path, "--idle", "77", "--force", "--rule", ":1 off"])?;
    expect_status(&output, 0)?;
    expect(&cgroup, Keepalive::new(77, 15, 9))?;
    for (capabilities, arguments, words) in [
        (",+bpf,+net_admin", ["detach", &path], "CAP_SYS_ADMIN missing; run ka as root"),
        (
            ",+net_admin",
            ["attach", &path],
            "CAP_BPF missing; run ka as root, or with CAP_BPF and CAP_NET_ADMIN",
        ),
        (",+bpf", ["attach", &path], "CAP_NET_ADMIN missing"),
        ("", ["attach", &path], "CAP_BPF and CAP_NET_ADMIN missing"),
    ] {
        let output = run(capabilities, &arguments)?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, words)?;
    }
    let output = command(&["attach", &path])?.user("nobody")?.run()?;
    expect_in(&output.stderr, "CAP_BPF and CAP_NET_ADMIN missing")
}
