//! `ka status`: what it shows, against what the kernel itself says about the same sockets.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use kashim_tests::lab::{Namespace, ip};
use kashim_tests::{
    Failed, Need, Output, Preload, Program, Result, Socket, Trial, ka, program_file, trial, until, workspace,
};
use serde_json::Value;

use kashim_tests::ka_helpers::{
    Holder, as_nobody, command, expect_in, expect_status, filtered, has_mptcp, run_ka, users,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Kernel, Program as Prog, Root};
    let python = [Prog("python3")];
    let root = [Root, Prog("python3")];
    let lab = [Root, Prog("python3"), Prog("ip")];
    vec![
        trial!(the_kernels_own_values, &python),
        trial!(mptcp, &[Prog("python3"), Kernel("MPTCP", has_mptcp)]),
        trial!(timers_as_ss_has_them, &[Prog("python3"), Prog("ss")]),
        trial!(busy_is_not_off, &python),
        trial!(without_values, &python),
        trial!(the_library, &python),
        trial!(verdict_and_exit_status, &python),
        trial!(a_shared_socket_is_one_row, &python),
        trial!(more_processes_than_descriptors, &python),
        trial!(by_name, &python),
        trial!(by_peer, &python),
        trial!(hostile_names, &python),
        trial!(no_such_process),
        trial!(bad_arguments),
        trial!(fits_the_terminal, &python),
        trial!(colours, &python),
        trial!(another_users_process, &root),
        trial!(not_dumpable, &root),
        trial("what_cannot_be_looked_into_is_no_good_news", &root, no_good_news),
        trial!(sockets_of_others_are_not_unowned, &python),
        trial!(short_user_timeouts, &python),
        trial!(a_containers_profile, &python),
        trial!(another_namespace, &lab),
        trial("a_namespace_that_may_not_be_entered", &[&lab[..], &[Prog("capsh")]].concat(), not_entered),
        trial!(everything_that_ss_has, &[&lab[..], &[Prog("ss")]].concat()),
        trial!(the_json_is_described, &python),
    ]
}

/// The connections in the JSON of `ka status`.
fn connections(output: &Output) -> Result<Vec<Value>> {
    let json: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}:\n{}{}", output.stderr, String::from_utf8_lossy(&output.stdout)))?;
    Ok(json["connections"].as_array().ok_or("no connections in the JSON")?.clone())
}

fn status(pid: i32, more: &[&str]) -> Result<Vec<Value>> {
    let pid = pid.to_string();
    connections(&run_ka(&[&["status", &pid, "--json"], more].concat())?)
}

/// The one connection with this descriptor.
fn by_fd(connections: &[Value], fd: i32) -> Result<&Value> {
    Ok(connections.iter().find(|c| c["fd"] == fd).ok_or(format!("no descriptor {fd} in {connections:?}"))?)
}

fn table(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn address(value: &Value) -> Result<Option<SocketAddr>> {
    if value.is_null() {
        return Ok(None);
    }
    let ip = value["address"].as_str().ok_or("no address")?.parse()?;
    let port = value["port"].as_u64().ok_or("no port")?;
    Ok(Some(SocketAddr::new(ip, u16::try_from(port)?)))
}

/// Every member that can be read from the socket.
fn expect_same(connection: &Value, socket: &Socket) -> Result {
    let keepalive = socket.keepalive;
    let same = connection["pid"] == socket.pid
        && connection["keepalive"] == keepalive.on
        && connection["idle_s"] == keepalive.idle
        && connection["interval_s"] == keepalive.interval
        && connection["count"] == keepalive.count
        && connection["user_timeout_ms"] == keepalive.user_timeout
        && connection["values_missing"].is_null()
        && connection["family"] == if socket.ipv6 { "ipv6" } else { "ipv4" }
        && connection["protocol"] == if socket.mptcp { "mptcp" } else { "tcp" }
        && (connection["state"] == "listen") == socket.listening
        && address(&connection["local"])? == Some(socket.local)
        && address(&connection["peer"])? == socket.peer;
    if same { Ok(()) } else { Err(format!("{connection} is not {socket:?}").into()) }
}

fn the_kernels_own_values() -> Result {
    for user in users() {
        let mut holder = Holder::start_as(|program| program.user(user))?;
        let [_, client, server] = holder.pair("4")?;
        holder.tell(&format!("set {client} 77 11 5"))?;
        holder.tell(&format!("set {server} 90"))?;
        let [listener, ..] = holder.pair("6")?;
        holder.tell(&format!("set {listener} 120 20 9"))?;
        // What is no TCP connection is not shown.
        holder.tell("socket")?;
        holder.tell("other")?;
        let pid = holder.pid().to_string();
        let output = command(&["status", &pid, "--json"])?.user(user)?.run()?;
        expect_status(&output, 0)?;
        let connections = connections(&output)?;
        // The one that is not connected has no port.
        let sockets: Vec<_> = holder.sockets().into_iter().filter(|s| s.local_port() != 0).collect();
        if connections.len() != sockets.len() || sockets.len() != 6 {
            return Err(format!("{} of {} sockets", connections.len(), sockets.len()).into());
        }
        for socket in &sockets {
            expect_same(by_fd(&connections, socket.fd)?, socket)?;
        }
    }
    Ok(())
}

fn mptcp() -> Result {
    let mut holder = Holder::start()?;
    let [listener, client, server] = holder.pair("mptcp")?;
    holder.tell(&format!("set {client} 77 11 5"))?;
    let connections = status(holder.pid(), &[])?;
    for fd in [listener, client, server] {
        expect_same(by_fd(&connections, fd)?, &holder.socket(fd)?)?;
    }
    let timer = &by_fd(&connections, client)?["timer"];
    if timer == "keepalive" { Ok(()) } else { Err(format!("timer {timer} of a subflow").into()) }
}

/// ss(8) has the same from the same place.
fn timers_as_ss_has_them() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, server] = holder.pair("4")?;
    holder.tell(&format!("set {client} 600 20 9"))?;
    let connections = status(holder.pid(), &[])?;
    let ours = by_fd(&connections, client)?;
    let port = holder.socket(client)?.local_port();
    let filter = format!("sport = :{port}");
    let ss = String::from_utf8(Program::new("ss").args(["-tnoH", &filter]).succeed()?)?;
    expect_in(&ss, "timer:(keepalive,9min")?;
    let next = ours["next_probe_ms"].as_u64().ok_or("no next probe")?;
    if !(540_000..=600_000).contains(&next) || ours["unanswered_probes"] != 0 {
        return Err(format!("{ours}").into());
    }
    if ours["last_received_ms"].as_u64().is_none_or(|ms| ms > 30_000) {
        return Err(format!("last heard in {ours}").into());
    }
    let other = by_fd(&connections, server)?;
    if other["timer"] != "none" || !other["next_probe_ms"].is_null() || other["keepalive"] != false {
        return Err(format!("{other}").into());
    }
    Ok(())
}

fn busy_is_not_off() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 60 15 9"))?;
    holder.tell(&format!("fill {client}"))?;
    let connections = status(holder.pid(), &["--for", "aws"])?;
    let with = by_fd(&connections, client)?;
    if with["timer"] != "busy" || with["keepalive"] != true || with["outlives"] != "yes" {
        return Err(format!("with values: {with}").into());
    }
    let connections = status(holder.pid(), &["--for", "aws", "--no-values"])?;
    let without = by_fd(&connections, client)?;
    if without["timer"] != "busy" || !without["keepalive"].is_null() || without["outlives"] != "cannot tell" {
        return Err(format!("without values: {without}").into());
    }
    expect_in(&table(&run_ka(&["status", &holder.pid().to_string(), "--no-values"])?), "busy")
}

fn without_values() -> Result {
    let mut holder = Holder::start()?;
    let [listener, client, server] = holder.pair("4")?;
    holder.tell(&format!("set {client} 77 11 5"))?;
    let connections = status(holder.pid(), &["--no-values"])?;
    for (fd, keepalive) in
        [(client, Value::Bool(true)), (server, Value::Bool(false)), (listener, Value::Null)]
    {
        let connection = by_fd(&connections, fd)?;
        if connection["keepalive"] != keepalive
            || !connection["idle_s"].is_null()
            || connection["values_missing"]["reason"] != "not-asked"
        {
            return Err(format!("{connection}").into());
        }
    }
    Ok(())
}

fn the_library() -> Result {
    for (preload, want) in [(Preload::No, false), (Preload::OURS, true)] {
        let mut holder = Holder::start_as(|program| Ok(program.preload(preload)))?;
        let [_, client, _] = holder.pair("4")?;
        let connections = status(holder.pid(), &[])?;
        let connection = by_fd(&connections, client)?;
        if connection["preloaded"] != want || (connection["idle_s"] == 77) != want {
            return Err(format!("{preload:?}: {connection}").into());
        }
    }
    Ok(())
}

fn verdict_and_exit_status() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, server] = holder.pair("4")?;
    let pid = holder.pid().to_string();
    // Nothing is set yet.
    expect_status(&run_ka(&["status", &pid])?, 0)?;
    expect_status(&run_ka(&["status", &pid, "--for", "aws"])?, 1)?;
    holder.tell(&format!("set {client} 60 15 9"))?;
    holder.tell(&format!("set {server} 300 30 9"))?;
    for (arguments, client_is, server_is, exit) in [
        (["--for", "aws"], "yes", "risky", 0),
        (["--for", "gcp"], "yes", "yes", 0),
        (["--for", "azure"], "yes", "no", 1),
        (["--outlive", "1m"], "no", "no", 1),
        (["--outlive", "400"], "yes", "yes", 0),
    ] {
        let output = run_ka(&[&["status", &pid, "--json"][..], &arguments].concat())?;
        expect_status(&output, exit)?;
        let connections = connections(&output)?;
        let found =
            [by_fd(&connections, client)?, by_fd(&connections, server)?].map(|c| c["outlives"].clone());
        if found != [client_is, server_is] {
            return Err(format!("{arguments:?}: {found:?}").into());
        }
        let listener = connections.iter().find(|c| c["state"] == "listen").ok_or("no listener")?;
        if !listener["outlives"].is_null() {
            return Err("a listener is no connection".into());
        }
    }
    expect_in(&table(&run_ka(&["status", &pid, "--for", "azure"])?), "no, every 300 s")?;
    // Its next probe is in time, and that is all that can be known.
    holder.tell(&format!("set {server} 60 15 9"))?;
    expect_status(&run_ka(&["status", &pid, "--for", "aws", "--no-values"])?, 3)
}

fn a_shared_socket_is_one_row() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let child: i32 = holder.tell("fork")?.first().ok_or("no child")?.parse()?;
    let both = [holder.pid().to_string(), child.to_string()];
    let output = run_ka(&["status", "--json", &both[0], &both[1]])?;
    let connections = connections(&output)?;
    let rows: Vec<_> = connections.iter().filter(|c| c["fd"] == client).collect();
    let [row] = &rows[..] else { return Err(format!("{} rows", rows.len()).into()) };
    let shared = &row["shared_with"][0];
    let pids: BTreeSet<_> = [&row["pid"], &shared["pid"]].into_iter().filter_map(Value::as_i64).collect();
    if pids == BTreeSet::from([holder.pid().into(), child.into()]) && shared["fd"] == client {
        return Ok(());
    }
    Err(format!("{row}").into())
}

fn more_processes_than_descriptors() -> Result {
    let mut crowd = Program::new("python3")
        .arg(program_file("crowd.py"))
        .args(["60", "30"])
        .stdin(Stdio::piped())
        .start()?;
    let pids = crowd.wait_for_output("\n")?;
    let line = format!("ulimit -n 20; exec {} status --json {}", ka()?.display(), pids.trim());
    let connections = connections(&Program::new("sh").args(["-c", &line]).run()?)?;
    let known = connections.iter().filter(|c| c["idle_s"].is_number()).count();
    // With a listener for each process.
    if (connections.len(), known) == (90, 90) {
        return Ok(());
    }
    Err(format!("{} connections, {known} with values", connections.len()).into())
}

fn by_name() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    let name = format!("held-{}", holder.pid());
    holder.tell(&format!("name {}", hexadecimal(name.as_bytes())))?;
    let connections = connections(&run_ka(&["status", &name, "--json"])?)?;
    let connection = by_fd(&connections, client)?;
    if connections.len() == 3 && connection["process"] == name {
        Ok(())
    } else {
        Err(format!("{connections:?}").into())
    }
}

fn by_peer() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, server] = holder.pair("4")?;
    let [_, client6, server6] = holder.pair("6")?;
    let port = |fd: i32| {
        let peer = address(&by_fd(&status(holder.pid(), &[])?, fd)?["peer"])?.ok_or("no peer")?;
        Ok::<_, Failed>(format!(":{}", peer.port()))
    };
    for (peer, want) in [
        ("127.0.0.0/8", vec![client, server]),
        ("0.0.0.0/0", vec![client, server]),
        ("[::1]", vec![client6, server6]),
        (&port(client)?, vec![client]),
        (&port(server6)?[1..], vec![server6]),
        ("10.0.0.0/8", vec![]),
    ] {
        let found: Vec<_> = status(holder.pid(), &["--peer", peer])?;
        let found: Vec<_> = found.iter().map(|c| c["fd"].clone()).collect();
        if found != want {
            return Err(format!("{peer}: {found:?}, not {want:?}").into());
        }
    }
    let nothing = run_ka(&["status", &holder.pid().to_string(), "--peer", "10.0.0.0/8"])?;
    expect_status(&nothing, 0)?;
    expect_in(&nothing.stderr, "no connection to this peer is to be seen")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn hostile_names() -> Result {
    let mut holder = Holder::start()?;
    holder.pair("4")?;
    holder.tell(&format!("name {}", hexadecimal(b"\x1b[31m\xff\n\"x")))?;
    let pid = holder.pid().to_string();
    let text = table(&run_ka(&["status", &pid])?);
    expect_in(&text, "\\x1b[31m\\xff\\x0a\"x")?;
    if text.contains('\x1b') || text.lines().count() != 4 {
        return Err(format!("{text:?}").into());
    }
    let connections = status(holder.pid(), &[])?;
    if connections.iter().all(|c| c["process"] == "\\x1b[31m\\xff\\x0a\"x") {
        return Ok(());
    }
    Err(format!("{connections:?}").into())
}

fn no_such_process() -> Result {
    for (who, complaint) in
        [("4194305", "no such process"), ("no-such-program-here", "no process has this name")]
    {
        let output = run_ka(&["status", who])?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, complaint)?;
    }
    Ok(())
}

fn bad_arguments() -> Result {
    for (arguments, complaint) in [
        (&["status", "--for", "asw"][..], "accepted: azure, aws"),
        (&["status", "--outlive", "5 m"], "has a blank inside"),
        (&["status", "--outlive", "0"], "too small"),
        (&["status", "--outlive", "1", "--for", "aws"], "cannot be used with"),
        (&["status", "--peer", "db.example.com"], "accepted: 10.0.0.0/8"),
        (&["status", "0"], "no process can have this number"),
        (&["status", ""], "neither"),
    ] {
        let output = run_ka(arguments)?;
        expect_status(&output, 2)?;
        expect_in(&output.stderr, complaint)?;
    }
    Ok(())
}

/// What `ka status` writes to a terminal of so many columns.
fn in_terminal(columns: &str, pid: i32, color: bool) -> Result<String> {
    let program = Program::new("python3").arg(program_file("terminal.py")).arg(columns).arg(ka()?);
    let mut program = program.args(["status", &pid.to_string(), "--for", "aws"]).env("TERM", "xterm");
    if !color {
        program = program.env("NO_COLOR", "1");
    }
    Ok(String::from_utf8(program.run()?.stdout)?)
}

fn fits_the_terminal() -> Result {
    let mut holder = Holder::start()?;
    holder.pair("4")?;
    holder.pair("6")?;
    for columns in [40, 60, 80, 100, 200] {
        let text = in_terminal(&columns.to_string(), holder.pid(), false)?;
        let rows: Vec<_> = text.lines().take(7).collect();
        if let Some(line) = rows.iter().find(|line| line.trim_end().len() > columns) {
            return Err(format!("{columns} columns: {line:?}").into());
        }
        let line = rows.iter().find(|line| line.contains("127.0.0.1") && line.contains("no, off"));
        let line = line.ok_or_else(|| format!("{columns} columns:\n{text}"))?;
        assert!(line.starts_with("python3 ") && line.contains(" off "), "{columns} columns:\n{text}");
        let whole = !text.contains("for want of width");
        if whole != (columns == 200) {
            return Err(format!("{columns} columns:\n{text}").into());
        }
    }
    // COLUMNS counts, there and where there is no terminal.
    let pid = holder.pid().to_string();
    for columns in [40, 100] {
        let output = command(&["status", &pid, "--for", "aws"])?.env("COLUMNS", columns.to_string()).run()?;
        let text = table(&output);
        let longest = text.lines().take(7).map(str::len).max().unwrap_or_default();
        assert!(longest <= columns && text.contains("for want of width"), "{columns} columns:\n{text}");
    }
    Ok(())
}

fn colours() -> Result {
    let mut holder = Holder::start()?;
    holder.pair("4")?;
    let coloured = |text: &str| text.contains('\x1b');
    let pid = holder.pid().to_string();
    let found = [
        coloured(&in_terminal("200", holder.pid(), true)?),
        coloured(&in_terminal("200", holder.pid(), false)?),
        coloured(&table(&run_ka(&["status", &pid, "--for", "aws"])?)),
    ];
    assert_eq!(found, [true, false, false], "in a terminal, there with NO_COLOR, and elsewhere");
    for (when, want) in [("always", true), ("never", false), ("auto", false)] {
        let text = table(&run_ka(&["status", &pid, "--for", "aws", "--color", when])?);
        assert_eq!(coloured(&text), want, "{when}");
    }
    Ok(())
}

fn another_users_process() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 60 15 9"))?;
    let port = holder.socket(client)?.local_port();
    let output = as_nobody(&["status", &holder.pid().to_string(), "--json"])?;
    expect_status(&output, 0)?;
    expect_in(&table(&output), "it belongs to user 0, and you are user")?;
    let connections = connections(&output)?;
    let found = connections.iter().find(|c| c["local"]["port"] == port && c["state"] == "established");
    let connection = found.ok_or("what sock_diag tells to everybody is not shown")?;
    if connection["uid"] == 0
        && connection["pid"].is_null()
        && connection["keepalive"] == true
        && connection["idle_s"].is_null()
        && connection["values_missing"]["reason"] == "hidden"
        && connection["next_probe_ms"].as_u64().is_some_and(|ms| ms <= 60_000)
    {
        return Ok(());
    }
    Err(format!("{connection}").into())
}

fn not_dumpable() -> Result {
    let mut holder = Holder::start_as(|program| program.user("nobody"))?;
    holder.pair("4")?;
    holder.tell("dumpable 0")?;
    let output = as_nobody(&["status", &holder.pid().to_string()])?;
    expect_in(&output.stderr, "the process is not dumpable")?;
    // Root may all the same.
    expect_in(&table(&run_ka(&["status", &holder.pid().to_string()])?), "7200/75/9")
}

/// A server that has changed its user: its sockets are root's, and it may not be looked into.
fn no_good_news() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, server] = holder.pair("4")?;
    for fd in [client, server] {
        holder.tell(&format!("set {fd} 60 15 9"))?;
    }
    // A user that no other test is: its sockets are shown, too.
    let user = "games";
    let asked = |words: &[&str]| command(words)?.user(user)?.run();
    holder.tell(&format!("user {user}"))?;
    let pid = holder.pid().to_string();
    let questions = [["--for", "aws"], ["--outlive", "10m"]];
    for question in questions {
        expect_status(&run_ka(&[&["status", &pid][..], &question].concat())?, 0)?;
        let output = asked(&[&["status", &pid][..], &question].concat())?;
        expect_status(&output, 3)?;
        expect_in(&output.stderr, "the process is not dumpable")?;
    }
    // Who asks nothing gets no answer.
    expect_status(&asked(&["status", &pid])?, 0)?;
    // One that would not outlive it is the worse news.
    let mut other = Holder::start_as(|program| program.user(user))?;
    other.pair("4")?;
    let both = ["status", &pid, &other.pid().to_string()];
    for question in questions {
        expect_status(&asked(&[&both[..], &question].concat())?, 1)?;
    }
    Ok(())
}

/// With a selector and --all there is no word of the sockets that other processes hold.
fn sockets_of_others_are_not_unowned() -> Result {
    let mut holders = [Holder::start()?, Holder::start()?];
    let [ours, theirs] = [holders[0].pair("4")?[1], holders[1].pair("4")?[1]];
    let ports = [holders[0].socket(ours)?.local_port(), holders[1].socket(theirs)?.local_port()];
    let connections = status(holders[0].pid(), &["--all"])?;
    let with = |port: u16| connections.iter().filter(|c| c["local"]["port"] == port).collect::<Vec<_>>();
    assert_eq!((with(ports[0]).len(), with(ports[1]).len()), (1, 0));
    // What nobody holds is there, and is said to be so: a connection that was not accepted.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let port = client.local_addr()?.port();
    let connections = status(holders[0].pid(), &["--all"])?;
    let found: Vec<_> = connections.iter().filter(|c| c["peer"]["port"] == port).collect();
    let [unaccepted] = found[..] else { return Err(format!("{found:?}").into()) };
    assert_eq!(unaccepted["values_missing"]["reason"], "no-process");
    // The other end of it is ours.
    assert!(connections.iter().all(|c| c["local"]["port"] != port));
    Ok(())
}

fn short_user_timeouts() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, server] = holder.pair("4")?;
    holder.tell(&format!("timeout {client} 1"))?;
    holder.tell(&format!("timeout {server} 1500"))?;
    let text = table(&run_ka(&["status", &holder.pid().to_string()])?);
    for (fd, shown) in [(client, "1ms"), (server, "1.5s")] {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let line = text.lines().map(words).find(|words| words.get(2) == Some(&fd.to_string()));
        assert!(line.is_some_and(|words| words.contains(&shown.to_owned())), "{text}");
    }
    Ok(())
}

fn a_containers_profile() -> Result {
    let mut holder = Holder::start()?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 60 15 9"))?;
    let pid = holder.pid().to_string();
    let output = filtered(&["status", &pid, "--json"])?;
    expect_status(&output, 0)?;
    let connections = connections(&output)?;
    let connection = by_fd(&connections, client)?;
    if connection["values_missing"]["reason"] != "container-profile" || connection["keepalive"] != true {
        return Err(format!("{connection}").into());
    }
    expect_in(&table(&filtered(&["status", &pid])?), "forbids pidfd_getfd")
}

fn another_namespace() -> Result {
    let namespace = Namespace::new()?;
    ip(&namespace, &["link set lo up"])?;
    let mut holder = Holder::start_as(|program| Ok(program.within(&namespace)))?;
    let [_, client, _] = holder.pair("4")?;
    holder.tell(&format!("set {client} 77 11 5"))?;
    let connections = status(holder.pid(), &[])?;
    let connection = by_fd(&connections, client)?;
    expect_same(connection, &holder.socket(client)?)?;
    if connections.len() != 3 || connection["timer"] != "keepalive" {
        return Err(format!("{connections:?}").into());
    }
    let inode = namespace.enter(|| Ok(fs::read_link("/proc/thread-self/ns/net")?))?;
    let theirs = format!("net:[{}]", connection["network_namespace"]);
    if inode.to_str() != Some(&theirs) {
        return Err(format!("{theirs} is not {}", inode.display()).into());
    }
    let text = table(&run_ka(&["status", &holder.pid().to_string()])?);
    expect_in(&text, "NETNS")
}

fn not_entered() -> Result {
    let namespace = Namespace::new()?;
    ip(&namespace, &["link set lo up"])?;
    let mut holder = Holder::start_as(|program| Ok(program.within(&namespace)))?;
    let [_, client, _] = holder.pair("6")?;
    holder.tell(&format!("set {client} 77 11 5"))?;
    let line = format!("exec {} status {} --json", ka()?.display(), holder.pid());
    let output = Program::new("capsh").args(["--drop=cap_sys_admin", "--", "-c", &line]).run()?;
    expect_status(&output, 0)?;
    let connections = connections(&output)?;
    let connection = by_fd(&connections, client)?;
    expect_same(connection, &holder.socket(client)?)?;
    if connection["timer"] == "unknown" && connection["next_probe_ms"].is_null() && connections.len() == 3 {
        return Ok(());
    }
    Err(format!("{connections:?}").into())
}

fn everything_that_ss_has() -> Result {
    let namespace = Namespace::new()?;
    ip(&namespace, &["link set lo up"])?;
    let mut holder = Holder::start_as(|program| Ok(program.within(&namespace)))?;
    for kind in ["4", "6", "4"] {
        let [_, client, server] = holder.pair(kind)?;
        holder.tell(&format!("close {client}"))?;
        holder.tell(&format!("set {server} 60 15 9"))?;
    }
    // The other ends, which no process holds any more, come to rest.
    until("the states to settle", || {
        let ours = connections(&command(&["status", "--all", "--json"])?.within(&namespace).run()?)?;
        let here: BTreeSet<_> = ours
            .iter()
            .map(|c| {
                Ok(format!(
                    "{} {:?} {:?}",
                    c["state"].as_str().unwrap_or(""),
                    address(&c["local"])?,
                    address(&c["peer"])?
                ))
            })
            .collect::<Result<_>>()?;
        let ss = Program::new("ss").args(["-tanH"]).within(&namespace).succeed()?;
        let theirs: BTreeSet<_> = String::from_utf8(ss)?.lines().map(in_our_words).collect::<Result<_>>()?;
        // Everything in the system is in the answer, but only this namespace is in that of ss.
        Ok((theirs.len() == 9 && theirs.is_subset(&here)).then_some(()))
    })
}

/// A line of `ss -tanH` as above.
fn in_our_words(line: &str) -> Result<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let &[state, _, _, local, peer, ..] = &words[..] else { return Err(format!("{line:?}").into()) };
    let state = match state {
        "ESTAB" => "established".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    let local: SocketAddr = local.parse()?;
    let peer: Option<SocketAddr> = if peer.ends_with(":*") { None } else { Some(peer.parse()?) };
    Ok(format!("{state} {:?} {peer:?}", Some(local)))
}

/// Every member stands in the documentation, and the version with it.
fn the_json_is_described() -> Result {
    let described = fs::read_to_string(workspace().join("docs/ka-status-json.md"))?;
    let mut holder = Holder::start()?;
    holder.pair("4")?;
    let output = run_ka(&["status", &holder.pid().to_string(), "--json", "--for", "aws"])?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    let names =
        |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    for name in [names(&json), names(&json["connections"][0]), names(&json["middlebox"])].concat() {
        expect_in(&described, &format!("`{name}`"))?;
    }
    expect_in(&described, &format!("version {}", json["version"]))
}
