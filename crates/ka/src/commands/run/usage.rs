//! A bad command line of `ka-run`, in our words and with our status.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// What is said of it. Help and version are no errors: these are printed, and the program ends.
pub fn complaint(error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // `--idle <TIME>` is how clap names an option.
    let option = context(ContextKind::InvalidArg);
    let option = escaped(option.split(' ').next().unwrap_or_default().as_bytes()).into_owned();
    let value = context(ContextKind::InvalidValue);
    Error::new(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        ErrorKind::UnknownArgument => format!(
            "no such option: \"{option}\"; see ka-run --help (-- goes before a command that begins with -)"
        ),
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues
            if value.is_empty() =>
        {
            format!("{option} needs a value; see ka-run --help")
        }
        ErrorKind::TooManyValues => {
            format!("no such option: \"{option}={}\"; {option} takes no value", escaped(value.as_bytes()))
        }
        ErrorKind::InvalidValue => format!(
            "{}=\"{}\": no such form; accepted: {}",
            option.split('[').next().unwrap_or_default(),
            escaped(value.as_bytes()),
            context(ContextKind::ValidValue)
        ),
        ErrorKind::ArgumentConflict => {
            format!("{option} cannot be used with {}; see ka-run --help", context(ContextKind::PriorArg))
        }
        // In clap's words.
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    })
}
