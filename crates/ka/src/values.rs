//! Values on the command line, read by the parser that the library has.

use kashim_policy::complaint::Accepted;
use kashim_policy::environment::Variable;
use kashim_policy::value::{self, Problem};
use kashim_policy::values::Values;

use crate::error::Error;
use crate::escape::escaped;

/// Reads the value of an option into `values`, as the variable with the same meaning would be.
pub fn read(values: &mut Values, option: &str, variable: Variable, text: &str) -> Result<(), Error> {
    values.read(variable, text.as_bytes()).map_err(|problem| bad(option, text, problem, variable.into()))
}

/// Reads a duration in seconds, 1 to `max`.
pub fn duration(option: &str, text: &str, max: u32) -> Result<u32, Error> {
    value::duration(text.as_bytes(), max).map_err(|problem| {
        let problem = String::from_utf8_lossy(problem.text());
        Error::usage(format!(
            "{option} \"{}\": {problem}; accepted: 1 to {max} seconds (300, 90s, 5m, 9h)",
            escaped(text.as_bytes())
        ))
    })
}

fn bad(option: &str, text: &str, problem: Problem, accepted: Accepted) -> Error {
    Error::usage(format!(
        "{option} \"{}\": {}; accepted: {}",
        escaped(text.as_bytes()),
        String::from_utf8_lossy(problem.text()),
        String::from_utf8_lossy(accepted.text())
    ))
}
