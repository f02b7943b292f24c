//! Cgroups (v2), and the BPF programs that set keepalive on the connections of those in them.

pub mod attached;
pub mod attachment;
pub mod denial;
pub mod layout;
pub mod namespaces;
mod object;
pub mod own;
mod syscall;
pub mod tree;
mod watcher;
