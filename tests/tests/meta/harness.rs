//! The harness itself: what it says about a socket and a process must be true, or no other test means anything.

use std::process;

use kashim_tests::{
    Keepalive, Listener, Need, Preload, Program, Result, Trial, library, maps_library, reason_to_ignore,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(options_are_read_from_the_kernel, &[Need::Program("python3")]),
        trial!(sockets_of_descendants_are_found, &[Need::Program("python3")]),
        trial!(the_library_is_seen_in_a_process),
        trial!(the_environment_is_clean),
        trial!(a_missing_need_is_told),
        trial!(nothing_is_left_running, &[Need::Program("setsid")]),
    ]
}

fn options_are_read_from_the_kernel() -> Result {
    let listener = Listener::bind()?;
    let python = "import socket, sys\n\
                  s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                  for line in sys.stdin:\n    exec(line)\n    print('done', line, flush=True)\n";
    let mut python = Program::new("python3")
        .args(["-c", python, &listener.port().to_string()])
        .stdin(process::Stdio::piped())
        .start()?;
    let _connection = listener.accept()?;
    let socket = python.expect(|socket| socket.peer_port() == listener.port(), Keepalive::untouched())?;
    for (options, keepalive) in [
        ("SOL_SOCKET, socket.SO_KEEPALIVE, 1", Keepalive::switched_on()),
        ("IPPROTO_TCP, socket.TCP_KEEPIDLE, 7", Keepalive { idle: 7, ..Keepalive::switched_on() }),
        (
            "IPPROTO_TCP, socket.TCP_KEEPINTVL, 8",
            Keepalive { idle: 7, interval: 8, ..Keepalive::switched_on() },
        ),
        ("IPPROTO_TCP, socket.TCP_KEEPCNT, 3", Keepalive::new(7, 8, 3)),
        (
            "IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4000",
            Keepalive { user_timeout: 4000, ..Keepalive::new(7, 8, 3) },
        ),
        (
            "SOL_SOCKET, socket.SO_KEEPALIVE, 0",
            Keepalive { on: false, user_timeout: 4000, ..Keepalive::new(7, 8, 3) },
        ),
    ] {
        python.write(&format!("s.setsockopt(socket.{options})\n"))?;
        python.wait_for_output(&format!("done s.setsockopt(socket.{options})"))?;
        python.expect(|socket| socket.peer_port() == listener.port(), keepalive)?;
        assert_eq!(socket.keepalive_now()?, keepalive, "the copy is the same socket");
    }
    Ok(())
}

fn sockets_of_descendants_are_found() -> Result {
    let listener = Listener::bind()?;
    let python = format!(
        "import socket, sys; s = socket.create_connection(('127.0.0.1', {})); sys.stdin.read()",
        listener.port()
    );
    let mut shell = Program::new("sh")
        .args(["-c", "python3 -c \"$1\"; true", "sh", &python])
        .stdin(process::Stdio::piped())
        .start()?;
    let _connection = listener.accept()?;
    let socket = shell.expect(|socket| socket.peer_port() == listener.port(), Keepalive::untouched())?;
    assert_ne!(socket.pid, shell.pid());
    drop(shell.stdin());
    shell.output()?.success()?;
    Ok(())
}

fn the_library_is_seen_in_a_process() -> Result {
    for (preload, expected) in [(Preload::No, false), (Preload::OURS, true)] {
        let mut cat = Program::new("cat").preload(preload).stdin(process::Stdio::piped()).start()?;
        // An answer: from here on it is cat, with all that ld.so loads.
        cat.write("hello\n")?;
        cat.wait_for_output("hello")?;
        assert_eq!(maps_library(cat.pid())?, expected);
    }
    Ok(())
}

fn the_environment_is_clean() -> Result {
    let names = |preload| -> Result<Vec<String>> {
        let environment = String::from_utf8(Program::new("env").preload(preload).succeed()?)?;
        Ok(environment.lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect())
    };
    let mut clean = names(Preload::No)?;
    clean.sort();
    assert_eq!(clean, ["HOME", "LANG", "PATH"]);
    let preloaded = String::from_utf8(Program::new("env").preload(Preload::OURS).succeed()?)?;
    let library = format!("LD_PRELOAD={}", library()?.display());
    assert!(preloaded.lines().any(|line| line == library), "{preloaded}");
    assert!(preloaded.lines().any(|line| line == "KA_IDLE=77"), "{preloaded}");
    Ok(())
}

fn a_missing_need_is_told() -> Result {
    let program = [Need::Program("sh"), Need::Program("no-such-program")];
    assert_eq!(reason_to_ignore(&program[..1], true)?, None);
    assert_eq!(reason_to_ignore(&program, false)?.as_deref(), Some("needs no-such-program"));
    assert!(reason_to_ignore(&program, true).is_err());
    let kernel = [Need::Kernel("a feature of the future", || false)];
    for on_ci in [false, true] {
        let reason = reason_to_ignore(&kernel, on_ci)?;
        assert_eq!(reason.as_deref(), Some("needs a kernel with a feature of the future"));
    }
    Ok(())
}

/// Neither a child in the group, nor one in a session of its own, nor one that does not want to end.
fn nothing_is_left_running() -> Result {
    let mut shell = Program::new("sh")
        .arg("-c")
        .arg("sleep 600 & echo $!; setsid sleep 601 & echo $!; trap '' TERM; echo $$; while :; do sleep 602; done")
        .start()?;
    let pids = shell.until("three processes", |shell| {
        let output = String::from_utf8(shell.stdout())?;
        let pids: Vec<i32> = output.lines().flat_map(str::parse).collect();
        Ok((pids.len() == 3 && output.ends_with('\n')).then_some(pids))
    })?;
    drop(shell);
    for pid in pids {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{name} is still there: {stat}");
    }
    Ok(())
}
