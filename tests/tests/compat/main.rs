//! Where the library has to work: C libraries, loaders and systems of other ages, and what is built under it.

mod build_systems;
mod libc_compat;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([build_systems::trials(), libc_compat::trials()].into_iter().flatten().collect())
}
