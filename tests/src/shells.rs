//! Running the shell scripts under each shell, `ka-run` also by its link, and a client of which the kernel can be asked.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::servers::MariaDb;
use crate::{
    Keepalive, Need, PATIENCE, Preload, Program, Result, Running, Scratch, Trial, compile, ka, library,
    read_line, trial, workspace,
};

/// A shell that the scripts have to run under.
#[derive(Clone, Copy, Debug)]
pub struct Shell {
    /// For the names of tests.
    pub name: &'static str,
    /// The program and its first arguments; none, where what is run is no script.
    pub words: &'static [&'static str],
}

/// All of them.
pub const SHELLS: [Shell; 3] = [
    Shell { name: "dash", words: &["dash"] },
    Shell { name: "bash", words: &["bash"] },
    Shell { name: "busybox", words: &["busybox", "sh"] },
];

/// No shell: `ka-run` is the link to `ka`, as it is installed.
pub const LINK: Shell = Shell { name: "link", words: &[] };

impl Shell {
    /// Runs a script, or what stands in its place.
    pub fn run(self, script: impl AsRef<Path>) -> Program {
        match self.words.split_first() {
            Some((shell, words)) => Program::new(shell).args(words).arg(script.as_ref()),
            None => Program::new(script.as_ref()),
        }
    }

    /// Whether this is a shell.
    pub fn is_shell(self) -> bool {
        !self.words.is_empty()
    }

    /// Runs ka-run, which finds ka and the library under test beside itself.
    pub fn ka_run(self) -> Result<Program> {
        let link = ka_run()?;
        Ok(if self.is_shell() { self.run(link.with_file_name("ka-run-script")) } else { self.run(link) })
    }

    /// Puts ka, and ka-run as this has it, into a directory.
    pub fn put_ka_run(self, directory: &Path) -> Result<PathBuf> {
        Program::new("cp").arg(ka()?).arg(directory.join("ka")).succeed()?;
        let place = directory.join("ka-run");
        if self.is_shell() {
            fs::copy(script("ka-run"), &place)?;
            fs::set_permissions(&place, Permissions::from_mode(0o755))?;
        } else {
            symlink("ka", &place)?;
        }
        Ok(place)
    }
}

/// A test, run under every shell.
pub type Test = (&'static str, &'static [Need], fn(Shell) -> Result);

/// A [`Test`](type@crate::shells::Test) by the name of its function; with needs, if there are any.
#[macro_export]
macro_rules! shell_test {
    ($test:ident) => {
        (stringify!($test), &[], $test)
    };
    ($test:ident, $needs:expr $(,)?) => {
        (stringify!($test), $needs, $test)
    };
}

/// The trials for these tests.
#[track_caller]
pub fn under_each_shell(tests: &[Test]) -> Vec<Trial> {
    under_each(&SHELLS, tests)
}

/// The trials for these tests of ka-run.
#[track_caller]
pub fn by_each_name(tests: &[Test]) -> Vec<Trial> {
    let [dash, bash, busybox] = SHELLS;
    under_each(&[LINK, dash, bash, busybox], tests)
}

/// The trials for these tests.
#[track_caller]
pub fn under_each(shells: &[Shell], tests: &[Test]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(name, needs, test) in tests {
        for &shell in shells {
            let shells_need = shell.words.first().map(|&word| Need::Program(word));
            let needs: Vec<_> =
                shells_need.into_iter().chain([Need::Program("cc")]).chain(needs.iter().copied()).collect();
            trials.push(trial(format!("{name}::{}", shell.name), &needs, move || test(shell)));
        }
    }
    trials
}

/// ka-run as the link to ka, beside the library under test, and beside it the script as `ka-run-script`.
pub fn ka_run() -> Result<&'static Path> {
    static LINK: OnceLock<Result<PathBuf>> = OnceLock::new();
    LINK.get_or_init(|| {
        let link = library()?.with_file_name("ka-run");
        let beside = link.with_file_name("ka");
        if ka()? != beside {
            return Err(format!("ka is not beside {}", link.display()).into());
        }
        symlink("ka", &link)?;
        let copy = link.with_file_name("ka-run-script");
        fs::copy(script("ka-run"), &copy)?;
        fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
        Ok(link)
    })
    .as_deref()
    .map_err(Clone::clone)
}

/// A script of the project.
pub fn script(name: &str) -> PathBuf {
    workspace().join("scripts").join(name)
}

/// A file in `tests/fixtures/shell`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shell").join(name)
}

/// The client, for the C library of `compiler`, where everybody may execute it.
pub fn client_by(compiler: &str, flags: &[&str]) -> Result<PathBuf> {
    let compiled = compile(compiler, &fixture("client.c"), flags)?;
    let copy = library()?.with_file_name(compiled.file_name().ok_or("a program without a name")?);
    if !copy.exists() {
        // By another name first: another test may be executing it.
        let unfinished = Scratch::new()?.path().with_extension("client");
        fs::copy(&compiled, &unfinished)?;
        fs::rename(&unfinished, &copy)?;
    }
    Ok(copy)
}

/// The client as nearly every program is: for the system's C library, dynamically linked.
pub fn client() -> Result<PathBuf> {
    client_by("cc", &[])
}

/// Starts something that ends in the client, checks what the kernel says about its connection, and returns what it
/// wrote to standard error. `program` gets the port.
pub fn connects_with(want: Keepalive, program: impl FnOnce(&str) -> Result<Program>) -> Result<String> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    server.set_nonblocking(true)?;
    let port = server.local_addr()?.port();
    let mut program = program(&port.to_string())?.start()?;
    let mut connection = program.until("a connection", |_| match server.accept() {
        Ok((connection, _)) => Ok(Some(connection)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    assert_eq!(read_line(&mut connection)?, "ready");
    program.expect(|socket| socket.peer_port() == port, want)?;
    drop(connection);
    let output = program.output()?;
    let stderr = output.stderr.clone();
    output.success()?;
    Ok(stderr)
}

/// The library, with nothing set.
pub const LOADED: Preload = Preload::With(&[]);

/// What a socket shows under the library, where nothing is set.
pub fn defaults() -> Keepalive {
    Keepalive::new(60, 15, 9)
}

/// Needs of a test with mysqldump.
pub const MYSQLDUMP: &[Need] = &[
    Need::Program("mariadbd"),
    Need::Program("mariadb-install-db"),
    Need::Program("mysql"),
    Need::Program("mysqldump"),
];

/// Runs something that ends in a mysqldump, whose command line it is given, and lets its connection be looked at while
/// it waits for a lock. Then it goes on, and is returned.
pub fn while_mysqldump_waits(
    program: impl FnOnce(&str) -> Result<Program>,
    look: impl FnOnce(&mut Running, u16) -> Result,
) -> Result<Running> {
    // One at a time, because it looks for whoever waits.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mariadb = MariaDb::shared()?;
    mariadb.query("CREATE DATABASE IF NOT EXISTS d; CREATE OR REPLACE TABLE d.t AS SELECT 1 AS n")?;
    let mut holder = mariadb.mysql().stdin(Stdio::piped()).start()?;
    holder.write("LOCK TABLES d.t WRITE; SELECT 'locked';\n")?;
    holder.wait_for_output("locked")?;
    let command = format!(
        "mysqldump --no-defaults -h 127.0.0.1 -P {} -u root --skip-dump-date --databases d",
        mariadb.port
    );
    let mut program = program(&command)?.start()?;
    program.until("mysqldump to meet the lock", |_| {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE state = 'Waiting for table metadata lock' AND info LIKE 'LOCK TABLES%'";
        Ok((mariadb.query(waiting)? == "1\n").then_some(()))
    })?;
    look(&mut program, mariadb.port)?;
    Ok(program)
}
