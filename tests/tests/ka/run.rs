//! ka-run: everything that its help promises, as the link to ka, and as the script under every shell.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use kashim_policy::middleboxes;
use kashim_tests::{
    Keepalive, Listener, Need, Output, Program, Result, Scratch, Trial, compile, each, find_program, library,
    shell_test, trial, until,
};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};

use kashim_tests::shells::{
    self, LINK, LOADED, Shell, Test, by_each_name, client, client_by, connects_with, defaults, script,
    under_each,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Dynamic, Program as Prog, Root};
    let tests: &[Test] = &[
        shell_test!(settings_reach_the_kernel),
        shell_test!(force),
        shell_test!(log),
        shell_test!(bad_settings_are_refused),
        shell_test!(all_bad_settings_are_told),
        shell_test!(warnings_are_shown),
        shell_test!(bad_commands),
        shell_test!(it_becomes_the_command),
        shell_test!(arguments_arrive_as_they_are, &[Prog("python3")]),
        shell_test!(input_is_left_alone),
        shell_test!(scripts, &[Prog("env")]),
        shell_test!(ld_preload_is_kept, &[Prog("env")]),
        shell_test!(address_sanitizer),
        shell_test!(sanitizers_by_clangs_names),
        shell_test!(musl, &[Prog("musl-gcc")]),
        shell_test!(not_reached),
        shell_test!(not_reached_by_privilege, &[Root, Prog("setcap")]),
        shell_test!(privilege_that_is_no_gain, &[Root, Prog("setcap")]),
        shell_test!(a_program_that_cannot_be_read, &[Root]),
        shell_test!(skipped_programs),
        shell_test!(switched_off),
        shell_test!(a_tcp_connection_on_standard_input),
        shell_test!(check, &[Prog("musl-gcc")]),
        shell_test!(check_runs_nothing, &[Root]),
        shell_test!(list),
        ("demo_python", &[Prog("python3")], |shell| demo(shell, "python3")),
        ("demo_perl", &[Prog("perl")], |shell| demo(shell, "perl")),
        ("demo_busybox", &[Dynamic("busybox")], |shell| demo(shell, "busybox")),
        shell_test!(demo_without_a_program),
        shell_test!(the_library_is_found),
        shell_test!(never_in_the_current_directory),
        shell_test!(a_library_that_does_not_load),
        shell_test!(env_refuses_what_a_form_cannot_write),
        shell_test!(help_and_version),
    ];
    // A shell may change its environment, and needs its tools.
    let of_the_link: &[Test] = &[
        shell_test!(the_environment_is_kept, &[Prog("python3")]),
        shell_test!(signals_and_descriptors_are_the_callers, &[Prog("python3")]),
        shell_test!(nothing_is_started, &[Prog("strace")]),
        shell_test!(without_any_tools),
    ];
    let of_the_shells: &[Test] =
        &[shell_test!(env_for_a_shell), shell_test!(a_checkout_is_built), shell_test!(a_library_alone)];
    let mut trials = by_each_name(tests);
    trials.extend(under_each(&[LINK], of_the_link));
    trials.extend(under_each(&shells::SHELLS, of_the_shells));
    trials.extend([
        trial!(ka_run_is_the_same),
        trial!(shellcheck, &[Prog("shellcheck")]),
        trial!(env_for_systemd, &[Prog("dash"), SYSTEMD]),
        trial!(env_for_pam, &[Root, Prog("dash"), Prog("su"), Prog("unshare"), Prog("cc")]),
    ]);
    trials
}

/// What systemd reads a user's environment with; its `EnvironmentFile=` has the same parser.
const SYSTEMD_PARSER: &str =
    "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator";
const SYSTEMD: Need = Need::Program(SYSTEMD_PARSER);

/// Fails unless `text` contains `part`.
fn contains(text: &str, part: &str) -> Result {
    if text.contains(part) { Ok(()) } else { Err(format!("no {part:?} in:\n{text}").into()) }
}

/// Fails unless the command ended with this status, and said this.
fn ended(output: &Output, status: i32, said: &str) -> Result {
    if output.status.code() != Some(status) {
        return Err(format!("{}, not {status}: {}", output.status, output.stderr).into());
    }
    contains(&output.stderr, said)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn settings_reach_the_kernel(shell: Shell) -> Result {
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Keepalive);
    let values = Keepalive::new;
    let here = "127.0.0.0/8 idle=9";
    let cases: &[Case] = &[
        (&[], &[], defaults()),
        (&["--idle", "5m", "--interval=7", "--count", "3"], &[], values(300, 7, 3)),
        (&["--idle=5m", "--interval", "7s", "--count=3"], &[], values(300, 7, 3)),
        (&["--user-timeout", "30"], &[], Keepalive { user_timeout: 30_000, ..defaults() }),
        (&["--mode", "auto"], &[], defaults()),
        (&["--mode=preload", "--"], &[], defaults()),
        // The last one counts, as everywhere.
        (&["--idle", "5", "--idle", "6"], &[], values(6, 6, 9)),
        // The environment, which --for beats, which an option beats, wherever it stands.
        (&[], &[("KA_IDLE", "44"), ("KA_COUNT", "4")], values(44, 15, 4)),
        (&["--idle", "5"], &[("KA_IDLE", "44"), ("KA_COUNT", "4")], values(5, 5, 4)),
        (
            &["--for", "azure"],
            &[("KA_IDLE", "44"), ("KA_INTERVAL", "4"), ("KA_COUNT", "4")],
            values(90, 15, 9),
        ),
        (&["--for=aws", "--idle", "100"], &[("KA_IDLE", "44")], values(100, 20, 9)),
        (&["--count", "4", "--for", "gcp"], &[], values(240, 30, 4)),
        // Rules: the first that matches counts, and those given here come before those that were there.
        (&["--rule", here], &[], values(9, 9, 9)),
        (&["--rule=:1 off", "--rule", here], &[], values(9, 9, 9)),
        (&["--rule", here, "--rule", "* idle=8"], &[], values(9, 9, 9)),
        (&["--rule", here], &[("KA_RULES", "* idle=8")], values(9, 9, 9)),
        (&["--rule", ":1 off"], &[("KA_RULES", " * idle=8\n")], values(8, 8, 9)),
    ];
    each(cases, |&(options, environment, want)| {
        let stderr = connects_with(want, |port| {
            let mut program = shell.ka_run()?.args(options).arg(client()?).arg(port).preloads_others(LOADED);
            for (name, value) in environment {
                program = program.env(name, value);
            }
            Ok(program)
        })?;
        if stderr.is_empty() { Ok(()) } else { Err(format!("it said: {stderr}").into()) }
    })?;
    // And without ka-run.
    connects_with(Keepalive::untouched(), |port| Ok(Program::new(client()?).arg(port))).map(|_| ())
}

fn force(shell: Shell) -> Result {
    // The client sets 33 itself.
    let run = |options: &[&str], want| {
        connects_with(want, |port| {
            Ok(shell.ka_run()?.args(options).arg(client()?).args([port, "33"]).preloads_others(LOADED))
        })
    };
    run(&[], Keepalive::new(33, 15, 9))?;
    run(&["--force"], defaults())?;
    Ok(())
}

fn log(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let file = scratch.join("a log");
    let to_file = format!("--log={}", file.display());
    let run = |option: &str| {
        connects_with(defaults(), |port| {
            Ok(shell.ka_run()?.arg(option).arg(client()?).arg(port).preloads_others(LOADED))
        })
    };
    contains(&run("--log")?, "set keepalive on, idle 60")?;
    contains(&run("--log=stderr")?, "set keepalive on, idle 60")?;
    assert_eq!(run("--log=off")?, "");
    assert_eq!(run(&to_file)?, "");
    let log = fs::read_to_string(&file)?;
    contains(&log, "set keepalive on, idle 60")?;
    // What ka-run starts for itself is not in the log.
    assert_eq!(log.matches(" loaded ").count(), 1, "{log}");
    Ok(())
}

fn bad_settings_are_refused(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let link = scratch.join("link");
    symlink("target", &link)?;
    let to_link = format!("--log={}", link.display());
    let known = "accepted: azure, aws, gcp, ipvs, swarm, alibaba, firewall, strict";
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case] = &[
        (&["--idle", "5 m"], &[], "KA_IDLE=\"5 m\": has a blank inside; accepted: 1 to 32767 seconds"),
        (&["--idle", "5 m"], &[], "(from --idle)"),
        (&["--idle=10h"], &[], "too large"),
        (&["--idle="], &[], "--idle needs a value"),
        (&["--idle", ""], &[], "--idle needs a value"),
        (&["--idle", "--interval"], &[], "KA_IDLE=\"--interval\""),
        (&["--interval=-1"], &[], "has a sign"),
        (
            &["--count", "128"],
            &[],
            "KA_COUNT=\"128\": too large; accepted: 1 to 127 or system (from --count)",
        ),
        (&["--user-timeout", "x"], &[], "KA_USER_TIMEOUT=\"x\""),
        (&["--rule", "example.com off"], &[], "KA_RULES rule 1 \"example.com off\""),
        (&["--rule", "* off", "--rule=nonsense"], &[], "KA_RULES rule 2 \"nonsense\""),
        (&["--rule", ""], &[], "--rule needs a value"),
        (&["--for", "nowhere"], &[], known),
        (&["--for", ""], &[], "--for needs a value"),
        (&["--for", "azure 240"], &[], known),
        (&["--log=somewhere"], &[], "not a place to log to; accepted: off, stderr or an absolute path"),
        (&["--log=some/where"], &[], "a relative path"),
        (&["--log=/no-such-directory/file"], &[], "its directory does not exist"),
        (&["--log=/"], &[], "a directory"),
        (&[&to_link], &[], "a symbolic link"),
        (&["--mode", "supervise"], &[], "no such mode"),
        (&["--mode=other"], &[], "accepted: auto, preload, cgroup"),
        (&["--env=xml"], &[], "accepted: sh, crontab, systemd, environment"),
        (&["--nonsense"], &[], "no such option: \"--nonsense\""),
        (&["--force=1"], &[], "no such option"),
        (&["-x"], &[], "no such option"),
        (&["--bell\u{7}"], &[], "\"--bell\\x07\""),
        (&[], &[("KA_IDLE", "abc")], "KA_IDLE=\"abc\": not a whole number"),
        (&[], &[("KA_FORCE", "maybe")], "KA_FORCE=\"maybe\""),
        (&[], &[("KA_RULES", "10.0.0.0/33 off")], "KA_RULES rule 1"),
        (&[], &[("KA_LOG", "somewhere")], "KA_LOG=\"somewhere\": not a place to log to"),
        (&[], &[("KA_SKIP", "/usr/bin/true")], "KA_SKIP=\"/usr/bin/true\""),
        // Whatever is left alone.
        (&[], &[("KA_SKIP", "true"), ("KA_IDLE", "abc")], "KA_IDLE=\"abc\""),
        (&[], &[("KA_SKIP", "true:cat:env:sh:dash:busybox"), ("KA_IDLE", "abc")], "KA_IDLE=\"abc\""),
    ];
    each(cases, |&(options, environment, said)| {
        let place = Scratch::new()?;
        let touched = place.join("touched");
        let mut program = shell.ka_run()?.args(options).arg("touch").arg(&touched);
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let output = program.run()?;
        ended(&output, 125, said)?;
        if let Some(line) = output.stderr.lines().find(|line| !line.starts_with("ka-run: ")) {
            return Err(format!("not by ka-run: {line}").into());
        }
        // It does not happen that another value is used: nothing was run.
        if touched.exists() || output.stderr.contains("; using") {
            return Err("the command was run".into());
        }
        Ok(())
    })
}

fn all_bad_settings_are_told(shell: Shell) -> Result {
    let output = shell
        .ka_run()?
        .args(["--idle", "x", "--count=0", "--log=y", "true"])
        .env("KA_FORCE", "z")
        .env("KA_RULES", "! off; * idle=no")
        .run()?;
    for said in [
        "KA_IDLE=\"x\"",
        "KA_COUNT=\"0\"",
        "KA_LOG=\"y\"",
        "KA_FORCE=\"z\"",
        "rule 1",
        "rule 2",
        "nothing was run",
    ] {
        ended(&output, 125, said)?;
    }
    Ok(())
}

fn warnings_are_shown(shell: Shell) -> Result {
    let warnings = |options: &[&str]| -> Result<String> {
        let output = shell.ka_run()?.args(options).arg("true").run()?;
        ended(&output, 0, "")?;
        Ok(output.stderr)
    };
    contains(&warnings(&["--count", "1"])?, "ka-run: warning: count 1")?;
    contains(&warnings(&["--idle", "5", "--interval", "10"])?, "ka-run: warning: interval 10 above idle 5")?;
    contains(&warnings(&["--for", "strict"])?, "two-minute outage")?;
    assert_eq!(warnings(&["--for", "azure"])?, "");
    Ok(())
}

fn bad_commands(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let plain = scratch.write("plain", "#!/bin/sh\n")?;
    let broken = scratch.write_program("broken", "#!/nonexistent/interpreter -x\n")?;
    let directory = scratch.path().to_string_lossy().into_owned();
    let plain = plain.to_string_lossy().into_owned();
    let broken = broken.to_string_lossy().into_owned();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 125, "which command?"),
        (&["--"], 125, "which command?"),
        (&["--idle"], 125, "--idle needs a value"),
        (&["--list", "true"], 125, "--list takes no command"),
        (&["no-such-program"], 127, "\"no-such-program\" is not in the PATH"),
        (&["--", "--no-such-program"], 127, "\"--no-such-program\" is not in the PATH"),
        (&["/nonexistent/program"], 127, "there is no such file"),
        (&[""], 127, "empty"),
        // No command, though every shell has it.
        (&["unset"], 127, "the shell has it built in"),
        (&["kr_say"], 127, ""),
        (&[&directory], 126, "a directory"),
        (&[&plain], 126, "you may not execute it"),
        (&["plain"], 126, "you may not execute it"),
        (&[&broken], 127, "its interpreter is missing: /nonexistent/interpreter"),
    ];
    each(cases, |&(arguments, status, said)| {
        let path = format!("{directory}:/usr/bin:/bin");
        ended(&shell.ka_run()?.env("PATH", path).args(arguments).run()?, status, said)
    })?;
    // Nothing is wrong with looking for one.
    for (command, why) in [("no-such-program", "not in the PATH"), (&plain, "you may not execute it")] {
        let output = shell.ka_run()?.args(["--check", command]).run()?;
        ended(&output, 1, "")?;
        contains(&text(&output), why)?;
    }
    Ok(())
}

fn it_becomes_the_command(shell: Shell) -> Result {
    let sh = |script: &str| -> Result<(i32, Output)> {
        let running = shell.ka_run()?.args(["sh", "-c", script]).start()?;
        Ok((running.pid(), running.output()?))
    };
    let (pid, output) = sh("echo $$")?;
    assert_eq!(text(&output), format!("{pid}\n"));
    for status in [0, 1, 42, 125, 126, 127, 255] {
        let (_, output) = sh(&format!("exit {status}"))?;
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(output.stderr, "");
    }
    let (_, output) = sh("kill -TERM $$")?;
    assert_eq!(output.status.signal(), Some(15));
    Ok(())
}

fn arguments_arrive_as_they_are(shell: Shell) -> Result {
    let arguments: Vec<&OsStr> = [
        "", " ", "a b", " a ", "\n", "a\n", "\n\n", "a\nb", "\t", "*", "?", "[a]", "/*", "-x", "--idle",
        "--idle=5", "--", "--help", "'", "\"", "a'b\"c", "\\", "\\n", "a\\", "$HOME", "${x}", "$(id)",
        "`id`", "!", "!!", "~", "#", "a=b", ";", "&", "|", "<", ">", "(", "{a,b}", "%s", "%", "é", "\u{1}",
        "\r", "",
    ]
    .map(OsStr::new)
    .into_iter()
    .chain([OsStr::from_bytes(b"\xff\xfe"), OsStr::from_bytes(b"a\x80")])
    .collect();
    let print =
        "import os, sys; sys.stdout.buffer.write(b''.join(os.fsencode(a) + b'\\0' for a in sys.argv[1:]))";
    let output = shell.ka_run()?.args(["--idle", "5", "python3", "-c", print]).args(&arguments).succeed()?;
    let arrived: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
    let sent: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).chain([&b""[..]]).collect();
    assert_eq!(arrived, sent);
    // The command's own name, too.
    let scratch = Scratch::new()?;
    for name in ["a b", "-x", "--idle=5", "a\nb", "*", "$x", "a'b", "a=b", "é", "#"] {
        fs::copy(find_program("true").ok_or("no true")?, scratch.join(name))?;
        let here = |command: &str| {
            let path = format!("{}:/usr/bin:/bin", scratch.path().display());
            Ok::<_, kashim_tests::Failed>(shell.ka_run()?.env("PATH", path).args(["--", command]))
        };
        here(name)?.succeed()?;
        here(&format!("./{name}"))?.directory(scratch.path()).succeed()?;
    }
    // And its path, which need not be UTF-8.
    let place = scratch.join(OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&place)?;
    let name = OsStr::from_bytes(b"n\x80");
    fs::copy(find_program("true").ok_or("no true")?, place.join(name))?;
    shell.ka_run()?.arg(place.join(name)).succeed()?;
    let mut path = place.into_os_string();
    path.push(":/usr/bin:/bin");
    for action in [&[][..], &["--check"]] {
        shell.ka_run()?.env("PATH", &path).args(action).arg(name).succeed()?;
    }
    Ok(())
}

fn input_is_left_alone(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = scratch.write("content", &content)?;
    let output =
        shell.ka_run()?.args(["--for", "azure", "--rule", ":1 off", "cat"]).stdin(fs::File::open(file)?);
    assert!(output.succeed()? == content, "the command got another input");
    Ok(())
}

/// What env(1) -0 prints, without what bash puts in by itself: `_`, and a `SHLVL` where there was none.
fn variables(output: Vec<u8>) -> Vec<String> {
    let mut variables: Vec<String> = String::from_utf8_lossy(&output)
        .split_terminator('\0')
        .filter(|variable| !variable.starts_with("_=") && *variable != "SHLVL=0")
        .map(str::to_owned)
        .collect();
    variables.sort();
    variables
}

/// Byte for byte and in the same order, also what no shell would hand on.
fn the_environment_is_kept(shell: Shell) -> Result {
    // It starts its arguments with an environment that is given, entry by entry, as hexadecimal digits.
    let start = "import ctypes, sys
entries = [bytes.fromhex(entry) for entry in sys.argv[1].split(',') if entry]
words = [word.encode() for word in sys.argv[2:]]
libc = ctypes.CDLL(None)
libc.execve(words[0], (ctypes.c_char_p * (len(words) + 1))(*words, None),
            (ctypes.c_char_p * (len(entries) + 1))(*entries, None))
sys.exit('execve')";
    let run = |entries: &[&[u8]], words: &[&str]| -> Result<Vec<u8>> {
        let hexadecimal = |entry: &&[u8]| entry.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let entries = entries.iter().map(hexadecimal).collect::<Vec<_>>().join(",");
        Program::new("python3").args(["-c", start]).arg(entries).args(words).succeed()
    };
    let ka_run = shells::ka_run()?.to_string_lossy().into_owned();
    let cat = ["/bin/cat", "/proc/self/environ"];
    let preload = [b"LD_PRELOAD=", library()?.as_os_str().as_bytes()].concat();
    let given: &[&[u8]] = &[
        b"discovery.type=single node\nand more",
        b"BASH_FUNC_f%%=() { :; }",
        b"KA_IDLE=1",
        b"a-b=",
        b"=x",
        b"nothing at all",
        b"IFS=x",
        b"SHLVL=7",
        b"PWD=/nowhere",
        b"bytes=\xff\xfe",
        b"\xff=\xfe",
        b"twice=1",
        b"twice=2",
        b"KA_OTHER=kept",
        b"KA_COUNT=7",
        b"_=kept",
    ];
    let mut expected: Vec<&[u8]> = given.to_vec();
    expected[2] = b"KA_IDLE=5m";
    expected.push(&preload);
    let joined = |entries: &[&[u8]]| {
        entries.iter().flat_map(|entry| [entry, &b"\0"[..]].concat()).collect::<Vec<u8>>()
    };
    // The way there is right.
    assert_eq!(run(given, &cat)?, joined(given));
    let words = [&[ka_run.as_str(), "--idle", "5m"][..], &cat].concat();
    let found = run(given, &words)?;
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&joined(&expected)));
    // With nothing at all.
    let found = run(&[], &words)?;
    assert_eq!(found, joined(&[b"KA_IDLE=5m", &preload]));
    assert!(!shell.is_shell());
    Ok(())
}

/// What Rust's runtime changes before `main` is as it was.
fn signals_and_descriptors_are_the_callers(_: Shell) -> Result {
    let ka_run = shells::ka_run()?.to_string_lossy().into_owned();
    let state = "grep -E '^Sig(Ign|Blk)' /proc/self/status; ls -l /proc/self/fd | sed -n 's/.* \\([0-9]\\) -> .*/\\1/p' | head -n 3";
    // Python starts the words with this disposition of SIGPIPE, SIGUSR1 blocked, and these descriptors closed.
    let start = "import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_IGN if sys.argv[1] == 'ignore' else signal.SIG_DFL)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for descriptor in sys.argv[2]:
    os.close(int(descriptor))
os.execv(sys.argv[3], sys.argv[3:])";
    for pipe in ["ignore", "default"] {
        for closed in ["", "0", "2", "02"] {
            let run = |words: &[&str]| -> Result<String> {
                let program = Program::new("python3").args(["-c", start, pipe, closed]).args(words);
                Ok(String::from_utf8_lossy(&program.succeed()?).into_owned())
            };
            let look = ["/bin/sh", "-c", state];
            let expected = run(&look)?;
            let found = run(&[&[ka_run.as_str()][..], &look].concat())?;
            assert_eq!(found, expected, "SIGPIPE: {pipe}, closed: {closed}");
        }
    }
    Ok(())
}

/// One execve is ours, one is the command's, and there is no process in between.
fn nothing_is_started(_: Shell) -> Result {
    let scratch = Scratch::new()?;
    let log = scratch.join("log");
    let program = Program::new("strace").args(["-f", "-e", "trace=process", "-o"]).arg(&log);
    program.arg(shells::ka_run()?).args(["--idle", "5", "--log=off", "true"]).succeed()?;
    let log = fs::read_to_string(log)?;
    let calls = |name: &str| log.lines().filter(|line| line.contains(&format!("{name}("))).count();
    assert_eq!(calls(" execve"), 2, "{log}");
    for call in ["fork", "clone", "clone3"] {
        assert_eq!(calls(call), 0, "{log}");
    }
    Ok(())
}

fn without_any_tools(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let ka_run = || Ok::<_, kashim_tests::Failed>(shell.ka_run()?.env("PATH", scratch.path()));
    let stderr =
        connects_with(defaults(), |port| Ok(ka_run()?.arg(client()?).arg(port).preloads_others(LOADED)))?;
    assert_eq!(stderr, "");
    refuses(ka_run, &client_by("cc", &["-static"])?, "statically linked")?;
    let script =
        scratch.write_program("script", &format!("#!/bin/sh\nexec {} \"$@\"\n", client()?.display()))?;
    connects_with(defaults(), |port| Ok(ka_run()?.arg(&script).arg(port).preloads_others(LOADED)))?;
    ended(&ka_run()?.args(["--idle=x", "/bin/true"]).run()?, 125, "KA_IDLE=\"x\"")
}

fn ka_run_is_the_same() -> Result {
    let by_name = |words: &[&str]| -> Result<(Option<i32>, String, String)> {
        let output = Program::new(kashim_tests::ka()?).arg("run").args(words).run()?;
        Ok((output.status.code(), text(&output), output.stderr))
    };
    shells::ka_run()?;
    each(
        &[
            &["--idle", "5", "sh", "-c", "echo $KA_IDLE $LD_PRELOAD; exit 7"][..],
            &["--idle", "x", "true"],
            &["--nonsense"],
            &["no-such-program"],
            &["--check", "ls"],
            &["--env", "--for", "aws"],
            &["--list"],
            &["--help"],
        ],
        |words| {
            let output = LINK.ka_run()?.args(*words).run()?;
            let link = (output.status.code(), text(&output), output.stderr);
            let ka = by_name(words)?;
            if link == ka { Ok(()) } else { Err(format!("{link:?} {ka:?}").into()) }
        },
    )
}

fn scripts(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let client = client()?;
    let client = client.display();
    // Each is run as `SCRIPT PORT`.
    let cases = [
        ("plain", format!("#!/bin/sh\nexec {client} \"$@\"\n")),
        ("blanks", format!("#! \t/bin/sh -u\nexec {client} \"$@\"\n")),
        ("env", format!("#!/usr/bin/env sh\nexec {client} \"$@\"\n")),
        ("split", format!("#!/usr/bin/env -S A=1 sh -u\nexec {client} \"$@\"\n")),
        ("none", format!("exec {client} \"$@\"\n")),
        ("chain", format!("#!{}\n", scratch.join("plain").display())),
    ];
    for (name, content) in &cases {
        scratch.write_program(name, content)?;
    }
    // As an interpreter it gets the script's name first.
    scratch.write_program("plain", &format!("#!/bin/sh\nfor port; do :; done\nexec {client} \"$port\"\n"))?;
    each(&cases.map(|(name, _)| name), |name| {
        connects_with(defaults(), |port| {
            Ok(shell.ka_run()?.arg(scratch.join(name)).arg(port).preloads_others(LOADED))
        })
        .map(|_| ())
    })
}

fn ld_preload_is_kept(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    // Any library will do: it is their names that count.
    let source = scratch.write("empty.c", "")?;
    let empty = compile("cc", &source, &["-shared", "-fPIC", "-Wno-pedantic"])?;
    let other = |name: &str| -> Result<String> {
        let path = scratch.join(name);
        fs::copy(&empty, &path)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (a, b) = (other("liba.so")?, other("libb.so")?);
    let (asan, clang) = (other("libasan.so.8")?, other("libclang_rt.tsan-x86_64.so")?);
    let another = other("libkashim.so")?;
    let ours = library()?.display();
    let cases = [
        (String::new(), format!("{ours}")),
        (a.clone(), format!("{ours}:{a}")),
        (format!("{a}:{b}"), format!("{ours}:{a}:{b}")),
        (format!("{a} {b} "), format!("{ours}:{a}:{b}")),
        (format!("::{a}::"), format!("{ours}:{a}")),
        // One is enough.
        (format!("{a}:{ours}"), format!("{ours}:{a}")),
        (format!("{another}:{a}"), format!("{ours}:{a}")),
        (asan.clone(), format!("{asan}:{ours}")),
        (format!("{a}:{asan}:{b}"), format!("{asan}:{ours}:{a}:{b}")),
        (format!("{clang}:{a}"), format!("{clang}:{ours}:{a}")),
        (format!("{asan}:{a}:{clang}"), format!("{asan}:{clang}:{ours}:{a}")),
    ];
    each(&cases, |(before, after)| {
        let found = variables(shell.ka_run()?.env("LD_PRELOAD", before).args(["env", "-0"]).succeed()?);
        let expected = format!("LD_PRELOAD={after}");
        if found.contains(&expected) { Ok(()) } else { Err(format!("not {expected}: {found:?}").into()) }
    })
}

fn address_sanitizer(shell: Shell) -> Result {
    let program = client_by("cc", &["-fsanitize=address"])?;
    // By itself, the preload stops it.
    let plain = Program::new(&program).arg("1").env("LD_PRELOAD", library()?).run()?;
    contains(&plain.stderr, "does not come first")?;
    connects_with(defaults(), |port| Ok(shell.ka_run()?.arg(&program).arg(port).preloads_others(LOADED)))?;
    // Named already, in its right place.
    let runtime = Program::new("cc").arg("-print-file-name=libasan.so").succeed()?;
    let runtime = fs::canonicalize(OsStr::from_bytes(runtime.trim_ascii()))?;
    connects_with(defaults(), |port| {
        let program = shell.ka_run()?.env("LD_PRELOAD", &runtime).arg(&program).arg(port);
        Ok(program.preloads_others(LOADED))
    })?;
    Ok(())
}

fn sanitizers_by_clangs_names(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let source = scratch.write("runtime.c", "int runtime(void);\nint runtime(void) { return 0; }\n")?;
    for name in
        ["libclang_rt.asan-x86_64.so", "libclang_rt.ubsan_standalone.so", "libtsan.so.2", "liblsan.so.0"]
    {
        let soname = format!("-Wl,-soname,{name}");
        let runtime = scratch.join(name);
        fs::copy(compile("cc", &source, &["-shared", "-fPIC", &soname])?, &runtime)?;
        let directory = scratch.path().to_string_lossy().into_owned();
        let rpath = format!("-Wl,--no-as-needed,-rpath,{directory}");
        let program = client_by("cc", &[&rpath, &runtime.to_string_lossy()])?;
        let output = shell.ka_run()?.arg("--check").arg(&program).run()?;
        ended(&output, 0, "")?;
        contains(&text(&output), &format!("preload   {}:{}\n", runtime.display(), library()?.display()))?;
        connects_with(defaults(), |port| {
            Ok(shell.ka_run()?.arg(&program).arg(port).preloads_others(LOADED))
        })?;
    }
    Ok(())
}

fn musl(shell: Shell) -> Result {
    let program = client_by("musl-gcc", &[])?;
    let stderr = connects_with(defaults(), |port| {
        Ok(shell.ka_run()?.arg(&program).arg(port).preloads_others(LOADED))
    })?;
    assert_eq!(stderr, "");
    Ok(())
}

/// Runs a program by ka-run and with `--check`, neither of which may run it, and compares the reason that they give.
fn refuses(program: impl Fn() -> Result<Program>, command: &Path, why: &str) -> Result {
    let output = program()?.args(["--mode", "preload"]).arg(command).arg("1").run()?;
    ended(&output, 125, why)?;
    contains(&output.stderr, "nothing was run")?;
    // The client would have complained about port 1.
    if output.stderr.contains("client:") {
        return Err("it was run".into());
    }
    let output = program()?.arg("--check").args(["--mode", "preload"]).arg(command).run()?;
    ended(&output, 1, "")?;
    contains(&text(&output), "NOT reached: ")?;
    contains(&text(&output), why)
}

/// Proves that the program has no keepalive under a plain preload.
fn is_not_reached(command: &Path, user: Option<&str>) -> Result {
    connects_with(Keepalive::untouched(), |port| {
        let program = Program::new(command).arg(port).env("LD_PRELOAD", library()?);
        match user {
            Some(user) => program.user(user),
            None => Ok(program),
        }
    })
    .map(|_| ())
}

/// A copy of a program, changed.
fn changed(from: &Path, to: PathBuf, change: impl FnOnce(&mut Vec<u8>)) -> Result<PathBuf> {
    let mut bytes = fs::read(from)?;
    change(&mut bytes);
    fs::write(&to, bytes)?;
    fs::set_permissions(&to, Permissions::from_mode(0o755))?;
    Ok(to)
}

fn not_reached(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let dynamic = client()?;
    let statically = client_by("cc", &["-static"])?;
    let pie = client_by("cc", &["-static-pie"])?;
    let go = client_by("cc", &["-DGO"])?;
    let static_go = client_by("cc", &["-DGO", "-static"])?;
    // The machine and the class in the ELF header.
    let machine = changed(&dynamic, scratch.join("machine"), |b| b[18] ^= 0x55)?;
    let class = changed(&dynamic, scratch.join("class"), |b| b[4] ^= 3)?;
    let order = changed(&dynamic, scratch.join("order"), |b| b[5] ^= 3)?;
    let sudo = changed(&dynamic, scratch.join("sudo"), |_| ())?;
    let foreign = changed(&dynamic, scratch.join("foreign"), |b| {
        let at = b.windows(7).position(|w| w == b"/lib64/" || w == b"/lib/ld").expect("a loader");
        b[at + 1] = b'L';
    })?;
    let interpreted = |name: &str, line: &str| scratch.write_program(name, &format!("#!{line}\n"));
    let by_static = interpreted("by-static", &statically.to_string_lossy())?;
    let by_chain = interpreted("by-chain", &format!("{} -x", by_static.display()))?;
    let by_env = interpreted("by-env", &format!("/usr/bin/env -S -v {} -x", go.display()))?;
    let clears = interpreted("clears", "/usr/bin/env -S -i sh")?;
    let cases: &[(&Path, &str)] = &[
        (&statically, "statically linked"),
        (&pie, "statically linked"),
        (&go, "a Go program"),
        (&static_go, "a Go program"),
        (&machine, "another architecture"),
        (&class, "another architecture"),
        (&order, "another architecture"),
        (&sudo, "sudo ka-run COMMAND"),
        (&by_static, "statically linked"),
        (&by_chain, "statically linked"),
        (&by_env, "a Go program"),
        (&clears, "clears the environment"),
    ];
    each(cases, |&(command, why)| refuses(|| shell.ka_run(), command, why))?;
    // The chain is named.
    let chain = format!("{} -> {} -> {}", by_chain.display(), by_static.display(), statically.display());
    ended(&shell.ka_run()?.args(["--mode=preload"]).arg(&by_chain).run()?, 125, &chain)?;
    ended(&shell.ka_run()?.arg(&foreign).run()?, 127, "its loader is missing: /L")?;
    // By name, through the path.
    let path = format!("{}:/usr/bin:/bin", scratch.path().display());
    let by_name = shell.ka_run()?.env("PATH", path).args(["--mode=preload", "by-static"]);
    ended(&by_name.run()?, 125, "statically linked")?;
    is_not_reached(&statically, None)?;
    is_not_reached(&pie, None)?;
    // As the message says: what such a program starts can be reached.
    connects_with(Keepalive::untouched(), |port| Ok(shell.ka_run()?.arg("env").arg(&statically).arg(port)))?;
    Ok(())
}

/// A copy of the client that belongs to this user, with these permissions.
fn owned_by(scratch: &Scratch, name: &str, user: u32, group: u32, mode: u32) -> Result<PathBuf> {
    let path = changed(&client()?, scratch.join(name), |_| ())?;
    chown(&path, Some(user), Some(group))?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(path)
}

fn with_capability(scratch: &Scratch) -> Result<PathBuf> {
    let path = changed(&client()?, scratch.join("capable"), |_| ())?;
    Program::new("setcap").arg("cap_net_raw+ep").arg(&path).succeed()?;
    Ok(path)
}

fn not_reached_by_privilege(shell: Shell) -> Result {
    const NOBODY: u32 = 65534;
    let scratch = Scratch::new()?;
    let setuid = owned_by(&scratch, "setuid", NOBODY, 0, 0o4755)?;
    let setgid = owned_by(&scratch, "setgid", 0, NOBODY, 0o2755)?;
    let as_root = owned_by(&scratch, "as-root", 0, 0, 0o4755)?;
    let capable = with_capability(&scratch)?;
    let script = scratch.write_program("script", &format!("#!{}\n", setuid.display()))?;
    let cases: &[(&Path, Option<&str>, &str)] = &[
        (&setuid, None, "it is setuid"),
        (&setgid, None, "it is setgid"),
        (&script, None, "it is setuid"),
        (&as_root, Some("nobody"), "it is setuid"),
        (&capable, Some("nobody"), "it has file capabilities"),
    ];
    each(cases, |&(command, user, why)| {
        let program = || match user {
            Some(user) => shell.ka_run()?.user(user),
            None => shell.ka_run(),
        };
        refuses(program, command, why)?;
        if command == script { Ok(()) } else { is_not_reached(command, user) }
    })
}

fn privilege_that_is_no_gain(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let as_root = owned_by(&scratch, "as-root", 0, 0, 0o4755)?;
    // Without the right to execute for its group, the bit means something else.
    let locking = owned_by(&scratch, "locking", 0, 65534, 0o2705)?;
    for (command, note) in
        [(as_root, "is setuid"), (with_capability(&scratch)?, "has file capabilities"), (locking, "")]
    {
        let output = shell.ka_run()?.arg("--check").arg(&command).run()?;
        ended(&output, 0, "")?;
        contains(&text(&output), note)?;
        connects_with(defaults(), |port| {
            Ok(shell.ka_run()?.arg(&command).arg(port).preloads_others(LOADED))
        })?;
    }
    Ok(())
}

fn a_program_that_cannot_be_read(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let command = owned_by(&scratch, "unreadable", 0, 0, 0o711)?;
    let output = shell.ka_run()?.user("nobody")?.arg("--check").arg(&command).run()?;
    ended(&output, 3, "")?;
    contains(&text(&output), "cannot tell: you may not read it")?;
    let stderr = connects_with(defaults(), |port| {
        shell.ka_run()?.arg(&command).arg(port).preloads_others(LOADED).user("nobody")
    })?;
    contains(&stderr, "warning: cannot tell whether the library reaches")
}

fn skipped_programs(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let dynamic = client()?;
    let copy = |name: &str| changed(&dynamic, scratch.join(name), |_| ());
    let (chronyd, named, other) = (copy("chronyd")?, copy("na.med")?, copy("other")?);
    let script = |name: &str, line: &str| {
        scratch.write_program(name, &format!("#!{line}\nexec {} \"$@\"\n", other.display()))
    };
    let skipped = |command: &Path, list: &str| {
        let run = |port: &str| {
            let program = shell.ka_run()?.arg(command).arg(port).env("KA_SKIP", list);
            Ok(program.preloads_others(LOADED))
        };
        let stderr = connects_with(Keepalive::untouched(), run)?;
        contains(&stderr, "running it without keepalive")?;
        let output = shell.ka_run()?.arg("--check").arg(command).env("KA_SKIP", list).run()?;
        ended(&output, 1, "")?;
        contains(&text(&output), "NOT reached")
    };
    skipped(&chronyd, "")?;
    skipped(&named, "na.med")?;
    skipped(&named, " a : na.med :b")?;
    let reached = |command: &Path, list: &str| {
        let run = |port: &str| {
            let program = shell.ka_run()?.arg(command).arg(port).env("KA_SKIP", list);
            Ok(program.preloads_others(LOADED))
        };
        connects_with(defaults(), run).map(|stderr| assert_eq!(stderr, ""))
    };
    for list in ["med:na*:naxmed:true:cat:sh:env", "*", "na.me"] {
        reached(&named, list)?;
    }
    // The name is that of what is executed: the script's, but behind env the interpreter's.
    let plain = script("plain", "/bin/sh")?;
    let by_env = script("by-env", "/usr/bin/env sh")?;
    reached(&plain, "sh")?;
    reached(&by_env, "by-env")?;
    let note = |command: &Path, list: &str| {
        let output = shell.ka_run()?.arg("--check").arg(command).env("KA_SKIP", list).run()?;
        ended(&output, 1, "")
    };
    note(&plain, "plain")?;
    note(&by_env, "sh")
}

fn switched_off(shell: Shell) -> Result {
    for value in ["1", "on", "maybe"] {
        // Whatever else is wrong: this is the emergency switch.
        let run = |port: &str| {
            let program =
                shell.ka_run()?.env("KA_DISABLE", value).env("KA_COUNT", "-1").arg(client()?).arg(port);
            Ok(program.preloads_others(LOADED))
        };
        let stderr = connects_with(Keepalive::untouched(), run)?;
        contains(&stderr, &format!("KA_DISABLE={value} switches kashim off"))?;
        let output = shell.ka_run()?.env("KA_DISABLE", value).args(["--check", "true"]).run()?;
        ended(&output, 1, "")?;
        contains(&text(&output), "NOT reached: KA_DISABLE")?;
    }
    for value in ["", " ", "0", "No"] {
        let run = |port: &str| {
            Ok(shell.ka_run()?.env("KA_DISABLE", value).arg(client()?).arg(port).preloads_others(LOADED))
        };
        assert_eq!(connects_with(defaults(), run)?, "");
    }
    Ok(())
}

fn a_tcp_connection_on_standard_input(shell: Shell) -> Result {
    const WARNING: &str = "warning: standard input is a TCP connection";
    let with = |input: OwnedFd| -> Result<String> {
        let output = shell.ka_run()?.arg("true").stdin(Stdio::from(input)).run()?;
        ended(&output, 0, "")?;
        Ok(output.stderr)
    };
    let server = Listener::bind()?;
    let client = TcpStream::connect(("127.0.0.1", server.port()))?;
    contains(&with(client.into())?, WARNING)?;
    let listener = std::net::TcpListener::bind("[::1]:0");
    if let Ok(listener) = listener {
        let client = TcpStream::connect(listener.local_addr()?)?;
        contains(&with(client.into())?, WARNING)?;
    }
    assert_eq!(with(UnixStream::pair()?.0.into())?, "");
    assert_eq!(with(fs::File::open("/dev/null")?.into())?, "");
    Ok(())
}

fn check(shell: Shell) -> Result {
    for program in [client()?, client_by("musl-gcc", &[])?] {
        let output =
            shell.ka_run()?.args(["--idle", "5m", "--check"]).arg(&program).args(["--idle", "x"]).run()?;
        ended(&output, 0, "")?;
        let said = text(&output);
        for part in
            [": reached\n", "loader    /lib", "idle 300 s, interval 15 s, count 9", "given up after 435 s"]
        {
            contains(&said, part)?;
        }
        contains(&said, &format!("library   {}\n", library()?.display()))?;
    }
    // What the kernel has is asked from the kernel.
    let output = shell
        .ka_run()?
        .args(["--idle=system", "--interval=system", "--count=system", "--check", "true"])
        .run()?;
    ended(&output, 0, "")?;
    let kernel = Keepalive::untouched();
    let total = kernel.idle + kernel.interval * kernel.count;
    contains(
        &text(&output),
        &format!("probed every {} s; a peer that does not answer is given up after {total} s", kernel.idle),
    )?;
    // Without a command: the library and the settings.
    let output = shell.ka_run()?.arg("--check").run()?;
    ended(&output, 0, "")?;
    contains(&text(&output), "idle 60 s")?;
    let output = shell.ka_run()?.args(["--check", "--idle=x"]).run()?;
    ended(&output, 1, "")?;
    contains(&text(&output), "error     KA_IDLE=\"x\"")
}

fn check_runs_nothing(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let ran = scratch.join("ran");
    // A program may bring what the kernel would start as its loader.
    let loader = scratch.write_program("ld-linux.so.2", &format!("#!/bin/sh\n: >'{}'\n", ran.display()))?;
    chown(&loader, Some(65534), Some(65534))?;
    let program = client_by("cc", &[&format!("-Wl,--dynamic-linker={}", loader.display())])?;
    let output = shell.ka_run()?.arg("--check").arg(&program).run()?;
    ended(&output, 3, "")?;
    contains(&text(&output), "cannot tell: its loader ")?;
    assert!(!ran.exists(), "it was run");
    Ok(())
}

fn list(shell: Shell) -> Result {
    let verdicts = |options: &[&str]| -> Result<Vec<(String, String, String)>> {
        let output = shell.ka_run()?.args(options).arg("--list").run()?;
        ended(&output, 0, "")?;
        let said = text(&output);
        contains(&said, "strict does not sit out a two-minute outage")?;
        let mut rows = Vec::new();
        for preset in middleboxes::MIDDLEBOXES {
            let row = said.lines().find(|line| line.starts_with(&format!("{} ", preset.name)));
            let row = row.ok_or_else(|| format!("no {} in:\n{said}", preset.name))?;
            contains(row, &format!(" {} s ", preset.timeout))?;
            contains(row, &format!(" {}/{}/{} ", preset.idle, preset.interval, preset.count))?;
            contains(row, preset.what)?;
            let words: Vec<&str> = row.split_whitespace().collect();
            rows.push((preset.name.to_owned(), words[4].to_owned(), words[5].to_owned()));
        }
        Ok(rows)
    };
    for (idle, interval) in
        [(60, 15), (225, 15), (30, 15), (300, 30), (330, 5), (340, 5), (350, 1), (900, 900), (2, 75)]
    {
        let options = [format!("--idle={idle}"), format!("--interval={interval}")];
        for (preset, (name, theirs, yours)) in
            middleboxes::MIDDLEBOXES.iter().zip(verdicts(&[&options[0], &options[1]])?)
        {
            let word = |idle, interval| match middleboxes::verdict(idle, interval, preset.timeout) {
                middleboxes::Verdict::Yes => "yes",
                middleboxes::Verdict::Risky => "risky",
                middleboxes::Verdict::No => "no",
            };
            assert_eq!(theirs, word(preset.idle, preset.interval), "{name}");
            assert_eq!(yours, word(idle, interval), "{name} with {idle}/{interval}");
        }
    }
    Ok(())
}

/// What the script needs.
const TOOLS: [&str; 2] = ["readlink", "sh"];

/// A directory with the script's tools and these programs, and nothing else, to be a PATH.
fn path_with(scratch: &Scratch, programs: &[&str]) -> Result {
    for name in TOOLS.iter().chain(programs) {
        symlink(find_program(name).ok_or_else(|| format!("no {name}"))?, scratch.join(name))?;
    }
    Ok(())
}

fn demo(shell: Shell, program: &str) -> Result {
    let scratch = Scratch::new()?;
    path_with(&scratch, &[program])?;
    let begun = Instant::now();
    let running = shell
        .ka_run()?
        .args(["--idle", "5m", "--demo"])
        .env("PATH", scratch.path())
        // None of this may spoil it.
        .env("KA_RULES", "127.0.0.0/8 off")
        .env("KA_SKIP", "python3:perl:busybox")
        .env("KA_DISABLE", "0")
        .start()?;
    let group = Pid::from_raw(running.pid()).ok_or("no process")?;
    let output = running.output()?;
    ended(&output, 0, "")?;
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert_eq!(output.stderr, "");
    let said = text(&output);
    contains(&said, &format!("{program} ({}) opens a connection", scratch.join(program).display()))?;
    let (without, with) = said.split_once("2. with it").ok_or("no second half")?;
    contains(without, "timer 00:00000000")?;
    contains(without, "No timer runs")?;
    contains(with, "timer 02:")?;
    // 300 s, less what has passed.
    if !with.contains("it fires in 29") {
        contains(with, "it fires in 300.00 s")?;
    }
    contains(with, "(idle 300 s, interval 15 s, count 9")?;
    until("all processes of the demo to end", || match test_kill_process_group(group) {
        Err(Errno::SRCH) => Ok(Some(())),
        _ => Ok(None),
    })
}

fn demo_without_a_program(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    path_with(&scratch, &[])?;
    let output = shell.ka_run()?.arg("--demo").env("PATH", scratch.path()).run()?;
    ended(&output, 125, "python3, perl or busybox")
}

/// An installed tree, made by hand: `bin/ka-run` and the library somewhere else.
fn tree(shell: Shell, scratch: &Scratch, library_at: &str) -> Result<PathBuf> {
    let place = scratch.join(library_at);
    fs::create_dir_all(scratch.join("bin"))?;
    fs::create_dir_all(place.parent().ok_or("no directory")?)?;
    fs::copy(library()?, place)?;
    shell.put_ka_run(&scratch.join("bin"))
}

fn preloaded(program: Program) -> Result<String> {
    let output = program.args(["sh", "-c", "echo \"$LD_PRELOAD\""]).succeed()?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

fn the_library_is_found(shell: Shell) -> Result {
    let places =
        ["bin/libkashim.so", "lib/libkashim.so", "lib64/libkashim.so", "lib/x86_64-linux-gnu/libkashim.so"];
    each(&places, |place| {
        let scratch = Scratch::new()?;
        let ka_run = tree(shell, &scratch, place)?;
        let expected = scratch.join(place).to_string_lossy().into_owned();
        assert_eq!(preloaded(shell.run(&ka_run))?, expected);
        // By a relative path, by a link somewhere else, by name from where it is, and through the path.
        assert_eq!(preloaded(shell.run("bin/ka-run").directory(scratch.path()))?, expected);
        fs::create_dir_all(scratch.join("elsewhere/bin"))?;
        let link = scratch.join("elsewhere/bin/run");
        symlink("../../bin/ka-run", &link)?;
        let ka_run = scratch.join("elsewhere/bin/ka-run");
        symlink("../../bin/ka", &ka_run)?;
        let path = format!("{}:/usr/bin:/bin", scratch.join("bin").display());
        // What the link is called does not matter to the script.
        let link = if shell.is_shell() { link } else { ka_run };
        assert_eq!(preloaded(shell.run(&link))?, expected);
        if shell.is_shell() {
            assert_eq!(preloaded(shell.run("ka-run").directory(scratch.join("bin")))?, expected);
        }
        let words = if shell.is_shell() { shell.words } else { &["sh"] };
        let by_name = Program::new(words[0]).args(&words[1..]).args(["-c", "exec ka-run \"$@\"", "sh"]);
        assert_eq!(preloaded(by_name.env("PATH", path))?, expected);
        Ok(())
    })?;
    // A path that LD_PRELOAD cannot hold.
    for name in ["a b", "a:b", "a\tb", "$ORIGIN"] {
        let scratch = Scratch::new()?;
        let ka_run = tree(shell, &scratch, &format!("{name}/lib/libkashim.so"))?;
        fs::rename(scratch.join("bin"), scratch.join(name).join("bin"))?;
        let ka_run = scratch.join(name).join("bin").join(ka_run.file_name().ok_or("no name")?);
        ended(&shell.run(ka_run).arg("true").run()?, 125, "LD_PRELOAD cannot name such a file")?;
    }
    Ok(())
}

fn never_in_the_current_directory(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let ka_run = tree(shell, &scratch, "lib/libkashim.so")?;
    fs::remove_dir_all(scratch.join("lib"))?;
    let here = Scratch::new()?;
    fs::copy(library()?, here.join("libkashim.so"))?;
    fs::create_dir(here.join("lib"))?;
    fs::copy(library()?, here.join("lib/libkashim.so"))?;
    ended(&shell.run(ka_run).arg("true").directory(here.path()).run()?, 125, "the library is missing")
}

fn a_checkout_is_built(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let root = scratch.join("check out");
    for directory in ["scripts", "src", "crates"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for file in ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs"] {
        fs::write(root.join(file), "")?;
    }
    fs::copy(script("ka-run"), root.join("scripts/ka-run"))?;
    // A cargo that says how it was called, and builds.
    let cargo = format!(
        "#!/bin/sh\necho \"cargo in $PWD: $*\"\nmkdir -p target/HOST/release\ncp '{}' '{}' target/HOST/release/\n",
        library()?.display(),
        kashim_tests::ka()?.display()
    );
    let bin = scratch.join("bin");
    fs::create_dir(&bin)?;
    scratch.write_program("bin/cargo", &cargo)?;
    scratch.write_program("bin/rustc", "#!/bin/sh\necho host: HOST\n")?;
    // The system may have a cargo of its own.
    let tools = scratch.join("tools");
    fs::create_dir(&tools)?;
    for name in ["sh", "sed", "find", "readlink", "ln", "mkdir", "mv", "cp", "true"] {
        symlink(find_program(name).ok_or_else(|| format!("no {name}"))?, tools.join(name))?;
    }
    let without_cargo = tools.display().to_string();
    let with_cargo = format!("{}:{without_cargo}", bin.display());
    let run = |root: &Path, path: &str| {
        let program = shell.run(root.join("scripts/ka-run")).args(["--check", "true"]);
        program.env("PATH", path).directory("/").run()
    };
    // Where there is none, it says so.
    ended(&run(&root, &without_cargo)?, 125, "there is no cargo here")?;
    // The blank is in the library's path then, so it is refused, but only after it was built.
    let output = run(&root, &with_cargo)?;
    ended(&output, 125, "not built yet, or older than their sources: building them with cargo")?;
    // Where it is looked for, whatever target or directory is configured.
    for package in ["", " -p kashim-ka"] {
        let said = "build --release --target HOST --target-dir target";
        let said = format!("cargo in {}: {said}{package}\n", root.display());
        contains(&output.stderr, &said)?;
    }
    contains(&output.stderr, "LD_PRELOAD cannot name such a file")?;
    let better = scratch.join("checkout");
    fs::rename(&root, &better)?;
    fs::remove_dir_all(better.join("target"))?;
    let output = run(&better, &with_cargo)?;
    ended(&output, 0, "building them")?;
    contains(&text(&output), &better.join("target/HOST/release/libkashim.so").to_string_lossy())?;
    // Once.
    let again = |built: bool| -> Result {
        let output = run(&better, &with_cargo)?;
        ended(&output, 0, "")?;
        if output.stderr.is_empty() != built { Ok(()) } else { Err(output.stderr.into()) }
    };
    again(false)?;
    // And when a source is newer, by seconds: busybox's find knows no parts of them.
    let hours_ago = |hours: u64, file: &str| -> Result {
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        Ok(File::options().write(true).open(better.join(file))?.set_modified(time)?)
    };
    for file in ["src/lib.rs", "Cargo.lock"] {
        for old in ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs"] {
            hours_ago(2, old)?;
        }
        hours_ago(1, "target/ka-run.stamp")?;
        again(false)?;
        fs::write(better.join(file), "")?;
        again(true)?;
        again(false)?;
    }
    // One that fails.
    fs::remove_dir_all(better.join("target"))?;
    scratch.write_program("bin/cargo", "#!/bin/sh\necho no such luck >&2\nexit 1\n")?;
    ended(&run(&better, &with_cargo)?, 125, "cannot build kashim")
}

/// Without ka, what is there can be used all the same.
fn a_library_alone(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let ka_run = tree(shell, &scratch, "lib/libkashim.so")?;
    fs::remove_file(scratch.join("bin/ka"))?;
    let output = shell.run(&ka_run).arg("true").run()?;
    ended(&output, 125, "there is no ka in ")?;
    contains(
        &output.stderr,
        &format!("LD_PRELOAD={} KA_IDLE=60 COMMAND", scratch.join("lib/libkashim.so").display()),
    )
}

fn a_library_that_does_not_load(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let ka_run = tree(shell, &scratch, "lib/libkashim.so")?;
    fs::write(scratch.join("lib/libkashim.so"), "this is no library")?;
    let output = shell.run(ka_run).arg("true").run()?;
    ended(&output, 125, "not a library: it is no ELF file")
}

fn env_for_a_shell(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let log = scratch.join("it's a \"log\" $x");
    let rules = "127.0.0.0/8 idle=9 count=4; [::1]:* off".replace(":* ", " ");
    let printed = shell
        .ka_run()?
        .args(["--idle", "5m", "--rule", &rules, "--env"])
        .env("KA_LOG", &log)
        .env("KA_COUNT", "7")
        .succeed()?;
    let file = scratch.write("env.sh", &printed)?;
    for (form, text) in [
        ("read", format!("set -eu\n. '{0}'\n. '{0}'\n", file.display())),
        ("eval", format!("eval \"$(cat '{0}')\"\neval \"$(cat '{0}')\"\n", file.display())),
    ] {
        let script = scratch.write(form, format!("{text}exec \"$@\"\n"))?;
        let variables = variables(shell.run(&script).args(["env", "-0"]).succeed()?);
        for expected in [
            "KA_IDLE=5m".to_owned(),
            "KA_COUNT=7".to_owned(),
            format!("KA_RULES={rules}"),
            format!("KA_LOG={}", log.display()),
            format!("LD_PRELOAD={}", library()?.display()),
        ] {
            assert!(variables.contains(&expected), "no {expected} in {variables:?}");
        }
        connects_with(Keepalive::new(9, 9, 4), |port| {
            Ok(shell.run(&script).arg(client()?).arg(port).preloads_others(LOADED))
        })?;
        // What was in LD_PRELOAD stays.
        let other = find_library()?;
        let kept = shell.run(&script).args(["sh", "-c", "echo \"$LD_PRELOAD\""]).env("LD_PRELOAD", &other);
        let kept = String::from_utf8_lossy(&kept.succeed()?).trim().to_owned();
        assert_eq!(kept, format!("{}:{other}", library()?.display()));
    }
    // As many people write it.
    let printed = shell.ka_run()?.args(["--idle", "5m", "--env=sh"]).succeed()?;
    let file = scratch.write("plain.sh", printed)?;
    let script = scratch.write("unquoted", format!("eval $(cat '{}')\nexec \"$@\"\n", file.display()))?;
    connects_with(Keepalive::new(300, 15, 9), |port| {
        Ok(shell.run(&script).arg(client()?).arg(port).preloads_others(LOADED))
    })?;
    Ok(())
}

/// Some library that every program can load.
fn find_library() -> Result<String> {
    let scratch = Scratch::new()?;
    let source = scratch.write("nothing.c", "")?;
    Ok(compile("cc", &source, &["-shared", "-fPIC"])?.to_string_lossy().into_owned())
}

fn env_refuses_what_a_form_cannot_write(shell: Shell) -> Result {
    let long = format!("* off;{}", " ".repeat(100)).repeat(20);
    let cases = [
        ("--env=environment", "KA_LOG", "/tmp/#1"),
        ("--env=environment", "KA_LOG", "/tmp/$x"),
        ("--env=environment", "KA_LOG", "/tmp/\"x\""),
        ("--env=crontab", "KA_SKIP", "'a\"b"),
        ("--env=crontab", "KA_SKIP", "a\u{1}b"),
        ("--env=systemd", "KA_SKIP", "a\nb"),
        ("--env=crontab", "KA_RULES", &long),
        ("--env=environment", "KA_RULES", &long),
    ];
    each(&cases, |&(form, name, value)| {
        let output = shell.ka_run()?.arg(form).env(name, value).run()?;
        ended(&output, 125, name)
    })?;
    // A rule per line becomes one line.
    for form in ["--env=crontab", "--env=systemd", "--env=environment"] {
        let output = shell.ka_run()?.arg(form).env("KA_RULES", ":22 off\n:23 off").run()?;
        ended(&output, 0, "")?;
        contains(&text(&output), ":22 off;:23 off")?;
    }
    Ok(())
}

fn env_for_systemd() -> Result {
    let scratch = Scratch::new()?;
    let log = scratch.join("a \"b\" c\\d `e` 'f' #g;h");
    let rules = ":22 off; 10.0.0.0/8 idle=5";
    let shell = shells::SHELLS[0];
    let printed = shell
        .ka_run()?
        .args(["--idle", "5m", "--rule", rules, "--env=systemd"])
        .env("KA_LOG", &log)
        .succeed()?;
    fs::create_dir(scratch.join("environment.d"))?;
    scratch.write("environment.d/50.conf", printed)?;
    let parsed =
        Program::new(SYSTEMD_PARSER).env("XDG_CONFIG_HOME", scratch.path()).env("HOME", scratch.path());
    // It prints for a shell what it has read.
    let parsed = scratch.write("parsed", parsed.succeed()?)?;
    let show = format!("set -a; . '{}'; exec env -0", parsed.display());
    let variables = variables(Program::new("bash").args(["-c", &show]).succeed()?);
    for expected in [
        "KA_IDLE=5m".to_owned(),
        format!("KA_RULES={rules}"),
        format!("KA_LOG={}", log.display()),
        format!("LD_PRELOAD={}", library()?.display()),
    ] {
        assert!(variables.contains(&expected), "no {expected} in {variables:?}");
    }
    Ok(())
}

fn env_for_pam() -> Result {
    let scratch = Scratch::new()?;
    let shell = shells::SHELLS[0];
    let printed =
        shell.ka_run()?.args(["--rule", "127.0.0.1 idle=9; :22 off", "--env=environment"]).succeed()?;
    let file = scratch.write("environment", printed)?;
    // In a mount namespace of its own, so that the machine's file stays as it is.
    let script = "mount --bind \"$1\" /etc/environment && exec su nobody -s /bin/sh -c \"exec $2\"";
    connects_with(Keepalive::new(9, 9, 9), |port| {
        Ok(Program::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&file)
            .arg(format!("{} {port}", client()?.display()))
            .preloads_others(LOADED))
    })?;
    Ok(())
}

fn help_and_version(shell: Shell) -> Result {
    let alone = Scratch::new()?;
    // Without a library, too.
    let ka_run = shell.put_ka_run(alone.path())?;
    let help = text(&shell.run(&ka_run).arg("--help").run()?);
    for option in [
        "--idle",
        "--interval",
        "--count",
        "--user-timeout",
        "--force",
        "--rule",
        "--for",
        "--log",
        "--mode",
        "--check",
        "--env",
        "--demo",
        "--list",
        "--version",
        "--help",
    ] {
        contains(&help, option)?;
    }
    let version = text(&shell.run(&ka_run).arg("--version").run()?);
    assert_eq!(version, format!("ka-run {} (kashim)\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

fn shellcheck() -> Result {
    Program::new("shellcheck")
        .args(["--shell=sh", "--severity=style"])
        .args(["ka-run", "kashim-profile.sh", "install"].map(script))
        .succeed()?;
    // It only finds ka.
    let lines = fs::read_to_string(script("ka-run"))?.lines().count();
    assert!(lines <= 60, "{lines} lines");
    Ok(())
}
