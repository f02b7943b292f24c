//! `ka explain`: its numbers, held against the policy and against the kernel.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::thread::sleep;
use std::time::Duration;

use kashim_policy::middleboxes::{MIDDLEBOXES, Verdict, verdict};
use kashim_tests::lab::{Firewall, Lab, Namespace, SERVER};
use kashim_tests::{Need, Program, Result, Trial, each, ka, trial, until};
use rustix::net::sockopt;

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(numbers),
        trial!(verdicts_are_the_policys),
        trial!(what_is_not_given),
        trial!(hazards),
        trial!(from_the_environment),
        trial!(an_environment_that_is_no_text),
        trial!(bad_values),
        trial!(the_kernels_values, &[Need::Root]),
        trial!(as_large_as_a_probe_is, &Lab::NEEDS),
    ]
}

fn explain(arguments: &[&str]) -> Result<Program> {
    Ok(Program::new(ka()?).arg("explain").args(arguments))
}

/// Fails unless it ends with this status and says all of that.
fn says(program: Program, status: i32, parts: &[&str]) -> Result<String> {
    let output = program.run()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = parts.iter().find(|part| !text.contains(*part));
    if output.status.code() != Some(status) || missing.is_some() {
        return Err(format!("{}, missing {missing:?}\n{text}{}", output.status, output.stderr).into());
    }
    Ok(text)
}

fn numbers() -> Result {
    let cases: [(&str, &[&str]); 6] = [
        (
            "300/30/5",
            &[
                "idle 300 s, interval 30 s, count 5, user timeout off\n",
                "first after 300 s of silence; while they are answered, one every 300 s",
                "after 450 s without an answer (300 + 5 * 30)",
                "of two minutes: survived,",
                "12 probes an hour on a silent connection; with the answers 1248 bytes over IPv4, 1728 over IPv6",
            ],
        ),
        (
            "60/15/9",
            &["after 195 s", "survived, since it cannot swallow all 9 probes, which go out within 120 s"],
        ),
        // As the documentation says of the preset `strict`.
        ("20/5/9", &["after 65 s", "of two minutes: ends the connection: it swallows all 9 probes"]),
        ("5m/10s/3", &["after 330 s", "survived, unless it swallows all 3 probes, which go out within 20 s"]),
        // Measured with a capture: one probe in 75 s.
        ("2/75/9", &["first after 2 s", "one every 75 s", "48 probes an hour"]),
        // Measured: with a user timeout of 10 s, ETIMEDOUT after 10 s.
        (
            "2/1/3/10",
            &[
                "user timeout 10 s\n",
                "after 10 s without an answer",
                "the count is not looked at",
                "  connect   ends with ETIMEDOUT after 10 s",
            ],
        ),
    ];
    each(&cases, |(values, parts)| says(explain(&[values])?, 0, parts).map(drop))
}

/// For each middlebox, at the values where the verdict changes.
fn verdicts_are_the_policys() -> Result {
    let values = [
        (20, 5),
        (50, 5),
        (59, 1),
        (90, 15),
        (120, 20),
        (239, 1),
        (240, 30),
        (300, 30),
        (3600, 60),
        (7200, 75),
    ];
    each(&values, |&(idle, interval)| {
        let text = says(explain(&[&format!("{idle}/{interval}/9")])?, 0, &[])?;
        for preset in &MIDDLEBOXES {
            let word = match verdict(idle, interval, preset.timeout) {
                Verdict::Yes => "yes",
                Verdict::Risky => "risky",
                Verdict::No => "no",
            };
            let row = text.lines().find(|line| line.contains(&format!(" s  {} ", preset.name)));
            let row = row.ok_or_else(|| format!("no {} in {text}", preset.name))?;
            let words: Vec<_> = row.split_whitespace().take(2).collect();
            if words != [word, &preset.timeout.to_string()] {
                return Err(format!("{}: {word}, but: {row}", preset.name).into());
            }
        }
        Ok(())
    })
}

fn what_is_not_given() -> Result {
    let cases: [(&[&str], &str); 4] = [
        (&[], "idle 60 s, interval 15 s, count 9, user timeout off\n"),
        (&["300"], "idle 300 s, interval 15 s, count 9, user timeout off\n"),
        (&["5"], "idle 5 s, interval 5 s, count 9, user timeout off\n"),
        (&["5/4"], "idle 5 s, interval 4 s, count 9, user timeout off\n"),
    ];
    each(&cases, |(arguments, words)| says(explain(arguments)?, 0, &[words]).map(drop))
}

fn hazards() -> Result {
    says(explain(&["60/15/1"])?, 0, &["  warning   count 1: one lost probe ends a healthy connection"])?;
    says(explain(&["5/60/9"])?, 0, &["  warning   interval 60 above idle 5: "])?;
    says(explain(&["60/15/9/auto"])?, 0, &["  warning   user timeout 195 s: ", "an upload"])?;
    let text = says(explain(&["60/15/9"])?, 0, &[])?;
    if text.contains("warning") { Err(text.into()) } else { Ok(()) }
}

fn from_the_environment() -> Result {
    let good = explain(&[])?
        .env("KA_IDLE", "5m")
        .env("KA_USER_TIMEOUT", "20")
        .env("KA_RULES", ":22 off; 10.0.0.0/8 idle=20 count=1; :99 user-timeout=30");
    let parts = [
        "idle 300 s, interval 15 s, count 9, user timeout 20 s\n",
        "  rule 1    \":22 off\": no keepalive",
        "  rule 2    \"10.0.0.0/8 idle=20 count=1\": idle 20 s, interval 15 s, count 1, user timeout 20 s: probed every 20 s",
        "  warning   rule 2: count 1: ",
        "  warning   user timeout 20 s: ",
        "  warning   rule 3: user timeout 30 s: ",
    ];
    says(good, 0, &parts)?;
    let bad = explain(&[])?.env("KA_IDLE", "5 m").env("KA_IDEL", "5m").env("KA_RULES", "x off; :22 count=1");
    let parts = [
        "idle 60 s, ",
        "  rule 2    \":22 count=1\"",
        "  warning   rule 2: count 1: ",
        "  error     KA_IDLE=\"5 m\": has a blank inside; ",
        "  error     KA_RULES rule 1 \"x off\": ",
        "  warning   KA_IDEL is not read by kashim; is KA_IDLE meant?",
    ];
    says(bad, 1, &parts)?;
    says(explain(&[])?.env("KA_DISABLE", "yes"), 0, &["nothing of this is in force"]).map(drop)
}

/// Any bytes, in our variables and in others.
fn an_environment_that_is_no_text() -> Result {
    let program = explain(&[])?
        .env("OTHER", OsStr::from_bytes(b"\xff\xfe"))
        .env(OsStr::from_bytes(b"KA_\xff\x1b"), "1")
        .env("KA_COUNT", OsStr::from_bytes(b"\xff\x1b[2J"));
    let parts = ["  error     KA_COUNT=\"\\xff\\x1b[2J\": ", "KA_\\xff\\x1b is not read by kashim"];
    let text = says(program, 1, &parts)?;
    if text.contains('\u{1b}') { Err(text.into()) } else { Ok(()) }
}

fn bad_values() -> Result {
    let cases = [
        ("0", "idle \"0\": too small"),
        ("300/x", "interval \"x\": not a whole number"),
        ("300//5", "interval \"\": not a whole number"),
        ("300/30/128", "count \"128\": too large"),
        ("300/30/5/never", "user timeout \"never\": "),
        ("1/2/3/4/5", "IDLE/INTERVAL/COUNT/USER-TIMEOUT"),
        ("\u{1b}[2J", "\\x1b[2J"),
    ];
    each(&cases, |(values, words)| {
        let output = explain(&[values])?.run()?;
        let told = output.stderr.contains(words) && !output.stderr.contains('\u{1b}');
        if told && output.status.code() == Some(2) { Ok(()) } else { Err(output.stderr.into()) }
    })
}

/// `system` is what the namespace has.
fn the_kernels_values() -> Result {
    let namespace = Namespace::new()?;
    namespace.enter(|| {
        for (name, value) in [("time", "400"), ("intvl", "40"), ("probes", "4")] {
            fs::write(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"), value)?;
        }
        Ok(())
    })?;
    let parts =
        ["with what the kernel has here: 400/40/4", "one every 400 s", "after 560 s without an answer"];
    says(explain(&["system/system/system"])?.within(&namespace), 0, &parts).map(drop)
}

/// The bytes that a router sees of an idle connection with keepalive.
fn as_large_as_a_probe_is() -> Result {
    let lab = Lab::new(Firewall::Drop, Duration::from_secs(60))?;
    let listener = lab.server().enter(|| Ok(TcpListener::bind((SERVER, 0))?))?;
    let address = listener.local_addr()?;
    let client = lab.client().enter(|| Ok(TcpStream::connect(address)?))?;
    let _server = listener.accept()?;
    sleep(Duration::from_millis(300));
    lab.nft(
        "add counter inet firewall probes
         add chain inet firewall early { type filter hook forward priority -10; }
         add rule inet firewall early meta l4proto tcp counter name probes",
    )?;
    let second = Duration::from_secs(1);
    sockopt::set_tcp_keepintvl(&client, second)?;
    sockopt::set_tcp_keepidle(&client, second)?;
    sockopt::set_socket_keepalive(&client, true)?;
    let list = ["list", "counter", "inet", "firewall", "probes"];
    let bytes = until("two probes and their answers", || {
        let text = String::from_utf8(Program::new("nft").args(list).within(lab.router()).succeed()?)?;
        let after = |name| text.split_whitespace().skip_while(move |&word| word != name).nth(1);
        let number = |name| after(name).and_then(|word| word.parse::<u32>().ok());
        match (number("packets"), number("bytes")) {
            (Some(packets @ 4..), Some(bytes)) => Ok(Some(f64::from(bytes) / f64::from(packets))),
            _ => Ok(None),
        }
    })?;
    // 3600 probes an hour, and as many answers.
    let hour = format!("with the answers {} bytes over IPv4", bytes * 7200.0);
    says(explain(&["1/1/9"])?, 0, &[&hour]).map(drop)
}
