//! How kashim comes to a machine, and goes: install, packages, profile, and the static `ka` in bare systems.

mod dist;
mod install;
mod packages;
mod profile;
mod static_ka;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([dist::trials(), install::trials(), packages::trials(), profile::trials(), static_ka::trials()]
        .into_iter()
        .flatten()
        .collect())
}
