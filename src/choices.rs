//! What the program has set by itself, also where the socket does not show it: to the value that was there already.
//!
//! A socket that shows the kernel's defaults may be one that nobody has touched, or one whose program asked for just
//! these. So each keepalive option that the program sets is noted, by the socket's cookie: a number that the kernel
//! gives to one socket and never again (SO_COOKIE, socket(7)), so that no entry is ever about another one. Looked up
//! only for sockets that do not show what we set. If the table is full, the oldest sockets are forgotten.
//!
//! Written by atomic read-modify-write operations alone, which tools that look for races know for what they are.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use kashim_policy::socket::{Opt, Opts};

use crate::kernel;

/// Each entry is a cookie and, in the low bits, [`Opts`]. The kernel counts cookies up, so they have bits to spare.
static TABLE: [[AtomicU64; WAYS]; 256] = [const { [const { AtomicU64::new(0) }; WAYS] }; 256];
/// How many places there are for one cookie.
const WAYS: usize = 4;
/// How many bits the options take.
const BITS: u32 = Opts::ALL.0.count_ones();
/// Something was noted. Processes that set no such option do without the table and the calls.
static ANY: AtomicBool = AtomicBool::new(false);

/// The program has set this option of this socket.
#[cold]
pub fn note(fd: c_int, opt: Opt) {
    let Some(cookie) = cookie(fd) else { return };
    ANY.fetch_or(true, Relaxed);
    // Another thread may take the place that was found here: then once more.
    for _ in 0..WAYS {
        let entries = places(cookie).iter().map(|place| (place, place.load(Relaxed)));
        // The socket's own entry, an empty one, or that of the oldest socket.
        let Some((place, old)) = entries.min_by_key(|&(_, entry)| (entry >> BITS != cookie, entry)) else {
            return;
        };
        let kept = if old >> BITS == cookie { old } else { cookie << BITS };
        let new = kept | u64::from(Opts::one(opt).0);
        if place.compare_exchange(old, new, Relaxed, Relaxed).is_ok() {
            return;
        }
    }
}

/// What the program has set of this socket.
pub fn of(fd: c_int) -> Opts {
    if !ANY.load(Relaxed) {
        return Opts::default();
    }
    let Some(cookie) = cookie(fd) else { return Opts::default() };
    let entries = places(cookie).iter().map(|place| place.load(Relaxed));
    // Two threads may have noted the same socket in two places.
    let noted = entries.filter(|entry| entry >> BITS == cookie).fold(0, |noted, entry| noted | entry);
    Opts(noted as u8 & Opts::ALL.0)
}

/// Where a cookie may stand. Those that follow each other are made at the same time, and stand apart.
fn places(cookie: u64) -> &'static [AtomicU64; WAYS] {
    &TABLE[cookie as u8 as usize]
}

fn cookie(fd: c_int) -> Option<u64> {
    let mut cookie = 0u64;
    kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_COOKIE, (&raw mut cookie).cast(), size_of::<u64>())?;
    // The bits that do not fit are alike for all but a few, which come down from the other end.
    Some(cookie & u64::MAX >> BITS)
}
