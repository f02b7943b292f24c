//! The profile, in login shells, and what ka-run writes for those that read none: a real cron.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kashim_tests::{
    Keepalive, Need, Preload, Program, Result, Scratch, Trial, compile, each, library, shell_test, trial,
};

use kashim_tests::shells::{
    LOADED, MYSQLDUMP, SHELLS, Shell, Test, client, connects_with, defaults, script, under_each_shell,
    while_mysqldump_waits,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let tests: &[Test] = &[
        shell_test!(login_shell),
        shell_test!(mysqldump_from_a_login_shell, MYSQLDUMP),
        shell_test!(values_set_before_stay),
        shell_test!(every_setting_is_handed_on),
        shell_test!(ld_preload_is_extended_once),
        shell_test!(it_leaves_nothing_behind),
        shell_test!(without_the_library_it_does_nothing),
    ];
    let mut trials = under_each_shell(tests);
    let cron = [&[Root, Prog("cron"), Prog("unshare"), Prog("dash")], MYSQLDUMP].concat();
    trials.extend([
        trial!(setuid_programs_stay_silent, &[Root, Prog("dash"), Prog("cc")]),
        trial!(mysqldump_from_cron, &cron),
    ]);
    trials.extend(OTHER_SHELLS.map(|shell| {
        let needs = [Prog("cc"), Prog(shell.words[0])];
        trial(format!("in_{}", shell.name), &needs, move || other_shell(shell))
    }));
    trials
}

/// The snippet as it is installed where the library under test is.
fn snippet() -> Result<&'static Path> {
    static COPY: OnceLock<Result<PathBuf>> = OnceLock::new();
    COPY.get_or_init(|| {
        let text = fs::read_to_string(script("kashim-profile.sh"))?;
        let copy = library()?.with_file_name("kashim-profile.sh");
        fs::write(&copy, text.replace("/usr/local/lib/libkashim.so", &library()?.to_string_lossy()))?;
        Ok(copy)
    })
    .as_deref()
    .map_err(Clone::clone)
}

/// A home directory whose ~/.profile is this.
fn home(profile: &str) -> Result<Scratch> {
    let home = Scratch::new()?;
    home.write(".profile", profile)?;
    Ok(home)
}

/// A home directory whose ~/.profile reads the snippet, twice.
fn ordinary_home() -> Result<Scratch> {
    let snippet = snippet()?.display();
    home(&format!("set -eu\n. '{snippet}'\n. '{snippet}'\nset +eu\n"))
}

/// A login shell that executes this command.
fn login(shell: Shell, home: &Scratch, command: &str) -> Program {
    Program::new(shell.words[0])
        .args(&shell.words[1..])
        .args(["-l", "-c"])
        .arg(format!("exec {command}"))
        .env("HOME", home.path())
}

fn login_shell(shell: Shell) -> Result {
    let home = ordinary_home()?;
    let stderr = connects_with(defaults(), |port| {
        Ok(login(shell, &home, &format!("{} {port}", client()?.display())).preloads_others(LOADED))
    })?;
    assert_eq!(stderr, "");
    // For one command only, a shorter idle makes the interval shorter too.
    connects_with(Keepalive::new(5, 5, 9), |port| {
        let command = format!("env KA_IDLE=5 {} {port}", client()?.display());
        Ok(login(shell, &home, &command).preloads_others(LOADED))
    })?;
    // The same shell without it.
    let bare = self::home("")?;
    connects_with(Keepalive::untouched(), |port| {
        Ok(login(shell, &bare, &format!("{} {port}", client()?.display())))
    })?;
    Ok(())
}

fn mysqldump_from_a_login_shell(shell: Shell) -> Result {
    let dump = |home: &Scratch, preload, want| {
        while_mysqldump_waits(
            |command| Ok(login(shell, home, command).preloads_others(preload)),
            |mysqldump, port| mysqldump.expect(|socket| socket.peer_port() == port, want).map(|_| ()),
        )?
        .output()?
        .success()
    };
    // By itself it switches keepalive on and leaves it at that.
    let without = dump(&home("")?, Preload::No, Keepalive::switched_on())?;
    let with = dump(&ordinary_home()?, LOADED, defaults())?;
    assert!(with == without, "the dump under the library differs");
    Ok(())
}

fn values_set_before_stay(shell: Shell) -> Result {
    let snippet = snippet()?.display();
    // With export and without, and from the environment.
    let home = home(&format!(
        "KA_IDLE=300\nexport KA_COUNT=4\nKA_RULES='127.0.0.2 off'\nKA_LOG=off\n. '{snippet}'\n"
    ))?;
    connects_with(Keepalive::new(300, 7, 4), |port| {
        let command = format!("{} {port}", client()?.display());
        Ok(login(shell, &home, &command).env("KA_INTERVAL", "7").preloads_others(LOADED))
    })?;
    let variables = String::from_utf8(login(shell, &home, "env").succeed()?)?;
    for line in ["KA_IDLE=300", "KA_COUNT=4", "KA_RULES=127.0.0.2 off", "KA_LOG=off"] {
        assert!(variables.lines().any(|l| l == line), "no {line} in:\n{variables}");
    }
    assert!(!variables.contains("KA_INTERVAL"), "{variables}");
    // What is empty counts as unset, for the library too.
    let variables = String::from_utf8(login(shell, &ordinary_home()?, "env").env("KA_IDLE", "").succeed()?)?;
    assert!(variables.contains("KA_IDLE=60\n"), "{variables}");
    Ok(())
}

/// What a profile sets for everybody, the emergency switch too, need not be exported there.
fn every_setting_is_handed_on(shell: Shell) -> Result {
    let settings = [
        "KA_IDLE=300",
        "KA_INTERVAL=7",
        "KA_COUNT=4",
        "KA_USER_TIMEOUT=auto",
        "KA_FORCE=1",
        "KA_RULES=:22",
        "KA_SKIP=x",
        "KA_DISABLE=1",
        "KA_LOG=off",
    ];
    let home = home(&format!("{}\n. '{}'\n", settings.join("\n"), snippet()?.display()))?;
    let variables = String::from_utf8(login(shell, &home, "env").succeed()?)?;
    each(&settings, |&setting| {
        if variables.lines().any(|line| line == setting) { Ok(()) } else { Err(variables.clone().into()) }
    })
}

fn ld_preload_is_extended_once(shell: Shell) -> Result {
    let home = ordinary_home()?;
    let scratch = Scratch::new()?;
    let other = compile("cc", &scratch.write("other.c", "")?, &["-shared", "-fPIC"])?;
    let (other, ours) = (other.display(), library()?.display());
    for (before, after) in [
        (String::new(), format!("{ours}")),
        (format!("{ours}"), format!("{ours}")),
        (format!("{other}"), format!("{ours}:{other}")),
        (format!("{other}:{ours}"), format!("{other}:{ours}")),
        (format!("{other} {ours} "), format!("{other} {ours} ")),
        (format!("{ours}:{other}"), format!("{ours}:{other}")),
    ] {
        let found = login(shell, &home, "printenv LD_PRELOAD").env("LD_PRELOAD", before).succeed()?;
        assert_eq!(String::from_utf8_lossy(&found), format!("{after}\n"));
    }
    Ok(())
}

/// Names of variables, functions and options before and after reading the snippet, and what it said.
const WHAT_CHANGES: &str = "
    set -eu
    { set; alias; trap; echo \"options $-\"; } >\"$2/before\"
    . \"$1\"
    { set; alias; trap; echo \"options $-\"; } >\"$2/after\"
    echo \"arguments $#\"
";

fn it_leaves_nothing_behind(shell: Shell) -> Result {
    let scratch = Scratch::new()?;
    let script = scratch.write("script", WHAT_CHANGES)?;
    let output = shell.run(&script).arg(snippet()?).arg(scratch.path()).run()?;
    assert_eq!(output.stderr, "");
    assert_eq!(output.success()?, b"arguments 2\n");
    let names = |file: &str| -> Result<Vec<String>> {
        let text = fs::read_to_string(scratch.join(file))?;
        let mut names: Vec<String> =
            text.lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect();
        names.retain(|name| name != "_");
        Ok(names)
    };
    let before = names("before")?;
    let new: Vec<String> = names("after")?.into_iter().filter(|name| !before.contains(name)).collect();
    // Whatever a shell calls them, they are variables that it hands on.
    assert_eq!(new, ["KA_COUNT", "KA_IDLE", "LD_PRELOAD"]);
    Ok(())
}

fn without_the_library_it_does_nothing(shell: Shell) -> Result {
    let text = fs::read_to_string(snippet()?)?;
    let moved = Scratch::new()?;
    let gone = moved.join("libkashim.so");
    let snippet =
        moved.write("snippet", text.replace(&*library()?.to_string_lossy(), &gone.to_string_lossy()))?;
    let home = home(&format!("set -eu\n. '{}'\n", snippet.display()))?;
    let output = login(shell, &home, "env").run()?;
    assert_eq!(output.stderr, "");
    let variables = String::from_utf8(output.success()?)?;
    assert!(!variables.contains("KA_") && !variables.contains("LD_PRELOAD"), "{variables}");
    Ok(())
}

/// Shells that nobody's scripts need, but that somebody may log in with.
const OTHER_SHELLS: [Shell; 6] = [
    Shell { name: "zsh", words: &["zsh"] },
    Shell { name: "zsh_as_sh", words: &["zsh", "--emulate", "sh"] },
    Shell { name: "ksh", words: &["ksh93"] },
    Shell { name: "mksh", words: &["mksh"] },
    Shell { name: "yash", words: &["yash"] },
    Shell { name: "bash_as_sh", words: &["bash", "--posix"] },
];

fn other_shell(shell: Shell) -> Result {
    let read = format!("set -eu; . '{0}'; . '{0}'; exec \"$@\"", snippet()?.display());
    let stderr = connects_with(defaults(), |port| {
        let shell = Program::new(shell.words[0]).args(&shell.words[1..]).args(["-c", &read, "sh"]);
        Ok(shell.arg(client()?).arg(port).preloads_others(LOADED))
    })?;
    if stderr.is_empty() { Ok(()) } else { Err(stderr.into()) }
}

fn setuid_programs_stay_silent() -> Result {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};
    let scratch = Scratch::new()?;
    let setuid = scratch.join("setuid");
    fs::copy(client()?, &setuid)?;
    chown(&setuid, Some(65534), None)?;
    fs::set_permissions(&setuid, Permissions::from_mode(0o4755))?;
    let home = ordinary_home()?;
    let stderr = connects_with(Keepalive::untouched(), |port| {
        Ok(login(SHELLS[0], &home, &format!("{} {port}", setuid.display())))
    })?;
    assert_eq!(stderr, "");
    Ok(())
}

/// Starts cron with this crontab for root, and nothing of the machine's own: in a mount namespace, where all that it
/// reads and writes is empty. Jobs marked @reboot start at once.
const CRON: &str = r#"
    set -e
    for directory in /run /etc/cron.d /var/spool/cron/crontabs; do
        mount -t tmpfs tmpfs "$directory"
    done
    : >/run/empty
    mount --bind /run/empty /etc/crontab
    cat "$1" >/var/spool/cron/crontabs/root
    chmod 600 /var/spool/cron/crontabs/root
    exec cron -f
"#;

fn mysqldump_from_cron() -> Result {
    let scratch = Scratch::new()?;
    let dump = scratch.join("dump");
    let mut dumps = Vec::new();
    for settings in [None, Some(["--idle", "5m", "--rule", "127.0.0.0/8 idle=9 count=4; :22 off"])] {
        let (preload, want) = match settings {
            None => (Preload::No, Keepalive::switched_on()),
            Some(_) => (LOADED, Keepalive::new(9, 9, 4)),
        };
        let mut crontab = match settings {
            None => Vec::new(),
            Some(settings) => SHELLS[0].ka_run()?.args(settings).arg("--env=crontab").succeed()?,
        };
        // cron runs on when the job has ended, so this is where it is seen that it has.
        let done = scratch.join("done");
        let _ = fs::remove_file(&done);
        let server = |command: &str| -> Result<Program> {
            let job = format!("@reboot {command} >{}; : >{}\n", dump.display(), done.display());
            crontab.extend(job.bytes());
            let crontab = scratch.write("crontab", &crontab)?;
            Ok(Program::new("unshare")
                .args(["--mount", "sh", "-c", CRON, "sh"])
                .arg(crontab)
                .preloads_others(preload))
        };
        let mut cron = while_mysqldump_waits(server, |cron, port| {
            cron.expect(|socket| socket.peer_port() == port, want).map(|_| ())
        })?;
        cron.until("the job to end", |_| Ok(done.exists().then_some(())))?;
        dumps.push(fs::read(&dump)?);
    }
    assert!(!dumps[0].is_empty() && dumps[0] == dumps[1], "the dumps differ");
    Ok(())
}
