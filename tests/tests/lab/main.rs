//! Connections through a firewall that forgets them, in the lab of [`kashim_tests::lab`]: every test here needs a network
//! between its programs.

mod firewall;
mod limits;

use std::process::ExitCode;

use kashim_tests::run_in_turn;

fn main() -> ExitCode {
    if let Some(code) = firewall::run_that_ends() {
        return code;
    }
    let limits = limits::trials();
    run_in_turn([(Some(firewall::AT_ONCE), firewall::trials()), (Some(limits.len()), limits)])
}
