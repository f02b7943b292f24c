//! Scripts for `fixtures/hooks/steps.c`, a program that makes the calls it is told to.
//!
//! A script is steps with `;` or line ends between. Behind a step may stand what it has to give: `STEP -> RESULT`, or,
//! where the library makes a difference, `STEP -> WITHOUT | WITH`. `ours` stands for what [`Preload::OURS`] sets,
//! `off` and `system` for a socket with the kernel's values, switched off or on. Every other step has to succeed, and
//! to give the same with the library as without it.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::{Keepalive, Output, PATIENCE, Preload, Program, Result, Running, compile, library};

/// A file in `tests/fixtures/hooks`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hooks").join(name)
}

struct Step {
    text: String,
    want: Option<String>,
}

/// A script, and how it is run.
pub struct Steps {
    steps: Vec<Step>,
    preload: Preload,
    before: Vec<OsString>,
    program: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl Steps {
    /// A script, to be run like this.
    pub fn new(preload: Preload, script: &str) -> Result<Self> {
        let mut steps = Vec::new();
        let mut step = |text: &str, want: Option<String>| steps.push(Step { text: text.to_owned(), want });
        let loaded = if preload == Preload::No { "no" } else { "yes" };
        let proof = format!("maps {}", library()?.display());
        let texts = || script.split([';', '\n']).map(str::trim).filter(|text| !text.is_empty());
        // Where a step executes the program anew, it is that one which has the library.
        if !texts().any(executes) {
            step(&proof, Some(loaded.to_owned()));
        }
        for text in texts() {
            let (text, wants) = match text.split_once("->") {
                Some((text, wants)) => (text.trim(), Some(wants)),
                None => (text, None),
            };
            let want = wants.map(|wants| {
                let (without, with) = wants.split_once('|').unwrap_or((wants, wants));
                in_full(if preload == Preload::No { without } else { with }.trim())
            });
            step(text, want);
            if executes(text) {
                step(&proof, Some(loaded.to_owned()));
            }
        }
        Ok(Self { steps, preload, before: Vec::new(), program: None, environment: Vec::new() })
    }

    /// Runs a copy of the program.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Runs it by another program, which gets this before it, and has to see to the library by itself.
    pub fn under(mut self, before: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.before = before.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The program, ready to be started.
    pub fn command(&self) -> Result<Program> {
        let path = match &self.program {
            Some(path) => path.clone(),
            None => compile("cc", &fixture("steps.c"), &["-pthread"])?,
        };
        let executes = self.steps.iter().any(|step| executes(&step.text));
        let mut program = match self.before.split_first() {
            Some((first, rest)) => Program::new(first).args(rest).arg(path),
            None => Program::new(path),
        };
        program = program.args(self.steps.iter().map(|step| &step.text));
        for (name, value) in &self.environment {
            program = program.env(name, value);
        }
        if !executes && self.before.is_empty() {
            return Ok(program.preload(self.preload));
        }
        if executes {
            for variable in self.preload.variables()? {
                let (name, value) = variable.split_once('=').ok_or("not a variable")?;
                program = program.env(format!("LATER_{name}"), value);
            }
        }
        Ok(program.preloads_others(self.preload))
    }

    /// Starts it.
    pub fn start(&self) -> Result<Running> {
        self.command()?.start()
    }

    /// Runs it to its end, and compares what its steps gave with what they have to give. Those that this is not said
    /// of have to succeed.
    pub fn run(&self) -> Result<Output> {
        // What stands before a program mostly makes it slower, as valgrind does.
        let patience = if self.before.is_empty() { PATIENCE } else { 6 * PATIENCE };
        let output = self.command()?.start()?.output_within(patience)?;
        let results = results(&output)?;
        let wrong = |step: &Step, is: &str| match &step.want {
            Some(want) => is != want,
            None => is.starts_with("-1") || is.contains("errno became"),
        };
        for (i, step) in self.steps.iter().enumerate() {
            let is = results.get(i).map_or("nothing", String::as_str);
            if wrong(step, is) && !executes(&step.text) {
                let want = step.want.as_deref().unwrap_or("a success");
                return Err(format!(
                    "{:?}: step {:?} gave {is:?}, not {want:?}\n{}{}",
                    self.preload,
                    step.text,
                    output.stderr,
                    String::from_utf8_lossy(&output.stdout)
                )
                .into());
            }
        }
        output.success_or(results.len() == self.steps.len())
    }
}

impl Output {
    fn success_or(self, complete: bool) -> Result<Self> {
        if self.status.success() && complete {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.stdout);
        Err(format!("{}: {}\n{}{said}", self.name, self.status, self.stderr).into())
    }
}

/// What each step gave.
fn results(output: &Output) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut results = Vec::new();
    for line in text.lines() {
        // The addresses in a step have colons, but none before a blank.
        let (step, result) =
            line.split_once(": ").ok_or_else(|| format!("not a result: {line:?}\n{text}"))?;
        // It is what the program executed anew says in place of `exec`.
        results.push(if step.starts_with("given") { String::new() } else { result.to_owned() });
    }
    Ok(results)
}

/// Runs a script without the library and with [`Preload::OURS`].
pub fn both(script: &str) -> Result {
    both_with(Preload::OURS, &[], script)
}

/// Runs a script without the library and with it and these variables. What is not said to differ has to be the same,
/// and nothing is written to standard error.
pub fn both_with(preload: Preload, environment: &[(&str, &str)], script: &str) -> Result {
    let without = results(&Steps::new(Preload::No, script)?.run()?)?;
    let mut steps = Steps::new(preload, script)?;
    for (name, value) in environment {
        steps = steps.env(name, value);
    }
    let output = steps.run()?;
    let with = results(&output)?;
    for ((step, without), with) in steps.steps.iter().zip(without).zip(with) {
        if step.want.is_none() && without != with {
            let text = &step.text;
            return Err(format!("step {text:?} gave {without:?} without the library, {with:?} with").into());
        }
    }
    if !output.stderr.is_empty() {
        return Err(format!("something was written: {}", output.stderr).into());
    }
    Ok(())
}

/// Whether the step executes the program anew.
fn executes(step: &str) -> bool {
    matches!(step.split(' ').next(), Some("exec" | "fexec"))
}

/// Tries every case, and tells which ones failed.
pub fn each<T: Debug>(cases: &[T], test: impl Fn(&T) -> Result) -> Result {
    let mut failures = String::new();
    for case in cases {
        if let Err(error) = test(case) {
            failures += &format!("{case:?}:\n{}\n", error.message().unwrap_or_default());
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.into()) }
}

fn in_full(want: &str) -> String {
    match want {
        "ours" => format!("{:?}", Preload::ours()),
        "off" => format!("{:?}", Keepalive::untouched()),
        "system" => format!("{:?}", Keepalive::switched_on()),
        _ => want.to_owned(),
    }
}
