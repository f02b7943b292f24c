//! What `scripts/dist` makes: installed by each system's own tools, used, and taken away, in roots that are thrown away.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kashim_tests::documents::links_resolve;
use kashim_tests::{
    DEBIAN_11, DEBIAN_12, DEBIAN_13, Need, Program, Release, Result, Scratch, Trial, compile, trial,
    workspace,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let make = [Root, Prog("git"), Prog("dpkg-deb"), Prog("rpmbuild"), Prog("unshare")];
    let debian = [&make[..], &[Prog("debootstrap")]].concat();
    let musl = [&make[..], &[Prog("busybox"), Prog("musl-gcc")]].concat();
    let mut trials: Vec<_> = [&DEBIAN_11, &DEBIAN_12, &DEBIAN_13]
        .into_iter()
        .map(|release| trial(format!("deb_on_{}", release.suite()), &debian, || deb(release)))
        .collect();
    let rpm = [&debian[..], &[Prog("rpm")]].concat();
    trials.push(trial("rpm", &rpm, rpm_by_rpm));
    trials.push(trial!(tarball_beside_musl, &musl));
    trials.push(trial!(links, &[Prog("rpmbuild"), Prog("dpkg-deb")]));
    trials.push(trial!(lintian, &[Prog("rpmbuild"), Prog("lintian")]));
    trials
}

/// The directory with the three packages, made once per test process.
fn packages() -> Result<&'static Path> {
    static MADE: OnceLock<Result<Scratch>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let scratch = Scratch::new()?;
        // With our environment: cargo is in it.
        let done = std::process::Command::new(workspace().join("scripts/dist"))
            .arg("--dirty")
            .arg(scratch.path())
            .env("PATH", cargo_path()?)
            .output()?;
        if !done.status.success() {
            return Err(format!("scripts/dist: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
        Ok(scratch)
    });
    made.as_ref().map(Scratch::path).map_err(Clone::clone)
}

fn cargo_path() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo = env::var_os("CARGO").map(PathBuf::from);
    let directory = cargo.as_deref().and_then(Path::parent).map(Path::to_owned);
    Ok(env::join_paths(directory.into_iter().chain(env::split_paths(&path)))?)
}

fn package(extension: &str) -> Result<PathBuf> {
    let mut found = fs::read_dir(packages()?)?.flatten().map(|entry| entry.path());
    let found = found.find(|path| path.to_string_lossy().ends_with(extension));
    found.ok_or_else(|| format!("no {extension}").into())
}

/// Debian's own judge finds nothing, at its strictest, but what `packaging/lintian-overrides` explains.
fn lintian() -> Result {
    let options = ["--allow-root", "--pedantic", "--display-info", "--tag-display-limit", "0"];
    let said = Program::new("lintian").args(options).arg(package(".deb")?).succeed()?;
    let said = String::from_utf8(said)?;
    let found = said.lines().filter(|line| !line.starts_with("N:") && !line.trim().is_empty());
    // Another version of lintian may find less than what the overrides are for.
    let found = found.filter(|line| !line.contains(": unused-override "));
    let found: Vec<_> = found.collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

/// What the documents link to is there, though some of the sources' files are not, and others have another place.
fn links() -> Result {
    for (unpack, extension) in [("dpkg-deb -x \"$1\" .", ".deb"), ("tar -xzf \"$1\"", ".tar.gz")] {
        let place = Scratch::new()?;
        let list = format!("{unpack}; find . -name '*.md'");
        let shell = Program::new("sh").args(["-ec", &list, "sh"]).arg(package(extension)?);
        let found = String::from_utf8(shell.directory(place.path()).succeed()?)?;
        let documents: Vec<_> = found.lines().map(|name| place.join(name)).collect();
        links_resolve(&documents)?;
    }
    Ok(())
}

/// Runs a script in a copy of a root directory that goes away with it, with this file as /package.
fn in_copy_of(root: &Path, package: &Path, script: &str) -> Result<String> {
    let layers = Scratch::new()?;
    let enter = r#"
        set -e
        mount -t tmpfs tmpfs "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
        mkdir -p "$1/root/proc" "$1/root/dev" "$1/root/tmp"
        mount -t proc proc "$1/root/proc"
        mount --bind /dev "$1/root/dev"
        cp "$3" "$1/root/${3##*/}"
        exec chroot "$1/root" /bin/sh -e -c "$4" sh "/${3##*/}"
    "#;
    let output = Program::new("unshare")
        .args(["--mount", "--net", "sh", "-c", enter, "sh"])
        .arg(layers.path())
        .arg(root)
        .arg(package)
        .arg(script)
        .run()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{}: {}{}", output.status, output.stderr, String::from_utf8_lossy(&output.stdout)).into())
}

/// Prints what the kernel says about a new TCP socket: keepalive, idle, interval and count.
const SOCKET: &str = "socket() {
    \"$@\" python3 -c 'import socket as s
k = s.socket()
print(k.getsockopt(1, 9), *[k.getsockopt(6, option) for option in (4, 5, 6)])'
}";

/// The three forms of use, each on a line of its own.
const USES: &str = "
    socket env LD_PRELOAD=libkashim.so KA_IDLE=300
    socket ka-run --idle 5m
    (. kashim-profile.sh; socket env)
    ka --version
";

fn used(said: &str) -> Result {
    let want = "1 300 15 9\n1 300 15 9\n1 60 15 9\nka 0.1.0\n";
    if said.contains(want) { Ok(()) } else { Err(format!("not {want:?} in: {said}").into()) }
}

fn deb(release: &Release) -> Result {
    let script = format!(
        "{SOCKET}
        find / -xdev -path /proc -prune -o -path /var -prune -o -print | sort >/before
        dpkg -i \"$1\" >&2
        {USES}
        dpkg --purge kashim >&2
        rm -f /var/cache/ldconfig/aux-cache
        find / -xdev -path /proc -prune -o -path /var -prune -o -print | sort >/after
        grep -v '^/before$\\|^/after$' /after | diff /before - | grep -v '^[0-9]\\|/before$\\|/after$' | grep -v __pycache__ || true
        ! ldconfig -p | grep kashim"
    );
    let said = in_copy_of(release.root()?, &package(".deb")?, &script)?;
    used(&said)?;
    // Nothing is left, and nothing else is gone.
    let rest = said.split("ka 0.1.0\n").nth(1).unwrap_or("?");
    assert_eq!(rest, "", "{said}");
    Ok(())
}

/// By the machine's rpm, into a root whose database is its own.
fn rpm_by_rpm() -> Result {
    let place = Scratch::new()?;
    let rpm = |arguments: &[&str]| {
        Program::new("rpm")
            .arg("--root")
            .arg(place.path())
            .args(arguments)
            .args(["--nodeps", "--noscripts"])
            .run()
    };
    let package = package(".rpm")?;
    rpm(&["-i", &package.to_string_lossy()])?.success()?;
    rpm(&["-V", "kashim"])?.success()?;
    // In a Debian 12 with these files: where Fedora's loader would search, this one is told to.
    let files = Scratch::new()?;
    let archive = files.join("files.tar");
    Program::new("tar").arg("-C").arg(place.path()).arg("-cf").arg(&archive).arg("usr").succeed()?;
    let script = format!("{SOCKET}\ntar -C / -xf \"$1\"\nexport LD_LIBRARY_PATH=/usr/lib64\n{USES}");
    let said = in_copy_of(DEBIAN_12.root()?, &archive, &script)?;
    // The profile names the library by its path.
    used(&said)?;
    rpm(&["-e", "kashim"])?.success()?;
    assert!(!place.join("usr/bin/ka").exists() && !place.join("usr/lib64/libkashim.so").exists());
    Ok(())
}

/// A system with musl, busybox and nothing else.
fn tarball_beside_musl() -> Result {
    let root = Scratch::new()?;
    for directory in ["bin", "lib", "tmp", "usr/local/lib"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let source = workspace().join("tests/fixtures/packages/socket.c");
    let program = compile("musl-gcc", &source, &[])?;
    let bytes = fs::read(&program)?;
    let loader = goblin::elf::Elf::parse(&bytes)?.interpreter.ok_or("no loader")?;
    root.copy_program(Path::new(loader), loader.trim_start_matches('/'))?;
    root.copy_program(&program, "bin/socket")?;
    Program::new("cp").arg("-L").arg(busybox()?).arg(root.join("bin/busybox")).succeed()?;
    let script = "
        tar -xzf \"$1\" -C /tmp
        /tmp/kashim-*/install >&2
        export PATH=/usr/local/bin:$PATH
        LD_PRELOAD=libkashim.so KA_IDLE=300 socket
        ka-run --idle 5m socket
        (. kashim-profile.sh; socket)
        ka --version
        /tmp/kashim-*/install --uninstall >&2
        find /usr/local -type f";
    // Its shell, and every applet by its name.
    let script = format!("busybox --install -s /bin\n{script}");
    Program::new("ln").arg("-s").arg("busybox").arg(root.join("bin/sh")).succeed()?;
    let said = in_copy_of(root.path(), &package(".tar.gz")?, &script)?;
    assert_eq!(said, "1 300 15 9\n1 300 15 9\n1 60 15 9\nka 0.1.0\n");
    Ok(())
}

/// One that needs no C library, out of Debian's package busybox-static.
fn busybox() -> Result<PathBuf> {
    let directory = kashim_tests::target_dir().join("sources/busybox-static");
    let found = directory.join("bin/busybox");
    if !found.exists() {
        fs::create_dir_all(&directory)?;
        let get = "cd \"$1\" && apt-get -q download busybox-static && dpkg -x busybox-static_*.deb .";
        let done = std::process::Command::new("sh").args(["-c", get, "sh"]).arg(&directory).output()?;
        if !done.status.success() {
            return Err(format!("busybox-static: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
        for place in ["bin/busybox", "usr/bin/busybox"] {
            if directory.join(place).exists() {
                return Ok(directory.join(place));
            }
        }
    }
    Ok(found)
}
