//! Doing something with descriptors where the host cannot see it.
//!
//! A child that shares the memory, but has a descriptor table and a signal mask of its own, does it while the caller
//! waits, like that of vfork(2), on the caller's stack. It has no exit signal: no SIGCHLD arrives, and a `wait` of the
//! host's does not see it. What other threads, forked children and signal handlers can see of the host's own
//! descriptors, masks and pending signals stays as it is.

use core::arch::asm;
use core::ffi::{CStr, c_void};
use core::mem::{size_of, zeroed};
use core::ptr::null;

use libc::{c_int, c_long, syscall};

/// A set of signals as the kernel has it.
pub type Signals = u64;

const SIZE: usize = size_of::<Signals>();
static ALL: Signals = !0;

/// All signals are blocked in this thread, until this is dropped: no handler runs, which could jump away.
pub struct Blocked {
    before: Signals,
    /// What waited for the host already.
    pending: Signals,
}

impl Blocked {
    /// Blocks them.
    pub fn all() -> Option<Blocked> {
        let mut blocked = Blocked { before: 0, pending: 0 };
        let (before, pending) = (&raw mut blocked.before, &raw mut blocked.pending);
        // SAFETY: both point to variables of ours of the size that is said.
        let result =
            unsafe { syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const ALL, before, SIZE) };
        if result != 0 {
            // Nothing was blocked.
            core::mem::forget(blocked);
            return None;
        }
        // SAFETY: as above.
        unsafe { syscall(libc::SYS_rt_sigpending, pending, SIZE) };
        Some(blocked)
    }

    /// Takes back those of these signals that have come since, with a call of ours that has failed.
    pub fn take_back(&self, signals: Signals) {
        let ours: Signals = signals & !self.pending;
        // SAFETY: all zeroes are no time.
        let no_time = unsafe { zeroed::<libc::timespec>() };
        let (set, time) = (&raw const ours, &raw const no_time);
        // SAFETY: both point to variables of ours; no information is asked for.
        unsafe { syscall(libc::SYS_rt_sigtimedwait, set, null::<libc::siginfo_t>(), time, SIZE) };
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let before = &raw const self.before;
        // SAFETY: it points to a variable of ours of the size that is said.
        unsafe { syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, before, null::<Signals>(), SIZE) };
    }
}

/// Runs `steps` in such a child, and returns when the child is gone. They may make system calls and write to what they
/// have borrowed, no more. If there can be no child (a filter, RLIMIT_NPROC) they do not run; and a tool that makes
/// its own of such a child (valgrind, an emulator) may keep from us what they wrote.
///
/// All signals are blocked around it: a handler must not jump away from a child that is still there, and in the child
/// a write that raises SIGXFSZ is only refused.
#[cold]
#[inline(never)]
pub fn apart<F: FnMut()>(mut steps: F) {
    if would_be_init() {
        return;
    }
    let Some(_blocked) = Blocked::all() else { return };
    // SAFETY: `run` takes a pointer to an `F`, and only one at a time uses it: the caller is stopped until the child
    // is gone.
    let child = unsafe { child(run::<F>, (&raw mut steps).cast()) };
    if child > 0 {
        // Until its descriptors, among them copies of the host's, are closed, too.
        // SAFETY: numbers; nothing is asked for.
        unsafe {
            syscall(libc::SYS_wait4, child, null::<c_int>(), libc::__WCLONE, null::<libc::rusage>());
        }
    }
}

/// Whether the host has left its pid namespace for its children: then the first one of them is the init of the new one,
/// which is over when that ends (unshare(2), CLONE_NEWPID). Without /proc that cannot be told, and may be so.
fn would_be_init() -> bool {
    let link = |path: &CStr| {
        let mut link = [0u8; 32];
        let (path, at) = (path.as_ptr(), link.as_mut_ptr());
        // SAFETY: a path that ends with a zero, and a variable of ours of the size that is said.
        let length = unsafe { syscall(libc::SYS_readlinkat, libc::AT_FDCWD, path, at, link.len()) };
        (length > 0).then_some(link)
    };
    let own = link(c"/proc/thread-self/ns/pid");
    own.is_none() || own != link(c"/proc/thread-self/ns/pid_for_children")
}

unsafe extern "C" fn run<F: FnMut()>(steps: *mut c_void) {
    // SAFETY: `apart` has given a pointer to an `F`.
    unsafe { (*steps.cast::<F>())() }
}

/// Just these: what vfork(2) is made of is what valgrind, gdb and sandboxes know.
const FLAGS: c_long = (libc::CLONE_VM | libc::CLONE_VFORK) as c_long;

/// The number of a child that has called `steps(argument)` and ended, or a negative error number.
///
/// It begins below the caller's frame, where the caller, stopped in the system call, has nothing.
///
/// # Safety
/// `steps(argument)` must be sound, and must not come back other than by returning.
#[cfg(target_arch = "x86_64")]
unsafe fn child(steps: unsafe extern "C" fn(*mut c_void), argument: *mut c_void) -> c_long {
    let result: c_long;
    // SAFETY: in the parent it is a system call; the child never leaves the block. Not `nostack`, so the stack is
    // aligned for a call, and nothing is kept below it.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "call r13",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inout("rax") libc::SYS_clone => result,
            in("rdi") FLAGS,
            in("rsi") 0,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            in("r12") argument,
            in("r13") steps,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn child(steps: unsafe extern "C" fn(*mut c_void), argument: *mut c_void) -> c_long {
    let result: c_long;
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x0, x20",
            "blr x21",
            "mov x0, 0",
            "mov x8, {exit}",
            "svc 0",
            "brk 0",
            "2:",
            exit = const libc::SYS_exit,
            inout("x0") FLAGS => result,
            in("x1") 0,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
            in("x8") libc::SYS_clone,
            in("x20") argument,
            in("x21") steps,
        );
    }
    result
}
