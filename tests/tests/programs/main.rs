//! Programs that people use, as clients and as servers: their sockets are set up, and what they set by themselves stays.

mod clients;
mod servers;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([clients::trials(), servers::trials()].into_iter().flatten().collect())
}
