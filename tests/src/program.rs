//! Running programs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::lab::{Namespace, Place};
use crate::scratch::ids_of;
use crate::sockets::{Keepalive, Socket, sockets_of};
use crate::{
    PATIENCE, Result, Scratch, descendants, find_program, is_root, library, maps_library, until, until_within,
};

/// Whether a program runs under the library, and with which settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// Without it.
    No,
    /// With it, and these variables.
    With(&'static [(&'static str, &'static str)]),
}

impl Preload {
    /// With it, and values that no program and no system has by itself; the sockets then show [`Self::ours`].
    pub const OURS: Self = Self::With(&[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5")]);
    /// The same, also against the program's own settings.
    pub const FORCED: Self =
        Self::With(&[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_FORCE", "1")]);

    /// The variables that make it so, as NAME=VALUE.
    pub fn variables(self) -> Result<Vec<String>> {
        let Self::With(settings) = self else { return Ok(Vec::new()) };
        let mut variables = vec![format!("LD_PRELOAD={}", library()?.display())];
        variables.extend(settings.iter().map(|(name, value)| format!("{name}={value}")));
        Ok(variables)
    }

    /// What a socket shows that was set up with [`Self::OURS`] or [`Self::FORCED`].
    pub fn ours() -> Keepalive {
        Keepalive::new(77, 11, 5)
    }
}

/// The directories in which programs are looked for: the system's first, so that `python3` is Debian's, then
/// the caller's, then PostgreSQL's, whose server is in no path.
pub(crate) fn search_path() -> &'static OsStr {
    static PATH: OnceLock<OsString> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut path = OsString::from("/usr/sbin:/usr/bin:/sbin:/bin");
        if let Some(more) = env::var_os("PATH") {
            path.push(":");
            path.push(more);
        }
        for version in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
            path.push(":");
            path.push(version.path().join("bin"));
        }
        path
    })
}

/// A program about to be run: in an environment of its own that has only PATH, HOME and LANG, in a process group of
/// its own, with nothing on standard input, not preloaded.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    preload: Preload,
    environment: bool,
    namespace: Option<Namespace>,
    /// User and group.
    ids: Option<(u32, u32)>,
}

impl Program {
    /// A program by its path, or by a name in the path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let name = program.as_ref().to_string_lossy().into_owned();
        let path = find_program(&name).map_or_else(|| program.as_ref().to_owned(), Into::into);
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", "/nonexistent")
            .env("LANG", "C.UTF-8")
            .process_group(0)
            .stdin(Stdio::null());
        Self { command, name, preload: Preload::No, environment: true, namespace: None, ids: None }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets the name under which the program is called.
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.arg0(name);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Reads standard input from here; [`Stdio::piped`] for [`Running::stdin`].
    pub fn stdin(mut self, input: impl Into<Stdio>) -> Self {
        self.command.stdin(input);
        self
    }

    /// Runs it as this user, if we are root. (Otherwise as ourselves, with which servers are content.)
    pub fn user(mut self, user: &str) -> Result<Self> {
        if is_root() {
            self.ids = Some(ids_of(user)?);
        }
        Ok(self)
    }

    /// Runs it with the library, or without.
    pub fn preload(mut self, preload: Preload) -> Self {
        self.preload = preload;
        self
    }

    /// Says that the program arranges by itself that what it starts runs with the library, or without. It is started
    /// without.
    pub fn preloads_others(mut self, preload: Preload) -> Self {
        self.preload = preload;
        self.environment = false;
        self
    }

    /// Runs it inside a network namespace.
    pub fn within(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// Runs it where this place is.
    pub fn at(mut self, place: &Place) -> Self {
        self.namespace.clone_from(&place.namespace);
        self
    }

    /// The command itself, for what is not here.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Running> {
        if let (true, Preload::With(settings)) = (self.environment, self.preload) {
            self.command.env("LD_PRELOAD", library()?).envs(settings.iter().copied());
        }
        match (crate::cgroup::current(), self.ids) {
            (None, None) => {}
            (None, Some((uid, gid))) => _ = self.command.uid(uid).gid(gid),
            // In this order: it takes root.
            (Some(cgroup), ids) => crate::cgroup::start_in(&mut self.command, cgroup, ids)?,
        }
        let files = Scratch::new()?;
        self.command.stdout(File::create(files.join("stdout"))?).stderr(File::create(files.join("stderr"))?);
        let spawned = match &self.namespace {
            Some(namespace) => namespace.enter(|| Ok(self.command.spawn()))?,
            None => self.command.spawn(),
        };
        let child = spawned.map_err(|error| format!("cannot start {}: {error}", self.name))?;
        Ok(Running { child, files, name: self.name, preload: self.preload })
    }

    /// Runs it to its end.
    pub fn run(self) -> Result<Output> {
        self.start()?.output()
    }

    /// Runs it to its end, which must be a success, and returns what it wrote to standard output.
    pub fn succeed(self) -> Result<Vec<u8>> {
        self.run()?.success()
    }
}

/// What a program left.
#[derive(Debug)]
pub struct Output {
    /// The program.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the program succeeded.
    pub fn success(self) -> Result<Vec<u8>> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        Err(format!(
            "{}: {}\n{}{}",
            self.name,
            self.status,
            self.stderr,
            String::from_utf8_lossy(&self.stdout)
        )
        .into())
    }
}

/// A program that runs. Dropping it ends it and everything it started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    files: Scratch,
    name: String,
    preload: Preload,
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process numbers are small")
    }

    /// Its standard input, if that was piped. Dropping the value closes it.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Writes to its standard input, if that was piped, and leaves it open.
    pub fn write(&mut self, text: &str) -> Result {
        let stdin = self.child.stdin.as_mut().ok_or("standard input is not piped")?;
        Ok(stdin.write_all(text.as_bytes())?)
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        fs::read(self.files.join("stdout")).unwrap_or_default()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.files.join("stderr")).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_within(PATIENCE)
    }

    fn wait_within(&mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        until_within(patience, &what, || Ok(self.child.try_wait()?))
            .map_err(|error| format!("{}\n{}", error.message().unwrap_or_default(), self.said()).into())
    }

    /// Waits until it ends by itself, and returns what it left.
    pub fn output(self) -> Result<Output> {
        self.output_within(PATIENCE)
    }

    /// The same, for a program that takes its time.
    pub fn output_within(mut self, patience: Duration) -> Result<Output> {
        drop(self.stdin());
        let status = self.wait_within(patience)?;
        Ok(Output { name: self.name.clone(), status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Polls until there is a value, and fails at once if the program ends before.
    pub fn until<T>(&mut self, what: &str, mut poll: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        until(what, || {
            // In this order: what it did last of all still counts.
            let ended = self.child.try_wait()?;
            match (poll(self)?, ended) {
                (None, Some(status)) => Err(format!("{status}, waiting for {what}").into()),
                (value, _) => Ok(value),
            }
        })
        .map_err(|error| {
            format!("{}: {}\n{}", self.name, error.message().unwrap_or_default(), self.said()).into()
        })
    }

    /// Waits until it has written this to standard output, and returns all that it has written.
    pub fn wait_for_output(&mut self, text: &str) -> Result<String> {
        self.until(&format!("{text:?} on its standard output"), |program| {
            let output = String::from_utf8_lossy(&program.stdout()).into_owned();
            Ok(output.contains(text).then_some(output))
        })
    }

    /// Waits until a server accepts connections on this port.
    pub fn wait_for_port(&mut self, port: u16) -> Result {
        self.until(&format!("a listener on port {port}"), |program| {
            Ok(program.sockets().iter().any(|s| s.listening && s.local_port() == port).then_some(()))
        })
    }

    /// Its TCP sockets, and those of everything it started.
    pub fn sockets(&self) -> Vec<Socket> {
        sockets_of(self.pid())
    }

    /// Waits for a socket like this and returns it, having proved that the library is in the process that owns it, or
    /// that it is not, as was asked for.
    pub fn socket(&mut self, like: impl Fn(&Socket) -> bool) -> Result<Socket> {
        let socket = self.until("the socket", |program| Ok(program.sockets().into_iter().find(&like)))?;
        let mapped = maps_library(socket.pid)?;
        if mapped != (self.preload != Preload::No) {
            let is = if mapped { "is" } else { "is not" };
            return Err(format!("{}: the library {is} in process {}", self.name, socket.pid).into());
        }
        Ok(socket)
    }

    /// Checks the keepalive options of a socket like this, after the proof that [`Self::socket`] gives. The caller
    /// has to see first that the program has come to the point where it does nothing more to the socket.
    pub fn expect(&mut self, like: impl Fn(&Socket) -> bool, keepalive: Keepalive) -> Result<Socket> {
        let socket = self.socket(like)?;
        let found = socket.keepalive;
        if found != keepalive {
            return Err(format!(
                "{} ({:?}): keepalive is {found:?}, not {keepalive:?}, on {socket:?}",
                self.name, self.preload
            )
            .into());
        }
        Ok(socket)
    }

    fn said(&self) -> String {
        format!("{}{}", self.stderr(), String::from_utf8_lossy(&self.stdout()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            end(&descendants(self.pid()), Signal::TERM);
        }
        // Whoever is left of the group. As long as there is somebody, the kernel gives its number to nobody else.
        if let Some(group) = Pid::from_raw(self.pid()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Asks processes to end, and kills those that have not done so after a while.
pub(crate) fn end(pids: &[i32], first: Signal) {
    const LONG_ENOUGH: Duration = Duration::from_secs(3);
    let signal = |pid: i32, signal| Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
    for &pid in pids {
        signal(pid, first);
    }
    let deadline = Instant::now() + LONG_ENOUGH;
    while pids.iter().any(|&pid| is_alive(pid)) {
        if Instant::now() > deadline {
            for &pid in pids {
                signal(pid, Signal::KILL);
            }
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether there is such a process, which has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
