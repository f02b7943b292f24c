//! The calling thread's errno.

use core::ffi::c_int;

/// Runs something that may change errno, which is then as it was before. It is told what that was.
pub fn preserve<T>(act: impl FnOnce(c_int) -> T) -> T {
    // SAFETY: the C library's pointer to the calling thread's errno is valid as long as the thread lives.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { place.read() };
    let result = act(before);
    // SAFETY: as above.
    unsafe { place.write(before) };
    result
}

/// The error of the call that has just failed.
pub fn last() -> c_int {
    // SAFETY: as above.
    unsafe { libc::__errno_location().read() }
}
