//! The functions that the compiler calls by itself.
//!
//! The C library's are faster, but the loader would look each of them up in every process: four look-ups more. And a hook
//! would call what a sanitizer or another preload interposes. Ours are hidden (src/weak.rs): nobody else sees them. Volatile
//! keeps the compiler from turning these loops into calls of themselves.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::{read_volatile, write_volatile};

/// memcpy(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void {
    for i in 0..length {
        // SAFETY: the caller upholds the C function's contract.
        unsafe { write_volatile(to.cast::<u8>().add(i), read_volatile(from.cast::<u8>().add(i))) };
    }
    to
}

/// memset(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, byte: c_int, length: usize) -> *mut c_void {
    for i in 0..length {
        // SAFETY: the caller upholds the C function's contract.
        unsafe { write_volatile(to.cast::<u8>().add(i), byte as u8) };
    }
    to
}

/// bcmp(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const c_void, b: *const c_void, length: usize) -> c_int {
    for i in 0..length {
        // SAFETY: the caller upholds the C function's contract.
        if unsafe { read_volatile(a.cast::<u8>().add(i)) != read_volatile(b.cast::<u8>().add(i)) } {
            return 1;
        }
    }
    0
}

/// strlen(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the caller upholds the C function's contract.
    while unsafe { read_volatile(text.add(length)) } != 0 {
        length += 1;
    }
    length
}
