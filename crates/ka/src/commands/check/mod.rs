//! `ka check`: whether and how a command would be served by the library.

pub mod args;
mod destination;
mod ka_run;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;

use kashim_policy::environment::Variable;
use kashim_policy::settings::is_disabled;

use crate::cli::environment::{Environment, Fault, rule_warnings};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::host_port::HostPort;
use crate::output::escape::escaped;

use destination::in_force;
use ka_run::Answer;

/// Runs it.
pub fn run(args: args::CheckArgs) -> Result<Exit, Error> {
    let targets = args.to.iter().map(|text| destination_of(text)).collect::<Result<Vec<_>, Error>>()?;
    let environment = Environment::ours()?;
    let (settings, faults) = environment.settings();
    let policy = environment.policy();
    let written = environment.rules(&faults);

    let mut report = Report::default();
    report.ask(&args.command, &faults, &written)?;
    for warning in rule_warnings(&settings, &written) {
        report.row("warning", &warning);
    }
    for fault in &faults {
        report.error(&fault.text);
    }
    for stranger in environment.unknown_variables() {
        report.row("warning", &stranger);
    }
    for (target, port) in &targets {
        for address in target.resolve(*port)? {
            if is_disabled(&policy) {
                report.row("to", &format!("{address}: nothing, because KA_DISABLE is set"));
            } else {
                report.row("to", &in_force(&settings, &written, address));
            }
        }
    }
    if !targets.is_empty() && !settings.force && !is_disabled(&policy) {
        report.row(
            "note",
            "what the program sets itself wins over that, field by field; KA_FORCE=1 turns it round",
        );
    }
    report.write()
}

/// A destination has a port: rules are about ports.
fn destination_of(text: &str) -> Result<(HostPort, u16), Error> {
    let target = HostPort::read(text)?;
    let port = target.port.ok_or_else(|| {
        let shown = escaped(text.as_bytes()).into_owned();
        Error::usage(format!("--to \"{shown}\": needs a port, as {shown}:5432, because rules may name one"))
    })?;
    Ok((target, port))
}

/// What is said, and how it ends.
#[derive(Debug, Default)]
struct Report {
    text: String,
    /// ka-run says that the library does not reach the command.
    not_reached: bool,
    /// ka-run cannot tell.
    unsure: bool,
    /// Something is wrong with the settings.
    wrong: bool,
}

impl Report {
    fn row(&mut self, name: &str, words: &str) {
        self.text.push_str(&format!("  {name:<10}{words}\n"));
    }

    fn error(&mut self, words: &str) {
        self.wrong = true;
        self.row("error", words);
    }

    /// Asks ka-run. It would refuse settings that are bad, and not look at the command: so it gets those that the
    /// library would use instead, where a bad value counts like none.
    fn ask(
        &mut self,
        command: &[OsString],
        faults: &[Fault],
        written: &[(u32, Vec<u8>)],
    ) -> Result<(), Error> {
        let path = ka_run::find()?;
        let mut without: Vec<_> = faults
            .iter()
            .map(|fault| fault.variable)
            .filter(|&variable| variable != Variable::Rules)
            .collect();
        let rules = faults.iter().any(|fault| fault.rule.is_some()).then(|| joined(written));
        let mut answer = ka_run::check(&path, command, &without, rules.clone())?;
        // A log that cannot be written is another reason to refuse.
        if answer.status == Some(125)
            && answer.remarks.iter().any(|remark| remark.starts_with("error: KA_LOG="))
        {
            let about_log: Vec<_> = answer
                .remarks
                .iter()
                .filter_map(|remark| remark.strip_prefix("error: "))
                .map(str::to_owned)
                .collect();
            without.push(Variable::Log);
            answer = ka_run::check(&path, command, &without, rules)?;
            self.take(answer)?;
            for words in about_log {
                self.error(&words);
            }
            return Ok(());
        }
        self.take(answer)
    }

    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        match answer.status {
            Some(0) => {}
            Some(1) => {
                self.not_reached = true;
                self.unsure = answer.said.lines().next().is_some_and(|line| line.contains(": cannot tell: "));
            }
            // There is no such command, or it may not be executed.
            Some(126 | 127) => self.not_reached = true,
            _ => return Err(Error::new(format!("ka-run: {}", answer.remarks.join("; ")))),
        }
        self.text.push_str(&answer.said);
        for remark in &answer.remarks {
            match remark.split_once(": ") {
                // It has seen fewer rules, and has other numbers for them.
                Some(("warning", words)) if words.starts_with("KA_RULES rule ") => {}
                Some((kind @ ("warning" | "note" | "error"), words)) => self.row(kind, words),
                _ if answer.said.is_empty() => self.row("error", remark),
                _ => self.row("note", remark),
            }
        }
        Ok(())
    }

    fn write(self) -> Result<Exit, Error> {
        io::stdout()
            .write_all(self.text.as_bytes())
            .map_err(|error| Error::new(format!("cannot write to standard output: {error}")))?;
        Ok(match self {
            Self { wrong: true, .. } => Exit::No,
            Self { unsure: true, .. } => Exit::CannotTell,
            Self { not_reached: true, .. } => Exit::No,
            _ => Exit::Yes,
        })
    }
}

/// The rules in one value.
fn joined(written: &[(u32, Vec<u8>)]) -> OsString {
    let texts: Vec<&[u8]> = written.iter().map(|(_, text)| text.as_slice()).collect();
    OsString::from_vec(texts.join(&b';'))
}
