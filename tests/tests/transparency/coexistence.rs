//! Other things that a process may have in it, or around it: other preloaded libraries on either side of ours, sanitizers,
//! debuggers, filters. Whatever it is, it does with the library what it does without.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use super::guest::run_patiently;
use kashim_tests::shells;
use kashim_tests::{
    Failed, Keepalive, Listener, Need, Output, Preload, Program, Result, Running, Scratch, Steps, Trial,
    cargo, compile, each, find_library, find_program, fixture, library, log_file, read_line, read_request,
    trial, until, workspace,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Library, Program as Prog, Python, Root};
    const CC: Need = Prog("cc");
    const PYTHON: Need = Prog("python3");
    let mut trials = vec![
        trial!(counters, &[CC]),
        trial!(failing_options, &[CC]),
        trial!(one_failing_option, &[CC]),
        trial("every_failing_option_when_forced", &[CC], failing_options_when_forced),
        trial("libkeepalive", &[CC, Library(LIBKEEPALIVE)], || other_keepalive(LIBKEEPALIVE)),
        trial("libdontdie", &[CC, Library(LIBDONTDIE)], || other_keepalive(LIBDONTDIE)),
        trial!(proxychains, &[Prog("proxychains4"), PYTHON, Prog("wget")]),
        trial!(torsocks, &[Prog("torsocks"), PYTHON, Prog("wget")]),
        trial("address_sanitizer", &[CC], || sanitizer("address")),
        trial("thread_sanitizer", &[CC, Prog("setarch")], || sanitizer("thread")),
        trial("undefined_behaviour_sanitizer", &[CC], || sanitizer("undefined")),
        trial("memcheck", &[CC, Prog("valgrind")], || valgrind("memcheck")),
        trial("helgrind", &[CC, Prog("valgrind")], || valgrind("helgrind")),
        trial!(gdb_from_the_start, &[CC, Prog("gdb")]),
        trial!(
            gdb_attached,
            &[CC, Prog("gdb"), Need::Kernel("registers that this gdb can write", gdb_calls_functions)]
        ),
        trial!(strace_attached, &[CC, Prog("strace")]),
        trial!(chronyd, &[Prog("chronyd"), Prog("sh"), Root]),
    ];
    for other in OTHERS {
        let needs = [PYTHON, Python("ctypes"), Library(other.library)];
        trials.push(trial(other.name, &needs, || beside(other)));
    }
    for call in ["setsockopt", "getsockopt"] {
        for action in ["errno", "trap", "pretend"] {
            trials.push(trial(format!("filter_{call}_{action}"), &[CC], move || filtered(call, action)));
        }
    }
    trials
}

/// The environment, as NAME=VALUE, in which these libraries are preloaded, ours among them unless it is to be left out.
fn chain(preload: Preload, before: &[&Path], after: &[&Path]) -> Result<Vec<String>> {
    let ours = if preload == Preload::No { None } else { Some(library()?) };
    let all = before.iter().copied().chain(ours).chain(after.iter().copied());
    let all: Vec<_> = all.map(|path| path.display().to_string()).collect();
    let mut variables = preload.variables()?;
    variables.retain(|variable| !variable.starts_with("LD_PRELOAD="));
    variables.push(format!("LD_PRELOAD={}", all.join(":")));
    Ok(variables)
}

/// A program in such an environment.
fn in_chain(program: Program, preload: Preload, before: &[&Path], after: &[&Path]) -> Result<Program> {
    let mut program = program.preloads_others(preload);
    for variable in chain(preload, before, after)? {
        let (name, value) = variable.split_once('=').ok_or("not a variable")?;
        program = program.env(name, value);
    }
    Ok(program)
}

/// Runs a script in such an environment.
fn script_in_chain(preload: Preload, before: &[&Path], after: &[&Path], script: &str) -> Result<Output> {
    let env = ["env".to_owned()].into_iter().chain(chain(preload, before, after)?);
    Steps::new(preload, script)?.under(env).run().map_err(|error| {
        format!("{before:?}, ours, {after:?}: {}", error.message().unwrap_or_default()).into()
    })
}

/// One of our own preload libraries.
fn interposer(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let built = cargo("build", &["--locked", "--manifest-path", "tests/interposers/Cargo.toml"])?;
        Ok(built.join("debug"))
    });
    Ok(directory.as_deref().map_err(Clone::clone)?.join(format!("lib{name}.so")))
}

/// Whoever stands before ours sees the program's calls, and whoever stands behind it sees ours as well.
fn counters() -> Result {
    let (before, after) = (interposer("counts_before")?, interposer("counts_after")?);
    let (b, a) = (&*before, &*after);
    let plain = "socket 3, connect 3, accept 3, setsockopt 1, getsockopt 0";
    // Four options for each of four sockets, and the program's own; one look at the socket that was made here, and three
    // at each of the others.
    let more = "socket 3, connect 3, accept 3, setsockopt 17, getsockopt 10";
    let orders: [(&[&Path], &[&Path], &str, &str); 3] =
        [(&[b], &[a], plain, more), (&[], &[b, a], more, more), (&[b, a], &[], plain, plain)];
    for (before, after, counts_before, counts_after) in orders {
        let script = format!(
            "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l; b=accept4 99 0 -> -1 EBADF
             u=socket unix stream 0; connect u unix -> -1 EINVAL; x=socket packet 99 0 -> -1 EINVAL
             set c nodelay 1; r=rawsocket inet stream 0; connect r @l; b=accept4 l cloexec full
             counts before -> {plain} | {counts_before}; counts after -> {plain} | {counts_after}
             show c -> off | ours; show a -> off | ours; show r -> off | ours; show b -> off | ours"
        );
        for preload in [Preload::No, Preload::OURS] {
            script_in_chain(preload, before, after, &script)?;
        }
    }
    Ok(())
}

const FAILURES: [(&str, &str); 6] = [
    ("setsockopt", "EPERM"),
    ("setsockopt", "ENOBUFS"),
    ("setsockopt", "ENOPROTOOPT"),
    ("getsockopt", "EPERM"),
    ("getsockopt", "ENOBUFS"),
    ("getsockopt", "ENOPROTOOPT"),
];

/// A library in which options cannot be set, or not be read. Every connection is made all the same, and the program sees
/// the errors of its own calls alone.
fn failing_options() -> Result {
    each(&FAILURES, |(call, error)| {
        let set = if *call == "setsockopt" { format!("-1 {error}") } else { "0".to_owned() };
        // Where ours comes first: how many of its calls there are (without it there are the program's two), and what
        // becomes of a socket that it has made, and of one that came another way.
        let (calls, made, foreign) = match *call {
            // A try, of the first option alone, for each of the two that it makes, one for each of the five that are
            // connected, and three looks at each of those.
            "setsockopt" => ("setsockopt 9, getsockopt 15", "off", "off"),
            // All four for each of the two that it makes, and a look at each of the five that are connected.
            _ => ("setsockopt 10, getsockopt 5", "ours", "off"),
        };
        for (comes_first, calls, made, foreign) in
            [(true, calls, made, foreign), (false, "setsockopt 2, getsockopt 0", "ours", "ours")]
        {
            let script = format!(
                "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l full; set c nodelay 1 -> {set}
                 d=socket inet6 stream+cloexec tcp; connect d [::1]:1 -> -1 ECONNREFUSED
                 r=rawsocket inet stream 0; connect r @l; b=accept4 l nonblock
                 n=rawsocket inet stream+nonblock 0; connect n @l -> -1 EINPROGRESS
                 connect 99 @l -> -1 EBADF; e=accept 99 -> -1 EBADF; e=accept4 99 0 -> -1 EBADF
                 u=socket inet dgram 0; set u nodelay 1 -> {set_udp}
                 counts before -> {plain} | socket 3, connect 5, accept 4, {calls}
                 show c -> off | {made}; show d -> off | {made}; show r -> off | {foreign}; show n -> off | {foreign}
                 show a -> off | {foreign}; show b -> off | {foreign}; show u -> off, not TCP",
                plain = "socket 3, connect 5, accept 4, setsockopt 2, getsockopt 0",
                set_udp = if *call == "setsockopt" { &*set } else { "-1 ENOPROTOOPT" },
            );
            for preload in [Preload::No, Preload::OURS] {
                with_failure(&format!("{call} {error}"), preload, comes_first, &script)?;
            }
        }
        Ok(())
    })
}

/// Runs a script beside the library that fails, and one that counts what arrives there.
fn with_failure(failure: &str, preload: Preload, comes_first: bool, script: &str) -> Result {
    let (fails, counts) = (interposer("fails")?, interposer("counts_before")?);
    let others = [&*counts, &*fails];
    let (before, after): (&[&Path], &[&Path]) = if comes_first { (&[], &others) } else { (&others, &[]) };
    let env = ["env".to_owned(), format!("FAILS={failure}")];
    let env = env.into_iter().chain(chain(preload, before, after)?);
    let output = Steps::new(preload, script)?.under(env).run()?;
    if output.stderr.is_empty() { Ok(()) } else { Err(output.stderr.into()) }
}

const WITH_USER_TIMEOUT: Preload =
    Preload::With(&[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_USER_TIMEOUT", "9")]);

/// A library, or a system, that lacks one option. The others are set.
fn one_failing_option() -> Result {
    let cases = [
        // Without keepalive the rest would have no effect.
        ("keepalive", "off"),
        ("idle", "on 7200/11/5, user timeout 9000"),
        ("interval", "on 77/75/5, user timeout 9000"),
        ("count", "on 77/11/9, user timeout 9000"),
        ("timeout", "on 77/11/5"),
    ];
    each(&cases, |(option, shows)| {
        each(&["EPERM", "ENOBUFS", "ENOPROTOOPT"], |error| {
            let script = format!(
                "l=listener 127.0.0.1:0; c=socket inet stream 0; show c -> off | {shows}; connect c @l; show c -> off | {shows}
                 a=accept l; show a -> off | {shows}; r=rawsocket inet stream 0; connect r @l; show r -> off | {shows}
                 b=accept4 l 0; show b -> off | {shows}; set c {option} 3 -> -1 {error}; set c nodelay 1"
            );
            for preload in [Preload::No, WITH_USER_TIMEOUT] {
                with_failure(&format!("setsockopt {error} {option}"), preload, true, &script)?;
            }
            Ok(())
        })
    })
}

/// Where it cannot be found out what is in a socket, the program's settings stand; where nothing can be put back, so too.
fn failing_options_when_forced() -> Result {
    each(&FAILURES, |(call, error)| {
        let (set, shows) = match *call {
            "setsockopt" => (format!("-1 {error}"), "off 7200/75/9"),
            _ => ("0".to_owned(), "on 5/75/9 | on 5/11/5"),
        };
        let script = format!(
            "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1 -> {set}; set c idle 5 -> {set}
             set c idle 0 -> {bad}; connect c @l; a=accept l; show c -> {shows}",
            bad = if *call == "setsockopt" { &*set } else { "-1 EINVAL" },
        );
        for preload in [Preload::No, Preload::FORCED] {
            with_failure(&format!("{call} {error}"), preload, true, &script)?;
        }
        Ok(())
    })
}

const LIBKEEPALIVE: &str = "libkeepalive.so.0";
const LIBDONTDIE: &str = "libdontdie.so.0";

fn shared_library(name: &str) -> Result<PathBuf> {
    find_library(name).ok_or_else(|| format!("no {name}").into())
}

/// A library that does the same. What the first one in the chain says is the last word, unless ours is forced.
fn other_keepalive(name: &str) -> Result {
    let other = shared_library(name)?;
    let theirs = "on 33/44/3";
    let ours = "on 77/11/5";
    let runs: [(Preload, &[&Path], &[&Path], &str); 5] = [
        (Preload::No, &[&other], &[], theirs),
        (Preload::OURS, &[&other], &[], theirs),
        (Preload::OURS, &[], &[&other], ours),
        (Preload::FORCED, &[&other], &[], ours),
        (Preload::FORCED, &[], &[&other], ours),
    ];
    for (preload, before, after, shows) in runs {
        let script = format!(
            "l=listener 127.0.0.1:0; c=socket inet stream 0; show c -> {shows}; connect c @l; show c -> {shows}
             a=accept l; show a -> off | ours; n=socket inet6 stream+nonblock tcp; u=socket inet dgram 0
             show u -> off, not TCP; connect c @l -> -1 EISCONN"
        );
        let mut env = vec!["env".to_owned(), "KEEPALIVE=on".to_owned()];
        for (keepalive, dontdie, value) in
            [("KEEPIDLE", "TIME", 33), ("KEEPINTVL", "INTVL", 44), ("KEEPCNT", "PROBES", 3)]
        {
            env.extend([format!("{keepalive}={value}"), format!("DD_TCP_KEEPALIVE_{dontdie}={value}")]);
        }
        env.extend(chain(preload, before, after)?);
        Steps::new(preload, &script)?.under(env).run()?;
    }
    Ok(())
}

/// A file in `tests/fixtures/neighbours`.
fn neighbour(name: &str) -> PathBuf {
    workspace().join("tests/fixtures/neighbours").join(name)
}

/// A preload library that has nothing to do with sockets.
struct Other {
    name: &'static str,
    library: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// What a program says of its surroundings that has it.
    says: &'static str,
}

const OTHERS: &[Other] = &[
    Other {
        name: "libfaketime",
        library: "faketime/libfaketime.so.1",
        environment: &[("FAKETIME", "@2001-02-03 04:05:06"), ("TZ", "UTC")],
        says: "the year 2001\nfsync -1\n",
    },
    Other {
        name: "libfaketime_for_threads",
        library: "faketime/libfaketimeMT.so.1",
        environment: &[("FAKETIME", "@2001-02-03 04:05:06"), ("TZ", "UTC")],
        says: "the year 2001\nfsync -1\n",
    },
    Other { name: "eatmydata", library: "libeatmydata.so", environment: &[], says: "fsync 0\n" },
    Other { name: "jemalloc", library: "libjemalloc.so.2", environment: &[], says: "fsync -1\n" },
];

fn beside(other: &Other) -> Result {
    let theirs = shared_library(other.library)?;
    let orders: [(Preload, &[&Path], &[&Path], Keepalive); 3] = [
        (Preload::No, &[&theirs], &[], Keepalive::untouched()),
        (Preload::OURS, &[&theirs], &[], Preload::ours()),
        (Preload::OURS, &[], &[&theirs], Preload::ours()),
    ];
    for (preload, before, after, keepalive) in orders {
        let server = Listener::bind()?;
        let program = Program::new("python3").arg(neighbour("client.py")).arg(server.port().to_string());
        let mut program = in_chain(program, preload, before, after)?;
        for (name, value) in other.environment {
            program = program.env(name, value);
        }
        let mut program = program.stdin(Stdio::piped()).start()?;
        let mut connection = server.accept()?;
        if read_line(&mut connection)? != "hello" {
            return Err("it did not say hello".into());
        }
        connection.write_all(b"welcome\n")?;
        program.wait_for_output("welcome\n")?;
        program.expect(|socket| socket.peer_port() == server.port(), keepalive)?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", program.pid()))?;
        let real = fs::canonicalize(&theirs)?;
        if !maps.contains(&*real.to_string_lossy()) {
            return Err(format!("{} is not there:\n{maps}", theirs.display()).into());
        }
        let output = program.output()?;
        let stderr = output.stderr.clone();
        let said = String::from_utf8(output.success()?)?;
        if !said.ends_with(&format!("{}welcome\n", other.says)) || !stderr.is_empty() {
            return Err(format!("{preload:?}: {said:?}, {stderr:?}").into());
        }
    }
    Ok(())
}

/// A SOCKS server on loopback, and its port.
fn socks() -> Result<(Running, u16)> {
    let mut server = Program::new("python3").arg(neighbour("socks.py")).start()?;
    let said = server.wait_for_output("\n")?;
    let port = said.trim().strip_prefix("port ").and_then(|port| port.parse().ok());
    Ok((server, port.ok_or_else(|| format!("no port: {said:?}"))?))
}

/// A real client, by a proxy: it is the connection to the proxy that is kept alive, and the request arrives as it does
/// without the library.
fn by_proxy(client: Program, proxy: &(Running, u16), keepalive: Keepalive) -> Result {
    // The name is one that only the proxy can know.
    let server = Listener::bind()?;
    let mut client = client.arg(format!("http://db.example:{}/", server.port())).start()?;
    let mut connection = server.accept()?;
    let request = read_request(&mut connection)?;
    client.expect(|socket| socket.peer_port() == proxy.1, keepalive)?;
    connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nwelcome\n")?;
    drop(connection);
    let output = client.output()?;
    let stderr = output.stderr.clone();
    let said = String::from_utf8(output.success()?)?;
    if !request.contains("Host: db.example") || said != "welcome\n" || !stderr.is_empty() {
        return Err(format!("{request:?}, {said:?}, {stderr:?}").into());
    }
    Ok(())
}

const WGET: [&str; 4] = ["wget", "-q", "--tries=1", "-O-"];

fn wget() -> Program {
    Program::new(WGET[0]).args(&WGET[1..])
}

fn proxychains() -> Result {
    let proxy = socks()?;
    let scratch = Scratch::new()?;
    let configuration =
        format!("strict_chain\nquiet_mode\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 {}\n", proxy.1);
    let configuration = scratch.write("proxychains.conf", configuration)?;
    // Its own program puts its library first.
    let wrapped = || Program::new("proxychains4").args(["-q", "-f"]).arg(&configuration).args(WGET);
    by_proxy(wrapped(), &proxy, Keepalive::untouched())?;
    by_proxy(wrapped().preload(Preload::OURS), &proxy, Preload::ours())?;
    let theirs = shared_library("libproxychains.so.4")?;
    let client = in_chain(wget(), Preload::OURS, &[], &[&theirs])?
        .env("PROXYCHAINS_CONF_FILE", &configuration)
        .env("PROXYCHAINS_QUIET_MODE", "1");
    by_proxy(client, &proxy, Preload::ours())
}

fn torsocks() -> Result {
    let proxy = socks()?;
    let port = proxy.1.to_string();
    // Its own program puts its library first, and that calls the C library past everything that stands behind it.
    let wrapped = || Program::new("torsocks").args(["-a", "127.0.0.1", "-P", &port]).args(WGET);
    by_proxy(wrapped(), &proxy, Keepalive::untouched())?;
    by_proxy(wrapped().preload(Preload::OURS), &proxy, Keepalive::untouched())?;
    // Before it, the library does its work: that is what `torsocks ka-run wget` comes to.
    let theirs = shared_library("torsocks/libtorsocks.so")?;
    let client = in_chain(wget(), Preload::OURS, &[], &[&theirs])?.env("TORSOCKS_TOR_PORT", &port);
    by_proxy(client, &proxy, Preload::ours())
}

/// A program that was built with a sanitizer, under ka-run, which keeps its runtime first.
fn sanitizer(kind: &str) -> Result {
    let flags = ["-g", "-pthread", &format!("-fsanitize={kind}")];
    let steps = compile("cc", &fixture("steps.c"), &flags)?;
    let threads = compile("cc", &neighbour("threads.c"), &flags)?;
    // Its map of the memory does not bear every layout of the address space.
    let setarch = (kind == "thread").then(|| vec!["setarch".to_owned(), "--addr-no-randomize".to_owned()]);
    let before = |preload: Preload| -> Result<Vec<String>> {
        let mut words = setarch.clone().unwrap_or_default();
        if preload != Preload::No {
            words.extend(["env".to_owned()]);
            words.extend(preload.variables()?.into_iter().filter(|v| !v.starts_with("LD_PRELOAD=")));
            words.push(shells::ka_run()?.display().to_string());
        }
        Ok(if words.is_empty() { vec!["env".to_owned()] } else { words })
    };
    for preload in [Preload::No, Preload::OURS, Preload::FORCED] {
        let script = "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l full; set c nodelay 1
            r=rawsocket inet stream 0; connect r @l; b=accept4 l cloexec+nonblock full; show c -> off | ours
            show a -> off | ours; show r -> off | ours; show b -> off | ours; u=socket inet dgram 0
            connect u 127.0.0.1:9; show u -> off, not TCP; d=socket inet6 stream 0; connect d [::1]:1 -> -1 ECONNREFUSED
            p=socket unix stream 0; connect p unix -> -1 EINVAL; e=accept 99 -> -1 EBADF";
        let output = Steps::new(preload, script)?.under(before(preload)?).program(&steps).run()?;
        silent(&output)?;
        let words = before(preload)?;
        let program = Program::new(&words[0])
            .args(&words[1..])
            .arg(&threads)
            .args(threads_and_connections(["8", "100"]));
        let output = program.preloads_others(preload).run()?;
        silent(&output)?;
        alike("what the threads found", b"0 failures\n", &output.success()?)?;
    }
    Ok(())
}

/// How many there are, of each; more where the tests may take their time.
fn threads_and_connections(usual: [&'static str; 2]) -> [&'static str; 2] {
    if env::var_os("KASHIM_TESTS_LONG").is_some() { ["64", "200"] } else { usual }
}

/// Nothing was written to standard error: no report of any tool.
fn silent(output: &Output) -> Result {
    if output.stderr.is_empty() { Ok(()) } else { Err(output.stderr.clone().into()) }
}

fn alike(what: &str, without: &[u8], with: &[u8]) -> Result {
    if without == with {
        return Ok(());
    }
    let [without, with] = [without, with].map(String::from_utf8_lossy);
    Err(format!("{what}: without the library\n{without}\nwith it\n{with}").into())
}

/// What a tool of valgrind's reports: every line but those that name a place in the code, and no numbers of processes and
/// ports.
fn valgrind_report(log: &str) -> String {
    let mut report = String::new();
    for line in log.lines() {
        let line = line
            .trim_start_matches('=')
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start_matches('=');
        let line = line.trim();
        if line.starts_with("at 0x") || line.starts_with("by 0x") || line.contains("valgrind.log") {
            continue;
        }
        // The port after an address.
        let is_host = |(host, _): &(&str, &str)| host.contains('.') || host.ends_with(']');
        let without_port = |word| str::rsplit_once(word, ':').filter(is_host).map_or(word, |(host, _)| host);
        let words: Vec<_> = line.split(' ').map(without_port).collect();
        report += &words.join(" ");
        report.push('\n');
    }
    report
}

fn valgrind(tool: &str) -> Result {
    let scratch = Scratch::new()?;
    let log = scratch.join("valgrind.log");
    let valgrind = |preload: Preload| -> Result<Vec<String>> {
        let mut words = vec!["env".to_owned()];
        words.extend(preload.variables()?);
        // The children in which the log is written are no part of the program.
        // No exit status tells of errors: since 3.23 descriptors that are left open are some. The reports are compared.
        let quiet = ["valgrind", "--quiet", "--child-silent-after-fork=yes"];
        words.extend(quiet.map(str::to_owned));
        words.extend([format!("--tool={tool}"), format!("--log-file={}", log.display())]);
        if tool == "memcheck" {
            let more =
                ["--leak-check=full", "--show-leak-kinds=all", "--track-fds=yes", "--track-origins=yes"];
            words.extend(more.map(str::to_owned));
        }
        Ok(words)
    };
    let threads = compile("cc", &neighbour("threads.c"), &["-g", "-pthread"])?;
    // Where the log is a file, valgrind makes a copy of itself for each line, at the end of which memcheck looks for leaks.
    let connections = if tool == "memcheck" { "2" } else { "20" };
    let mut reports = Vec::new();
    for preload in [Preload::No, with_rules()] {
        let script =
            "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l full; set c keepalive 1
            r=rawsocket inet stream 0; connect r @l; b=accept4 l cloexec+nonblock full; set r idle 30
            d=socket inet6 stream 0; connect d [::1]:1 -> -1 ECONNREFUSED; e=accept 99 -> -1 EBADF
            connect c null -> -1 EFAULT; u=socket inet dgram 0; connect u 127.0.0.1:9";
        Steps::new(preload, script)?.under(valgrind(preload)?).run()?;
        let mut report = valgrind_report(&fs::read_to_string(&log)?);
        let words = valgrind(preload)?;
        let program = Program::new(&words[0])
            .args(&words[1..])
            .arg(&threads)
            .args(threads_and_connections(["8", connections]));
        let said = run_patiently(program.preloads_others(preload))?.success()?;
        alike("what the threads found", b"0 failures\n", &said)?;
        report += &valgrind_report(&fs::read_to_string(&log)?);
        reports.push(report);
    }
    alike("the reports", reports[0].as_bytes(), reports[1].as_bytes())
}

/// A bad value, and everything that costs the library work.
fn with_rules() -> Preload {
    static SETTINGS: OnceLock<[(&str, &str); 5]> = OnceLock::new();
    let rules = "127.0.0.2 idle=3; [::1] off; 127.0.0.1 idle=30 user-timeout=auto; nonsense";
    Preload::With(SETTINGS.get_or_init(|| {
        [
            ("KA_IDLE", "77"),
            ("KA_INTERVAL", "eleven"),
            ("KA_FORCE", "1"),
            ("KA_RULES", rules),
            ("KA_LOG", log_file()),
        ]
    }))
}

/// gdb in batch mode, with nobody's own settings.
fn gdb() -> Program {
    Program::new("gdb").args([
        "-nx",
        "-quiet",
        "-batch",
        "-ex",
        "set pagination off",
        "-ex",
        "set confirm off",
    ])
}

/// Breakpoints in our functions and behind them, looks at the stack, single steps.
fn gdb_from_the_start() -> Result {
    const SCRIPT: [&str; 7] = [
        "l=listener 127.0.0.1:0",
        "c=socket inet stream 0",
        "connect c @l",
        "a=accept l full",
        "connect 99 @l",
        "e=accept 99",
        "show c",
    ];
    let steps = compile("cc", &fixture("steps.c"), &["-pthread"])?;
    let mut results = Vec::new();
    for preload in [Preload::No, Preload::OURS] {
        let mut wrapper = "set exec-wrapper env".to_owned();
        for variable in preload.variables()? {
            wrapper += &format!(" '{variable}'");
        }
        let output = gdb()
            .args(["-ex", &wrapper, "-ex", "set breakpoint pending on", "-ex", "break connect", "-ex", "run"])
            .args(["-ex", "backtrace", "-ex", "stepi 400", "-ex", "delete", "-ex", "break accept"])
            .args([
                "-ex",
                "continue",
                "-ex",
                "backtrace",
                "-ex",
                "finish",
                "-ex",
                "delete",
                "-ex",
                "continue",
            ])
            .arg("--args")
            .arg(&steps)
            .args(SCRIPT)
            .run()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let ended = said.contains("exited normally");
        // Both stacks go down to the bottom.
        let stacks = said.lines().filter(|line| line.starts_with('#') && line.contains(" in main (")).count();
        if !ended || stacks != 2 || said.contains("libkashim.so") != (preload != Preload::No) {
            return Err(format!("{said}\n{}", output.stderr).into());
        }
        let is_result = |line: &&str| SCRIPT.iter().any(|step| line.starts_with(&format!("{step}: ")));
        results.push(said.lines().filter(is_result).map(|line| format!("{line}\n")).collect::<String>());
    }
    let untouched = format!("show c: {:?}\n", Keepalive::untouched());
    let ours = format!("show c: {:?}\n", Preload::ours());
    if !results[1].ends_with(&ours) {
        return Err(results[1].clone().into());
    }
    alike("the results", results[0].as_bytes(), results[1].replace(&ours, &untouched).as_bytes())
}

/// A program that has stopped to be looked at, and what it says after that.
fn looked_at(preload: Preload, look: impl Fn(&mut Running) -> Result) -> Result {
    let script =
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | ours; hold -> 1
        a=accept l full; d=socket inet stream 0; connect d @l; show d -> off | ours; show a -> off | ours
        e=accept 99 -> -1 EBADF";
    let mut program = Steps::new(preload, script)?.command()?.stdin(Stdio::piped()).start()?;
    program.wait_for_output("show c: ")?;
    look(&mut program)?;
    let output = program.output()?;
    let said = String::from_utf8(output.success()?)?;
    let shows = if preload == Preload::No { Keepalive::untouched() } else { Preload::ours() };
    for step in ["show c", "show d", "show a"] {
        if !said.contains(&format!("{step}: {shows:?}\n")) {
            return Err(said.into());
        }
    }
    if said.ends_with("e=accept 99: -1 EBADF\n") { Ok(()) } else { Err(said.into()) }
}

/// Whether gdb can call a function in a process that has nothing to do with the library: some versions cannot write
/// the registers of a processor that is newer than they are.
fn gdb_calls_functions() -> bool {
    let call = || -> Result<bool> {
        let sleeper = Program::new("sleep").arg("60").start()?;
        let output = gdb()
            .args(["-p", &sleeper.pid().to_string(), "-ex", "print ((int (*)(void)) getpid)()"])
            .succeed()?;
        Ok(String::from_utf8_lossy(&output).contains(&format!("$1 = {}\n", sleeper.pid())))
    };
    call().unwrap_or(false)
}

/// Attached, gdb calls a function in the process.
fn gdb_attached() -> Result {
    for (preload, keepalive) in [(Preload::No, Keepalive::untouched()), (Preload::OURS, Preload::ours())] {
        looked_at(preload, |program| {
            let output = gdb()
                .args(["-p", &program.pid().to_string(), "-ex", "backtrace"])
                // Not the first of that name that gdb knows, but the one that the program would call.
                .args(["-ex", "set $socket = ((long (*)(long, const char *)) dlsym)(0, \"socket\")"])
                .args(["-ex", "print ((int (*)(int, int, int)) $socket)(2, 1, 0)", "-ex", "detach"])
                .succeed()?;
            let output = String::from_utf8_lossy(&output).into_owned();
            let fd = output.lines().find_map(|line| line.strip_prefix("$1 = ")?.parse::<i32>().ok());
            let fd = fd.ok_or_else(|| Failed::from(&output))?;
            program.expect(|socket| socket.fd == fd, keepalive)?;
            program.write("\n")
        })?;
    }
    Ok(())
}

/// strace attaches, and sees calls that succeed.
fn strace_attached() -> Result {
    for preload in [Preload::No, Preload::OURS] {
        let scratch = Scratch::new()?;
        let log = scratch.join("strace");
        looked_at(preload, |program| {
            let pid = program.pid().to_string();
            let mut strace = Program::new("strace")
                .args(["-f", "-p", &pid, "-o"])
                .arg(&log)
                .args(["-e", "trace=network"])
                .start()?;
            let status = format!("/proc/{pid}/status");
            until("strace to attach", || {
                Ok((!fs::read_to_string(&status)?.contains("TracerPid:\t0\n")).then_some(()))
            })?;
            program.write("\n")?;
            strace.wait()?;
            let log = fs::read_to_string(&log)?;
            let ours = log.contains("setsockopt(");
            if log.contains("accept(") && ours == (preload != Preload::No) { Ok(()) } else { Err(log.into()) }
        })?;
    }
    Ok(())
}

/// A program with a seccomp filter of its own. It keeps its connections, and its handler sees the program's own calls as it
/// does without the library, and besides the library's.
fn filtered(call: &str, action: &str) -> Result {
    let filter = compile("cc", &neighbour("filter.c"), &[])?;
    let mut said = Vec::new();
    for preload in [Preload::No, Preload::OURS] {
        let mut program =
            Program::new(&filter).args([call, action]).preload(preload).stdin(Stdio::piped()).start()?;
        let output = program.wait_for_output(" ready\n")?;
        let fd = output.lines().find_map(|line| line.strip_prefix("socket ")?.parse().ok());
        let fd: i32 = fd.ok_or("no socket")?;
        // Where options can be set, but not be read, the library knows what it has made itself.
        let works = preload != Preload::No && call == "getsockopt";
        program.expect(|s| s.fd == fd, if works { Preload::ours() } else { Keepalive::untouched() })?;
        let output = program.output()?;
        silent(&output)?;
        said.push(String::from_utf8(output.success()?)?);
    }
    // SOL_SOCKET with SO_KEEPALIVE, and IPPROTO_TCP with what TCP has for it.
    let ours = [" level 1 name 9", " level 6 name 4", " level 6 name 5", " level 6 name 6"];
    let is_ours =
        |line: &&str| line.starts_with("trapped ") && ours.iter().any(|option| line.ends_with(option));
    let (library, program): (Vec<&str>, Vec<&str>) = said[1].lines().partition(is_ours);
    let program: String = program.iter().map(|line| format!("{line}\n")).collect();
    alike("what the program saw", said[0].as_bytes(), program.as_bytes())?;
    // Where a call fails, the library tries the first option alone, for each TCP socket once.
    let calls: Vec<_> = library.iter().filter_map(|line| line.split(" fd ").nth(1)).collect();
    let want: &[&str] = match (call, action) {
        (_, "errno") => &[],
        ("setsockopt", "trap") => &[
            "4 level 1 name 9",
            "4 level 1 name 9",
            "5 level 1 name 9",
            "6 level 1 name 9",
            "7 level 1 name 9",
        ],
        // And for the first one when it is made.
        ("getsockopt", "trap") => &[
            "4 level 6 name 4",
            "4 level 6 name 4",
            "5 level 6 name 4",
            "6 level 6 name 4",
            "7 level 6 name 4",
        ],
        _ => return if calls.len() > 4 { Ok(()) } else { Err(format!("only {calls:?}").into()) },
    };
    if calls == want { Ok(()) } else { Err(format!("the library's calls are {calls:?}").into()) }
}

/// Debian's chronyd kills itself, by its own filter, at a `setsockopt` for keepalive. It is in the list of programs to leave
/// alone, so a profile that preloads the library into everything does not harm it.
fn chronyd() -> Result {
    let scratch = Scratch::new()?;
    let profile = fs::read_to_string(shells::script("kashim-profile.sh"))?
        .replace("/usr/local/lib/libkashim.so", &library()?.to_string_lossy());
    let profile = scratch.write("profile.sh", profile)?;
    let original = find_program("chronyd").ok_or("no chronyd")?;
    let renamed = scratch.copy_program(&original, "clockd")?;
    for (path, preload, skip, lives) in [
        (&original, Preload::No, "", true),
        (&original, LOADED, "", true),
        (&renamed, Preload::No, "", true),
        (&renamed, LOADED, "clockd", true),
        // This is why.
        (&renamed, LOADED, "", false),
    ] {
        let server = Listener::bind()?;
        let read =
            if preload == Preload::No { String::new() } else { format!(". '{}'; ", profile.display()) };
        // It only looks at the clock, asks nobody but us, first of all by TCP, and listens to nobody.
        let mut program = Program::new("sh")
            .arg("-c")
            .arg(format!("{read}exec \"$@\""))
            .arg("sh")
            .arg(path)
            .args(["-F", "1", "-x", "-Q", "-t", "20"])
            .arg(format!("server 127.0.0.1 port 9 iburst nts ntsport {}", server.port()))
            .args(["cmdport 0", "bindcmdaddress /"])
            .arg(format!("pidfile {}", scratch.join("pid").display()))
            .env("KA_SKIP", skip)
            .preloads_others(preload)
            .start()?;
        if !lives {
            let status = program.wait()?;
            if status.signal() != Some(31) {
                return Err(format!("not killed by its filter: {status}").into());
            }
            continue;
        }
        let connection = server
            .accept()
            .map_err(|error| format!("{}: {}", error.message().unwrap_or_default(), program.stderr()))?;
        program.expect(|socket| socket.peer_port() == server.port(), Keepalive::untouched())?;
        let status = fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
        if !status.contains("Seccomp:\t2\n") {
            return Err("it has no filter".into());
        }
        // It notices, and goes on.
        drop(connection);
        program.until("its own report", |program| {
            let said = [String::from_utf8_lossy(&program.stdout()).into_owned(), program.stderr()].concat();
            Ok(said.contains("TLS handshake with 127.0.0.1").then_some(()))
        })?;
    }
    Ok(())
}

/// With it, and no settings.
const LOADED: Preload = Preload::With(&[]);
