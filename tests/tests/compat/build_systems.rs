//! The one release file under real programs of other systems, and in every process of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use kashim_tests::servers::MariaDb;
use kashim_tests::{
    DEBIAN_11, DEBIAN_12, Keepalive, Listener, Need, Preload, Program, Release, Result, Scratch, Trial,
    descendants, free_port, maps_library, read_line, read_request, source, trial, until_within,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let rooted = [Prog("debootstrap"), Prog("apt-get"), Prog("unshare"), Root];
    let mysql = [&rooted[..], &[Prog("mariadbd"), Prog("mariadb-install-db"), Prog("mysql")]].concat();
    let mut trials = Vec::new();
    let mut add = |name: &str, release: &'static Release| {
        trials.push(trial(format!("{name}_curl"), &rooted, || curl(release)));
        trials.push(trial(format!("{name}_python"), &rooted, || python(release)));
        trials.push(trial(format!("{name}_mysqldump"), &mysql, || mysqldump(release)));
    };
    add("debian_11", &DEBIAN_11);
    // Where the machine is Debian 12 itself, the tests of clients are those of its clients.
    if is_long() || !machine_is_debian_12() {
        add("debian_12", &DEBIAN_12);
    }
    let musl = [Prog("musl-gcc"), Prog("apt-get"), Prog("tar"), Prog("bzip2"), Prog("make")];
    trials.push(trial!(musl_wget, &musl));
    trials.push(trial!(musl_client_and_server, &musl));
    let build = [Prog("cc"), Prog("apt-get"), Prog("tar"), Prog("make")];
    trials.push(trial!(configure_and_make, &build));
    trials
}

/// Whether the tests may take their time.
fn is_long() -> bool {
    std::env::var_os("KASHIM_TESTS_LONG").is_some()
}

fn machine_is_debian_12() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.contains("\nID=debian\n") && release.contains("\nVERSION_ID=\"12\"\n")
}

/// Without the library, and with it, for a program that sets nothing itself.
fn touched_by_us() -> [(Preload, Keepalive); 2] {
    [(Preload::No, Keepalive::untouched()), (Preload::OURS, Preload::ours())]
}

/// A client that fetches a page by HTTP and prints it.
fn download(cases: &[(Preload, Keepalive)], client: impl Fn(&str) -> Result<Program>) -> Result {
    for &(preload, keepalive) in cases {
        let server = Listener::bind()?;
        let mut client = client(&server.url())?.preload(preload).start()?;
        let mut connection = server.accept()?;
        read_request(&mut connection)?;
        client.expect(|socket| socket.peer_port() == server.port(), keepalive)?;
        connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nwelcome\n")?;
        drop(connection);
        let output = client.output()?;
        let stderr = output.stderr.clone();
        let said = String::from_utf8(output.success()?)?;
        if said != "welcome\n" || !stderr.is_empty() {
            return Err(format!("{preload:?}: {said:?}, {stderr:?}").into());
        }
    }
    Ok(())
}

fn curl(release: &Release) -> Result {
    // curl sets two values itself, before it connects.
    let (own, ours) = (Keepalive::new(60, 60, 9), Keepalive::new(60, 60, 5));
    let cases = [(Preload::No, own), (Preload::OURS, ours), (Preload::FORCED, Preload::ours())];
    download(&cases, |url| Ok(release.program("/usr/bin/curl")?.args(["-q", "-sS", url])))
}

const PYTHON: &str = r"
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
connection.sendall(b'hello\n')
print(connection.makefile().readline(), end='', flush=True)
sys.stdin.read()
";

fn python(release: &Release) -> Result {
    for (preload, keepalive) in touched_by_us() {
        let server = Listener::bind()?;
        let program = release.program("/usr/bin/python3")?.args(["-c", PYTHON, &server.port().to_string()]);
        let mut program = program.preload(preload).stdin(Stdio::piped()).start()?;
        let mut connection = server.accept()?;
        read_line(&mut connection)?;
        connection.write_all(b"welcome\n")?;
        program.wait_for_output("welcome\n")?;
        program.expect(|socket| socket.peer_port() == server.port(), keepalive)?;
        program.output()?.success()?;
    }
    Ok(())
}

/// Its dump, while it waits for a lock, and then complete.
fn mysqldump(release: &Release) -> Result {
    let mariadb = MariaDb::shared()?;
    let database = release.suite();
    mariadb.query(&format!(
        "CREATE DATABASE {database}; CREATE TABLE {database}.numbers (n INT); INSERT INTO {database}.numbers VALUES (1), (2)"
    ))?;
    let mut dumps = Vec::new();
    for (preload, keepalive) in [(Preload::No, Keepalive::switched_on()), (Preload::OURS, Preload::ours())] {
        let mut holder = mariadb.mysql().stdin(Stdio::piped()).start()?;
        holder.write(&format!("LOCK TABLES {database}.numbers WRITE; SELECT 'locked';\n"))?;
        holder.wait_for_output("locked")?;
        let mut program = release
            .program("/usr/bin/mysqldump")?
            .args(["--no-defaults", "--user=root", "--host=127.0.0.1", "--skip-dump-date"])
            .args([&format!("--port={}", mariadb.port), "--databases", database])
            .preload(preload)
            .start()?;
        program.until("mysqldump to meet the lock", |_| {
            let waiting = format!(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'
                 AND info LIKE 'LOCK TABLES%' AND db = '{database}'"
            );
            Ok((mariadb.query(&waiting)? == "1\n").then_some(()))
        })?;
        program.expect(|socket| socket.peer_port() == mariadb.port, keepalive)?;
        drop(holder);
        dumps.push(program.output()?.success()?);
    }
    let dump = String::from_utf8_lossy(&dumps[0]);
    if dumps[0] != dumps[1] || !dump.contains("INSERT INTO") || !dump.ends_with("-- Dump completed\n") {
        return Err(format!("{dump}\nand with the library\n{}", String::from_utf8_lossy(&dumps[1])).into());
    }
    Ok(())
}

/// Unpacks an archive; returns the one directory that was in it.
fn unpack(archive: &Path, into: &Path) -> Result<PathBuf> {
    Program::new("tar").arg("-xf").arg(archive).arg("-C").arg(into).succeed()?;
    let entries: Vec<_> = fs::read_dir(into)?.flatten().map(|entry| entry.path()).collect();
    match &entries[..] {
        [directory] => Ok(directory.clone()),
        _ => Err(format!("in {}: {entries:?}", archive.display()).into()),
    }
}

/// What is switched on in the one program of Debian's that musl can build by itself.
const BUSYBOX: &str = "for option in BUSYBOX WGET FEATURE_WGET_TIMEOUT NC HTTPD; do
    sed -i \"s/^# CONFIG_$option is not set/CONFIG_$option=y/\" .config || exit
done
yes '' | make oldconfig";

/// Debian's busybox, built for musl at the first use and kept in the target directory.
fn busybox() -> Result<PathBuf> {
    let archive = source("busybox")?;
    let built = archive.with_file_name("busybox-musl");
    let lock = File::create(archive.with_file_name("busybox-musl.lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    if built.exists() {
        return Ok(built);
    }
    let scratch = Scratch::new()?;
    let directory = unpack(&archive, scratch.path())?;
    // The kernel's headers, which musl brings none of, and not glibc's beside them.
    let headers = Scratch::new()?;
    let machine = String::from_utf8(Program::new("cc").arg("-print-multiarch").succeed()?)?;
    symlink("/usr/include/linux", headers.join("linux"))?;
    symlink("/usr/include/asm-generic", headers.join("asm-generic"))?;
    symlink(Path::new("/usr/include").join(machine.trim()).join("asm"), headers.join("asm"))?;
    let make = |words: &[&str]| Program::new("make").args(words).directory(&directory);
    make(&["allnoconfig"]).succeed()?;
    Program::new("sh").args(["-c", BUSYBOX]).directory(&directory).succeed()?;
    make(&["-j2", "CC=musl-gcc", "HOSTCC=cc", &format!("CFLAGS=-idirafter {}", headers.path().display())])
        .succeed()?;
    fs::copy(directory.join("busybox"), &built)?;
    Ok(built)
}

fn musl_wget() -> Result {
    let busybox = busybox()?;
    download(&touched_by_us(), |url| Ok(Program::new(&busybox).args(["wget", "-q", "-O", "-", url])))
}

/// Both ends.
fn musl_client_and_server() -> Result {
    let busybox = busybox()?;
    let files = Scratch::new()?;
    files.write("index.html", "welcome\n")?;
    for (preload, keepalive) in touched_by_us() {
        // The server switches keepalive on, and sets no values.
        let switched_on = if preload == Preload::No { Keepalive::switched_on() } else { keepalive };
        let port = free_port()?;
        let there = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let program =
            Program::new(&busybox).args(["httpd", "-f", "-p", &there.to_string(), "-h"]).arg(files.path());
        let mut server = program.preload(preload).start()?;
        server.wait_for_port(port)?;
        let client = Program::new(&busybox).args(["nc", "127.0.0.1", &port.to_string()]);
        let mut client = client.preload(preload).stdin(Stdio::piped()).start()?;
        // Both wait for the rest.
        client.write("GET / HTTP/1.0\r\n")?;
        client.expect(|socket| socket.peer == Some(there), keepalive)?;
        server.expect(|socket| socket.local == there && socket.peer.is_some(), switched_on)?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", client.pid()))?;
        if !maps.contains("musl") {
            return Err(format!("not musl:\n{maps}").into());
        }
        client.write("\r\n")?;
        client.wait_for_output("welcome\n")?;
    }
    Ok(())
}

const BAD: Preload =
    Preload::With(&[("KA_IDLE", "bogus"), ("KA_RULES", "nonsense; * idle=0"), ("KA_COUNT", "-1")]);

/// The library in every process of `./configure && make`, with good settings and with bad ones: what configure finds out,
/// what it writes to its log, and what comes out of the compiler are the same, to the byte.
fn configure_and_make() -> Result {
    let archive = source("socat")?;
    let mut builds = Vec::new();
    for preload in [Preload::No, Preload::OURS, BAD] {
        builds.push(Build::start(preload, &archive)?);
    }
    until_within(Duration::from_secs(600), "the builds", || {
        sleep(Duration::from_millis(50));
        let mut running = false;
        for build in &mut builds {
            running |= build.is_running()?;
        }
        Ok((!running).then_some(()))
    })?;
    let files: Vec<_> = builds.into_iter().map(Build::files).collect::<Result<_>>()?;
    for name in ["output", "config.log", "config.status", "config.h", "Makefile", "xio-tcp.o", "socat"] {
        if !files[0].contains_key(name) {
            return Err(format!("there is no {name}").into());
        }
    }
    for with in &files[1..] {
        let names: BTreeSet<_> = files[0].keys().chain(with.keys()).collect();
        if let Some(name) = names.into_iter().find(|&name| files[0].get(name) != with.get(name)) {
            let [one, other] = [&files[0], with].map(|files| {
                let content = files.get(name).cloned().unwrap_or_default();
                String::from_utf8_lossy(&content).into_owned()
            });
            let line = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            return Err(format!("{name} differs: {line:?}").into());
        }
    }
    Ok(())
}

/// A package that is being built.
struct Build {
    preload: Preload,
    shell: Child,
    directory: PathBuf,
    scratch: Scratch,
    /// The programs that were seen to run, with the library in them as is to be.
    seen: BTreeSet<String>,
}

impl Build {
    fn start(preload: Preload, archive: &Path) -> Result<Self> {
        let scratch = Scratch::new()?;
        let directory = unpack(archive, scratch.path())?;
        let output = File::create(directory.join("output"))?;
        let mut program = Program::new("sh")
            .args(["-c", "./configure && make"])
            .directory(&directory)
            .env("TMPDIR", scratch.path())
            // For what compiles the time into itself.
            .env("SOURCE_DATE_EPOCH", "1000000000");
        for variable in preload.variables()? {
            let (name, value) = variable.split_once('=').ok_or("not a variable")?;
            program = program.env(name, value);
        }
        // Not by `start`, which waits for no program as long as this takes.
        let shell = program.command().stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { preload, shell, directory, scratch, seen: BTreeSet::new() })
    }

    /// Whether it still goes on. Looks at what is running.
    fn is_running(&mut self) -> Result<bool> {
        for pid in descendants(i32::try_from(self.shell.id())?) {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let before = read("comm");
            let Ok(mapped) = maps_library(pid) else { continue };
            // One that is just being executed may have nothing in it yet, and be another thereafter.
            if mapped && before == read("comm") {
                if self.preload == Preload::No {
                    return Err(format!("the library is in {before}").into());
                }
                self.seen.insert(before.trim().to_owned());
            }
        }
        Ok(self.shell.try_wait()?.is_none())
    }

    /// What came out: each file with its content.
    fn files(mut self) -> Result<BTreeMap<String, Vec<u8>>> {
        let status = self.shell.wait()?;
        if !status.success() {
            let output = fs::read_to_string(self.directory.join("output"))?;
            return Err(format!("{:?}: {status}\n{output}", self.preload).into());
        }
        let everywhere = ["sh", "make", "cc1"].iter().all(|&program| self.seen.contains(program));
        if everywhere != (self.preload != Preload::No) {
            return Err(format!("{:?}: the library was seen in {:?}", self.preload, self.seen).into());
        }
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let content = fs::read(entry.path())?;
                let content = if content.contains(&0) { content } else { self.without_names(&content) };
                files.insert(entry.file_name().to_string_lossy().into_owned(), content);
            }
        }
        Ok(files)
    }

    /// A text without names that are made up anew each time: the directory's, and the compiler's for what it hands on.
    fn without_names(&self, text: &[u8]) -> Vec<u8> {
        let text =
            String::from_utf8_lossy(text).replace(&*self.scratch.path().to_string_lossy(), "DIRECTORY");
        let mut result = String::new();
        for (i, part) in text.split("DIRECTORY/cc").enumerate() {
            if i == 0 {
                result += part;
            } else {
                result += "DIRECTORY/TEMPORARY";
                result += part.get(6..).unwrap_or_default();
            }
        }
        result.into_bytes()
    }
}
