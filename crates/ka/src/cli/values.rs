//! Values on the command line, read by the parser that the library has.

use kashim_policy::keepalive::Values;
use kashim_policy::parse::Accepted;
use kashim_policy::parse::{self, ErrorKind};
use kashim_policy::variables::Variable;

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Reads the value of an option into `values`, as the variable with the same meaning would be.
pub fn read(values: &mut Values, option: &str, variable: Variable, text: &str) -> Result<(), Error> {
    values.read(variable, text.as_bytes()).map_err(|problem| bad(option, text, problem, variable.accepted()))
}

/// Reads a duration in seconds, 1 to `max`.
pub fn duration(option: &str, text: &str, max: u32) -> Result<u32, Error> {
    parse::duration(text.as_bytes(), max).map_err(|problem| {
        let problem = String::from_utf8_lossy(problem.text());
        Error::usage(format!(
            "{option} \"{}\": {problem}; accepted: 1 to {max} seconds (300, 90s, 5m, 9h)",
            escaped(text.as_bytes())
        ))
    })
}

fn bad(option: &str, text: &str, problem: ErrorKind, accepted: Accepted) -> Error {
    Error::usage(format!(
        "{option} \"{}\": {}; accepted: {}",
        escaped(text.as_bytes()),
        String::from_utf8_lossy(problem.text()),
        String::from_utf8_lossy(accepted.text())
    ))
}
