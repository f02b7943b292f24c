//! The `KA_*` variables: what each value leads to, what is said about a bad one, when, and where.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kashim_tests::{
    Need, Output, Preload, Program, Result, Scratch, Steps, Trial, both_with, compile, each, fixture,
    library, trial,
};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    let overlay = Need::Kernel("overlayfs", || {
        fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\toverlay\n"))
    });
    vec![
        trial("values", &[CC], || each(VALUES, value)),
        trial("values_of_force", &[CC], || each(BOOLEANS, force)),
        trial!(a_program_with_its_own_environ, &[CC]),
        trial!(a_pipe_on_standard_error, &[CC, Need::Program("strace")]),
        trial("values_of_disable", &[CC], || each(DISABLES, disable)),
        trial!(one_bad_value_does_not_spoil_the_others, &[CC]),
        trial("interval_follows_a_bad_or_short_idle", &[CC], interval_follows_idle),
        trial!(a_hundred_thousand_digits, &[CC]),
        trial!(more_complaints_than_fit, &[CC]),
        trial!(environments, &[CC]),
        trial!(when_complaints_appear, &[CC]),
        trial!(hostile_standard_error, &[CC]),
        trial!(user_timeout_bounds_connect, &[CC]),
        trial!(background_of_a_terminal, &[CC, Need::Program("python3")]),
        trial!(warnings_are_in_the_log, &[CC]),
        trial("the_log_says_why", &[CC], || each(LOGGED, logged)),
        trial!(log_files, &[CC]),
        trial!(hostile_log_files, &[CC]),
        trial!(log_file_of_somebody_else, &[CC, Need::Root]),
        trial!(programs_that_are_skipped, &[CC]),
        trial!(
            setuid_programs,
            &[CC, Need::Root, Need::Program("setpriv"), Need::Program("unshare"), overlay]
        ),
    ]
}

type Settings = &'static [(&'static str, &'static str)];

const PLAIN: Preload = Preload::With(&[]);
/// A bad value.
const BAD: Preload = Preload::With(&[("KA_IDLE", "bad")]);
const LOGGED_TO_STDERR: Preload = Preload::With(&[("KA_IDLE", "bad"), ("KA_LOG", "stderr")]);

fn steps(script: &str, environment: &[(&str, &str)]) -> Result<Steps> {
    let steps = Steps::new(PLAIN, script)?;
    Ok(environment.iter().fold(steps, |steps, (name, value)| steps.env(name, value)))
}

/// The one socket of a script that makes one: `on 60/15/9`.
fn makes(shows: &str) -> String {
    format!("s=socket inet stream 0; show s -> {shows}")
}

// What each value leads to.

/// A variable, a value, what a socket then shows, and if the value is bad, something of what is said about it.
type Value = (&'static str, &'static [u8], &'static str, &'static str);

const NUMBER: &str = "not a whole number";
const SIGN: &str = "sign";
const BLANK: &str = "blank";
const SMALL: &str = "too small";
const LARGE: &str = "too large";
const UNIT: &str = "unit";

#[rustfmt::skip]
const VALUES: &[Value] = &[
    ("KA_IDLE", b"", "on 60/15/9", ""),
    ("KA_IDLE", b"  ", "on 60/15/9", ""),
    ("KA_IDLE", b"\r", "on 60/15/9", ""),
    ("KA_IDLE", b"1", "on 1/1/9", ""),
    ("KA_IDLE", b"14", "on 14/14/9", ""),
    ("KA_IDLE", b"300", "on 300/15/9", ""),
    ("KA_IDLE", b" 300\t", "on 300/15/9", ""),
    ("KA_IDLE", b"5m\r", "on 300/15/9", ""),
    ("KA_IDLE", b"007", "on 7/7/9", ""),
    ("KA_IDLE", b"90s", "on 90/15/9", ""),
    ("KA_IDLE", b"5m", "on 300/15/9", ""),
    ("KA_IDLE", b"9h", "on 32400/15/9", ""),
    ("KA_IDLE", b"546m", "on 32760/15/9", ""),
    ("KA_IDLE", b"32767", "on 32767/15/9", ""),
    ("KA_IDLE", b"32767s", "on 32767/15/9", ""),
    ("KA_IDLE", b"system", "on 7200/15/9", ""),
    ("KA_IDLE", b"0", "on 60/15/9", SMALL),
    ("KA_IDLE", b"0h", "on 60/15/9", SMALL),
    ("KA_IDLE", b"-1", "on 60/15/9", SIGN),
    ("KA_IDLE", b"+5", "on 60/15/9", SIGN),
    ("KA_IDLE", b"1.5", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"32768", "on 60/15/9", LARGE),
    ("KA_IDLE", b"547m", "on 60/15/9", LARGE),
    ("KA_IDLE", b"10h", "on 60/15/9", LARGE),
    ("KA_IDLE", b"65537", "on 60/15/9", LARGE),
    ("KA_IDLE", b"4294967297", "on 60/15/9", LARGE),
    ("KA_IDLE", b"71582789m", "on 60/15/9", LARGE),
    ("KA_IDLE", b"99999999999999999999", "on 60/15/9", LARGE),
    ("KA_IDLE", b"5 m", "on 60/15/9", BLANK),
    ("KA_IDLE", b"5\tm", "on 60/15/9", BLANK),
    ("KA_IDLE", b"5 5", "on 60/15/9", BLANK),
    ("KA_IDLE", b"5M", "on 60/15/9", UNIT),
    ("KA_IDLE", b"5d", "on 60/15/9", UNIT),
    ("KA_IDLE", b"5mm", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"5ms", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"m", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"0x10", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"1e3", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"abc", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"System", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"off", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"\"300\"", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"300;", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"\xff\xfe", "on 60/15/9", NUMBER),
    ("KA_IDLE", b"30\xff", "on 60/15/9", NUMBER),
    ("KA_IDLE", "٣٠٠".as_bytes(), "on 60/15/9", NUMBER),
    // Nothing that a terminal would act on, and no second line.
    ("KA_IDLE", b"5\nkashim: \x1b[31m\x7f\\", "on 60/15/9", ""),
    ("KA_INTERVAL", b"", "on 60/15/9", ""),
    ("KA_INTERVAL", b"1", "on 60/1/9", ""),
    ("KA_INTERVAL", b"32767", "on 60/32767/9", ""),
    ("KA_INTERVAL", b"1m", "on 60/60/9", ""),
    ("KA_INTERVAL", b"system", "on 60/75/9", ""),
    ("KA_INTERVAL", b"0", "on 60/15/9", SMALL),
    ("KA_INTERVAL", b"32768", "on 60/15/9", LARGE),
    ("KA_INTERVAL", b"10h", "on 60/15/9", LARGE),
    ("KA_INTERVAL", b"5 m", "on 60/15/9", BLANK),
    ("KA_INTERVAL", b"-1", "on 60/15/9", SIGN),
    ("KA_INTERVAL", b"1.5", "on 60/15/9", NUMBER),
    ("KA_INTERVAL", b"5H", "on 60/15/9", UNIT),
    ("KA_INTERVAL", b"\xc3\x28", "on 60/15/9", NUMBER),
    ("KA_COUNT", b"", "on 60/15/9", ""),
    ("KA_COUNT", b"1", "on 60/15/1", ""),
    ("KA_COUNT", b"127", "on 60/15/127", ""),
    ("KA_COUNT", b"\t127 ", "on 60/15/127", ""),
    ("KA_COUNT", b"system", "on 60/15/9", ""),
    ("KA_COUNT", b"0", "on 60/15/9", SMALL),
    ("KA_COUNT", b"128", "on 60/15/9", LARGE),
    ("KA_COUNT", b"257", "on 60/15/9", LARGE),
    ("KA_COUNT", b"99999999999999999999", "on 60/15/9", LARGE),
    ("KA_COUNT", b"+5", "on 60/15/9", SIGN),
    ("KA_COUNT", b"5s", "on 60/15/9", NUMBER),
    ("KA_COUNT", b"1.5", "on 60/15/9", NUMBER),
    ("KA_COUNT", b"0x10", "on 60/15/9", NUMBER),
    ("KA_COUNT", b"five", "on 60/15/9", NUMBER),
    ("KA_COUNT", b"5 5", "on 60/15/9", BLANK),
    ("KA_COUNT", b"\xff", "on 60/15/9", NUMBER),
    ("KA_USER_TIMEOUT", b"", "on 60/15/9", ""),
    ("KA_USER_TIMEOUT", b"off", "on 60/15/9", ""),
    ("KA_USER_TIMEOUT", b"auto", "on 60/15/9, user timeout 195000", ""),
    ("KA_USER_TIMEOUT", b" auto\r", "on 60/15/9, user timeout 195000", ""),
    ("KA_USER_TIMEOUT", b"1", "on 60/15/9, user timeout 1000", ""),
    ("KA_USER_TIMEOUT", b"2m", "on 60/15/9, user timeout 120000", ""),
    ("KA_USER_TIMEOUT", b"2147483", "on 60/15/9, user timeout 2147483000", ""),
    ("KA_USER_TIMEOUT", b"2147484", "on 60/15/9", LARGE),
    ("KA_USER_TIMEOUT", b"597h", "on 60/15/9", LARGE),
    ("KA_USER_TIMEOUT", b"99999999999999999999", "on 60/15/9", LARGE),
    ("KA_USER_TIMEOUT", b"0", "on 60/15/9", SMALL),
    ("KA_USER_TIMEOUT", b"-5", "on 60/15/9", SIGN),
    ("KA_USER_TIMEOUT", b"5 m", "on 60/15/9", BLANK),
    ("KA_USER_TIMEOUT", b"5M", "on 60/15/9", UNIT),
    ("KA_USER_TIMEOUT", b"1.5", "on 60/15/9", NUMBER),
    ("KA_USER_TIMEOUT", b"Auto", "on 60/15/9", NUMBER),
    ("KA_USER_TIMEOUT", b"OFF", "on 60/15/9", NUMBER),
    ("KA_USER_TIMEOUT", b"system", "on 60/15/9", NUMBER),
    ("KA_USER_TIMEOUT", b"\xff", "on 60/15/9", NUMBER),
    ("KA_FORCE", b"2", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"y", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"01", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"-1", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"maybe", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"o n", "on 60/15/9", "not a boolean"),
    ("KA_FORCE", b"yes\xff", "on 60/15/9", "not a boolean"),
    ("KA_LOG", b"log", "on 60/15/9", "log"),
    ("KA_LOG", b"OFF", "on 60/15/9", "log"),
    ("KA_LOG", b"1", "on 60/15/9", "log"),
    ("KA_LOG", b"stderr.txt", "on 60/15/9", "log"),
    ("KA_LOG", b"/dev/stderr", "on 60/15/9", "to log to standard error, use the word stderr"),
    ("KA_LOG", b"/proc/self/fd/2", "on 60/15/9", "to log to standard error, use the word stderr"),
    ("KA_LOG", b"./log", "on 60/15/9", "relative"),
    ("KA_LOG", b"logs/log", "on 60/15/9", "relative"),
    ("KA_LOG", b"\xff", "on 60/15/9", "log"),
    ("KA_SKIP", b"", "on 60/15/9", ""),
    ("KA_SKIP", b"true:false::  :mysql", "on 60/15/9", ""),
    ("KA_SKIP", b"/usr/bin/mysql", "on 60/15/9", "path"),
    ("KA_SKIP", b"\xff\xfe", "on 60/15/9", ""),
    // Not ours, so it may hold anything.
    ("KA_IDEL", b"5", "on 60/15/9", ""),
    ("KA_IDLE2", b"5", "on 60/15/9", ""),
    // It differs in the last byte alone.
    ("KA_IDLX", b"5", "on 60/15/9", ""),
    ("ka_idle", b"5", "on 60/15/9", ""),
    ("KA_", b"\xff\xff", "on 60/15/9", ""),
    ("UNRELATED", b"\xff\xfe\x80", "on 60/15/9", ""),
    ("UNRELATED\u{fc}", b"\xfc", "on 60/15/9", ""),
];

/// What is accepted for a variable, and what is used instead of a bad value.
fn words(variable: &str) -> (&'static [&'static str], &'static str) {
    match variable {
        "KA_IDLE" => (&["1 to 32767", "system", "5m"], "using 60"),
        "KA_INTERVAL" => (&["1 to 32767", "system", "5m"], "using 15"),
        "KA_COUNT" => (&["1 to 127", "system"], "using 9"),
        "KA_USER_TIMEOUT" => (&["off", "auto", "1 to 2147483"], "using off"),
        "KA_FORCE" => (&["0, 1", "no, yes", "off, on", "false, true"], "using 0"),
        "KA_LOG" => (&["off", "stderr", "absolute path"], "using stderr, for bad settings only"),
        "KA_SKIP" => (&["base names", ":"], "using the other names"),
        _ => (&[], ""),
    }
}

/// As the value stands in a complaint, without what stood around it.
fn quoted(value: &[u8]) -> String {
    let mut text = String::from('"');
    for &byte in value.trim_ascii() {
        text += &match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
    }
    text + "\""
}

/// Whether this is the one complaint about the value.
fn expect_complaint(said: &str, variable: &str, value: &[u8], what: &str) -> Result {
    let (accepted, instead) = words(variable);
    let begins = format!("kashim: error: {variable}={}: ", quoted(value));
    let rest =
        said.strip_prefix(&begins).ok_or_else(|| format!("{said:?} does not begin with {begins:?}"))?;
    let (problem, rest) = rest.split_once("; accepted: ").ok_or("nothing about what is accepted")?;
    let (accepts, using) = rest.split_once("; using ").ok_or("nothing about what is used instead")?;
    if !problem.contains(what)
        || !accepted.iter().all(|word| accepts.contains(word))
        || format!("using {using}") != format!("{instead}\n")
    {
        return Err(format!("not what should be said: {said:?}").into());
    }
    Ok(())
}

fn value(&(variable, value, shows, what): &Value) -> Result {
    let run = Steps::new(PLAIN, &makes(shows))?.env(variable, OsStr::from_bytes(value)).run()?;
    if what.is_empty() && !value.contains(&b'\n') {
        return nothing(&run);
    }
    expect_complaint(&run.stderr, variable, value, what)
}

fn nothing(output: &Output) -> Result {
    if output.stderr.is_empty() { Ok(()) } else { Err(format!("was written: {:?}", output.stderr).into()) }
}

const BOOLEANS: &[(&str, bool)] = &[
    ("1", true),
    ("yes", true),
    ("on", true),
    ("true", true),
    ("YES", true),
    ("On", true),
    ("tRuE", true),
    (" 1\r", true),
    ("0", false),
    ("no", false),
    ("off", false),
    ("false", false),
    ("NO", false),
    ("Off", false),
    ("fALSe", false),
    ("\t0 ", false),
    ("", false),
    (" ", false),
];

fn force(&(word, forced): &(&str, bool)) -> Result {
    let shows = if forced { "on 60/15/9" } else { "on 20/15/9" };
    let script = format!("s=socket inet stream 0; set s idle 20; show s -> {shows}");
    nothing(&steps(&script, &[("KA_FORCE", word)])?.run()?)
}

/// Whatever is no boolean disables, too.
const DISABLES: &[(&[u8], bool)] = &[
    (b"1", true),
    (b"yes", true),
    (b"ON", true),
    (b"True", true),
    (b"maybe", true),
    (b"2", true),
    (b"-1", true),
    (b"disable", true),
    (b"0 1", true),
    (b"\xff", true),
    (b"0", false),
    (b"No", false),
    (b"off", false),
    (b"FALSE", false),
    (b" 0\r", false),
    (b"", false),
    (b" ", false),
];

fn disable(&(word, disabled): &(&[u8], bool)) -> Result {
    let script = format!(
        "l=listener 127.0.0.1:0; s=socket inet stream 0; connect s @l; a=accept l; show s -> {0}; show a -> {0}",
        if disabled { "off" } else { "on 60/15/9" }
    );
    // Nothing is written either: not about the bad value, and not to the log.
    let bad: &[(&str, &str)] = &[("KA_IDLE", "bad"), ("KA_LOG", "stderr")];
    let said = steps(&script, bad)?.env("KA_DISABLE", OsStr::from_bytes(word)).run()?.stderr;
    if disabled == said.is_empty() { Ok(()) } else { Err(format!("was written: {said:?}").into()) }
}

/// A listener whose queue is full answers nobody.
fn user_timeout_bounds_connect() -> Result {
    let script =
        "l=socket inet stream 0; bind l 127.0.0.1:0; listen l 0; a=rawsocket inet stream 0; rawconnect a @l
        b=rawsocket inet stream+nonblock 0; rawconnect b @l -> -1 EINPROGRESS
        c=socket inet stream 0; show c -> on 60/15/9, user timeout 1000; connect c @l -> -1 ETIMEDOUT";
    // The kernel itself goes on for two minutes.
    let since = Instant::now();
    nothing(&steps(script, &[("KA_USER_TIMEOUT", "1")])?.run()?)?;
    assert!(since.elapsed() < Duration::from_secs(60));
    Ok(())
}

fn one_bad_value_does_not_spoil_the_others() -> Result {
    let bad = [
        ("KA_IDLE", "5 m"),
        ("KA_INTERVAL", "20"),
        ("KA_COUNT", "1000"),
        ("KA_USER_TIMEOUT", "1h"),
        ("KA_FORCE", "perhaps"),
    ];
    let said = steps(&makes("on 60/20/9, user timeout 3600000"), &bad)?.run()?.stderr;
    let lines: Vec<_> = said.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 3, "{said}");
    expect_complaint(lines[0], "KA_IDLE", b"5 m", BLANK)?;
    expect_complaint(lines[1], "KA_COUNT", b"1000", LARGE)?;
    expect_complaint(lines[2], "KA_FORCE", b"perhaps", "boolean")
}

/// What is used instead of a bad interval is what would be used without one.
fn interval_follows_idle() -> Result {
    for (idle, shows, using) in [
        ("5", "on 5/5/9", "using 5\n"),
        ("500", "on 500/15/9", "using 15\n"),
        ("system", "on 7200/15/9", "using 15, or the kernel's idle if that is less\n"),
    ] {
        let said = steps(&makes(shows), &[("KA_IDLE", idle), ("KA_INTERVAL", "x")])?.run()?.stderr;
        assert!(said.starts_with("kashim: error: KA_INTERVAL=\"x\": ") && said.ends_with(using), "{said}");
    }
    Ok(())
}

fn a_hundred_thousand_digits() -> Result {
    let digits = "7".repeat(100_000);
    for name in ["KA_IDLE", "KA_INTERVAL", "KA_COUNT", "KA_USER_TIMEOUT", "KA_FORCE", "KA_RULES"] {
        let said = steps(&makes("on 60/15/9"), &[(name, &digits)])?.run()?.stderr;
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with(&format!("kashim: error: {name}")) && said.contains(&digits[..50]),
            "{said}"
        );
        assert!(said.len() < 400 && said.contains("; accepted: "), "{said}");
    }
    let path = format!("/{digits}");
    let said = steps(&makes("on 60/15/9"), &[("KA_LOG", &path)])?.run()?.stderr;
    assert!(said.contains("too long") && said.contains("; using stderr, for bad"), "{said}");
    // As many as execve takes in one string: as zeroes in front of a number they are fine.
    let zeroes = format!("{}5", "0".repeat(131_000));
    nothing(&steps(&makes("on 5/5/9"), &[("KA_IDLE", &zeroes)])?.run()?)
}

fn more_complaints_than_fit() -> Result {
    let rules = "10.0.0.0/33 idle=30; ".repeat(64);
    let said = steps(&makes("on 60/15/9"), &[("KA_RULES", &rules)])?.run()?.stderr;
    // One write that cannot block: PIPE_BUF is 4096.
    assert!(said.len() <= 4096 && said.ends_with('\n'), "{said}");
    let (others, last) = said.trim_end().rsplit_once('\n').ok_or("one line")?;
    assert!(last.starts_with("kashim: error: ") && last.contains("KA_LOG"), "{said}");
    assert!(others.lines().all(|line| line.ends_with("; rule skipped")), "{said}");
    // The log has them all.
    let log = steps(&makes("on 60/15/9"), &[("KA_RULES", &rules), ("KA_LOG", "stderr")])?.run()?.stderr;
    assert_eq!(log.lines().filter(|line| line.ends_with("; rule skipped")).count(), 64, "{log}");
    Ok(())
}

/// Environments that no shell makes.
fn environments() -> Result {
    // If a variable is set twice, the first wins.
    let script = "exec KA_IDLE=5 KA_IDLE=6 KA_COUNT KA_COUNT=3 =KA_INTERVAL=7; s=socket inet stream 0; show s -> off | on 5/5/3";
    both_with(PLAIN, &[], script)?;
    both_with(PLAIN, &[], "exec KA_IDLE= KA_IDLE=6; s=socket inet stream 0; show s -> off | on 60/15/9")?;
    // It is read once: programs overwrite theirs.
    let set: Settings = &[("KA_IDLE", "5"), ("KA_COUNT", "3"), ("KA_RULES", "127.0.0.2 idle=7")];
    both_with(
        PLAIN,
        set,
        "scrub; l=listener 0.0.0.0:0; s=socket inet stream 0; connect s 127.0.0.2:@l; show s -> off | on 7/7/3
         t=socket inet stream 0; connect t 127.0.0.3:@l; show t -> off | on 5/5/3",
    )?;
    // Nothing in it at all: the loader is told about the library on its command line.
    let loader = fs::read_to_string("/proc/self/maps")?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/ld-"))
        .map(str::to_owned)
        .ok_or("the loader is not in our own process")?;
    let program = compile("cc", &fixture("steps.c"), &["-pthread"])?;
    let mut command = Program::new(loader)
        .arg("--preload")
        .arg(library()?)
        .arg(program)
        .args(["s=socket inet stream 0", "show s"])
        .preloads_others(PLAIN);
    command.command().env_clear();
    let output = command.run()?;
    assert_eq!(output.stderr, "");
    assert_eq!(String::from_utf8(output.success()?)?, "s=socket inet stream 0: 3\nshow s: on 60/15/9\n");
    Ok(())
}

// When a complaint appears.

fn when_complaints_appear() -> Result {
    let said = |script: &str, environment: &[(&str, &str)]| -> Result<String> {
        let mut steps = Steps::new(BAD, script)?;
        for (name, value) in environment {
            steps = steps.env(name, value);
        }
        Ok(steps.run()?.stderr)
    };
    // Not by a program that has nothing to do with TCP.
    for script in [
        "r,w=pipe; fork; isopen r",
        "s=socket inet dgram 0; connect s 127.0.0.1:9; u=listener unix; c=socket unix stream 0; connect c @u; a=accept u",
        "s=socket inet stream 4000 -> -1 EINVAL; connect 99 127.0.0.1:9 -> -1 EBADF",
    ] {
        assert_eq!(said(script, &[])?, "");
    }
    // Once, at the first TCP socket, in whatever way that comes.
    for script in [
        "s=socket inet stream 0",
        "s=socket inet stream 0; t=socket inet6 stream tcp; l=listener 127.0.0.1:0; connect s @l; a=accept l",
        "s=socket inet stream 0; fork; t=socket inet stream 0",
        "s=socket inet stream 0; thread; t=socket inet stream 0",
        "l=listener 127.0.0.1:0; s=rawsocket inet stream 0; connect s @l; t=socket inet stream 0",
        "l=listener 127.0.0.1:0; s=rawsocket inet stream 0; rawconnect s @l; a=accept4 l 0; t=socket inet stream 0",
    ] {
        expect_complaint(&said(script, &[])?, "KA_IDLE", b"bad", NUMBER)?;
        assert_eq!(said(script, &[("KA_LOG", "off")])?, "");
    }
    // Not while loading, and before the socket is there.
    let mut running = Steps::new(BAD, "u=listener unix; hold; s=socket inet stream 0; hold")?;
    running = running.env("UNRELATED", "1");
    let mut running = running.command()?.stdin(Stdio::piped()).start()?;
    running.wait_for_output("u=listener unix: 3\n")?;
    assert_eq!(running.stderr(), "");
    running.write("x")?;
    running.wait_for_output("s=socket inet stream 0: 4\n")?;
    expect_complaint(&running.stderr(), "KA_IDLE", b"bad", NUMBER)?;
    running.write("x")?;
    running.output()?.success()?;
    // With a log at load, and there it stands before all else.
    for program in ["r,w=pipe", "s=socket inet stream 0"] {
        let log = said(program, &[("KA_LOG", "stderr")])?;
        let lines: Vec<_> = log.split_inclusive('\n').collect();
        expect_complaint(lines[0], "KA_IDLE", b"bad", NUMBER)?;
        assert!(lines[1].contains("] loaded "), "{log}");
        assert_eq!(log.matches("kashim: error").count(), 1, "{log}");
    }
    Ok(())
}

// Where it is written to.

/// Standard error is arranged before the program with the library begins, and the complaint must not do any harm.
fn hostile_standard_error() -> Result {
    let scratch = Scratch::new()?;
    let at_limit = scratch.write("limit", vec![b'x'; 10_000])?;
    let path = |name: &str| scratch.join(name).display().to_string();
    let then = "s=socket inet stream 0; show s -> off | on 60/15/9; pending -> none; isopen 2 ->";
    let scripts = [
        // Closed: the program's next descriptor stands there.
        format!("close 2; exec; isopen 2 -> no; t=socket unix stream 0 -> 2; {then} yes"),
        "l=listener 127.0.0.1:0; close 2; exec; s=socket inet stream 0 -> 2; connect s @l; a=accept l
         show s -> off | on 60/15/9; drain a -> 0 bytes"
            .to_owned(),
        // A pipe that is full.
        format!("r,w=pipe; fill w -> full; dup2 w 2 -> 2; exec; {then} yes; drain r"),
        format!("r,w=pipe; nonblock w; fill w -> full; dup2 w 2 -> 2; exec; {then} yes; drain r"),
        // One that nobody reads from.
        format!("r,w=pipe; dup2 w 2 -> 2; close r; exec; {then} yes"),
        format!("r,w=pair; dup2 w 2 -> 2; close r; exec; {then} yes"),
        // A connection, as inetd gives it: the peer would take it for data.
        format!("a,b=tcppair; dup2 a 2 -> 2; exec; {then} yes; drain b -> 0 bytes"),
        format!("a,b=tcppair6; dup2 a 2 -> 2; exec; {then} yes; drain b -> 0 bytes"),
        // Something else by the time there is something to say.
        "r,w=pipe; dup2 w 2 -> 2; exec; a,b=tcppair; dup2 a 2 -> 2; s=socket inet stream 0; drain b -> 0 bytes".to_owned(),
        format!("close 2; exec; open {0} 2 -> 2; {then} yes; stat {0} -> 600, 0 bytes", path("later")),
        // Places that take nothing.
        format!("open /dev/full 2 -> 2; exec; {then} yes"),
        format!("open {} 2 -> 2; limit fsize 10000; exec; {then} yes", at_limit.display()),
    ];
    each(&scripts, |script| {
        both_with(BAD, &[], script)?;
        // The log that goes to standard error is no less careful.
        both_with(LOGGED_TO_STDERR, &[], script)
    })?;
    assert_eq!(fs::metadata(&at_limit)?.len(), 10_000);
    let data = path("data");
    let reopened = format!(
        "r,w=pipe; dup2 w 2 -> 2; exec; open {data} 2 -> 2; {then} yes; drain r -> 0 bytes; stat {data} -> 600, 0 bytes"
    );
    both_with(BAD, &[], &reopened)?;
    // Another file that has been given the number of the one that is gone.
    let gone = path("gone");
    let script = |inode: &str| {
        format!(
            "open {gone} 2 -> 2; exec; replace {gone} -> {inode} inode; {then} yes; stat {gone} -> 600, 0 bytes"
        )
    };
    both_with(BAD, &[], &script("same")).or_else(|_| both_with(BAD, &[], &script("another")))?;
    // The scenes are what they are said to be: they do harm to a program that writes by itself.
    for (script, signal) in [
        ("r,w=pipe; dup2 w 2 -> 2; close r; exec; print x", "SIGPIPE"),
        (
            &*format!("open {} 2 -> 2; limit fsize 10000; exec; print x", scratch.join("limit").display()),
            "SIGXFSZ",
        ),
    ] {
        let ended = Steps::new(PLAIN, script)?.command()?.run()?.status.to_string();
        assert!(ended.contains(signal), "{ended}");
    }
    // What the host itself has blocked stays so, and what waits for it goes on waiting.
    let refusing = [
        "r,w=pipe; dup2 w 2 -> 2; close r".to_owned(),
        format!("open {} 2 -> 2; limit fsize 10000", at_limit.display()),
    ];
    for (scene, signal) in refusing.iter().zip(["PIPE", "XFSZ"]) {
        for (waits, signals) in
            [(String::new(), String::new()), (format!("waits {signal};"), format!("{signal}! "))]
        {
            let script = format!(
                "{scene}; exec; {waits} s=socket inet stream 0; t=socket inet stream 0; signals -> {signals}are blocked"
            );
            both_with(BAD, &[], &script)?;
            both_with(LOGGED_TO_STDERR, &[], &script)?;
        }
    }
    // Where a complaint can be read it is to be read.
    for stderr in ["r,w=pipe", "r,w=pair"] {
        let script =
            format!("{stderr}; dup2 w 2 -> 2; exec; drain r -> 0 bytes; s=socket inet stream 0; read r");
        let said = String::from_utf8(Steps::new(BAD, &script)?.run()?.stdout)?;
        assert!(said.contains("read r: kashim: error: KA_IDLE=\"bad\": "), "{said}");
    }
    Ok(())
}

/// A terminal that stops whoever writes to it from the background.
fn background_of_a_terminal() -> Result {
    let script = "s=socket inet stream 0; show s -> on 60/15/9; pending -> none";
    let background = fixture("background.py");
    let in_background = |script: &str| -> Result<Program> {
        let mut words =
            vec!["python3".to_owned(), background.display().to_string(), "/usr/bin/env".to_owned()];
        words.extend(BAD.variables()?);
        Steps::new(BAD, script)?.under(words).command()
    };
    let output = in_background(script)?.run()?;
    let (status, said) = (output.status, output.stderr.clone());
    assert!(String::from_utf8(output.success()?)?.contains("show s: on 60/15/9"), "{status}");
    expect_complaint(&said, "KA_IDLE", b"bad", NUMBER)?;
    // The scene is what it is said to be.
    assert_eq!(in_background("print x")?.run()?.status.code(), Some(99));
    Ok(())
}

/// Copies a program, in a process of its own: a descriptor of ours that is open for writing could be inherited by a
/// program that another test is just starting, and as long as it is open nobody may execute the copy.
fn copy(from: &Path, to: &Path) -> Result {
    Program::new("cp").arg(from).arg(to).succeed()?;
    Ok(())
}

// The log.

fn warnings_are_in_the_log() -> Result {
    let cases: &[(Settings, &[&[&str]])] = &[
        (&[], &[]),
        (&[("KA_COUNT", "1")], &[&["count 1"]]),
        (&[("KA_IDLE", "2"), ("KA_INTERVAL", "system")], &[&["interval 75", "kernel", "idle 2"]]),
        (&[("KA_INTERVAL", "61")], &[&["interval 61", "idle 60"]]),
        (&[("KA_INTERVAL", "60"), ("KA_COUNT", "2")], &[]),
        (
            &[("KA_RULES", "* off; :22 count=1; :23 interval=2m; :24 idle=70")],
            &[&["KA_RULES rule 2", "count 1"], &["KA_RULES rule 3", "interval 120", "idle 60"]],
        ),
        // What a rule takes over is named once.
        (&[("KA_COUNT", "1"), ("KA_RULES", ":22 idle=30; :23 idle=40")], &[&["count 1"]]),
    ];
    each(cases, |(settings, hazards)| {
        let log = steps(&makes("on").replace(" -> on", ""), settings)?.env("KA_LOG", "stderr").run()?.stderr;
        let warnings: Vec<_> = log.lines().filter(|line| line.starts_with("kashim: warning: ")).collect();
        let named = warnings.len() == hazards.len()
            && hazards
                .iter()
                .zip(&warnings)
                .all(|(words, line)| words.iter().all(|word| line.contains(word)));
        if !named {
            return Err(format!("the log says {log:?}").into());
        }
        // Nobody else names them.
        nothing(&steps("s=socket inet stream 0", settings)?.run()?)
    })
}

/// Settings, a script, and what the log says of each socket.
type Logged = (Settings, &'static str, &'static [&'static str]);

const LOGGED: &[Logged] = &[
    (
        &[],
        "r,w=pipe",
        &["loaded VERSION: idle 60 s, interval 15 s, count 9, user timeout off"],
    ),
    (
        &[("KA_IDLE", "5m"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system"), ("KA_USER_TIMEOUT", "90"), ("KA_FORCE", "1"), ("KA_RULES", ":22 off;:23 idle=80")],
        "r,w=pipe",
        &["loaded VERSION: idle 300 s, interval system, count system, user timeout 90 s, 2 rules, force"],
    ),
    (&[("KA_DISABLE", "1")], "s=socket inet stream 0", &[]),
    (
        &[],
        "s=socket inet stream 0; t=socket inet6 stream+nonblock tcp; u=socket inet dgram 0; x=socket unix stream 0",
        &[
            "loaded",
            "socket fd 3: set keepalive on, idle 60, interval 15, count 9",
            "socket fd 4: set keepalive on, idle 60, interval 15, count 9",
            "socket fd 5: left alone: not TCP",
            "socket fd 6: left alone: not TCP",
        ],
    ),
    (
        &[("KA_USER_TIMEOUT", "auto"), ("KA_COUNT", "system")],
        "s=socket inet stream 0",
        &["loaded", "socket fd 3: set keepalive on, idle 60, interval 15, user timeout 195000 ms"],
    ),
    // Every reason to leave a socket alone.
    (
        &[],
        "l=listener 0.0.0.0:0; s=socket inet stream 0; connect s 127.0.0.1:@l; a=accept l; r=rawsocket inet stream 0
         rawset r idle 20; connect r 127.0.0.2:@l; b=accept4 l 0; u=socket inet dgram 0; connect u 127.0.0.1:9",
        &[
            "loaded",
            "socket fd 4: set keepalive on, idle 60, interval 15, count 9",
            "connect fd 4 to 127.0.0.1:PORT: left alone: already as wanted",
            "accept fd 5 from 127.0.0.1:PORT: set keepalive on, idle 60, interval 15",
            "connect fd 6 to 127.0.0.2:PORT: left alone: the program's own settings",
            "accept4 fd 7 from 127.0.0.1:PORT: set keepalive on, idle 60, interval 15",
            "socket fd 8: left alone: not TCP",
            "connect fd 8 to 127.0.0.1:PORT: left alone: not TCP",
        ],
    ),
    (
        &[("KA_IDLE", "system"), ("KA_INTERVAL", "75"), ("KA_COUNT", "system")],
        "l=listener 127.0.0.1:0; r=rawsocket inet stream 0; connect r @l",
        &["loaded", "connect fd 4 to 127.0.0.1:PORT: left alone: no setting differs from the kernel's"],
    ),
    (
        &[],
        "refuse setsockopt; l=listener 127.0.0.1:0; s=socket inet stream 0; r=rawsocket inet stream 0; connect r @l",
        &[
            "loaded",
            "socket fd 4: left alone: refused by the system (errno 1)",
            "connect fd 5 to 127.0.0.1:PORT: left alone: refused by the system (errno 1)",
        ],
    ),
    // Rules: only what was written is named.
    (
        &[("KA_RULES", "127.0.0.2 count=3;127.0.0.3 off;127.0.0.4 count=9;[::1] idle=30")],
        "l=listener [::]:0; s=socket inet stream 0; connect s 127.0.0.2:@l; t=socket inet6 stream 0; connect t [::ffff:127.0.0.3]:@l
         v=socket inet stream 0; connect v 127.0.0.4:@l; w=socket inet6 stream 0; connect w [::1]:@l; x=socket inet stream 0
         set x idle 20; connect x 127.0.0.3:@l",
        &[
            "loaded",
            "socket fd 4: left alone: rules apply once the peer is known",
            "connect fd 4 to 127.0.0.2:PORT: set keepalive on, idle 60, interval 15, count 3",
            "socket fd 5: left alone: rules apply once the peer is known",
            "connect fd 5 to 127.0.0.3:PORT: left alone: a rule says off",
            "socket fd 6: left alone: rules apply once the peer is known",
            "connect fd 6 to 127.0.0.4:PORT: set keepalive on, idle 60, interval 15",
            "socket fd 7: left alone: rules apply once the peer is known",
            "connect fd 7 to [::1]:PORT: set keepalive on, idle 30, interval 15",
            "socket fd 8: left alone: rules apply once the peer is known",
            "connect fd 8 to 127.0.0.3:PORT: left alone: a rule says off",
        ],
    ),
    (
        &[("KA_FORCE", "1")],
        "s=socket inet stream 0; set s idle 20; set s keepalive 0; set s nodelay 1; set s timeout 5; set s idle 0 -> -1 EINVAL",
        &[
            "loaded",
            "socket fd 3: set keepalive on, idle 60, interval 15, count 9",
            "setsockopt fd 3: set idle 60",
            "setsockopt fd 3: set keepalive on",
        ],
    ),
    // A call that failed is none of ours.
    (
        &[],
        "s=socket inet stream 0; connect s 127.0.0.1:1 -> -1 ECONNREFUSED; a=accept s -> -1 EINVAL; connect 99 127.0.0.1:1 -> -1 EBADF",
        &["loaded", "socket fd 3: set keepalive on, idle 60, interval 15, count 9"],
    ),
];

/// A line of the log without its beginning, and with the port and the version put out of sight.
fn plainly(line: &str, name: &str) -> Result<String> {
    let rest =
        line.strip_prefix(&format!("kashim: {name}[")).ok_or_else(|| format!("{line:?} is not of {name}"))?;
    let (pid, text) = rest.split_once("] ").ok_or("no process number")?;
    let _: u32 = pid.parse()?;
    let mut text = text.replace(&format!("loaded {}:", env!("CARGO_PKG_VERSION")), "loaded VERSION:");
    if let Some((before, rest)) = text.split_once(": ") {
        if before.contains(" to ") || before.contains(" from ") {
            let (address, port) = before.rsplit_once(':').ok_or("no port")?;
            let _: u16 = port.parse()?;
            text = format!("{address}:PORT: {rest}");
        }
    }
    Ok(text)
}

fn logged(&(settings, script, lines): &Logged) -> Result {
    let scratch = Scratch::new()?;
    let program = scratch.join("a program");
    copy(&compile("cc", &fixture("steps.c"), &["-pthread"])?, &program)?;
    let file = scratch.join("log");
    // To a file and to standard error: the same.
    for log in ["stderr", &file.display().to_string()] {
        let output = steps(script, settings)?.env("KA_LOG", log).program(&program).run()?;
        let text =
            if log == "stderr" { output.stderr } else { fs::read_to_string(&file).unwrap_or_default() };
        let said: Vec<String> = text.lines().map(|line| plainly(line, "a program")).collect::<Result<_>>()?;
        let alike = said.len() == lines.len()
            && said.iter().zip(lines).all(|(said, want)| {
                said == want || (*want == "loaded" && said.starts_with("loaded VERSION: "))
            });
        if !alike {
            return Err(format!("the log says {said:#?}").into());
        }
    }
    Ok(())
}

fn log_files() -> Result {
    let scratch = Scratch::new()?;
    let path = scratch.join("log");
    let log = path.display().to_string();
    let two = "s=socket inet stream 0; fork; t=socket inet stream 0";
    nothing(&steps(two, &[("KA_LOG", &log)])?.run()?)?;
    let text = fs::read_to_string(&path)?;
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o7777, 0o600);
    assert_eq!(text.lines().count(), 3, "{text}");
    // Each process writes its own number.
    let of = |line: &str| line.split(['[', ']']).nth(1).map(str::to_owned);
    let numbers: Vec<_> = text.lines().map(of).collect();
    assert!(numbers[0] == numbers[1] && numbers[1] != numbers[2], "{text}");
    // It is appended to, keeps its mode, and is made again where somebody took it away.
    fs::write(&path, "mine\n")?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    nothing(&steps("s=socket inet stream 0", &[("KA_LOG", &format!(" {log}\r"))])?.run()?)?;
    let text = fs::read_to_string(&path)?;
    assert!(text.starts_with("mine\nkashim: ") && text.lines().count() == 3, "{text}");
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o7777, 0o644);
    let mut running =
        steps("s=socket inet stream 0; hold; t=socket inet stream 0; hold", &[("KA_LOG", &log)])?
            .command()?
            .stdin(Stdio::piped())
            .start()?;
    running.wait_for_output("s=socket inet stream 0: 3\n")?;
    fs::rename(&path, scratch.join("log.1"))?;
    running.write("x")?;
    running.wait_for_output("t=socket inet stream 0: 4\n")?;
    let text = fs::read_to_string(&path)?;
    assert!(text.contains(" socket fd 4: ") && text.lines().count() == 1, "{text}");
    running.write("x")?;
    running.output()?.success()?;
    // It never stays on a descriptor, and never on one of the first three.
    fs::write(&path, "")?;
    let closed = "close 0; close 2; exec; isopen 0 -> no; isopen 2 -> no; s=socket inet stream 0 -> 0; t=socket inet6 stream 0 -> 2
        u=socket inet stream 0 -> 3; show s -> off | on 60/15/9";
    both_with(PLAIN, &[("LATER_KA_LOG", &log)], closed)?;
    assert_eq!(fs::read_to_string(&path)?.lines().count(), 4);
    // A name that is not UTF-8 is as good as any other.
    let odd = scratch.join(OsStr::from_bytes(b"log\xff"));
    nothing(&Steps::new(PLAIN, "s=socket inet stream 0")?.env("KA_LOG", &odd).run()?)?;
    assert_eq!(fs::read_to_string(&odd)?.lines().count(), 2);
    Ok(())
}

fn hostile_log_files() -> Result {
    let scratch = Scratch::new()?;
    let target = scratch.write("target", "mine\n")?;
    symlink(&target, scratch.join("link"))?;
    symlink(scratch.join("nothing"), scratch.join("dangling"))?;
    fs::create_dir(scratch.join("directory"))?;
    for fifo in ["unread", "full"] {
        Program::new("mkfifo").arg(scratch.join(fifo)).succeed()?;
    }
    let paths = ["link", "dangling", "directory", "missing/log", "unread"].map(|name| scratch.join(name));
    let script =
        "s=socket inet stream 0; show s -> on 60/15/9; l=listener 127.0.0.1:0; connect s @l; pending -> none";
    for path in paths.iter().map(|path| path.as_os_str()).chain([OsStr::new("/dev/full"), OsStr::new("/")]) {
        nothing(&Steps::new(BAD, script)?.env("KA_LOG", path).run()?)?;
    }
    assert_eq!(fs::read_to_string(target)?, "mine\n");
    assert!(!scratch.join("nothing").exists());
    // A value is put back, but the line about it cannot be written: errno is as the call left it.
    let forced = "s=socket inet stream 0; set s idle 20; set s keepalive 0; show s -> on 60/15/9";
    for path in &paths {
        nothing(&Steps::new(PLAIN, forced)?.env("KA_FORCE", "1").env("KA_LOG", path).run()?)?;
    }
    // Nobody has read from it for a long time.
    let full = scratch.join("full").display().to_string();
    let script = format!("f=open {full}; fill f -> full; {script}; fill f -> was full");
    nothing(&steps(&script, &[("KA_LOG", &full)])?.run()?)?;
    // No child can be made any more: nothing is said after that.
    let log = scratch.join("log");
    let refused = format!("refuse clone; {forced}");
    nothing(&steps(&refused, &[("KA_LOG", &log.display().to_string()), ("KA_FORCE", "1")])?.run()?)?;
    assert_eq!(fs::read_to_string(&log)?.lines().count(), 1);
    // A file that must not grow.
    let limit = scratch.write("limit", vec![b'x'; 10_000])?;
    let script = format!(
        "limit fsize 10000; exec KA_LOG={}; s=socket inet stream 0; pending -> none",
        limit.display()
    );
    both_with(PLAIN, &[], &script)?;
    assert_eq!(fs::metadata(limit)?.len(), 10_000);
    Ok(())
}

/// Put at a path in a directory that everybody may write to.
fn log_file_of_somebody_else() -> Result {
    let scratch = Scratch::new()?;
    let file = scratch.write("log", "theirs\n")?;
    chown(&file, Some(65534), Some(65534))?;
    nothing(&Steps::new(BAD, "s=socket inet stream 0")?.env("KA_LOG", &file).run()?)?;
    assert_eq!(fs::read_to_string(&file)?, "theirs\n");
    chown(&file, Some(0), Some(0))?;
    nothing(&Steps::new(BAD, "s=socket inet stream 0")?.env("KA_LOG", &file).run()?)?;
    assert!(fs::read_to_string(&file)?.starts_with("theirs\nkashim: "));
    Ok(())
}

// Programs that are left alone.

/// By the base name of what was executed, which may be a copy, a link or a script, and has nothing to do with argv[0].
fn programs_that_are_skipped() -> Result {
    let scratch = Scratch::new()?;
    let program = compile("cc", &fixture("steps.c"), &["-pthread"])?;
    let named = |name: &str| -> Result<_> {
        let path = scratch.join(name);
        copy(&program, &path)?;
        Ok(path)
    };
    let chronyd = named("chronyd")?;
    let (vsftpd, mine, other) = (named("vsftpd")?, named("mine")?, named("chronyd2")?);
    let link = scratch.join("link");
    symlink(&chronyd, &link)?;
    let cases: [(&Path, &str, bool); 12] = [
        (&chronyd, "", true),
        (&vsftpd, "", true),
        (&other, "", false),
        (&mine, "", false),
        (&mine, "mine", true),
        (&mine, "other: mine\r", true),
        (&mine, "min:mine2:Mine:*", false),
        (&mine, "min_", false),
        // A path is no name; the other names hold.
        (&mine, "/usr/bin/mine:mine", true),
        // What is named is added to the list that is built in.
        (&chronyd, "mine", true),
        // A link has a name of its own.
        (&link, "", false),
        (&link, "link", true),
    ];
    each(&cases, |&(path, skip, skipped)| {
        let shows = if skipped { "off" } else { "on 60/15/9" };
        let script = format!(
            "l=listener 127.0.0.1:0; s=socket inet stream 0; show s -> {shows}; connect s @l; a=accept l; show a -> {shows}"
        );
        let run = steps(&script, &[("KA_SKIP", skip)])?.program(path).run()?;
        // Who is left alone says nothing either.
        if skipped || !skip.contains('/') {
            nothing(&run)?;
        }
        let log = steps(&script, &[("KA_SKIP", skip), ("KA_LOG", "stderr")])?.program(path).run()?.stderr;
        let alone = log.lines().last().is_some_and(|line| line.ends_with("] left alone by its name"));
        if alone != skipped {
            return Err(format!("the log says {log:?}").into());
        }
        Ok(())
    })?;
    // Not by the name it is called by.
    let mut command = steps("s=socket inet stream 0; show s", &[])?.program(&mine).command()?.arg0("chronyd");
    command = command.env("KA_SKIP", "other");
    assert!(String::from_utf8(command.succeed()?)?.ends_with("show s: on 60/15/9\n"));
    // Where it was executed without a name it has that of its file.
    for (path, shows) in [(&chronyd, "off"), (&mine, "off"), (&other, "on 60/15/9")] {
        for execute in ["exec", "fexec"] {
            let script = format!("{execute}; s=socket inet stream 0; show s -> {shows}");
            steps(&script, &[("LATER_KA_SKIP", "mine")])?.program(path).run()?;
        }
    }
    // A script is executed by its own name, whatever runs it.
    let interpreter = program.display();
    let text = scratch.write_program("text", &format!("#!{interpreter} s=socket inet stream 0\n"))?;
    let script = scratch.join("script");
    copy(&text, &script)?;
    for (skip, loaded) in [("script", "left alone by its name"), ("steps", "loaded ")] {
        let log =
            Program::new(&script).preload(PLAIN).env("KA_SKIP", skip).env("KA_LOG", "stderr").run()?.stderr;
        assert!(log.starts_with("kashim: script[") && log.contains(loaded), "{log}");
    }
    // This is why: with a filter that kills, only a program that is left alone lives on.
    let killed = "killon setsockopt; s=socket inet stream 0";
    steps(killed, &[])?.program(&chronyd).run()?;
    assert!(!steps(killed, &[])?.program(&mine).command()?.run()?.status.success());
    Ok(())
}

/// A program that has more rights than its caller: the loader takes the library only from a directory of the system's, and
/// the library writes nothing, wherever its caller wants it.
fn setuid_programs() -> Result {
    let scratch = Scratch::new()?;
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o777))?;
    let program = scratch.join("setuid");
    copy(&compile("cc", &fixture("steps.c"), &["-pthread"])?, &program)?;
    fs::set_permissions(&program, Permissions::from_mode(0o4755))?;
    let system = fs::read_to_string("/proc/self/maps")?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5)?.strip_suffix("/libc.so.6").map(str::to_owned))
        .next()
        .ok_or("no libc in our own process")?;
    // In a mount namespace of its own the library lies among those of the system.
    let arrange = r#"
        set -e
        mount -t tmpfs -o mode=755 tmpfs /mnt
        mkdir /mnt/upper /mnt/work
        cp "$1" /mnt/upper/libkashim.so
        chmod 4755 /mnt/upper/libkashim.so
        mount -t overlay -o "lowerdir=$2,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$2"
        shift 2
        exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@""#;
    let log = scratch.join("log");
    let log_variable = format!("KA_LOG={}", log.display());
    for (log, idle, shows) in [
        ("KA_LOG=stderr", "KA_IDLE=bad", "on 60/15/9"),
        (&*log_variable, "KA_IDLE=5", "on 5/5/9"),
        ("KA_COUNT=9", "KA_IDLE=bad", "on 60/15/9"),
    ] {
        let output = Program::new("unshare")
            .args(["--mount", "sh", "-c", arrange, "sh"])
            .arg(library()?)
            .args([&system, "env", "LD_PRELOAD=libkashim.so", log, idle])
            .arg(&program)
            .args(["maps libkashim.so", "s=socket inet stream 0", "show s"])
            .preloads_others(PLAIN)
            .run()?;
        assert_eq!(output.stderr, "");
        let said = String::from_utf8(output.success()?)?;
        assert_eq!(said, format!("maps libkashim.so: yes\ns=socket inet stream 0: 3\nshow s: {shows}\n"));
    }
    assert!(!log.exists());
    Ok(())
}

/// A variable of this name in the program is not the C library's.
fn a_program_with_its_own_environ() -> Result {
    let files = Scratch::new()?;
    let source = files.write(
        "own.c",
        "#include <stdio.h>\n#include <sys/socket.h>\n#include <netinet/in.h>\nchar **environ;\n\
         int main(void) { int fd = socket(AF_INET, SOCK_STREAM, 0), on = 0; socklen_t n = sizeof on; \
         getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &n); printf(\"%d\\n\", on); return environ != 0; }\n",
    )?;
    let program = compile("cc", &source, &["-rdynamic"])?;
    for (settings, want) in [(&[][..], "1\n"), (&[("KA_DISABLE", "1")], "0\n")] {
        let said = Program::new(&program).preload(Preload::With(settings)).succeed()?;
        assert_eq!(String::from_utf8(said)?, want, "{settings:?}");
    }
    Ok(())
}

/// Somebody else may fill it at any moment: the library's write does not wait then.
fn a_pipe_on_standard_error() -> Result {
    let files = Scratch::new()?;
    let trace = files.join("trace");
    let source = files.write(
        "one.c",
        "#include <sys/socket.h>\nint main(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0; }\n",
    )?;
    let program = compile("cc", &source, &[])?;
    let line = "strace -e trace=write,pwritev2 -o \"$TRACE\" -E LD_PRELOAD=\"$LIBRARY\" -E KA_LOG=stderr \"$PROGRAM\" 2>&1 | cat";
    let said = Program::new("sh")
        .args(["-c", line])
        .env("TRACE", &trace)
        .env("LIBRARY", library()?)
        .env("PROGRAM", &program)
        .succeed()?;
    let said = String::from_utf8(said)?;
    let calls = fs::read_to_string(&trace)?;
    let waits = calls.lines().any(|call| call.starts_with("write(2"));
    let old = calls.contains("EOPNOTSUPP");
    if said.contains("socket fd 3: set keepalive on") && calls.contains("RWF_NOWAIT") && (old || !waits) {
        return Ok(());
    }
    Err(format!("{said}{calls}").into())
}
