//! Programs that no preload reaches, or that have none: client and server.

use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use kashim_tests::lab::{Firewall, Lab, SERVER};
use kashim_tests::servers::{Nginx, Postgres, PostgresData, Redis};
use kashim_tests::{
    Cgroup, Keepalive, Listener, Need, Preload, Program, Result, Running, Scratch, Steps, Trial, cgroups,
    compile, fixture, read_request, target_dir, trial, until, until_within,
};

use super::{attach, count};

/// What all of these attach, and what a connection then has that nobody else has set.
const VALUES: [&str; 6] = ["--idle", "77", "--interval", "11", "--count", "5"];

fn ours() -> Keepalive {
    Keepalive::new(77, 11, 5)
}

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        trial(name, &[&cgroups()[..], needs].concat(), test)
    };
    vec![
        with("static_c", &[Prog("cc")], || static_c("cc")),
        with("static_musl", &[Prog("musl-gcc")], static_musl),
        with("ipv6_fast_open_and_without_blocking", &[Prog("cc")], other_ways),
        with("go_client", &[Prog("go"), Prog("strace")], go_client),
        with("go_server", &[Prog("go")], go_server),
        with("io_uring", &[Prog("cc"), io_uring()], io_uring_connect),
        with("redis", &[Prog("redis-server"), Prog("redis-cli")], redis),
        with("nginx", &[Prog("nginx")], nginx),
        with("postgres", &[Prog("postgres"), Prog("psql")], postgres),
        with("chroot", &[Prog("cc"), Prog("chroot")], chroot),
        with("setuid", &[Prog("cc")], setuid),
        with("dump_through_a_firewall", &Lab::needs(&[Prog("cc")]), dump),
    ]
}

fn io_uring() -> Need {
    Need::Kernel("io_uring", || {
        fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|text| text.trim() == "0")
            || !Path::new("/proc/sys/kernel/io_uring_disabled").exists()
    })
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/attach").join(name)
}

/// `steps.c`, linked statically.
fn static_steps(compiler: &str) -> Result<PathBuf> {
    compile(compiler, &fixture("steps.c"), &["-static", "-pthread"])
}

fn run_in(cgroup: &Cgroup, program: &Path, script: &str) -> Result {
    cgroup.enter(|| Steps::new(Preload::No, script)?.program(program).run()).map(|_| ())
}

fn static_c(compiler: &str) -> Result {
    let program = static_steps(compiler)?;
    let headers = Program::new("readelf").arg("-lW").arg(&program).succeed()?;
    if String::from_utf8_lossy(&headers).contains("INTERP") {
        return Err("not static".into());
    }
    let cgroup = Cgroup::new()?;
    let script = |seen: &str| {
        format!(
            "l=listener 127.0.0.1:0; c=socket inet stream tcp; show c -> off; connect c @l; a=accept l; \
             show c -> {seen}; show a -> {seen}"
        )
    };
    run_in(&cgroup, &program, &script("off"))?;
    attach(&cgroup, &VALUES)?;
    run_in(&cgroup, &program, &script("on 77/11/5"))?;
    if count(&cgroup, "set")? != 2 { Err("not two that were set".into()) } else { Ok(()) }
}

/// musl brings none of the kernel's headers, so it is a smaller program.
fn static_musl() -> Result {
    let program = compile("musl-gcc", &source("client.c"), &["-static"])?;
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    connects(&cgroup, &program)
}

/// A client in the cgroup that is told a port, and says when it is connected.
fn connects(cgroup: &Cgroup, program: &Path) -> Result {
    let listener = Listener::bind()?;
    let client = Program::new(program).arg(listener.port().to_string());
    let mut client = cgroup.enter(|| client.start())?;
    client.wait_for_output("connected")?;
    client.expect(|s| s.peer_port() == listener.port(), ours())?;
    Ok(())
}

fn other_ways() -> Result {
    let program = static_steps("cc")?;
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    for script in [
        "l=listener [::1]:0; c=socket inet6 stream tcp; connect c @l; show c -> on 77/11/5",
        "l=listener 127.0.0.1:0; c=socket inet stream+nonblock tcp; connect c @l -> -1 EINPROGRESS; \
         show c -> on 77/11/5",
    ] {
        run_in(&cgroup, &program, script)?;
    }
    // The first `sendto` connects.
    let listener = Listener::bind()?;
    let fast_open = "import socket, time; s = socket.socket(); \
        s.sendto(b'x', 0x20000000, ('127.0.0.1', int(__import__('sys').argv[1]))); print('sent', flush=True); time.sleep(99)";
    let port = listener.port().to_string();
    let mut client = cgroup.enter(|| Program::new("python3").args(["-c", fast_open, &port]).start())?;
    client.wait_for_output("sent")?;
    let _connection = listener.accept()?;
    client.expect(|s| s.peer_port() == listener.port(), ours())?;
    Ok(())
}

/// The Go program, built at the first use.
fn go() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    let build = || {
        let source = source("peer.go");
        let built = target_dir().join("test-programs/go-peer");
        fs::create_dir_all(built.parent().ok_or("no directory")?)?;
        let caches = Scratch::new()?;
        Program::new("go")
            .args(["build", "-o"])
            .arg(&built)
            .arg(source)
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", caches.join("cache"))
            .env("GOPATH", caches.join("path"))
            .start()?
            // It compiles its standard library.
            .output_within(Duration::from_secs(300))?
            .success()?;
        Ok(built)
    };
    BUILT.get_or_init(build).as_deref().map_err(Clone::clone)
}

/// Since 1.23 it does, to the kernel's default, so that only its calls tell.
fn go_sets_the_count() -> Result<bool> {
    let scratch = Scratch::new()?;
    let calls = scratch.join("calls");
    let listener = Listener::bind()?;
    let _client = Program::new("strace")
        .args(["-f", "-e", "trace=setsockopt,write", "-o"])
        .arg(&calls)
        .arg(go()?)
        .args(["connect", &listener.address()])
        .env("OWN", "1")
        .start()?;
    let calls = until("it to have connected", || {
        let calls = fs::read_to_string(&calls).unwrap_or_default();
        Ok(calls.contains("\"connected").then_some(calls))
    })?;
    assert!(calls.contains("TCP_KEEPIDLE"), "{calls}");
    Ok(calls.contains("TCP_KEEPCNT"))
}

fn go_client() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    // With what Go sets by itself after connecting, and without.
    let count = if go_sets_the_count()? { 9 } else { 5 };
    for (own, want) in [("", ours()), ("1", Keepalive::new(15, 15, count))] {
        let listener = Listener::bind()?;
        let client = Program::new(go()?).args(["connect", &listener.address()]).env("OWN", own);
        let mut client = cgroup.enter(|| client.start())?;
        let _connection = listener.accept()?;
        client.wait_for_output("connected")?;
        client.expect(|s| s.peer_port() == listener.port(), want)?;
    }
    Ok(())
}

fn go_server() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    let mut server = cgroup.enter(|| Program::new(go()?).arg("listen").start())?;
    let port = server.until("its port", |server| {
        let said = String::from_utf8_lossy(&server.stdout()).into_owned();
        Ok(said.lines().find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok()))
    })?;
    let _client = TcpStream::connect(("127.0.0.1", port))?;
    server.wait_for_output("accepted")?;
    server.expect(|s| s.local_port() == port && !s.listening, ours())?;
    Ok(())
}

fn io_uring_connect() -> Result {
    let program = compile("cc", &source("uring.c"), &["-static"])?;
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    connects(&cgroup, &program)
}

/// A connection that a server has accepted on its port.
fn accepted(server: &mut Running, port: u16, want: Keepalive) -> Result {
    server.expect(|s| s.local_port() == port && !s.listening, want)?;
    Ok(())
}

/// Redis sets 300/100/3 on what it accepts, afterwards.
fn redis() -> Result {
    let cgroup = Cgroup::new()?;
    let mut redis = cgroup.enter(|| Redis::start(Preload::No))?;
    let connect = |redis: &Redis| -> Result<TcpStream> {
        let mut client = TcpStream::connect(("127.0.0.1", redis.port))?;
        client.write_all(b"PING\r\n")?;
        kashim_tests::read_line(&mut client)?;
        Ok(client)
    };
    attach(&cgroup, &VALUES)?;
    let client = connect(&redis)?;
    accepted(&mut redis.server, redis.port, Keepalive::new(300, 100, 3))?;
    drop(client);
    let port = redis.port;
    redis.server.until("the connection to end", |server| {
        Ok(server.sockets().iter().all(|s| s.listening || s.local_port() != port).then_some(()))
    })?;
    attach(&cgroup, &[&VALUES[..], &["--force"]].concat())?;
    let _client = connect(&redis)?;
    accepted(&mut redis.server, port, ours())
}

fn nginx() -> Result {
    let cgroup = Cgroup::new()?;
    let upstream = Listener::bind()?;
    let mut nginx = cgroup.enter(|| Nginx::start(upstream.port(), Preload::No))?;
    attach(&cgroup, &VALUES)?;
    let mut client = TcpStream::connect(("127.0.0.1", nginx.port))?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut behind = upstream.accept()?;
    read_request(&mut behind)?;
    accepted(&mut nginx.server, nginx.port, ours())?;
    nginx.server.expect(|s| s.peer_port() == upstream.port(), ours())?;
    Ok(())
}

fn postgres() -> Result {
    let cgroup = Cgroup::new()?;
    let data = PostgresData::install()?;
    let mut postgres: Postgres = cgroup.enter(|| data.start(Preload::No))?;
    attach(&cgroup, &VALUES)?;
    let mut session = postgres.psql().arg("-c").arg("select 'here', pg_sleep(99)").start()?;
    let port = postgres.port;
    // It switches keepalive on by itself and leaves the values to the system.
    accepted(&mut postgres.server, port, ours())?;
    if session.ended()?.is_some() { Err("the session ended".into()) } else { Ok(()) }
}

/// Nothing but the program is in the new root.
fn chroot() -> Result {
    let root = Scratch::new()?;
    let program = root.copy_program(&static_steps("cc")?, "steps")?;
    let name = Path::new("/").join(program.file_name().ok_or("no name")?);
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    let service = Program::new("chroot").arg(root.path()).arg(name);
    let service =
        service.args(["l=listener 127.0.0.1:0", "c=socket inet stream tcp", "connect c @l", "show c"]);
    let output = cgroup.enter(|| service.succeed())?;
    kashim_tests::ka_helpers::expect_in(&String::from_utf8(output)?, "show c: on 77/11/5")
}

/// A setuid program drops every preload.
fn setuid() -> Result {
    let files = Scratch::new()?;
    let program = files.copy_program(&static_steps("cc")?, "steps")?;
    Program::new("chmod").arg("4755").arg(&program).succeed()?;
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &VALUES)?;
    let service = Program::new(&program).user("nobody")?;
    let service =
        service.args(["l=listener 127.0.0.1:0", "c=socket inet stream tcp", "connect c @l", "show c"]);
    let output = cgroup.enter(|| service.succeed())?;
    kashim_tests::ka_helpers::expect_in(&String::from_utf8(output)?, "show c: on 77/11/5")
}

/// A static client waits for its dump longer than the firewall remembers its connection: one in the cgroup, one beside it.
fn dump() -> Result {
    let lab = Lab::new(Firewall::Nat, Duration::from_secs(6))?;
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &["--idle", "2", "--interval", "1", "--count", "5"])?;
    let program = compile("cc", &source("dump.c"), &["-static"])?;
    let listener = lab.listen()?;
    let client = || {
        let [address, port] = [SERVER.to_string(), listener.port().to_string()];
        Program::new(&program).args([address, port]).within(lab.client())
    };
    let mut inside = cgroup.enter(|| client().start())?;
    let mut its_end = listener.accept()?;
    let mut outside = client().start()?;
    let mut other_end = listener.accept()?;
    let port_of = |client: &mut Running| client.socket(|s| s.peer_port() == listener.port());
    let [served, forgotten] = [port_of(&mut inside)?.local_port(), port_of(&mut outside)?.local_port()];
    until_within(Duration::from_secs(30), "the firewall to forget", || {
        Ok((!lab.knows(forgotten)?).then_some(()))
    })?;
    if !lab.knows(served)? {
        return Err("the firewall has forgotten the connection in the cgroup".into());
    }
    let whole: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
    for end in [&mut its_end, &mut other_end] {
        // What the firewall drops is in the kernel's hands all the same.
        end.set_write_timeout(Some(Duration::from_secs(2)))?;
        let _ = end.write_all(&whole);
        let _ = end.shutdown(Shutdown::Write);
    }
    let output = inside.output()?.success()?;
    if output != whole {
        return Err(format!("{} bytes of {}", output.len(), whole.len()).into());
    }
    if outside.ended()?.is_some() || !outside.stdout().is_empty() {
        return Err("the one outside of the cgroup was served too".into());
    }
    Ok(())
}
