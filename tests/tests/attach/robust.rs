//! What others do meanwhile, and what stands in the way.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kashim_tests::ka_helpers::{command, expect_in, expect_status, run_ka};
use kashim_tests::{
    Cgroup, Keepalive, Need, Program, Result, Scratch, Trial, cgroups, compile, free_port, ka, sockets_of,
    trial, until,
};

use super::{attach, attached, detach, killed_at, other, start_in, watcher};

pub fn trials() -> Vec<Trial> {
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        let python = [Need::Program("python3")];
        trial(name, &[&cgroups()[..], &python, needs].concat(), test)
    };
    vec![
        with("somebody_holds_a_lock", &[], somebody_holds_a_lock),
        with("a_name_that_ends_like_a_dead_one", &[Need::Program("sleep")], deleted),
        with("a_program_of_our_programs_name", &[], same_name),
        with("an_owner_who_allows_none_beside_it", &[], exclusive),
        with("nobody_reads_what_is_said", &[], nobody_reads),
        with("existing_connections_are_held", &[], existing_are_held),
        with("connections_that_are_being_made", &[], being_made),
        with("killed_while_detaching_holds_nothing", &[Need::Program("strace")], killed_while_detaching),
        with("a_tree_that_is_covered", &[Need::Program("unshare"), Need::Program("mount")], covered),
        with("a_cgroup_of_threads", &[Need::Program("sleep")], of_threads),
        with("the_watcher_is_killed", &[Need::Program("cc")], watcher_is_killed),
        with("long_options", &[], long_options),
    ]
}

fn python(script: &str) -> Program {
    Program::new("python3").args(["-c", script])
}

/// The keepalive of a descriptor of a process.
fn keepalive(pid: i32, fd: i32) -> Result<Keepalive> {
    let socket = sockets_of(pid).into_iter().find(|socket| socket.fd == fd).ok_or("the socket is gone")?;
    Ok(socket.keepalive)
}

fn expect(is: Keepalive, want: Keepalive) -> Result {
    if is == want { Ok(()) } else { Err(format!("{is:?} instead of {want:?}").into()) }
}

/// A new connection in the cgroup.
fn expect_new(cgroup: &Cgroup, want: Keepalive) -> Result {
    let mut holder = start_in(cgroup)?;
    let [_, client, _] = holder.pair("4")?;
    expect(holder.socket(client)?.keepalive, want)
}

/// Everybody may open a cgroup's directory, and so lock it. It takes some seconds longer then, and is done.
fn somebody_holds_a_lock() -> Result {
    let cgroup = Cgroup::new()?;
    let script = "import fcntl, os, sys; d = os.open(sys.argv[1], 0); fcntl.flock(d, fcntl.LOCK_EX); print('locked', flush=True)
sys.stdin.read()";
    let mut holder =
        python(script).arg(cgroup.path()).user("nobody")?.stdin(std::process::Stdio::piped()).start()?;
    holder.wait_for_output("locked")?;
    attach(&cgroup, &["--idle", "77"])?;
    expect_new(&cgroup, Keepalive::new(77, 15, 9))?;
    detach(&cgroup)?;
    expect_new(&cgroup, Keepalive::untouched())?;
    if holder.ended()?.is_some() { Err("the lock was gone".into()) } else { Ok(()) }
}

/// The kernel writes " (deleted)" behind the name of a cgroup that has gone.
fn deleted() -> Result {
    let outer = Cgroup::new()?;
    let (plain, strange) = (outer.inner("a")?, outer.inner("a (deleted)")?);
    let sleeper = strange.enter(|| Program::new("sleep").arg("99").start())?;
    let output = run_ka(&["attach", &sleeper.pid().to_string()])?;
    expect_status(&output, 0)?;
    expect_in(&String::from_utf8_lossy(&output.stdout), "/a (deleted): attached")?;
    if attached(&plain)?.is_null() { Ok(()) } else { Err("attached to the other one".into()) }
}

/// It has none of our maps.
fn same_name() -> Result {
    let cgroup = Cgroup::new()?;
    other(&cgroup, &["sock_ops", "multi", "ka_decide"])?;
    if !attached(&cgroup)?.is_null() {
        return Err("it is taken for ours".into());
    }
    let output = run_ka(&["detach", &cgroup.path().display().to_string()])?;
    expect_in(&output.stderr, "nothing of ka's is attached to")
}

/// Found out before, too.
fn exclusive() -> Result {
    let cgroup = Cgroup::new()?;
    let inner = cgroup.inner("inner")?;
    other(&cgroup, &["sock_ops", "alone"])?;
    for cgroup in [&cgroup, &inner] {
        for more in [&["--dry-run"][..], &[]] {
            let path = cgroup.path().display().to_string();
            let output = run_ka(&[&["attach", &path], more].concat())?;
            expect_status(&output, 125)?;
            expect_in(&output.stderr, "a program of another owner is attached")?;
        }
    }
    let free = Cgroup::new()?;
    attach(&free, &[])?;
    expect_in(&attach(&free, &["--dry-run"])?, "would be attached, in place of what is there")
}

/// What is begun is done, though the reader has gone.
fn nobody_reads() -> Result {
    let cgroup = Cgroup::new()?;
    let mut holder = start_in(&cgroup)?;
    let [_, client, _] = holder.pair("4")?;
    let script = "import os, subprocess, sys; r, w = os.pipe(); os.close(r); sys.exit(subprocess.run(sys.argv[1:], stdout=w).returncode)";
    let run = |words: &[&str]| python(script).arg(ka()?).args(words).arg(cgroup.path()).succeed();
    run(&["attach", "--idle", "77", "--now"])?;
    expect(holder.socket(client)?.keepalive, Keepalive::new(77, 15, 9))?;
    run(&["detach"])?;
    expect_new(&cgroup, Keepalive::untouched())
}

fn existing_are_held() -> Result {
    let cgroup = Cgroup::new()?;
    let mut holder = start_in(&cgroup)?;
    let [_, client, server] = holder.pair("4")?;
    let [_, off, _] = holder.pair("6")?;
    holder.tell(&format!("set {off} 1 1 1"))?;
    attach(&cgroup, &["--idle", "77", "--force", "--now", "--rule", "[::1] off"])?;
    for (fd, want) in [(client, (77, 15, 9)), (server, (77, 15, 9)), (off, (20, 21, 22))] {
        holder.tell(&format!("set {fd} 20 21 22"))?;
        expect(holder.socket(fd)?.keepalive, Keepalive::new(want.0, want.1, want.2))?;
    }
    Ok(())
}

/// Its SYN went out before the program was there.
fn being_made() -> Result {
    let cgroup = Cgroup::new()?;
    let script = "import socket, sys, time
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(0)
held = []
while True:
    c = socket.socket(); c.setblocking(False); c.connect_ex(l.getsockname()); held.append(c); time.sleep(0.2)
    if c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 2: break
print(c.fileno(), flush=True)
sys.stdin.read()";
    let mut program = cgroup.enter(|| python(script).stdin(std::process::Stdio::piped()).start())?;
    program.wait_for_output("\n")?;
    let fd = String::from_utf8(program.stdout())?.trim().parse()?;
    let pid = program.pid();
    attach(&cgroup, &["--idle", "77", "--now"])?;
    expect(keepalive(pid, fd)?, Keepalive::new(77, 15, 9))
}

/// Whenever it is killed: what is left does not hold anything by itself.
fn killed_while_detaching() -> Result {
    for n in 1..40 {
        let cgroup = Cgroup::new()?;
        attach(&cgroup, &["--idle", "77", "--force"])?;
        let mut holder = start_in(&cgroup)?;
        let [_, client, _] = holder.pair("4")?;
        let was_killed = killed_at(n, &["detach", &cgroup.path().display().to_string()])?;
        let entry = attached(&cgroup)?;
        if !entry.is_null() && entry["decides"] != true {
            return Err(format!("killed at call {n}: {entry}").into());
        }
        let holds = entry["holds"] == true;
        holder.tell(&format!("set {client} 20 21 22"))?;
        let want = if holds { Keepalive::new(77, 15, 9) } else { Keepalive::new(20, 21, 22) };
        expect(holder.socket(client)?.keepalive, want)?;
        if !was_killed {
            return if n > 3 { Ok(()) } else { Err("it was never killed".into()) };
        }
    }
    Err("it makes more calls than that".into())
}

/// Something else is mounted over the first place.
fn covered() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &[])?;
    let top = cgroup.path().parent().ok_or("no parent")?;
    let script = "mount -t tmpfs none \"$1\" && mkdir \"$1/there\" && mount -t cgroup2 none \"$1/there\" && exec \"$2\" attached";
    let output =
        Program::new("unshare").args(["--mount", "sh", "-c", script, "sh"]).arg(top).arg(ka()?).run()?;
    expect_status(&output, 0)?;
    expect_in(&String::from_utf8_lossy(&output.stdout), &cgroup.name())
}

/// Such a cgroup has no list of processes.
fn of_threads() -> Result {
    let outer = Cgroup::new()?;
    let inner = outer.inner("threads")?;
    let sleeper = outer.enter(|| Program::new("sleep").arg("99").start())?;
    fs::write(inner.path().join("cgroup.type"), "threaded")?;
    fs::write(inner.path().join("cgroup.threads"), sleeper.pid().to_string())?;
    expect_in(&attach(&inner, &[])?, "1 process there now")
}

/// The next one finds what the one has left. And who ends the command by its name does not end the watcher.
fn watcher_is_killed() -> Result {
    let cgroup = Cgroup::new()?;
    let client = compile("cc", &kashim_tests::shells::fixture("client.c"), &["-static"])?;
    let port = free_port()?;
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let run = || {
        let words = ["--mode", "cgroup", "--"];
        cgroup.enter(|| command(&["run"])?.args(words).arg(&client).arg(port.to_string()).start())
    };
    let first = run()?;
    let (_connection, _) = listener.accept()?;
    let watcher = rustix::process::Pid::from_raw(watcher(&first)?).ok_or("no process")?;
    let left = fs::read_to_string(format!("/proc/{}/cgroup", first.pid()))?;
    let left = left
        .lines()
        .find_map(|line| line.strip_prefix("0::")?.rsplit_once('/'))
        .ok_or("no cgroup")?
        .1
        .to_owned();
    rustix::process::kill_process(watcher, rustix::process::Signal::KILL)?;
    drop(first);
    let left = cgroup.path().join(left);
    // It is not new any more after ten seconds.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(11) {
        sleep(Duration::from_secs(1));
        if !left.exists() {
            return Err("it has gone by itself".into());
        }
    }
    let second = run()?;
    until("what was left to go", || Ok((!left.exists()).then_some(())))?;
    drop(second);
    Ok(())
}

/// More than the kernel hands to a BPF program.
fn long_options() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &["--force"])?;
    let script = "import socket, ctypes
s = socket.socket()
libc = ctypes.CDLL(None, use_errno=True)
value = ctypes.create_string_buffer(b'\\1\\0\\0\\0', 8192)
for level, name in [(6, 1), (1, 9), (6, 4)]:
    print(libc.setsockopt(s.fileno(), level, name, value, 8192), end=' ')";
    let scratch = Scratch::new()?;
    let run = || python(script).directory(scratch.path()).succeed();
    let (inside, outside) = (cgroup.enter(run)?, run()?);
    if inside == outside && inside == b"0 0 0 " {
        return Ok(());
    }
    Err(format!("{} and {}", String::from_utf8_lossy(&inside), String::from_utf8_lossy(&outside)).into())
}
