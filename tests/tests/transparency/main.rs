//! What the host program must not notice: each test runs a program without the library and with it, and compares.

mod at_secure;
mod coexistence;
mod errors;
mod guest;
mod processes;
mod snippets;
mod threads;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([
        at_secure::trials(),
        coexistence::trials(),
        errors::trials(),
        processes::trials(),
        snippets::trials(),
        threads::trials(),
    ]
    .into_iter()
    .flatten()
    .collect())
}
