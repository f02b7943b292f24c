//! `ka probe`, in the firewall lab against timeouts that are known, and against servers of every temper.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use kashim_tests::lab::{Delay, Firewall, Lab};
use kashim_tests::{
    Need, Output, Preload, Program, Result, Running, Trial, dynamic_ka, each, free_port, ka, trial, workspace,
};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    // The longest first.
    for timeout in [8, 5, 3] {
        for firewall in Firewall::ALL {
            let name = format!("bracket_{}_{timeout}", firewall.name());
            trials.push(trial(name, &Lab::NEEDS, move || bracket(firewall, timeout)));
        }
    }
    for (name, impairment) in IMPAIRMENTS {
        trials.push(trial(name, &Lab::NEEDS, move || impaired(impairment)));
    }
    trials.extend([
        trial("a_short_blackout", &Lab::NEEDS, || blackout(Duration::from_millis(2100))),
        trial("a_long_blackout", &Lab::NEEDS, || blackout(Duration::from_millis(5500))),
        trial!(lost_probes_are_not_the_end, &Lab::NEEDS),
        trial!(a_wide_bracket_is_narrowed, &Lab::NEEDS),
        trial!(unreachable, &Lab::NEEDS),
        trial!(a_proxy_that_answers_everything, &Lab::NEEDS),
        trial!(a_path_without_probes, &Lab::NEEDS),
        trial!(preloaded_with_force, &Lab::NEEDS),
        trial!(interrupted_while_narrowing_down, &Lab::NEEDS),
    ]);
    trials.extend(outside());
    trials
}

fn outside() -> Vec<Trial> {
    vec![
        trial!(no_limit),
        trial!(the_json_is_described),
        trial("no_limit_as_a_user", &[Need::Root], || no_limit_by(|ka| ka.user("nobody"))),
        trial!(ipv6),
        trial!(refused),
        trial!(closed_by_the_server),
        trial!(closed_with_a_goodbye),
        trial!(reset_by_the_server),
        trial!(a_server_that_keeps_talking),
        trial!(interrupted),
        trial!(progress_on_a_terminal_only, &[Need::Program("script")]),
        trial!(bad_command_lines),
    ]
}

/// They mostly wait.
pub const AT_ONCE: usize = 16;
/// A measurement has several rounds, each as long as the limit.
const LONG: Duration = Duration::from_secs(180);
/// How many measure the same path side by side.
const TIMES: usize = 10;

/// `ka probe TARGET`.
fn probe(target: &str) -> Result<Program> {
    Ok(Program::new(ka()?).args(["probe", target]))
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), output.stderr).into()
    })
}

/// Runs it to its end, which must be with this status, and returns its document.
fn document(program: Program, status: i32) -> Result<Value> {
    let output = program.arg("--json").start()?.output_within(LONG)?;
    let document = json(&output)?;
    match output.status.code() {
        Some(code) if code == status => Ok(document),
        _ => Err(format!("{}: {document:#}{}", output.status, output.stderr).into()),
    }
}

fn expect(document: &Value, fields: &[(&str, Value)]) -> Result {
    for (name, want) in fields {
        if document[name] != *want {
            return Err(format!("{name} is not {want}: {document:#}").into());
        }
    }
    Ok(())
}

fn number(document: &Value, name: &str) -> Result<f64> {
    document[name].as_f64().ok_or_else(|| format!("no number {name}: {document:#}").into())
}

/// What a server does with each connection.
#[derive(Clone, Copy, Debug)]
enum Temper {
    Silent,
    ClosesAfter(Duration),
    SaysGoodbyeAfter(Duration),
    ResetsAfter(Duration),
    TalksEvery(Duration),
}

/// A server in the test. It is gone when it is dropped.
struct Server {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(temper: Temper) -> Result<Self> {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, temper)
    }

    fn on(listener: TcpListener, temper: Temper) -> Result<Self> {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut connections: Vec<(Instant, TcpStream)> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                while let Ok((connection, _)) = listener.accept() {
                    let _ = connection.set_nonblocking(true);
                    connections.push((Instant::now(), connection));
                }
                connections.retain_mut(|(since, connection)| serve(temper, since, connection));
                sleep(Duration::from_millis(5));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }

    fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Does what is due, and tells whether the connection stays open.
fn serve(temper: Temper, since: &mut Instant, connection: &mut TcpStream) -> bool {
    if matches!(connection.read(&mut [0; 64]), Ok(0)) {
        return false;
    }
    let passed = since.elapsed();
    match temper {
        Temper::ClosesAfter(time) if passed > time => false,
        Temper::SaysGoodbyeAfter(time) if passed > time => {
            let _ = connection.write_all(b"too slow\n");
            sleep(Duration::from_millis(50));
            let _ = connection.shutdown(Shutdown::Both);
            false
        }
        Temper::ResetsAfter(time) if passed > time => {
            let _ = set_socket_linger(&connection, Some(Duration::ZERO));
            false
        }
        Temper::TalksEvery(time) if passed > time => {
            *since = Instant::now();
            connection.write_all(b"still there\n").is_ok()
        }
        _ => true,
    }
}

/// Ten measurements of a path whose timeout is known: each has the truth between its two ends, and they are close.
fn bracket(firewall: Firewall, timeout: u64) -> Result {
    let lab = Lab::new(firewall, Duration::from_secs(timeout))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("{}:{}", kashim_tests::lab::SERVER, server.port);
    let max = (timeout * 5 / 2).to_string();
    let start = || probe(&target)?.args(["--json", "--max", &max]).within(lab.client()).start();
    let runs = (0..TIMES).map(|_| start()).collect::<Result<Vec<Running>>>()?;
    let how = if firewall == Firewall::Reset { "reset" } else { "dropped" };
    let truth = timeout as f64;
    let outputs = runs.into_iter().map(|run| run.output_within(LONG)).collect::<Result<Vec<Output>>>()?;
    each(&outputs, |output| {
        let document = json(output)?;
        expect(&document, &[("finding", how.into()), ("steady", true.into()), ("proxy", false.into())])?;
        let (alive, gone) = (number(&document, "alive_s")?, number(&document, "gone_s")?);
        if !(alive <= truth && truth <= gone) || gone - alive > 0.2 * truth {
            return Err(format!("{truth} s, but between {alive} s and {gone} s").into());
        }
        // The advice keeps to the formula.
        let (idle, interval) = (number(&document["set"], "idle_s")?, number(&document["set"], "interval_s")?);
        if timeout >= 8 && idle.max(interval) + 2.0 * interval > alive / 2.0 {
            return Err(format!("{idle}/{interval} for {alive} s").into());
        }
        if output.status.success() { Ok(()) } else { Err(output.status.to_string().into()) }
    })
}

/// What a path does to packets: loses so many of a hundred, or delays them, in each direction.
#[derive(Clone, Copy)]
enum Impairment {
    Loss(u32),
    Delay { ms: u64, jitter_ms: u64 },
}

const IMPAIRMENTS: [(&str, Impairment); 6] = [
    ("loss_1", Impairment::Loss(1)),
    ("loss_5", Impairment::Loss(5)),
    ("loss_20", Impairment::Loss(20)),
    ("delay_100", Impairment::Delay { ms: 100, jitter_ms: 0 }),
    ("delay_300", Impairment::Delay { ms: 300, jitter_ms: 0 }),
    ("jitter", Impairment::Delay { ms: 50, jitter_ms: 150 }),
];

/// Thirty measurements of an impaired path: each has the truth between its two ends, or says that it cannot tell.
fn impaired(impairment: Impairment) -> Result {
    const RUNS: usize = 30;
    const LIMIT: f64 = 4.0;
    let lab = Lab::new(Firewall::Drop, Duration::from_secs_f64(LIMIT))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let _delay = match impairment {
        Impairment::Loss(percent) => {
            lab.lose(percent)?;
            None
        }
        Impairment::Delay { ms, jitter_ms } => {
            Some(Delay::start(&lab, Duration::from_millis(ms), Duration::from_millis(jitter_ms))?)
        }
    };
    let target = format!("{}:{}", kashim_tests::lab::SERVER, server.port);
    let start = || probe(&target)?.args(["--json", "--max", "10"]).within(lab.client()).start();
    let runs = (0..RUNS).map(|_| start()).collect::<Result<Vec<Running>>>()?;
    let outputs = runs.into_iter().map(|run| run.output_within(LONG)).collect::<Result<Vec<Output>>>()?;
    if matches!(impairment, Impairment::Loss(_)) && lab.lost()? == 0 {
        return Err("nothing was lost".into());
    }
    let told = outputs.iter().filter(|output| output.status.success()).count();
    println!("{told} of {RUNS} told");
    each(&outputs, |output| {
        let document = json(output)?;
        if output.status.code() == Some(3) {
            let open = document["certain"] == false
                || ["unknown", "unreachable"].iter().any(|&finding| document["finding"] == finding);
            let advice = !document["set"].is_null();
            return if open && !advice { Ok(()) } else { Err(format!("{document:#}").into()) };
        }
        expect(&document, &[("finding", "dropped".into()), ("certain", true.into())])?;
        let (alive, gone) = (number(&document, "alive_s")?, number(&document, "gone_s")?);
        let is_true = output.status.success() && alive <= LIMIT && LIMIT <= gone;
        if is_true { Ok(()) } else { Err(format!("{}: {document:#}", output.status).into()) }
    })?;
    // To find out nothing is no way out.
    if told >= RUNS / 2 { Ok(()) } else { Err(format!("only {told} of {RUNS} told").into()) }
}

/// For a while around the time at which the longest silence is over, nothing from the client arrives. The box forgets
/// after a second more, and so the connection is lost; but there is no limit up to that silence.
fn blackout(duration: Duration) -> Result {
    const LONGEST: Duration = Duration::from_secs(9);
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(10))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("{}:{}", kashim_tests::lab::SERVER, server.port);
    let arguments = ["--json", "--max", "9", "--connections", "2"];
    let begin = Instant::now();
    let running = probe(&target)?.args(arguments).within(lab.client()).start()?;
    // A second passes until the first probe.
    let until = LONGEST + Duration::from_secs(1) - Duration::from_millis(700);
    sleep(until.saturating_sub(begin.elapsed()));
    lab.cut_client_for(duration)?;
    let output = running.output_within(LONG)?;
    let document = json(&output)?;
    if lab.lost()? == 0 {
        return Err(format!("the blackout met nothing: {document:#}").into());
    }
    expect(&document, &[("finding", "never".into()), ("gone_s", Value::Null)])?;
    if duration > Duration::from_secs(5) {
        expect(&document, &[("steady", false.into())])?;
    }
    if output.status.success() { Ok(()) } else { Err(output.status.to_string().into()) }
}

/// The probes that ask at first after each silence are lost, and no later one.
fn lost_probes_are_not_the_end() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(60))?;
    lab.router().enter(|| Ok(fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1")?))?;
    // Those of the client before: SYN, ACK, and the probe that begins.
    lab.nft(
        "add chain inet firewall early { type filter hook forward priority -10; }
         add rule inet firewall early iifname client ct original packets 4-7 counter name lost drop",
    )?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("10.77.2.2:{}", server.port);
    let program = probe(&target)?.args(["--max", "3", "--connections", "3"]).within(lab.client());
    let document = document(program, 0)?;
    expect(&document, &[("finding", "never".into()), ("steady", true.into())])?;
    let observations = document["observations"].as_array().ok_or("no observations")?;
    let all = observations.iter().all(|seen| {
        let times = (seen["at_least_s"].as_f64(), seen["at_most_s"].as_f64());
        // The next probe goes out a second after the first.
        matches!(times, (Some(least), Some(most)) if most - least > 0.9)
    });
    if all && observations.len() == 3 { Ok(()) } else { Err(format!("{document:#}").into()) }
}

/// However long the longest silence is that may be tried, and so how far apart those of the first round are.
fn a_wide_bracket_is_narrowed() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(9))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("10.77.2.2:{}", server.port);
    let program = probe(&target)?.args(["--max", "2h", "--connections", "10"]).within(lab.client());
    let document = document(program, 0)?;
    let (alive, gone) = (number(&document, "alive_s")?, number(&document, "gone_s")?);
    let (idle, interval) = (number(&document["set"], "idle_s")?, number(&document["set"], "interval_s")?);
    let is_close = alive <= 9.0 && 9.0 <= gone && gone - alive <= 1.2;
    if is_close && idle.max(interval) + 2.0 * interval <= alive / 2.0 {
        return Ok(());
    }
    Err(document.to_string().into())
}

fn listener_at(lab: &Lab) -> Result<TcpListener> {
    lab.server().enter(|| Ok(TcpListener::bind((kashim_tests::lab::SERVER, 0))?))
}

/// The router has no way to this host, and says so; to that one it has one, but nobody answers.
fn unreachable() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(60))?;
    for (target, words) in [("10.99.0.1:5000", "unreachable"), ("10.77.2.9:5000", "")] {
        let begin = Instant::now();
        let output = probe(target)?.arg("--json").within(lab.client()).run()?;
        expect(&json(&output)?, &[("finding", "unreachable".into()), ("address", Value::Null)])?;
        let told = output.stderr.contains(target) && output.stderr.contains(words);
        if !told || output.status.code() != Some(3) || begin.elapsed() > Duration::from_secs(13) {
            return Err(format!("{target}: {}: {}", output.status, output.stderr).into());
        }
    }
    Ok(())
}

/// The router accepts every connection itself.
fn a_proxy_that_answers_everything() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(2))?;
    let proxy = lab.router().enter(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let proxy = Server::on(proxy, Temper::Silent)?;
    lab.nft(&format!(
        "add chain inet firewall proxy {{ type nat hook prerouting priority dstnat; }}
         add rule inet firewall proxy iifname client meta l4proto tcp redirect to :{}
         insert rule inet firewall input iifname client accept",
        proxy.port
    ))?;
    // It answers whatever the firewall does behind it (where nobody listens), because it need not ask it. Between the
    // client and the proxy, nothing is forgotten.
    lab.router()
        .enter(|| Ok(fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "600")?))?;
    let document = document(probe("10.77.2.2:5000")?.args(["--max", "5"]).within(lab.client()), 0)?;
    expect(&document, &[("finding", "never".into()), ("proxy", true.into()), ("max_s", Value::from(5.0))])
}

/// A path that lets connections be made, and data through, but not a third packet without any.
fn a_path_without_probes() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(60))?;
    lab.router().enter(|| Ok(fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", "1")?))?;
    lab.nft(
        "add chain inet firewall early { type filter hook forward priority -10; }
         add rule inet firewall early iifname client ct original packets > 2 drop",
    )?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("10.77.2.2:{}", server.port);
    let document = document(probe(&target)?.args(["--max", "4"]).within(lab.client()), 3)?;
    expect(&document, &[("finding", "no-probes".into()), ("set", Value::Null)])
}

/// Connections that a preloaded library keeps alive would never be silent.
fn preloaded_with_force() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(3))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("10.77.2.2:{}", server.port);
    let force = Preload::With(&[("KA_IDLE", "1"), ("KA_FORCE", "1"), ("KA_LOG", "stderr")]);
    let output = Program::new(dynamic_ka()?)
        .args(["probe", &target])
        .args(["--max", "6", "--json"])
        .within(lab.client())
        .preload(force)
        .run()?;
    expect(&json(&output)?, &[("finding", "dropped".into())])?;
    // It was there, and has seen no socket.
    let log = &output.stderr;
    if log.contains(" loaded ") && !log.contains("socket fd") { Ok(()) } else { Err(log.clone().into()) }
}

fn interrupt(running: &Running) -> Result {
    let pid = Pid::from_raw(running.pid()).ok_or("no process")?;
    Ok(kill_process(pid, Signal::INT)?)
}

fn ended_by_sigint(output: &Output) -> Result {
    use std::os::unix::process::ExitStatusExt;
    match output.status.signal() {
        Some(2) => Ok(()),
        _ => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout)).into()),
    }
}

/// In the second pass, the bracket of the first is known.
fn interrupted_while_narrowing_down() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(3))?;
    let server = Server::on(listener_at(&lab)?, Temper::Silent)?;
    let target = format!("10.77.2.2:{}", server.port);
    let mut running = probe(&target)?.args(["--max", "30"]).within(lab.client()).start()?;
    running.wait_for_output("connections more")?;
    interrupt(&running)?;
    let output = running.output()?;
    ended_by_sigint(&output)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all =
        ["the path forgets a connection: alive after ", "interrupted"].iter().all(|text| said.contains(text));
    if all { Ok(()) } else { Err(said.into()) }
}

fn no_limit() -> Result {
    no_limit_by(Ok)
}

fn no_limit_by(who: impl Fn(Program) -> Result<Program>) -> Result {
    let server = Server::start(Temper::Silent)?;
    let document = document(who(probe(&server.target())?.args(["--max", "3", "--connections", "4"]))?, 0)?;
    expect(&document, &[("finding", "never".into()), ("gone_s", Value::Null), ("proxy", false.into())])?;
    if number(&document, "alive_s")? >= 3.0 { Ok(()) } else { Err(document.to_string().into()) }
}

/// Every member is in the description.
fn the_json_is_described() -> Result {
    let server = Server::start(Temper::Silent)?;
    let mut document = document(probe(&server.target())?.args(["--max", "3"]), 0)?;
    let mut members = Vec::new();
    let parts = [document["set"].take(), document["observations"][0].take(), document];
    for part in &parts {
        members.extend(part.as_object().ok_or_else(|| format!("no object: {part}"))?.keys());
    }
    let description = fs::read_to_string(workspace().join("docs/ka-probe-json.md"))?;
    each(&members, |member| {
        if description.contains(&format!("`{member}`")) { Ok(()) } else { Err("not described".into()) }
    })
}

fn ipv6() -> Result {
    let server = Server::on(TcpListener::bind("[::1]:0")?, Temper::Silent)?;
    let document = document(probe(&format!("[::1]:{}", server.port))?.args(["--max", "2"]), 0)?;
    expect(&document, &[("finding", "never".into()), ("host", "::1".into()), ("address", "::1".into())])
}

fn refused() -> Result {
    let target = format!("127.0.0.1:{}", free_port()?);
    let output = probe(&target)?.run()?;
    let told = output.stderr.contains("refused") && output.stderr.contains(&target);
    if told && output.status.code() == Some(3) { Ok(()) } else { Err(output.stderr.into()) }
}

/// Whether the finding is that, about two seconds after the beginning.
fn after_two_seconds(temper: Temper, finding: &str) -> Result {
    let server = Server::start(temper)?;
    let document = document(probe(&server.target())?.args(["--max", "30"]), 3)?;
    expect(&document, &[("finding", finding.into())])?;
    let gone = number(&document, "gone_s")?;
    if (1.9..3.0).contains(&gone) { Ok(()) } else { Err(document.to_string().into()) }
}

const TWO: Duration = Duration::from_secs(2);

fn closed_by_the_server() -> Result {
    after_two_seconds(Temper::ClosesAfter(TWO), "closed")
}

fn closed_with_a_goodbye() -> Result {
    after_two_seconds(Temper::SaysGoodbyeAfter(TWO), "closed")
}

fn reset_by_the_server() -> Result {
    after_two_seconds(Temper::ResetsAfter(TWO), "reset-by-server")
}

fn a_server_that_keeps_talking() -> Result {
    let server = Server::start(Temper::TalksEvery(TWO))?;
    let document = document(probe(&server.target())?.args(["--max", "4", "--connections", "4"]), 3)?;
    expect(&document, &[("finding", "never-silent".into()), ("gone_s", Value::Null), ("set", Value::Null)])
}

/// What is known by then is told, and then it ends as programs do that are interrupted.
fn interrupted() -> Result {
    let server = Server::start(Temper::Silent)?;
    let mut running = probe(&server.target())?.args(["--max", "10m"]).start()?;
    running.wait_for_output("1 s  alive")?;
    let begin = Instant::now();
    interrupt(&running)?;
    let output = running.output()?;
    ended_by_sigint(&output)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all =
        ["alive after 1 s of silence; more is not known", "interrupted"].iter().all(|t| said.contains(t));
    if all && begin.elapsed() < TWO { Ok(()) } else { Err(said.into()) }
}

fn progress_on_a_terminal_only() -> Result {
    const PROGRESS: &str = "silent for 1 of 2 s";
    let server = Server::start(Temper::Silent)?;
    let plain = probe(&server.target())?.args(["--max", "2"]).run()?;
    if !plain.stderr.is_empty() || String::from_utf8_lossy(&plain.stdout).contains(PROGRESS) {
        return Err(format!("not on a terminal: {}", plain.stderr).into());
    }
    let command = format!("{} probe {} --max 2", ka()?.display(), server.target());
    let terminal = Program::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .succeed()?;
    let shown = String::from_utf8_lossy(&terminal).into_owned();
    if shown.contains(PROGRESS) && shown.contains("no limit up to 2 s") { Ok(()) } else { Err(shown.into()) }
}

/// Each is refused with a line that shows what was wrong.
fn bad_command_lines() -> Result {
    let cases: [(&[&str], &str); 9] = [
        (&["probe"], "HOST[:PORT]"),
        (&["probe", "db:0"], "port too small"),
        (&["probe", "db:70000"], "port too large"),
        (&["probe", "[::1"], "[ without ]"),
        (&["probe", "\u{1b}[2J:x"], "\\x1b[2J:x"),
        (&["probe", "db", "--max", "5x"], "unknown unit"),
        (&["probe", "db", "--max", "1"], "at least 2"),
        (&["probe", "db", "--connections", "1"], "2 to 64"),
        (&["probe", "db", "--connections", "65"], "2 to 64"),
    ];
    each(&cases, |(arguments, words)| {
        let output = Program::new(ka()?).args(*arguments).run()?;
        if output.status.code() == Some(2)
            && output.stderr.contains(words)
            && !output.stderr.contains('\u{1b}')
        {
            return Ok(());
        }
        Err(format!("{}: {}", output.status, output.stderr).into())
    })
}
