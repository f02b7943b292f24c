//! `ka set`: what the kernel has for the sockets of a running program afterwards, and that nothing else was touched.

use std::fs;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kashim_tests::lab::{Namespace, ip};
use kashim_tests::servers::Redis;
use kashim_tests::{
    Keepalive, Need, Preload, Program, Result, Running, Scratch, Trial, compile, ka, program_file,
    sockets_of, trial, until,
};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use kashim_tests::ka_helpers::{
    Holder, as_nobody, command, expect_in, expect_status, filtered, has_mptcp, run_ka, users,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Kernel, Program as Prog, Root};
    let python = [Prog("python3")];
    let root = [Root, Prog("python3")];
    let lab = [Root, Prog("python3"), Prog("ip")];
    vec![
        trial!(all_sockets, &python),
        trial!(one_descriptor, &python),
        trial!(peers, &python),
        trial!(off, &python),
        trial!(for_a_middlebox, &python),
        trial!(user_timeout, &python),
        trial!(the_systems_values, &lab),
        trial!(dry_run, &python),
        trial!(warnings_are_named, &python),
        trial!(a_reader_that_leaves, &python),
        trial!(redis_and_its_later_clients, &[Prog("redis-server")]),
        trial!(neither_stopped_nor_traced, &[Prog("python3"), Prog("strace")]),
        trial!(only_tcp, &python),
        trial!(follow, &python),
        trial!(follow_until_there_is_a_peer, &python),
        trial!(follow_until_a_signal, &python),
        trial!(several_processes, &python),
        trial!(more_processes_than_descriptors, &python),
        trial!(sockets_of_threads, &[Prog("cc"), Prog("ss"), Kernel("pidfds of threads", has_thread_pidfds)]),
        trial!(one_option_refused, &[Prog("python3"), Kernel("MPTCP", has_mptcp)]),
        trial!(sockets_that_come_and_go, &python),
        trial("a_number_that_is_given_away", &[&root[..], &[Prog("unshare")]].concat(), given_away),
        trial!(another_users_process, &root),
        trial!(not_dumpable, &root),
        trial!(a_containers_profile, &python),
        trial!(bad_arguments),
    ]
}

/// Linux 6.9 and newer.
fn has_thread_pidfds() -> bool {
    let thread = PidfdFlags::from_bits_retain(0o200);
    pidfd_open(rustix::process::getpid(), thread).is_ok()
}

fn expect(holder: &Holder, fd: i32, want: Keepalive) -> Result {
    let found = holder.socket(fd)?.keepalive;
    if found == want { Ok(()) } else { Err(format!("descriptor {fd}: {found:?} instead of {want:?}").into()) }
}

/// `ka set` for a holder, which must succeed.
fn set(holder: &Holder, arguments: &[&str]) -> Result<String> {
    let pid = holder.pid().to_string();
    let output = run_ka(&[&["set", &pid], arguments].concat())?;
    expect_status(&output, 0)?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr))
}

fn all_sockets() -> Result {
    for user in users() {
        let mut holder = Holder::start_as(|program| program.user(user))?;
        let pairs = [holder.pair("4")?, holder.pair("6")?];
        let unconnected: i32 = holder.tell("socket")?[0].parse()?;
        let pid = holder.pid().to_string();
        let arguments = ["set", &pid, "--idle", "77", "--interval", "11", "--count", "5"];
        let output = command(&arguments)?.user(user)?.run()?;
        expect_status(&output, 0)?;
        for fd in pairs.concat().into_iter().chain([unconnected]) {
            expect(&holder, fd, Keepalive::new(77, 11, 5))?;
        }
        let text = String::from_utf8(output.stdout)?;
        expect_in(&text, "off 7200/75/9, now on 77/11/5")?;
        expect_in(&text, "7 changed, 0 already as wanted")?;
        // A second time there is nothing to do.
        let output = command(&arguments)?.user(user)?.run()?;
        expect_in(&String::from_utf8(output.stdout)?, "0 changed, 7 already as wanted")?;
    }
    Ok(())
}

fn one_descriptor() -> Result {
    let mut holder = Holder::start()?;
    let [listener, client, server] = holder.pair("4")?;
    set(&holder, &["--fd", &client.to_string(), "--idle", "77"])?;
    expect(&holder, client, Keepalive { idle: 77, ..Keepalive::switched_on() })?;
    expect(&holder, listener, Keepalive::untouched())?;
    expect(&holder, server, Keepalive::untouched())?;
    let pid = holder.pid().to_string();
    let output = run_ka(&["set", &pid, "--fd", "999", "--off"])?;
    expect_status(&output, 1)?;
    expect_in(&output.stderr, "no TCP socket of these processes matches")
}

fn peers() -> Result {
    let mut holder = Holder::start()?;
    let [four_listener, four, _] = holder.pair("4")?;
    let [_, six, _] = holder.pair("6")?;
    for (peer, idle) in [
        (holder.socket(six)?.peer_port().to_string(), 55),
        (format!(":{}", holder.socket(six)?.peer_port()), 56),
    ] {
        set(&holder, &["--peer", &peer, "--idle", &idle.to_string()])?;
        expect(&holder, six, Keepalive { idle, ..Keepalive::switched_on() })?;
        expect(&holder, four, Keepalive::untouched())?;
    }
    set(&holder, &["--peer", "[::]/0", "--idle", "66"])?;
    set(&holder, &["--peer", &format!("127.0.0.0/8:{}", holder.socket(four)?.peer_port()), "--idle", "44"])?;
    expect(&holder, six, Keepalive { idle: 66, ..Keepalive::switched_on() })?;
    expect(&holder, four, Keepalive { idle: 44, ..Keepalive::switched_on() })?;
    expect(&holder, four_listener, Keepalive::untouched())
}

fn off() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 77 11 5"))?;
    set(&holder, &["--off"])?;
    expect(&holder, client, Keepalive { on: false, ..Keepalive::new(77, 11, 5) })
}

fn for_a_middlebox() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    set(&holder, &["--for", "aws", "--count", "4"])?;
    expect(&holder, client, Keepalive::new(120, 20, 4))?;
    let pid = holder.pid().to_string();
    expect_status(&run_ka(&["status", &pid, "--for", "aws"])?, 0)
}

fn user_timeout() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let touched = |user_timeout| Keepalive { user_timeout, ..Keepalive::untouched() };
    // By itself it leaves keepalive as it is.
    for (value, ms) in [("30", 30_000), ("2m", 120_000), ("off", 0)] {
        set(&holder, &["--user-timeout", value])?;
        expect(&holder, client, touched(ms))?;
    }
    set(&holder, &["--idle", "60", "--interval", "15", "--count", "9", "--user-timeout", "auto"])?;
    expect(&holder, client, Keepalive { user_timeout: 195_000, ..Keepalive::new(60, 15, 9) })
}

fn the_systems_values() -> Result {
    let namespace = Namespace::new()?;
    ip(&namespace, &["link set lo up"])?;
    namespace.enter(|| Ok(std::fs::write("/proc/sys/net/ipv4/tcp_keepalive_time", "4321")?))?;
    let mut holder = Holder::start_as(|program| Ok(program.within(&namespace)))?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 60 15 9"))?;
    set(&holder, &["--idle", "system", "--fd", &client.to_string()])?;
    expect(&holder, client, Keepalive::new(4321, 15, 9))
}

fn dry_run() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let text = set(&holder, &["--for", "aws", "--dry-run"])?;
    expect_in(&text, "off 7200/75/9, would be on 120/20/9")?;
    expect_in(&text, "3 would be changed")?;
    expect(&holder, client, Keepalive::untouched())
}

fn warnings_are_named() -> Result {
    let mut holder = Holder::start()?;
    holder.pair("4")?;
    let text = set(&holder, &["--idle", "5", "--count", "1"])?;
    expect_in(&text, "ka: warning: count 1: one lost probe ends a healthy connection")?;
    expect_in(&text, "ka: warning: interval 75 above idle 5")?;
    if text.matches("warning").count() == 2 { Ok(()) } else { Err(format!("not once each:\n{text}").into()) }
}

/// A server that sets its own values on each connection keeps on doing so; its listener is ours.
fn redis_and_its_later_clients() -> Result {
    let redis = Redis::start(Preload::No)?;
    let _before = TcpStream::connect(("127.0.0.1", redis.port))?;
    let of_clients = || {
        let sockets = redis.server.sockets();
        sockets.into_iter().filter(|s| !s.listening).map(|s| s.keepalive).collect::<Vec<_>>()
    };
    let own = Keepalive::new(300, 100, 3);
    until("the first client", || Ok((of_clients() == [own]).then_some(())))?;
    let pid = redis.server.pid().to_string();
    let mut follower = command(&["set", &pid, "--for", "azure", "--follow"])?.start()?;
    let ours = Keepalive::new(90, 15, 9);
    follower.until("the first client's new values", |_| Ok((of_clients() == [ours]).then_some(())))?;
    let _after = TcpStream::connect(("127.0.0.1", redis.port))?;
    follower.until("the second client's", |_| Ok((of_clients() == [ours, ours]).then_some(())))?;
    drop(redis);
    let output = follower.output()?;
    expect_status(&output, 0)?;
    expect_in(&String::from_utf8(output.stdout)?, "1 opened or connected later, each set at most")
}

fn neither_stopped_nor_traced() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let trace = Scratch::new()?;
    let calls =
        "trace=ptrace,kill,tkill,tgkill,pidfd_send_signal,process_vm_readv,process_vm_writev,setsockopt";
    Program::new("strace")
        .args(["-f", "-e", calls, "-o"])
        .arg(trace.join("calls"))
        .arg(ka()?)
        .args(["set", &holder.pid().to_string(), "--idle", "77"])
        .succeed()?;
    expect(&holder, client, Keepalive { idle: 77, ..Keepalive::switched_on() })?;
    let calls = std::fs::read_to_string(trace.join("calls"))?;
    let other: Vec<_> =
        calls.lines().filter(|line| line.contains('(') && !line.contains("setsockopt(")).collect();
    // Two for each of three sockets.
    if other.is_empty() && calls.matches("setsockopt(").count() == 6 { Ok(()) } else { Err(calls.into()) }
}

fn only_tcp() -> Result {
    let mut holder = Holder::start()?;
    let other: i32 = holder.tell("other")?[0].parse()?;
    holder.pair("4")?;
    let text = set(&holder, &["--idle", "77"])?;
    expect_in(&text, "3 changed")?;
    if text.contains(&format!("fd {other},")) { Err(text.into()) } else { Ok(()) }
}

fn follow() -> Result {
    let mut holder = Holder::start()?;
    let [first, ..] = holder.pair("4")?;
    let pid = holder.pid().to_string();
    let mut follower = command(&["set", &pid, "--idle", "77", "--interval", "11", "--follow"])?.start()?;
    let ours = Keepalive::new(77, 11, 9);
    follower.until("the first socket", |_| Ok((holder.socket(first)?.keepalive == ours).then_some(())))?;
    let mut latest = Duration::ZERO;
    for _ in 0..5 {
        let opened = Instant::now();
        let fds = holder.pair("4")?;
        follower.until("the new sockets", |_| {
            let sockets = holder.sockets();
            let of = |fd| sockets.iter().find(|s| s.fd == fd).map(|s| s.keepalive);
            Ok(fds.iter().all(|&fd| of(fd) == Some(ours)).then_some(()))
        })?;
        latest = latest.max(opened.elapsed());
        for fd in fds {
            holder.tell(&format!("close {fd}"))?;
        }
    }
    holder.end();
    let output = follower.output()?;
    expect_status(&output, 0)?;
    let text = String::from_utf8(output.stdout)?;
    let told: Vec<u128> = text
        .lines()
        .filter_map(|line| {
            line.split_once("(at most ")?.1.strip_suffix(" ms after it was opened)")?.parse().ok()
        })
        .collect();
    let longest = told.iter().max().copied().unwrap_or_default();
    expect_in(&text, &format!("15 opened or connected later, each set at most {longest} ms after that\n"))?;
    // Counted from the look before they were opened, which is a pause earlier at most.
    let most = latest.as_millis() + 1000;
    if told.len() == 15 && longest <= most { Ok(()) } else { Err(format!("{told:?}, {most}").into()) }
}

/// It waits between two looks: a process that looked all the time would never give up its processor.
fn looked_again(follower: &Running, times: u64) -> Result {
    let switches = || -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", follower.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(line.ok_or("no such line")?.trim().parse()?)
    };
    let before = switches()?;
    until("it to look again", || Ok((switches()? >= before + times).then_some(())))
}

/// Ctrl-C and SIGTERM end it with its summary.
fn follow_until_a_signal() -> Result {
    for signal in [Signal::INT, Signal::TERM] {
        let mut holder = Holder::start()?;
        holder.pair("4")?;
        let pid = holder.pid().to_string();
        let mut follower = command(&["set", &pid, "--idle", "77", "--follow"])?.start()?;
        follower.wait_for_output("now on 77")?;
        looked_again(&follower, 3)?;
        kill_process(Pid::from_raw(follower.pid()).ok_or("no pid")?, signal)?;
        let output = follower.output()?;
        expect_status(&output, 0)?;
        expect_in(&String::from_utf8(output.stdout)?, "3 changed, 0 already as wanted\n")?;
    }
    Ok(())
}

fn several_processes() -> Result {
    let mut holders = [Holder::start()?, Holder::start()?];
    let pids = holders.each_ref().map(|holder| holder.pid().to_string());
    let fds = [holders[0].pair("4")?, holders[1].pair("6")?];
    // One of them twice.
    let output = run_ka(&["set", &pids[0], &pids[1], &pids[0], "--idle", "77"])?;
    expect_status(&output, 0)?;
    expect_in(&String::from_utf8(output.stdout)?, "6 changed, 0 already as wanted")?;
    for (holder, fds) in holders.iter().zip(fds) {
        for fd in fds {
            expect(holder, fd, Keepalive { idle: 77, ..Keepalive::switched_on() })?;
        }
    }
    Ok(())
}

/// Each process is held open, so that its number cannot be given away.
fn more_processes_than_descriptors() -> Result {
    let mut crowd = Program::new("python3")
        .arg(program_file("crowd.py"))
        .args(["60", "1"])
        .stdin(Stdio::piped())
        .start()?;
    let pids = crowd.wait_for_output("\n")?;
    let line = format!("ulimit -S -n 20; exec {} set --idle 77 {}", ka()?.display(), pids.trim());
    let output = Program::new("sh").args(["-c", &line]).run()?;
    expect_status(&output, 0)?;
    let count = pids.split_whitespace().count();
    let of_them = |pid: &str| -> Result<usize> {
        let sockets = sockets_of(pid.parse()?);
        Ok(sockets.iter().filter(|socket| socket.keepalive.idle == 77).count())
    };
    for pid in pids.split_whitespace() {
        if of_them(pid)? == 0 {
            return Err(format!("nothing was set in {pid}, one of {count}").into());
        }
    }
    Ok(())
}

/// A main thread that has ended, and a thread with descriptors of its own.
fn sockets_of_threads() -> Result {
    let program = compile("cc", &program_file("threads.c"), &["-pthread"])?;
    for kind in ["ended", "unshared"] {
        let mut threads = Program::new(&program).arg(kind).stdin(Stdio::piped()).start()?;
        let words = threads.wait_for_output("\n")?;
        let numbers: Vec<i32> = words.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[tid, listener, client, server] = &numbers[..] else { return Err(words.into()) };
        // By its own number, by that of the thread, and by name.
        let pid = threads.pid().to_string();
        for (idle, who) in [("71", &*pid), ("72", &*tid.to_string())] {
            let output = run_ka(&["set", who, "--idle", idle])?;
            expect_status(&output, 0)?;
            let text = String::from_utf8(output.stdout)?;
            expect_in(&text, "3 changed, 0 already as wanted")?;
            for fd in [listener, client, server] {
                expect_in(&text, &format!("[{pid}] fd {fd}, "))?;
            }
            let shown = run_ka(&["status", who, "--json"])?;
            let json: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
            let connections = json["connections"].as_array().ok_or("no connections")?;
            for fd in [listener, client, server] {
                let found = connections.iter().find(|connection| connection["fd"] == fd);
                let found = found.ok_or_else(|| format!("{kind}: no {fd} in {json}"))?;
                assert_eq!(found["idle_s"].to_string(), idle, "{kind}: {found}");
                assert_eq!(found["pid"].to_string(), pid, "{kind}: {found}");
            }
        }
        // The kernel says the same of the sockets, whoever holds them.
        let port = {
            let shown = run_ka(&["status", &pid, "--json"])?;
            let json: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
            json["connections"][0]["local"]["port"].to_string()
        };
        let ss =
            Program::new("ss").args(["-tnoH", &format!("sport = :{port} or dport = :{port}")]).succeed()?;
        assert_eq!(String::from_utf8(ss)?.matches("timer:(keepalive,1min").count(), 2, "{kind}");
    }
    Ok(())
}

/// MPTCP has no user timeout: what was changed is told, and what not.
fn one_option_refused() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("mptcp")?;
    let pid = holder.pid().to_string();
    let output = run_ka(&["set", &pid, "--fd", &client.to_string(), "--idle", "77", "--user-timeout", "30"])?;
    expect_status(&output, 1)?;
    let text = String::from_utf8(output.stdout)?;
    expect_in(&text, "off 7200/75/9, now on 77/75/9; refused by the system: user timeout (")?;
    expect_in(&text, "0 changed, 0 already as wanted, 1 refused")?;
    expect(&holder, client, Keepalive { idle: 77, ..Keepalive::switched_on() })
}

/// A socket is seen before it is connected, and meant only once it is.
fn follow_until_there_is_a_peer() -> Result {
    let mut holder = Holder::start()?;
    let [listener, ..] = holder.pair("4")?;
    let port = holder.socket(listener)?.local_port().to_string();
    let pid = holder.pid().to_string();
    let match_ = format!(":{port}");
    let mut follower = command(&["set", &pid, "--peer", &match_, "--idle", "77", "--follow"])?.start()?;
    follower.wait_for_output("now on 77")?;
    let late: i32 = holder.tell("socket")?[0].parse()?;
    looked_again(&follower, 3)?;
    expect(&holder, late, Keepalive::untouched())?;
    holder.tell(&format!("connect {late} {port}"))?;
    follower.until("the socket", |_| Ok((holder.socket(late)?.keepalive.idle == 77).then_some(())))?;
    // Not from when it was opened.
    let line = format!(" fd {late}, ");
    follower.until("what is said of it", |follower| {
        let text = String::from_utf8_lossy(&follower.stdout()).into_owned();
        let told = text
            .lines()
            .find(|text| text.contains(&line))
            .map(|text| text.ends_with("after it was connected)"));
        Ok(told.filter(|&told| told).map(|_| ()))
    })
}

/// No error, whatever happens to the sockets meanwhile.
fn sockets_that_come_and_go() -> Result {
    let churn = "import socket, threading\n\
                 l = socket.create_server(('127.0.0.1', 0), backlog=100)\n\
                 def churn():\n while True:\n  s = socket.create_connection(l.getsockname())\n  \
                 u = socket.socket(type=socket.SOCK_DGRAM); a = l.accept()[0]; s.close(); u.close(); a.close()\n\
                 for _ in range(3): threading.Thread(target=churn, daemon=True).start()\n\
                 print('ready', flush=True); threading.Event().wait()";
    let mut program = Program::new("python3").args(["-c", churn]).start()?;
    program.wait_for_output("ready")?;
    let pid = program.pid().to_string();
    for _ in 0..50 {
        let output = run_ka(&["set", &pid, "--idle", "77"])?;
        expect_status(&output, 0)?;
        let text = String::from_utf8(output.stdout)?;
        let changed = text.lines().filter(|line| line.contains(", now on 77/75/9")).count();
        expect_in(&text, &format!("\n{changed} changed, "))?;
        // What was closed in between is not shown at all.
        let output = run_ka(&["status", &pid, "--json"])?;
        expect_status(&output, 0)?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let connections = json["connections"].as_array().ok_or("no connections")?;
        if let Some(unknown) = connections.iter().find(|connection| !connection["idle_s"].is_number()) {
            return Err(format!("{unknown}").into());
        }
    }
    Ok(())
}

fn given_away() -> Result {
    let output = Program::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "python3"])
        .arg(program_file("pid_reuse.py"))
        .arg(ka()?)
        .succeed()?;
    let text = String::from_utf8(output)?;
    expect_in(&text, "idle 7200 status 0")
}

fn another_users_process() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let output = as_nobody(&["set", &holder.pid().to_string(), "--idle", "77"])?;
    expect_status(&output, 1)?;
    expect_in(&output.stderr, "it belongs to user 0, and you are user")?;
    expect_in(&output.stderr, "run ka as that user, or as root")?;
    expect(&holder, client, Keepalive::untouched())
}

fn not_dumpable() -> Result {
    let mut holder = Holder::start_as(|program| program.user("nobody"))?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell("dumpable 0")?;
    let pid = holder.pid().to_string();
    let output = as_nobody(&["set", &pid, "--idle", "77"])?;
    expect_status(&output, 1)?;
    expect_in(&output.stderr, "the process is not dumpable")?;
    expect(&holder, client, Keepalive::untouched())?;
    expect_status(&run_ka(&["set", &pid, "--idle", "77"])?, 0)
}

fn a_containers_profile() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let output = filtered(&["set", &holder.pid().to_string(), "--idle", "77"])?;
    expect_status(&output, 1)?;
    expect_in(&output.stderr, "forbids pidfd_getfd")?;
    expect(&holder, client, Keepalive::untouched())
}

fn bad_arguments() -> Result {
    for (arguments, status, complaint) in [
        (&["set", "1"][..], 2, "required arguments were not provided"),
        (&["set", "1", "--off", "--idle", "5"], 2, "cannot be used with"),
        (&["set", "1", "--idle", "5 m"], 2, "has a blank inside"),
        (&["set", "1", "--count", "128"], 2, "too large; accepted: 1 to 127 or system"),
        (&["set", "1", "--for", "asw"], 2, "accepted: azure, aws"),
        (&["set", "1", "--off", "--peer", "db.example.com"], 2, "host names are not looked up"),
        (&["set", "1", "--off", "--dry-run", "--follow"], 2, "cannot be used with"),
        (&["set", "4194305", "--off"], 125, "no such process"),
        (&["set", "no-such-program-here", "--off"], 125, "no process has this name"),
    ] {
        let output = run_ka(arguments)?;
        expect_status(&output, status)?;
        expect_in(&output.stderr, complaint)?;
    }
    Ok(())
}

/// Whoever reads only the beginning, or nothing: all sockets are changed, and the status tells of the report.
fn a_reader_that_leaves() -> Result {
    let mut holder = Holder::start()?;
    for _ in 0..40 {
        holder.pair("4")?;
    }
    let pid = holder.pid();
    for (idle, reader) in [(61, "| head -n 1"), (62, "| true"), (63, "> /dev/full")] {
        let line = format!("{{ {} set --idle {idle} {pid}; echo $? >&2; }} {reader}", ka()?.display());
        let output = Program::new("sh").args(["-c", &line]).run()?;
        // What fits into the pipe before the reader has left is written.
        let status = output.stderr.lines().last().unwrap_or_default().to_owned();
        if !(status == "125" || (status == "0" && reader != "> /dev/full")) {
            return Err(format!("{reader}: {}", output.stderr).into());
        }
        let other = holder.sockets().into_iter().filter(|socket| socket.keepalive.idle != idle).count();
        if other > 0 {
            return Err(format!("{reader}: {other} sockets are not changed: {}", output.stderr).into());
        }
    }
    Ok(())
}
