//! What the kernel says about TCP sockets.

pub mod defaults;
pub mod describe;
pub mod options;
pub mod sock_diag;
pub mod state;
pub mod tcp_info;
