//! `ka check`: what it says about commands and settings, and that it is true.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::OnceLock;

use kashim_tests::{
    Keepalive, Listener, Need, Output, Preload, Program, Result, Scratch, Trial, compile, each, ka, library,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(all_that_ka_run_tells),
        trial!(a_static_program),
        trial!(a_command_that_is_not_there),
        trial!(nothing_is_run),
        trial!(every_bad_setting),
        trial!(a_log_that_cannot_be_written),
        trial!(a_preload_that_is_not_there),
        trial!(strangers),
        trial!(destinations),
        trial!(destinations_as_the_kernel_has_them, &[Need::Program("bash")]),
        trial!(a_name_is_resolved),
        trial!(switched_off),
        trial!(as_a_user, &[Need::Root]),
        trial!(where_the_library_is_found),
        trial!(values_are_those_of_ka_explain),
        trial!(nothing_is_written, &[Need::Program("strace")]),
        trial!(bad_command_lines),
    ]
}

/// `ka`, `ka-run` and the library side by side, as they are installed.
fn installed() -> Result<&'static Scratch> {
    static TREE: OnceLock<Result<Scratch>> = OnceLock::new();
    let build = || {
        let tree = Scratch::new()?;
        Program::new("cp").args([ka()?, library()?]).arg(tree.path()).succeed()?;
        symlink("ka", tree.join("ka-run"))?;
        Ok(tree)
    };
    TREE.get_or_init(build).as_ref().map_err(Clone::clone)
}

/// `ka check ARGUMENTS...` with these variables.
fn check(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Program> {
    let mut program = Program::new(installed()?.join("ka")).arg("check").args(arguments);
    for (name, value) in variables {
        program = program.env(name, value);
    }
    Ok(program)
}

/// Fails unless it ends with this status and says all of that.
fn says(program: Program, status: i32, parts: &[&str]) -> Result<String> {
    let output = program.run()?;
    let text = text(&output);
    let missing = parts.iter().find(|part| !text.contains(*part));
    if output.status.code() != Some(status) || missing.is_some() {
        return Err(format!("{}, missing {missing:?}\n{text}{}", output.status, output.stderr).into());
    }
    Ok(text)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `ka-run --check` is the same by another name.
fn all_that_ka_run_tells() -> Result {
    let variables: [&[(&str, &str)]; 4] = [
        &[],
        &[("KA_IDLE", "5m"), ("KA_RULES", ":22 off")],
        &[("KA_SKIP", "ls"), ("KA_COUNT", "1")],
        &[("KA_IDLE", "x")],
    ];
    each(&variables, |variables| {
        let mut ka_run = Program::new(installed()?.join("ka-run")).args(["--check", "ls"]);
        for (name, value) in *variables {
            ka_run = ka_run.env(name, value);
        }
        let theirs = ka_run.run()?;
        let status = theirs.status.code().unwrap_or(-1);
        let ours = says(check(variables, &["ls", "-l", "--all"])?, status, &["ls: ", "library", "settings"])?;
        if ours == text(&theirs) { Ok(()) } else { Err(format!("{ours}{}", text(&theirs)).into()) }
    })
}

/// What is in force is the same as for `ka explain`, also with a user timeout, which ends a connection sooner.
fn values_are_those_of_ka_explain() -> Result {
    for (values, end) in [("60/15/9", 195), ("60/15/9/5", 75), ("300/30/5/auto", 450), ("2/1/3/10", 10)] {
        let mut parts = values.split('/');
        let names = ["KA_IDLE", "KA_INTERVAL", "KA_COUNT", "KA_USER_TIMEOUT"];
        let variables: Vec<_> = names.into_iter().filter_map(|name| Some((name, parts.next()?))).collect();
        says(check(&variables, &["ls"])?, 0, &[&format!("given up after {end} s\n")])?;
        let explained = Program::new(installed()?.join("ka")).args(["explain", values]);
        says(explained, 0, &[&format!("after {end} s without an answer")])?;
    }
    Ok(())
}

/// Nothing is started, and nothing is opened for writing.
fn nothing_is_written() -> Result {
    let scratch = Scratch::new()?;
    let log = scratch.join("log");
    let traced = Program::new("strace").args(["-f", "-e", "trace=process,open,openat,creat", "-o"]).arg(&log);
    says(traced.arg(installed()?.join("ka")).args(["check", "ls"]), 0, &["ls: reached"])?;
    let log = fs::read_to_string(log)?;
    let bad = ["O_WRONLY", "O_RDWR", "O_CREAT", "creat(", "fork(", "clone(", "clone3("];
    let found: Vec<_> = log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))).collect();
    if log.matches("execve(").count() == 1 && found.is_empty() && log.contains("libkashim.so") {
        return Ok(());
    }
    Err(log.into())
}

fn bad_command_lines() -> Result {
    for words in [&["--nonsense", "ls"][..], &["-x"], &["--idle"], &["--for", "nowhere"], &["--idle", ""]] {
        let output = check(&[], words)?.run()?;
        if output.status.code() != Some(2) || output.stderr.is_empty() {
            return Err(format!("{words:?}: {} {}", output.status, output.stderr).into());
        }
    }
    Ok(())
}

fn a_static_program() -> Result {
    let scratch = Scratch::new()?;
    let source = scratch.write("static.c", "int main(void) { return 0; }\n")?;
    let program = compile("cc", &source, &["-static"])?;
    let program = program.to_str().ok_or("not UTF-8")?;
    says(check(&[], &[program])?, 1, &["NOT reached", "statically linked"]).map(drop)
}

fn a_command_that_is_not_there() -> Result {
    says(check(&[], &["--", "no-such-command"])?, 1, &["\"no-such-command\" is not in the PATH"])?;
    says(check(&[], &["/etc/passwd"])?, 1, &["you may not execute it"]).map(drop)
}

fn nothing_is_run() -> Result {
    let scratch = Scratch::new()?;
    let mark = scratch.join("mark");
    let script = scratch.write_program("script", &format!("#!/bin/sh\n: > {}\n", mark.display()))?;
    says(check(&[], &[script.to_str().ok_or("not UTF-8")?])?, 0, &["reached", "script"])?;
    if mark.exists() { Err("the command was run".into()) } else { Ok(()) }
}

/// All are told, with what the library uses instead, and the command is looked at all the same.
fn every_bad_setting() -> Result {
    let variables = [
        ("KA_IDLE", "5 m"),
        ("KA_COUNT", "0"),
        ("KA_RULES", ":22 off; db.example.com off; 10.0.0.0/8 idle=20 count=1; :0 off"),
        ("KA_LOG", "log"),
    ];
    let text = says(
        check(&variables, &["ls"])?,
        1,
        &[
            "ls: reached",
            "idle 60 s, interval 15 s, count 9, user timeout off, 2 rules",
            "  error     KA_IDLE=\"5 m\": has a blank inside; accepted: ",
            "; using 60\n",
            "  error     KA_COUNT=\"0\": too small; ",
            "  error     KA_RULES rule 2 \"db.example.com off\": host names are not looked up; ",
            "  error     KA_RULES rule 4 \":0 off\": not a port; ",
            "  error     KA_LOG=\"log\": not a place to log to; ",
            "  warning   rule 3: count 1: one lost probe",
        ],
    )?;
    // Nothing twice.
    if text.matches("  error  ").count() == 5 && text.matches("one lost probe").count() == 1 {
        return Ok(());
    }
    Err(text.into())
}

fn a_log_that_cannot_be_written() -> Result {
    let variables = [("KA_LOG", "/no-such-directory/log"), ("KA_COUNT", "0")];
    let parts = [
        "ls: reached",
        "  error     KA_LOG=\"/no-such-directory/log\": its directory does not exist",
        "KA_COUNT=\"0\"",
    ];
    says(check(&variables, &["ls"])?, 1, &parts).map(drop)
}

/// A misspelt name is only warned of: other software has variables that begin so.
fn strangers() -> Result {
    let variables = [("KA_IDEL", "5m"), ("KA_TIMEOUT", "\u{1b}[2J"), ("KA_RKE", "1"), ("KAFKA", "1")];
    let parts = [
        "  warning   KA_IDEL is not read by kashim; is KA_IDLE meant?",
        "  warning   KA_TIMEOUT is not read by kashim; is KA_USER_TIMEOUT meant?",
        "  warning   KA_RKE is not read by kashim\n",
    ];
    let text = says(check(&variables, &["ls"])?, 0, &parts)?;
    if text.contains("KAFKA") { Err(text.into()) } else { Ok(()) }
}

/// A crontab may name a place where the library is not.
fn a_preload_that_is_not_there() -> Result {
    let missing = "/nonexistent/lib/libkashim.so";
    let parts = [&*format!("  warning   LD_PRELOAD names {missing}, which is not there")];
    says(check(&[("LD_PRELOAD", missing)], &["ls"])?, 0, &parts)?;
    let text = says(check(&[("LD_PRELOAD", "/nonexistent/other.so")], &["ls"])?, 0, &["ls: reached"])?;
    if text.contains("not there") { Err(text.into()) } else { Ok(()) }
}

/// The first rule that matches decides, and is called by the number that it has among all.
fn destinations() -> Result {
    let rules =
        "nonsense; 10.1.0.0/16:22 off; 10.0.0.0/8 idle=5m user-timeout=auto; [2001:db8::]/32:1-99 count=3";
    let cases = [
        ("10.1.2.3:22", "10.1.2.3:22: keepalive off (rule 2, \"10.1.0.0/16:22 off\")"),
        (
            "10.1.2.3:23",
            "idle 300 s, interval 15 s, count 9, user timeout auto (rule 3, \"10.0.0.0/8 idle=5m user-timeout=auto\")",
        ),
        (
            "[2001:db8::1]:99",
            "[2001:db8::1]:99: idle 60 s, interval 15 s, count 3, user timeout off (rule 4, ",
        ),
        ("[::ffff:10.9.9.9]:5", "(rule 3, "),
        ("[2001:db8::1]:100", "idle 60 s, interval 15 s, count 9, user timeout off (no rule matches)"),
    ];
    each(&cases, |(to, words)| {
        says(check(&[("KA_RULES", rules)], &["--to", to, "ls"])?, 1, &[words]).map(drop)
    })?;
    // Several at once, without a command, and without rules.
    let parts = ["192.0.2.1:1: ", "192.0.2.2:2: ", "(there are no rules)", "KA_FORCE=1 reverses that"];
    says(check(&[], &["--to", "192.0.2.1:1", "--to=192.0.2.2:2"])?, 0, &parts)?;
    let output = check(&[], &["--to", "192.0.2.1", "ls"])?.run()?;
    let told = output.status.code() == Some(2) && output.stderr.contains("needs a port");
    if told { Ok(()) } else { Err(output.stderr.into()) }
}

/// What it says is what a program gets.
fn destinations_as_the_kernel_has_them() -> Result {
    const RULES: &[(&str, &str)] = &[("KA_RULES", ":1 off; 127.0.0.0/8 idle=33 interval=7 count=4")];
    let server = Listener::bind()?;
    let to = format!("127.0.0.1:{}", server.port());
    says(
        check(RULES, &["--to", &to, "bash"])?,
        0,
        &["idle 33 s, interval 7 s, count 4, user timeout off (rule 2"],
    )?;
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{}; echo connected; read -r line <&3", server.port());
    let mut bash = Program::new("bash").args(["-c", &connect]).preload(Preload::With(RULES)).start()?;
    bash.wait_for_output("connected")?;
    bash.expect(|socket| socket.peer_port() == server.port(), Keepalive::new(33, 7, 4))?;
    Ok(())
}

fn a_name_is_resolved() -> Result {
    let rules = [("KA_RULES", "127.0.0.0/8:5432 off; [::1] off")];
    says(check(&rules, &["--to", "localhost:5432"])?, 0, &[":5432: keepalive off (rule "])?;
    let output = check(&[], &["--to", "no-such-host.invalid:1"])?.run()?;
    let told = output.status.code() == Some(125) && output.stderr.contains("no-such-host.invalid");
    if told { Ok(()) } else { Err(output.stderr.into()) }
}

fn switched_off() -> Result {
    let parts = ["NOT reached: KA_DISABLE=1", "10.0.0.1:1: nothing, because KA_DISABLE is set"];
    says(check(&[("KA_DISABLE", "1")], &["--to", "10.0.0.1:1", "ls"])?, 1, &parts).map(drop)
}

fn as_a_user() -> Result {
    says(check(&[("KA_IDLE", "5m")], &["ls"])?.user("nobody")?, 0, &["ls: reached", "idle 300 s"]).map(drop)
}

/// Next to it; never in the path or the current directory.
fn where_the_library_is_found() -> Result {
    let alone = Scratch::new()?;
    Program::new("cp").arg(ka()?).arg(alone.path()).succeed()?;
    let here = Scratch::new()?;
    Program::new("cp").arg(library()?).arg(here.path()).succeed()?;
    let output = Program::new(alone.join("ka"))
        .args(["check", "ls"])
        .env("PATH", format!("{}:/usr/bin:/bin", here.path().display()))
        .directory(here.path())
        .run()?;
    if output.status.code() == Some(125) && output.stderr.contains("the library is missing") {
        return Ok(());
    }
    Err(format!("{}{}", text(&output), output.stderr).into())
}
