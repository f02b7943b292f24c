//! What the tests share: running real programs with and without the library, and reading from the kernel what
//! became of their sockets.
//!
//! A test binary is a list of trials handed to [`run`]:
//!
//! ```ignore
//! fn main() -> ExitCode {
//!     run(vec![trial!(curl, &[Need::Program("curl")])])
//! }
//!
//! fn curl() -> Result {
//!     for (preload, want) in [(Preload::No, Keepalive::new(60, 60, 9)), (Preload::OURS, Preload::ours())] {
//!         let server = Listener::bind()?;
//!         let curl = Program::new("curl").arg(server.url()).preload(preload).start()?;
//!         let mut connection = server.accept()?;
//!         read_request(&mut connection)?;
//!         curl.expect(|socket| socket.peer_port() == server.port(), want)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! `expect` first proves that the library is in the process that owns the socket (or is not, without it).

mod cgroup;
mod compile;
pub mod documents;
mod installed;
mod ka;
pub mod ka_helpers;
pub mod lab;
mod library;
mod net;
mod processes;
mod program;
mod roots;
mod scratch;
pub mod servers;
pub mod shells;
mod sockets;
mod steps;
mod trials;
mod wait;

pub use cgroup::{Cgroup, cgroups, mount_cgroups};
pub use compile::{compile, java_classes};
pub use installed::{built_tree, checkout};
pub use ka::{dynamic_ka, ka};
pub use library::{cargo, debug_library, library, target_dir, workspace};
pub use libtest_mimic::{Failed, Trial};
pub use net::{Listener, free_port, read_line, read_request};
pub use processes::{descendants, maps_library};
pub use program::{Output, Preload, Program, Running};
pub use roots::{DEBIAN_11, DEBIAN_12, DEBIAN_13, Release, source};
pub use scratch::{Scratch, log_file, program_file};
pub use sockets::{Keepalive, Socket, sockets_of};
pub use steps::{Steps, both, both_with, each, fixture};
pub use trials::{Need, find_library, find_program, is_root, reason_to_ignore, run, run_in_turn, trial};
pub use wait::{PATIENCE, until, until_within};

/// What a test and nearly everything in the harness returns: any error that can be displayed converts with `?`.
pub type Result<T = ()> = std::result::Result<T, Failed>;
