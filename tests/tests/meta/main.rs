//! The tests themselves, and what the documents say of them.

mod documents;
mod harness;
mod security_claims;

use std::process::ExitCode;

use kashim_tests::run;

fn main() -> ExitCode {
    run([documents::trials(), harness::trials(), security_claims::trials()].into_iter().flatten().collect())
}
