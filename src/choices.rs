//! What the program has set by itself, also where the socket does not show it: to the value that was there already.
//!
//! A socket that shows the kernel's defaults may be one that nobody has touched, or one whose program asked for just
//! these. So each keepalive option that the program sets is noted, by the socket's cookie: a number that the kernel
//! gives to one socket and never again (SO_COOKIE, socket(7)), so that no entry is ever about another one. Looked up
//! only for sockets that do not show what we set. Those that were noted long ago are forgotten.
//!
//! Written by atomic read-modify-write operations alone, which tools that look for races know for what they are.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use kashim_policy::socket::{Opt, Opts};

use crate::kernel;

/// As many as live at a time, and more: nothing is ever taken out. A page is touched only where something is noted.
static TABLE: [Set; 1 << SET_BITS] = [const { Set::new() }; 1 << SET_BITS];
const SET_BITS: u32 = 9;

/// The entries that a cookie may stand in: a line of the processor's cache.
#[repr(align(64))]
struct Set {
    /// How many were written: the next one replaces the oldest.
    next: AtomicU64,
    /// A cookie each, with [`Opts`] in the low bits.
    entries: [AtomicU64; WAYS],
}

const WAYS: usize = 7;

impl Set {
    const fn new() -> Set {
        Set { next: AtomicU64::new(0), entries: [const { AtomicU64::new(0) }; WAYS] }
    }
}

/// How many bits the options take.
const BITS: u32 = Opts::ALL.0.count_ones();
/// Something was noted. Processes that set no such option do without the table and the calls.
static ANY: AtomicBool = AtomicBool::new(false);

/// The program has set this option of this socket.
#[cold]
pub fn note(fd: c_int, opt: Opt) {
    let Some(cookie) = cookie(fd) else { return };
    ANY.fetch_or(true, Relaxed);
    let set = set(cookie);
    // Another thread may change the entry that was found here: then once more.
    for _ in 0..WAYS {
        let own = set.entries.iter().find(|entry| entry.load(Relaxed) >> BITS == cookie);
        let oldest = || set.entries.get((set.next.fetch_add(1, Relaxed) % WAYS as u64) as usize);
        let Some(entry) = own.or_else(oldest) else { return };
        let old = entry.load(Relaxed);
        let kept = if old >> BITS == cookie { old } else { cookie << BITS };
        if entry.compare_exchange(old, kept | u64::from(Opts::one(opt).0), Relaxed, Relaxed).is_ok() {
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
    let entries = set(cookie).entries.iter().map(|entry| entry.load(Relaxed));
    // Two threads may have noted the same socket in two entries.
    let noted = entries.filter(|entry| entry >> BITS == cookie).fold(0, |noted, entry| noted | entry);
    Opts(noted as u8 & Opts::ALL.0)
}

/// Each processor counts cookies up from a number of its own: mixed well, they spread over all sets.
fn set(cookie: u64) -> &'static Set {
    // 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
    let mixed = cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SET_BITS);
    &TABLE[mixed as usize % TABLE.len()]
}

fn cookie(fd: c_int) -> Option<u64> {
    let mut cookie = 0u64;
    kernel::getsockopt(fd, libc::SOL_SOCKET, libc::SO_COOKIE, (&raw mut cookie).cast(), size_of::<u64>())?;
    // The bits that do not fit are alike for all but a few, which come down from the other end.
    Some(cookie & u64::MAX >> BITS)
}
