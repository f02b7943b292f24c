//! Other processes: who they are, their sockets, and the right to look at them.

pub mod caller;
pub mod denial;
pub mod exec;
pub mod netns;
pub mod pidfd;
pub mod scan;
pub mod signals;
