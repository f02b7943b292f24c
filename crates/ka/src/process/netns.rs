//! Network namespaces.

use std::os::fd::BorrowedFd;
use std::thread;

use rustix::io::{Errno, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Does something inside a network namespace: in a thread, which alone enters it.
pub fn within<T: Send>(namespace: BorrowedFd<'_>, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        task()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, enter).map_err(|_| Errno::AGAIN)?;
        thread.join().unwrap_or(Err(Errno::CANCELED))
    })
}
