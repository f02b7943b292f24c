//! Programs that people use, as clients and as servers: their sockets are set up, and what they set by themselves stays.

mod clients;
mod servers;

use std::process::ExitCode;

use kashim_tests::{Keepalive, Preload, run};

fn main() -> ExitCode {
    run([clients::trials(), servers::trials()].into_iter().flatten().collect())
}

/// A way to run a program, and what its socket shows then.
type Case = (Preload, Keepalive);

/// For a program that does nothing about keepalive.
fn touched_by_us() -> [Case; 2] {
    [(Preload::No, Keepalive::untouched()), (Preload::OURS, Preload::ours())]
}

/// For a program that sets SO_KEEPALIVE and leaves the values to the system.
fn switched_on_by_itself() -> [Case; 2] {
    [(Preload::No, Keepalive::switched_on()), (Preload::OURS, Preload::ours())]
}
