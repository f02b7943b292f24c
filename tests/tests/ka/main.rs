//! The companion `ka`, a module for each subcommand, as it is installed.

mod check;
mod explain;
mod generated;
mod probe;
mod run;
mod set;
mod status;
mod systemd;

use std::process::ExitCode;

use kashim_tests::run_in_turn;

fn main() -> ExitCode {
    let others = [
        check::trials(),
        explain::trials(),
        generated::trials(),
        run::trials(),
        set::trials(),
        status::trials(),
        systemd::trials(),
    ];
    run_in_turn([(Some(probe::AT_ONCE), probe::trials()), (None, others.into_iter().flatten().collect())])
}
