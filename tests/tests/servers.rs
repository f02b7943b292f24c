//! Placeholder.
use std::process::ExitCode;
fn main() -> ExitCode {
    kashim_tests::run(vec![])
}
