//! What kashim's settings mean, and what to do with a socket.
//!
//! Everything here is pure: no I/O, no allocation, no system call. The preload library and the command-line tools
//! share it, so there is one parser and one place that decides.
#![no_std]
#![forbid(unsafe_code)]

pub mod decide;
pub mod describe;
pub mod ip;
pub mod keepalive;
pub mod line;
pub mod log;
pub mod middleboxes;
pub mod outcome;
pub mod parse;
pub mod rules;
pub mod setting_error;
pub mod settings;
pub mod skip;
pub mod socket;
mod texts;
pub mod timing;
pub mod variables;
pub mod warning;
