//! What the library does to sockets: each test drives its hooks through a process, and reads what the kernel shows.

mod binary;
mod hooks;
mod rules_and_force;
mod settings;
mod system_calls;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([
        binary::trials(),
        hooks::trials(),
        rules_and_force::trials(),
        settings::trials(),
        system_calls::trials(),
    ]
    .into_iter()
    .flatten()
    .collect())
}
