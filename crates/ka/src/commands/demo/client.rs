//! Programs that open a connection and keep it until their input ends.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::LEFT_OUT;
use super::proc_net_tcp::{Entry, Timer};
use crate::cli::environment::text_of;
use crate::cli::error::Error;

/// How long a program has to connect.
const PATIENCE: Duration = Duration::from_secs(3);

/// A program, and what it is told; the port follows.
#[derive(Debug)]
pub struct Client {
    /// As it is looked for in the path.
    pub name: &'static str,
    arguments: &'static [&'static str],
}

const PYTHON: &str = "\
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
sys.stdin.read()";

const PERL: &str = "\
use Socket;
socket(my $connection, PF_INET, SOCK_STREAM, 0) or die \"socket: $!\";
connect($connection, sockaddr_in($ARGV[0], INADDR_LOOPBACK)) or die \"connect: $!\";
<STDIN>";

/// In the order in which they are tried.
pub static CLIENTS: [Client; 3] = [
    Client { name: "python3", arguments: &["-c", PYTHON] },
    Client { name: "perl", arguments: &["-e", PERL] },
    Client { name: "busybox", arguments: &["nc", "127.0.0.1"] },
];

impl Client {
    /// Whether it can do that: there are busyboxes without nc.
    pub fn works(&self, path: &Path) -> bool {
        if self.name != "busybox" {
            return true;
        }
        let mut command = Command::new(path);
        command.args(["nc", "--help"]).env_remove("LD_PRELOAD");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Lets it connect to a listener of ours, with these variables, and says what the kernel shows of that. It has ended
    /// when this returns.
    pub fn connect(&self, path: &Path, variables: &[(String, OsString)]) -> Result<String, Error> {
        let failed = |what: &str, error| Error::new(format!("{what}: {error}"));
        // Nothing need be accepted: the kernel does all that the other end wants.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| failed("cannot listen on 127.0.0.1", error))?;
        let port = listener.local_addr().map_err(|error| failed("cannot listen on 127.0.0.1", error))?.port();
        let mut command = Command::new(path);
        command.arg0(self.name).args(self.arguments).arg(port.to_string());
        for variable in LEFT_OUT {
            command.env_remove(text_of(variable));
        }
        command.env_remove("LD_PRELOAD").envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| failed(&format!("cannot start {}", self.name), error))?;
        let entry = wait_for(port);
        // Its input ends with that.
        drop(child.stdin.take());
        if entry.is_none() {
            let _ = child.kill();
        }
        // busybox goes on until the other end closes too.
        drop(listener);
        let _ = child.wait();
        let entry = entry
            .ok_or_else(|| Error::new(format!("{} opened no connection within three seconds", self.name)))?;
        Ok(in_words(&entry))
    }
}

fn wait_for(port: u16) -> Option<Entry> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let is_there = Entry::to_port(port).is_some();
        sleep(Duration::from_millis(20));
        // Established is first, and the timer an instant later (tcp_finish_connect in the kernel's net/ipv4/tcp_input.c).
        if is_there {
            return Entry::to_port(port);
        }
    }
    None
}

fn in_words(entry: &Entry) -> String {
    let Entry { local, remote, timer } = entry;
    let Timer { kind, hundredths, text } = timer;
    let mut out = format!("   127.0.0.1:{local} -> 127.0.0.1:{remote}, established; timer {text}\n");
    if *kind == Timer::KEEPALIVE {
        let (seconds, rest) = (hundredths / 100, hundredths % 100);
        out.push_str(&format!(
            "   02 is the keepalive timer; it fires in {seconds}.{rest:02} s (0x{hundredths:08X} hundredths of a second).\n"
        ));
    } else {
        out.push_str(
            "   No timer runs. As long as nothing is sent, nothing tells a firewall on the way that this\n   \
             connection is still wanted, and nothing tells the program if the other end is gone.\n",
        );
    }
    out
}
