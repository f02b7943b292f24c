//! When the library is loaded: the settings are read, once, into memory of its own.
//!
//! Programs like nginx overwrite their environment before they open a socket. A hook that is called before this
//! library's constructor, by that of another one, does the same work.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::*};

use kashim_policy::log::Log;
use kashim_policy::settings::Settings;
use kashim_policy::skip;
use kashim_policy::variables::{Environment, Global, Variable};

use crate::{errno, real, report, weak};

/// Nothing was done yet.
const NEW: u8 = 0;
/// The settings are being read: by another thread, or by the code that a signal handler has interrupted. A hook that
/// meets this leaves its socket alone, since it must not wait.
const STARTING: u8 = 1;
/// The settings are there.
const READY: u8 = 2;
/// This process is left alone altogether.
const LEFT_ALONE: u8 = 3;

/// Our constructor has run, or is running.
static LOADED: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU8 = AtomicU8::new(NEW);
static SETTINGS: Place = Place(UnsafeCell::new(Settings::EMPTY));

struct Place(UnsafeCell<Settings>);

// SAFETY: it is written by the one thread that has taken STATE from NEW to STARTING, and read only after STATE has
// become READY, from which it never goes back.
unsafe impl Sync for Place {}

unsafe extern "C" {
    /// environ(7), by the name that no program has for a variable of its own. Another thread may change it, but none is
    /// running that would while libraries are loaded.
    #[link_name = "__environ"]
    static mut environ: *const *const c_char;
}

/// The settings, unless this process is to be left alone.
#[inline]
pub fn settings() -> Option<&'static Settings> {
    match STATE.load(Acquire) {
        // SAFETY: nobody writes to it any more.
        READY => Some(unsafe { &*SETTINGS.0.get() }),
        NEW => start(),
        _ => None,
    }
}

/// The library's constructor.
pub extern "C" fn when_loaded() {
    if !weak::has_libc() {
        return;
    }
    // The first touch of this page is a write: a read would cost a page fault of its own.
    LOADED.store(true, Relaxed);
    if has_environment() {
        start();
    } else {
        // Before glibc 2.32 our constructor may run before libc's. The first hook will find an environment.
        errno::preserve(|_| real::resolve());
    }
}

/// Whether the C library has set `environ`, which it does before most constructors run.
fn has_environment() -> bool {
    // SAFETY: a word that the C library has set, or not yet.
    !unsafe { environ }.is_null()
}

/// Reads the settings.
#[cold]
#[inline(never)]
fn start() -> Option<&'static Settings> {
    if !weak::has_libc() {
        return None;
    }
    // It is too early to say that there are no settings. What `socket` leaves alone now, `connect` fills in later.
    if !has_environment() && !LOADED.load(Relaxed) {
        return None;
    }
    if STATE.compare_exchange(NEW, STARTING, Acquire, Acquire).is_err() {
        return None;
    }
    let works = errno::preserve(|_| {
        // SAFETY: this thread has taken STATE from NEW to STARTING.
        let settings = unsafe { &mut *SETTINGS.0.get() };
        read(settings)
    });
    STATE.store(if works { READY } else { LEFT_ALONE }, Release);
    if works { settings() } else { None }
}

/// Reads the settings, and says whether the library acts in this process at all.
fn read(settings: &mut Settings) -> bool {
    let executed = auxiliary(libc::AT_EXECFN);
    if skip::is_nameless(executed) {
        read_as_file(settings)
    } else {
        read_as(skip::base_name(executed), settings)
    }
}

/// The same where only the file has a name. Without /proc it has none.
#[cold]
#[inline(never)]
fn read_as_file(settings: &mut Settings) -> bool {
    let mut path = [0; libc::PATH_MAX as usize];
    let (link, at) = (c"/proc/self/exe".as_ptr(), path.as_mut_ptr());
    // SAFETY: a path that ends with a zero, and a variable of ours of the size that is said.
    let length = unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, link, at, path.len()) };
    read_as(skip::linked_name(path.get(..length as usize).unwrap_or_default()), settings)
}

/// The same for a program of this name.
#[inline(never)]
fn read_as(name: &[u8], settings: &mut Settings) -> bool {
    let environment = Environment::from_entries(entries());
    let global = Global::read(&environment);
    let works = !global.disabled;
    let skipped = works && skip::skipped(name, environment.get(Variable::Skip)).is_some();
    // A program that runs with more rights than its caller writes nothing on the caller's behalf.
    // SAFETY: getauxval(3) takes a number.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let log = if secure { Log::Off } else { global.log };
    if works {
        report::open(log, name);
        settings.read(&environment, &global, &mut report::complaint);
    }
    real::resolve();
    if works && matches!(log, Log::Stderr | Log::Path(_)) {
        report::loaded(settings, skipped);
    }
    works && !skipped
}

/// Our entries in the environment.
fn entries() -> impl Iterator<Item = &'static [u8]> {
    // SAFETY: see its declaration.
    let mut at = unsafe { environ };
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: an array of pointers that ends with a null pointer, which we do not go beyond.
        let entry = unsafe { at.read() };
        if entry.is_null() {
            return None;
        }
        // SAFETY: as above, this was not the last.
        at = unsafe { at.add(1) };
        Some(entry)
    })
    .filter(|&entry| {
        // Most entries are told by their first letters, so their length need not be found.
        // SAFETY: it stops at the first byte that differs, so at the latest at the zero that ends the entry.
        Variable::PREFIX.iter().zip(0..).all(|(&byte, i)| unsafe { entry.add(i).read() } as u8 == byte)
    })
    .map(|entry| {
        // SAFETY: it ends with a zero, and the environment is there as long as we look at it.
        unsafe { CStr::from_ptr(entry) }.to_bytes()
    })
}

/// A string that the kernel gave to the process when it was executed.
fn auxiliary(kind: libc::c_ulong) -> &'static [u8] {
    // SAFETY: getauxval(3) takes a number.
    let at = unsafe { libc::getauxval(kind) } as *const c_char;
    if at.is_null() {
        return b"";
    }
    // SAFETY: the kernel put it on the stack, with a zero at its end.
    unsafe { CStr::from_ptr(at) }.to_bytes()
}
