//! What the tests of `ka status` and `ka set` share.

use std::process::Stdio;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::{Output, Program, Result, Running, Socket, is_root, ka, program_file, sockets_of};

/// `fixtures/programs/holder.py`: a program that holds sockets, and does what it is told.
pub struct Holder {
    program: Running,
    answers: usize,
}

impl Holder {
    /// One of our own user.
    pub fn start() -> Result<Self> {
        Self::start_as(Ok)
    }

    /// One that runs in another way.
    pub fn start_as(how: impl FnOnce(Program) -> Result<Program>) -> Result<Self> {
        let program = Program::new("python3").arg(program_file("holder.py")).stdin(Stdio::piped());
        Ok(Self { program: how(program)?.start()?, answers: 0 })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// Gives a command and returns the words of the answer.
    pub fn tell(&mut self, command: &str) -> Result<Vec<String>> {
        self.program.write(&format!("{command}\n"))?;
        self.answers += 1;
        let number = self.answers;
        let line = self.program.until(command, |program| {
            let output = String::from_utf8_lossy(&program.stdout()).into_owned();
            let complete = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
            Ok(complete.lines().nth(number - 1).map(str::to_owned))
        })?;
        Ok(line.split_whitespace().skip(1).map(str::to_owned).collect())
    }

    /// A listener, a connection to it, and its other end.
    pub fn pair(&mut self, kind: &str) -> Result<[i32; 3]> {
        let words = self.tell(&format!("pair {kind}"))?;
        let numbers: Vec<i32> = words.iter().filter_map(|word| word.parse().ok()).collect();
        Ok(numbers.try_into().map_err(|_| "not three sockets")?)
    }

    /// Its sockets, as the kernel shows them to the test.
    pub fn sockets(&self) -> Vec<Socket> {
        sockets_of(self.pid())
    }

    /// The one behind this descriptor.
    pub fn socket(&self, fd: i32) -> Result<Socket> {
        Ok(self.sockets().into_iter().find(|s| s.fd == fd).ok_or("the socket is gone")?)
    }

    /// Ends it.
    pub fn end(self) {
        drop(self.program);
    }
}

/// Whether the kernel has MPTCP.
pub fn has_mptcp() -> bool {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::MPTCP)).is_ok()
}

/// `ka` with these arguments.
pub fn command(arguments: &[&str]) -> Result<Program> {
    Ok(Program::new(ka()?).args(arguments))
}

/// Runs `ka` with these arguments.
pub fn run_ka(arguments: &[&str]) -> Result<Output> {
    command(arguments)?.run()
}

/// Runs `ka` with these arguments as nobody.
pub fn as_nobody(arguments: &[&str]) -> Result<Output> {
    command(arguments)?.user("nobody")?.run()
}

/// Who tries it: we ourselves, and if we are root an ordinary user too.
pub fn users() -> Vec<&'static str> {
    if is_root() { vec!["root", "nobody"] } else { vec!["ourselves"] }
}

/// Fails unless the program ended with this status.
pub fn expect_status(output: &Output, status: i32) -> Result {
    if output.status.code() == Some(status) {
        return Ok(());
    }
    Err(format!(
        "{} instead of {status}\n{}{}",
        output.status,
        output.stderr,
        String::from_utf8_lossy(&output.stdout)
    )
    .into())
}

/// Fails unless the text is there.
pub fn expect_in(text: &str, part: &str) -> Result {
    if text.contains(part) { Ok(()) } else { Err(format!("no {part:?} in:\n{text}").into()) }
}

/// Runs `ka` under a filter that refuses pidfd_getfd.
pub fn filtered(arguments: &[&str]) -> Result<Output> {
    Program::new("python3").arg(program_file("filtered.py")).arg(ka()?).args(arguments).run()
}
