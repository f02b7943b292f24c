//! A socket of another process, held here by a copy of the descriptor: the same socket, not another one.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::io::{Errno, Result};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, getrlimit, pidfd_getfd, pidfd_open, setrlimit,
};

use crate::process::scan::Descriptor;

/// PIDFD_THREAD (linux/pidfd.h), since Linux 6.9.
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);

/// A process held by a pidfd, safe against reuse of its number.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process that has this number now. What is read in /proc before [`Process::is_alive`] says yes is its own.
    pub fn open(pid: i32) -> Result<Self> {
        let raw = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        Ok(Self { pid, pidfd: pidfd_open(raw, PidfdFlags::empty())? })
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Waits until it has ended, but no longer than that. Whether it has.
    pub fn ends_within(&self, time: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let time = Timespec::try_from(time).ok();
        let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ends, time.as_ref()), Ok(1..))
    }

    /// The socket behind a descriptor; `EBADF` if it is not the same one any more. `EINVAL` if it is one of a thread's
    /// own and the kernel is older than 6.9.
    pub fn socket(&self, descriptor: Descriptor) -> Result<OwnedFd> {
        let copy = if descriptor.task == self.pid {
            pidfd_getfd(&self.pidfd, descriptor.fd, PidfdGetfdFlags::empty())?
        } else {
            let task = Pid::from_raw(descriptor.task).ok_or(Errno::SRCH)?;
            pidfd_getfd(pidfd_open(task, THREAD)?, descriptor.fd, PidfdGetfdFlags::empty())?
        };
        let same = fstat(&copy)?.st_ino == u64::from(descriptor.inode);
        same.then_some(copy).ok_or(Errno::BADF)
    }
}

/// Processes of which sockets are copied, one held open at a time: there can be more of them than we may have descriptors.
#[derive(Debug, Default)]
pub struct Processes {
    last: Option<Process>,
    refused: BTreeMap<i32, Errno>,
}

impl Processes {
    /// The socket behind a descriptor of a process; see [`Process::socket`]. A process that refused once is not asked
    /// again.
    pub fn socket(&mut self, pid: i32, descriptor: Descriptor) -> Result<OwnedFd> {
        if let Some(&error) = self.refused.get(&pid) {
            return Err(error);
        }
        let process = match self.last.take().filter(|last| last.pid == pid) {
            Some(process) => process,
            None => Process::open(pid)?,
        };
        let socket = process.socket(descriptor);
        if let Err(error @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) = socket {
            self.refused.insert(pid, error);
        }
        self.last = Some(process);
        socket
    }
}

/// Lets us have as many descriptors as we may: one for each process that is held open.
pub fn allow_many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it there are fewer.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use rustix::fs::fstat;
    use rustix::io::Errno;

    use super::Process;
    use crate::process::scan::Descriptor;

    #[test]
    fn another_socket_behind_the_same_number_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let inode = u32::try_from(fstat(&socket).unwrap().st_ino).unwrap();
        let us = Process::open(pid).unwrap();
        let there = Descriptor { task: pid, fd: socket.as_raw_fd(), inode };
        assert_eq!(fstat(us.socket(there).unwrap()).unwrap().st_ino, u64::from(inode));
        let another = Descriptor { inode: inode + 1, ..there };
        assert_eq!(us.socket(another).unwrap_err(), Errno::BADF);
    }
}
