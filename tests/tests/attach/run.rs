//! `ka run --mode`: a command that no preload reaches runs in a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::watcher;
use kashim_tests::ka_helpers::{expect_in, expect_status};
use kashim_tests::{
    Cgroup, Keepalive, Listener, Need, Program, Result, Running, Scratch, Trial, cgroups, compile,
    maps_library, trial, until,
};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        trial(name, &[&cgroups()[..], &[Prog("cc")], needs].concat(), test)
    };
    vec![
        with("a_static_command", &[], a_static_command),
        with("a_command_that_a_preload_reaches", &[], a_command_that_a_preload_reaches),
        with("rules_and_variables_hold", &[], rules_and_variables_hold),
        with(
            "the_environment_and_the_pipes_are_the_callers",
            &[Prog("python3")],
            the_environment_and_the_pipes,
        ),
        with("killed", &[], killed),
        with("killed_at_the_start", &[Prog("sh")], killed_at_the_start),
        with("killed_with_the_outer_cgroup", &[], killed_with_the_outer_cgroup),
        with("the_watcher_sleeps", &[Prog("python3")], the_watcher_sleeps),
        with("what_cannot_be_executed", &[], what_cannot_be_executed),
        with("without_the_right", &[], without_the_right),
        with("in_a_scope_of_systemd", &[Prog("unshare")], in_a_scope_of_systemd),
    ]
}

fn ours() -> Keepalive {
    Keepalive::new(77, 11, 5)
}

/// The client, statically linked or not: it is told a port, and waits.
fn client(flags: &[&str]) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/attach/client.c");
    compile("cc", &source, flags)
}

/// `ka-run`, beside the library under test, with these options and this command.
fn ka_run(options: &[&str], command: &Path) -> Result<Program> {
    let program = Program::new(kashim_tests::shells::ka_run()?);
    Ok(program.args(["--idle", "77", "--interval", "11", "--count", "5"]).args(options).arg(command))
}

/// The cgroups below one.
fn inner(cgroup: &Cgroup) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup.path()).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}

fn until_gone(cgroup: &Cgroup) -> Result {
    until("the command's cgroup to go, and whoever made it", || {
        let processes = fs::read_to_string(cgroup.path().join("cgroup.procs"))?;
        Ok((inner(cgroup).is_empty() && processes.is_empty()).then_some(()))
    })
}

/// Starts the client, and proves that it runs in a cgroup of its own with a connection like this.
fn connects(
    cgroup: &Cgroup,
    program: impl FnOnce(&str) -> Result<Program>,
    want: Keepalive,
) -> Result<Running> {
    let listener = Listener::bind()?;
    let program = program(&listener.port().to_string())?;
    let mut client = cgroup.enter(|| program.start())?;
    client.wait_for_output("connected")?;
    let socket = client.until("the connection", |it| {
        Ok(it.sockets().into_iter().find(|s| s.peer_port() == listener.port()))
    })?;
    if socket.keepalive != want {
        return Err(format!("{socket:?}: {}", client.stderr()).into());
    }
    let own = fs::read_to_string(format!("/proc/{}/cgroup", client.pid()))?;
    expect_in(&own, &format!("{}/kashim-run-{}", cgroup.name(), client.pid()))?;
    assert!(!maps_library(client.pid())?, "preloaded");
    Ok(client)
}

fn a_static_command() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let client = connects(&cgroup, |port| Ok(ka_run(&[], &program)?.arg(port)), ours())?;
    expect_in(&client.stderr(), "statically linked")?;
    expect_in(&client.stderr(), "where a BPF program enables keepalive")?;
    assert_eq!(inner(&cgroup).len(), 1);
    drop(client);
    until_gone(&cgroup)?;
    // Where only a preload is wanted, it is refused, with a word for that.
    let refused = cgroup.enter(|| ka_run(&["--mode", "preload"], &program)?.arg("1").run())?;
    expect_status(&refused, 125)?;
    expect_in(&refused.stderr, "--mode cgroup would reach it")
}

fn a_command_that_a_preload_reaches() -> Result {
    let program = client(&[])?;
    let cgroup = Cgroup::new()?;
    drop(connects(&cgroup, |port| Ok(ka_run(&["--mode=cgroup"], &program)?.arg(port)), ours())?);
    until_gone(&cgroup)
}

fn rules_and_variables_hold() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let off = |port: &str| Ok(ka_run(&["--rule", "127.0.0.1 off"], &program)?.arg(port));
    connects(&cgroup, off, Keepalive::untouched())?;
    let variables = |port: &str| {
        Ok(Program::new(kashim_tests::shells::ka_run()?).arg(&program).arg(port).env("KA_IDLE", "33"))
    };
    connects(&cgroup, variables, Keepalive::new(33, 15, 9))?;
    until_gone(&cgroup)?;
    // What is wrong with them is said, and nothing is run.
    let refused = cgroup.enter(|| ka_run(&[], &program)?.env("KA_RULES", "x off").run())?;
    expect_status(&refused, 125)?;
    expect_in(&refused.stderr, "host names are not looked up")?;
    assert!(inner(&cgroup).is_empty());
    Ok(())
}

/// The command finds what its caller has set, and whoever reads its output sees the end of it: nobody else holds it open,
/// and the command has no child that it does not know.
fn the_environment_and_the_pipes() -> Result {
    let scratch = Scratch::new()?;
    let source = scratch.write(
        "show.c",
        "#include <stdio.h>\n#include <sys/wait.h>\n#include <errno.h>\n\
         int main(int c, char **v, char **e) { (void)c; while (*e) puts(*e++); while (*++v) puts(*v); \
         printf(\"%d\\n\", wait(0) == -1 && errno == ECHILD); \
         sigset_t waiting; sigpending(&waiting); printf(\"%d\\n\", sigismember(&waiting, SIGCHLD)); return 7; }\n",
    )?;
    let program = compile("cc", &source, &["-static"])?;
    let cgroup = Cgroup::new()?;
    let line = format!(
        "python3 -c \"$BLOCKS\" env -i B=2 A=1 A=3 {} --idle 77 {} 'a b' '' | cat; echo end",
        kashim_tests::shells::ka_run()?.display(),
        program.display()
    );
    // What a caller has blocked waits for the command, and who adopts orphans (PR_SET_CHILD_SUBREAPER) goes on doing so:
    // nothing of ours may be among them.
    let blocks = "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); \
                  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD]); \
                  os.execvp(sys.argv[1], sys.argv[1:])";
    let said = cgroup.enter(|| Program::new("sh").args(["-c", &line]).env("BLOCKS", blocks).succeed())?;
    assert_eq!(String::from_utf8(said)?, "B=2\nA=3\na b\n\n1\n0\nend\n");
    let status = cgroup.enter(|| ka_run(&[], &program)?.run())?;
    expect_status(&status, 7)?;
    until_gone(&cgroup)
}

fn killed() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let client = connects(&cgroup, |port| Ok(ka_run(&[], &program)?.arg(port)), ours())?;
    Program::new("kill").args(["-9", &client.pid().to_string()]).succeed()?;
    until_gone(&cgroup)
}

/// Whenever that is: nothing is left.
fn killed_at_the_start() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let line = "for i in 1 2 3; do for wait in 0 .004 .008 .012 .016 .02 .03 .04 .05; do \
                \"$@\" & sleep $wait; kill -$SIGNAL $!; wait $!; done; done";
    for signal in ["TERM", "KILL"] {
        let mut shell = Program::new("sh").args(["-c", line, "sh"]).env("SIGNAL", signal);
        shell = shell.arg(kashim_tests::shells::ka_run()?).args(["--mode", "cgroup"]).arg(&program).arg("1");
        cgroup.enter(|| shell.run())?;
        until_gone(&cgroup)?;
    }
    Ok(())
}

fn killed_with_the_outer_cgroup() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let client = connects(&cgroup, |port| Ok(ka_run(&[], &program)?.arg(port)), ours())?;
    fs::write(cgroup.path().join("cgroup.kill"), "1")?;
    until_gone(&cgroup)?;
    drop(client);
    Ok(())
}

/// The processor time that who watches over the command has used, in hundredths of a second.
fn watchers_time(client: &Running) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", watcher(client)?))?;
    let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
    let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // utime and stime (proc(5)); the state is no number.
    Ok(numbers.get(10).ok_or("short")? + numbers.get(11).ok_or("short")?)
}

fn the_watcher_sleeps() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let client = connects(&cgroup, |port| Ok(ka_run(&[], &program)?.arg(port)), ours())?;
    let before = watchers_time(&client)?;
    // Something else that uses half a second.
    let busy = "import time\nwhile time.process_time() < .5: pass";
    Program::new("python3").args(["-c", busy]).succeed()?;
    let used = watchers_time(&client)? - before;
    if used < 5 { Ok(()) } else { Err(format!("{used} hundredths of a second").into()) }
}

fn what_cannot_be_executed() -> Result {
    let scratch = Scratch::new()?;
    let nothing = scratch.write_program("nothing", "#!/no/such/interpreter\n")?;
    let cgroup = Cgroup::new()?;
    let output = cgroup.enter(|| ka_run(&["--mode", "cgroup"], &nothing)?.run())?;
    expect_status(&output, 127)?;
    expect_in(&output.stderr, "cannot be run: ")?;
    until_gone(&cgroup)
}

fn without_the_right() -> Result {
    let scratch = Scratch::new()?;
    // Where everybody can execute it.
    let program = scratch.join("client");
    fs::copy(client(&["-static"])?, &program)?;
    let cgroup = Cgroup::new()?;
    for (options, words) in [
        (&[][..], "--mode cgroup would reach it, but not from here: "),
        (&["--mode", "cgroup"], "cannot make a BPF map"),
    ] {
        let output = cgroup.enter(|| ka_run(options, &program)?.arg("1").user("nobody")?.run())?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, words)?;
        expect_in(&output.stderr, "CAP_BPF")?;
    }
    assert!(inner(&cgroup).is_empty());
    Ok(())
}

/// Where systemd runs it is asked for a scope, which is a cgroup. Here a script makes one in its place, and nobody else
/// sees that systemd seems to run.
fn in_a_scope_of_systemd() -> Result {
    let program = client(&["-static"])?;
    let cgroup = Cgroup::new()?;
    let scratch = Scratch::new()?;
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = '--scope --quiet --collect --' ] || exit 99\nshift 4\n\
         mkdir '{0}/fake.scope' && echo 0 >'{0}/fake.scope/cgroup.procs' && exec \"$@\"\n",
        cgroup.path().display()
    );
    scratch.write_program("systemd-run", &script)?;
    let enter = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && touch /run/systemd/private && PATH=\"$1:$PATH\" && shift && exec \"$@\"";
    let listener = Listener::bind()?;
    let client = Program::new("unshare")
        .args(["--mount", "sh", "-c", enter, "sh"])
        .arg(scratch.path())
        .arg(kashim_tests::shells::ka_run()?)
        .args(["--idle", "77", "--mode", "cgroup", "--interval", "11", "--count", "5", "--"])
        .arg(&program)
        .arg(listener.port().to_string());
    let mut client = cgroup.enter(|| client.start())?;
    client.wait_for_output("connected")?;
    client.until("the connection", |it| {
        Ok(it.sockets().into_iter().find(|s| s.peer_port() == listener.port() && s.keepalive == ours()))
    })?;
    let own = fs::read_to_string(format!("/proc/{}/cgroup", client.pid()))?;
    expect_in(&own, "/fake.scope")?;
    drop(client);
    // Systemd takes its scope away by itself.
    until("the scope to be empty", || {
        Ok(fs::remove_dir(cgroup.path().join("fake.scope")).is_ok().then_some(()))
    })?;
    Ok(())
}
