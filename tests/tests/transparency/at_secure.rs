//! Programs that run with more rights than their caller: setuid, setgid, with file capabilities. As a rule the loader keeps
//! the library out of them, in silence. Where an administrator has installed it for them it works, and writes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kashim_tests::{
    Keepalive, Need, Output, Preload, Program, Result, Scratch, Trial, compile, each, fixture, library, trial,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let overlay = Need::Kernel("overlayfs", || {
        fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\toverlay\n"))
    });
    let needs = [Prog("cc"), Root, Prog("setpriv"), Prog("setcap")];
    let lab = [&needs[..], &[Prog("unshare"), overlay]].concat();
    let traced = [&lab[..], &[Prog("strace")]].concat();
    vec![
        trial!(the_loader_keeps_it_out, &needs),
        trial!(named_without_a_path, &lab),
        trial!(installed_for_all_nothing_is_written, &lab),
        trial!(installed_for_all_nothing_is_tried, &traced),
    ]
}

/// What a program has that its caller has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privilege {
    None,
    Setuid,
    Setgid,
    Capability,
}
use Privilege::{Capability, Setgid, Setuid};

/// None first: there everything is as always.
const PRIVILEGES: [Privilege; 4] = [Privilege::None, Setuid, Setgid, Capability];

/// Nobody, and nobody's group.
const NOBODY: u32 = 65534;

/// The program that takes steps, with a privilege for who is nobody.
fn helper(scratch: &Scratch, privilege: Privilege) -> Result<PathBuf> {
    let steps = compile("cc", &fixture("steps.c"), &["-pthread"])?;
    let program = scratch.copy_program(&steps, &format!("{privilege:?}"))?;
    chown(&program, Some(0), Some(0))?;
    let mode = match privilege {
        Setuid => 0o4755,
        Setgid => 0o2755,
        _ => 0o755,
    };
    fs::set_permissions(&program, Permissions::from_mode(mode))?;
    if privilege == Capability {
        Program::new("setcap").arg("cap_net_raw+ep").arg(&program).succeed()?;
    }
    Ok(program)
}

/// Runs what follows as nobody.
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// One connection, by every hook.
const SCRIPT: [&str; 6] = [
    "l=listener 127.0.0.1:0",
    "s=socket inet stream 0",
    "connect s @l",
    "a=accept l full",
    "show s",
    "show a",
];

fn results(shows: Keepalive) -> String {
    let [listener, socket, connect, accept, show, show_too] = SCRIPT;
    format!(
        "{listener}: 3\n{socket}: 4\n{connect}: 0\n{accept}: 5, length 16, room kept\n{show}: {shows:?}\n{show_too}: {shows:?}\n"
    )
}

/// By its path, as in a profile or a crontab, it is for the loader as if it were not there.
fn the_loader_keeps_it_out() -> Result {
    let scratch = Scratch::new()?;
    let maps = format!("maps {}", library()?.display());
    for (privilege, loaded, shows) in [
        (Privilege::None, "yes", Keepalive::new(60, 15, 9)),
        (Setuid, "no", Keepalive::untouched()),
        (Setgid, "no", Keepalive::untouched()),
        (Capability, "no", Keepalive::untouched()),
    ] {
        let output = Program::new(AS_NOBODY[0])
            .args(&AS_NOBODY[1..])
            .arg(helper(&scratch, privilege)?)
            .arg(&maps)
            .args(SCRIPT)
            .env("KA_IDLE", "bad")
            .preload(Preload::With(&[]))
            .run()?;
        let complaint = "kashim: error: KA_IDLE=\"bad\": ";
        if output.stderr.is_empty() != (loaded == "no")
            || !output.stderr.is_empty() && !output.stderr.starts_with(complaint)
        {
            return Err(format!("{privilege:?}: {:?}", output.stderr).into());
        }
        expect(output, &format!("{maps}: {loaded}\n{}", results(shows)))?;
    }
    Ok(())
}

fn expect(output: Output, said: &str) -> Result {
    let stderr = output.stderr.clone();
    let is = String::from_utf8(output.success()?)?;
    if is == said { Ok(()) } else { Err(format!("{is}\nnot\n{said}\n{stderr}").into()) }
}

/// How an administrator brings the library into every program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installed {
    /// In a directory of the system's, with the setuid bit, which is the loader's sign for it; preloaded by its name alone.
    Setuid,
    /// The same, without the bit.
    Plain,
    /// In /etc/ld.so.preload.
    Everywhere,
}

/// In a mount namespace of its own the library is among the system's; then the rest is executed.
const LAB: &str = r#"
    set -e
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/lib /mnt/lib.work /mnt/etc /mnt/etc.work
    cp "$1" /mnt/lib/libkashim.so
    chmod "$3" /mnt/lib/libkashim.so
    [ -z "$4" ] || echo "$2/libkashim.so" >/mnt/etc/ld.so.preload
    mount -t overlay -o "lowerdir=$2,upperdir=/mnt/lib,workdir=/mnt/lib.work" overlay "$2"
    mount -t overlay -o "lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/etc.work" overlay /etc
    shift 4
    exec "$@"
"#;

/// A command in such a namespace. LD_PRELOAD and the settings are to be given with `env`, last of all.
fn lab(installed: Installed) -> Result<Program> {
    // Where our own C library is.
    let maps = fs::read_to_string("/proc/self/maps")?;
    let system = maps
        .lines()
        .find_map(|line| line.split_whitespace().nth(5)?.strip_suffix("/libc.so.6"))
        .ok_or("no libc in our own process")?;
    let (mode, everywhere) = match installed {
        Installed::Setuid => ("4755", ""),
        Installed::Plain => ("755", ""),
        Installed::Everywhere => ("644", "yes"),
    };
    let lab = Program::new("unshare").args(["--mount", "sh", "-c", LAB, "sh"]).arg(library()?);
    Ok(lab.args([system, mode, everywhere]).preloads_others(Preload::With(&[])))
}

/// The variable that preloads it, if one is needed.
fn preload(installed: Installed) -> &'static str {
    if installed == Installed::Everywhere { "HERE=yes" } else { "LD_PRELOAD=libkashim.so" }
}

/// The loader takes it from the system's directories alone, and there only with the setuid bit.
fn named_without_a_path() -> Result {
    let scratch = Scratch::new()?;
    let defaults = Keepalive::new(60, 15, 9);
    for installed in [Installed::Plain, Installed::Setuid, Installed::Everywhere] {
        for privilege in PRIVILEGES {
            let (loaded, shows) = if installed == Installed::Plain && privilege != Privilege::None {
                ("no", Keepalive::untouched())
            } else {
                ("yes", defaults)
            };
            let output = lab(installed)?
                .args(AS_NOBODY)
                .args(["env", preload(installed)])
                .arg(helper(&scratch, privilege)?)
                .arg("maps libkashim.so")
                .args(SCRIPT)
                .run()?;
            let name = format!("{installed:?}, {privilege:?}");
            if output.stderr.contains("kashim: ") {
                return Err(format!("{name}: {}", output.stderr).into());
            }
            expect(output, &format!("maps libkashim.so: {loaded}\n{}", results(shows)))
                .map_err(|error| format!("{name}: {}", error.message().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// Where a caller might want the log to go.
const LOGS: [&str; 6] = ["stderr", "new", "existing", "roots", "fifo", "link"];

/// Works as it is set up to, and writes nothing for its caller: neither where the caller could write, nor where only the
/// program can.
fn installed_for_all_nothing_is_written() -> Result {
    let scratch = Scratch::new()?;
    let (shows, bad) = (Keepalive::new(5, 5, 9), Keepalive::new(60, 5, 9));
    for installed in [Installed::Setuid, Installed::Everywhere] {
        for privilege in PRIVILEGES {
            let program = helper(&scratch, privilege)?;
            each(&LOGS, |log| {
                for (idle, shows) in [("5", shows), ("bad", bad)] {
                    let place = Scratch::new()?;
                    fs::set_permissions(place.path(), Permissions::from_mode(0o777))?;
                    let files = Files::make(&place)?;
                    let path = if *log == "stderr" { "stderr".into() } else { place.join(log) };
                    let output = lab(installed)?
                        .args(AS_NOBODY)
                        .args(["env", preload(installed), &format!("KA_IDLE={idle}"), "KA_INTERVAL=5"])
                        .arg(format!("KA_LOG={}", path.display()))
                        .arg(&program)
                        .arg("maps libkashim.so")
                        .args(SCRIPT)
                        .run()?;
                    let written = format!("{}{}", output.stderr, files.written()?);
                    // Without a privilege the log is written wherever the caller may.
                    let logged = privilege == Privilege::None && !["roots", "link", "fifo"].contains(log);
                    let is = if logged { written.contains("] accept fd 5 ") } else { written.is_empty() };
                    if !is {
                        return Err(
                            format!("{installed:?}, {privilege:?}, {idle}: {written:?} was written").into()
                        );
                    }
                    expect(output, &format!("maps libkashim.so: yes\n{}", results(shows)))?;
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// What may be written to.
struct Files {
    place: PathBuf,
    reader: fs::File,
}

impl Files {
    fn make(scratch: &Scratch) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let place = scratch.path();
        for (name, owner, mode) in
            [("existing", NOBODY, 0o644), ("roots", 0, 0o600), ("target", NOBODY, 0o644)]
        {
            let path = scratch.write(name, "")?;
            chown(&path, Some(owner), Some(owner))?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        std::os::unix::fs::symlink("target", place.join("link"))?;
        Program::new("mkfifo").args(["-m", "666"]).arg(place.join("fifo")).succeed()?;
        const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let reader = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(place.join("fifo"))?;
        Ok(Self { place: place.to_owned(), reader })
    }

    /// All that was written.
    fn written(&self) -> Result<String> {
        use std::io::Read;
        let mut written = String::new();
        for name in ["new", "existing", "roots", "target"] {
            written += &fs::read_to_string(self.place.join(name)).unwrap_or_default();
        }
        let mut pipe = vec![0; 65536];
        let length = (&self.reader).read(&mut pipe).unwrap_or(0);
        written += &String::from_utf8_lossy(&pipe[..length]);
        if fs::read_dir(&self.place)?.count() != 5 + usize::from(self.place.join("new").exists()) {
            return Err("other files are there".into());
        }
        if self.place.join("new").exists() {
            written += "(new)";
        }
        Ok(written)
    }
}

/// It does not even try: what the process opens and writes is what it opens and writes when the library does nothing.
fn installed_for_all_nothing_is_tried() -> Result {
    let scratch = Scratch::new()?;
    let place = Scratch::new()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o777))?;
    let path = place.join("log");
    for installed in [Installed::Setuid, Installed::Everywhere] {
        for privilege in PRIVILEGES {
            let program = helper(&scratch, privilege)?;
            let calls = |variables: &[&str]| -> Result<String> {
                let trace = scratch.join("trace");
                let mut lab = lab(installed)?.args(["strace", "-u", "nobody", "-o"]).arg(&trace);
                lab = lab.args([
                    "-e",
                    "trace=file,write,writev,fcntl,ppoll,rt_sigprocmask,sendto",
                    "-E",
                    preload(installed),
                ]);
                for variable in variables {
                    lab = lab.args(["-E", variable]);
                }
                let output =
                    lab.arg(&program).arg("maps libkashim.so").args(SCRIPT).stdin(Stdio::null()).run()?;
                if privilege != Privilege::None && !output.stderr.is_empty() {
                    return Err(output.stderr.into());
                }
                let said = String::from_utf8(output.success()?)?;
                if !said.starts_with("maps libkashim.so: yes\n") {
                    return Err(said.into());
                }
                without_numbers(&trace)
            };
            let disabled = calls(&["KA_DISABLE=1"])?;
            let log = format!("KA_LOG={}", path.display());
            for variables in
                [&[&*log, "KA_IDLE=5"][..], &[&log, "KA_IDLE=bad"], &["KA_LOG=stderr", "KA_IDLE=bad"]]
            {
                let tried = calls(variables)?;
                if (tried == disabled) == (privilege == Privilege::None) {
                    return Err(format!(
                        "{installed:?}, {privilege:?}: {tried}\nand when disabled\n{disabled}"
                    )
                    .into());
                }
            }
        }
    }
    Ok(())
}

/// A trace, without what differs from run to run and what the settings change: addresses, the size of the environment, and
/// the program's own words for a socket.
fn without_numbers(trace: &Path) -> Result<String> {
    let mut calls = String::new();
    for line in fs::read_to_string(trace)?.lines() {
        if line.starts_with("execve(") || line.starts_with("write(1, \"show ") {
            continue;
        }
        let mut line = line.to_owned();
        while let Some(at) = line.find("0x") {
            let digits = line[at + 2..].chars().take_while(char::is_ascii_hexdigit).count();
            line.replace_range(at..at + 2 + digits, "ADDRESS");
        }
        calls += &line;
        calls.push('\n');
    }
    Ok(calls)
}
