//! Waiting, always by polling with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;

/// How long a test waits for anything before it gives up. Long, because a loaded machine is slow; nothing that
/// works ever waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls every 5 ms until there is a value, and returns it. `what` names what is waited for in the error after
/// [`PATIENCE`]. An error from `poll` ends the wait at once.
pub fn until<T>(what: &str, poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, poll)
}

/// [`until`] with a deadline of one's own.
pub fn until_within<T>(
    patience: Duration,
    what: &str,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = poll()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(format!("waited {} s in vain for {what}", patience.as_secs()).into());
        }
        sleep(Duration::from_millis(5));
    }
}
