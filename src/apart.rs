//! Doing something with descriptors where the host cannot see it.
//!
//! A child that shares the memory, but has a descriptor table and a signal mask of its own, does it while the caller
//! waits, like that of vfork(2), on the caller's stack. It has no exit signal: no SIGCHLD arrives, and a `wait` of the
//! host's does not see it. What other threads, forked children and signal handlers can see of the host's own
//! descriptors, masks and pending signals stays as it is.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::null;

use libc::{c_int, c_long, syscall};

/// A set of signals as the kernel has it.
type Signals = u64;

static ALL: Signals = !0;

/// Runs `steps` in such a child, and returns when the child is gone. They may make system calls and write to what they
/// have borrowed, no more. If there can be no child (a filter, RLIMIT_NPROC) they do not run; and a tool that makes
/// its own of such a child (valgrind, an emulator) may keep from us what they wrote.
///
/// All signals are blocked around it: a handler must not jump away from a child that is still there, and in the child
/// a write that raises SIGPIPE, SIGXFSZ or SIGTTOU is only refused, or made.
#[cold]
#[inline(never)]
pub fn apart<F: FnMut()>(mut steps: F) {
    let size = size_of::<Signals>();
    let mut before: Signals = 0;
    // SAFETY: both point to variables of ours of the size that is said.
    let blocked =
        unsafe { syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const ALL, &raw mut before, size) };
    if blocked != 0 {
        return;
    }
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
    // SAFETY: it points to a variable of ours of the size that is said.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const before, null::<Signals>(), size);
    }
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
