//! `libkashim.so` enables TCP keepalive in unmodified programs.
//!
//! The library exports five functions, [`hooks`], and nothing else. When it is loaded it looks up the functions that
//! they interpose ([`real`]) and reads its settings from the environment ([`start`]). After that each hook makes the
//! real call and then applies the policy to the socket ([`sockets`]); the crate `kashim_policy` decides what is done.
//! With `KA_LOG`, or a bad setting, [`report`] writes about it.
//!
//! It is a guest in every process that it is loaded into: no std, no allocation, no lock, no thread, no descriptor
//! held, no panic, and errno as the real call left it.
#![no_std]

mod apart;
mod choices;
mod errno;
mod hooks;
mod kernel;
mod memory;
mod output;
mod real;
mod report;
mod sockets;
mod start;
mod weak;

/// No code in a release build can get here: the tests check that the library does not even refer to `abort`.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: abort takes nothing and does not return.
    unsafe { libc::abort() }
}

/// Run by the loader before the program's own code.
#[used]
#[unsafe(link_section = ".init_array")]
static WHEN_LOADED: extern "C" fn() = start::when_loaded;
