//! Functions of the C library that may not be there.
//!
//! Imports are weak, so that a program without a C library still starts: Go makes such programs that the loader starts
//! all the same, and a reference that is not weak would make that fail. Before glibc 2.34
//! `dlsym` is in libdl, which a program need not be linked with; `_dl_sym` is glibc's own name for the same thing, in
//! libc itself.
//!
//! Rust has no weak references, and folds a comparison of a function's address with null to false, so the addresses
//! in question are kept as words of data, written by the loader.

use core::ffi::{c_char, c_void};
use core::mem::transmute;
use core::ptr::read_volatile;

// Directives of the assembler, no instructions: alike for every 64-bit architecture.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
core::arch::global_asm!(
    // All that the library refers to, in the one object that a release build is made of.
    ".weak __errno_location, __environ, getauxval, syscall",
    ".weak dlsym, _dl_sym",
    // Those of src/memory.rs.
    ".hidden memcpy, memset, bcmp, strlen",
    ".pushsection .data.rel.ro.kashim_weak,\"aw\",%progbits",
    ".balign 8",
    ".globl kashim_weak_dlsym",
    ".hidden kashim_weak_dlsym",
    "kashim_weak_dlsym: .8byte dlsym",
    ".globl kashim_weak_dl_sym",
    ".hidden kashim_weak_dl_sym",
    "kashim_weak_dl_sym: .8byte _dl_sym",
    ".globl kashim_weak_environ",
    ".hidden kashim_weak_environ",
    "kashim_weak_environ: .8byte __environ",
    ".popsection",
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "kashim is built for x86-64 and aarch64; another 64-bit architecture needs its name in src/weak.rs"
);

unsafe extern "C" {
    static kashim_weak_dlsym: usize;
    static kashim_weak_dl_sym: usize;
    static kashim_weak_environ: usize;
}

/// dlsym(3).
pub type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
/// glibc's function behind it, which is told who asks instead of finding out from its return address.
pub type DlSym = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void) -> *mut c_void;

/// `dlsym`, if the process has it.
pub fn dlsym() -> Option<Dlsym> {
    // SAFETY: the word is null or the address of `dlsym`, and an optional function pointer is represented so.
    unsafe { transmute::<usize, Option<Dlsym>>(read_volatile(&raw const kashim_weak_dlsym)) }
}

/// `_dl_sym`, if the process has it.
pub fn dl_sym() -> Option<DlSym> {
    // SAFETY: as above.
    unsafe { transmute::<usize, Option<DlSym>>(read_volatile(&raw const kashim_weak_dl_sym)) }
}

/// Whether the process has a C library that we know: glibc and musl have all that the library refers to, and no other
/// has this variable.
pub fn has_libc() -> bool {
    // SAFETY: a word of data of ours.
    unsafe { read_volatile(&raw const kashim_weak_environ) != 0 }
}
