//! Running a program without the library and with it, in every way that may make a difference, and comparing.
//!
//! The programs are in `fixtures/guest`. What they write to standard output is a transcript, in which the keepalive options
//! of each socket stand in brackets. All of it has to be the same, and how the program ends, except for what is in the
//! brackets.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use kashim_tests::{Output, Preload, Program, Result, library, log_file, until_within, workspace};

/// A file in `tests/fixtures/guest`.
pub fn fixture(name: &str) -> PathBuf {
    workspace().join("tests/fixtures/guest").join(name)
}

/// Compiles one of them.
pub fn compile(compiler: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
    kashim_tests::compile(compiler, &fixture(name), flags)
}

/// Whether the long form of a test is wanted.
pub fn long() -> bool {
    env::var_os("KASHIM_TESTS_LONG").is_some()
}

/// With a line for each socket, on standard error.
pub const LOGGED: Preload =
    Preload::With(&[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_LOG", "stderr")]);
/// With a line for each socket, in a file that is opened for each. Not in a scratch directory: the settings outlive those.
pub fn logged_to_file() -> Preload {
    static SETTINGS: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    Preload::With(SETTINGS.get_or_init(|| {
        vec![("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_LOG", log_file())]
    }))
}

/// Forced, with as many rules as fit, none of which is for any socket, and a log.
pub fn crowded() -> Preload {
    static SETTINGS: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    Preload::With(SETTINGS.get_or_init(|| {
        let rule = |i| format!("10.0.0.{i}:{i} idle={i} interval=3 count=2 user-timeout=9;");
        let rules: String = (1..=64).map(rule).collect();
        vec![
            ("KA_IDLE", "77"),
            ("KA_INTERVAL", "11"),
            ("KA_COUNT", "5"),
            ("KA_FORCE", "1"),
            ("KA_LOG", log_file()),
            ("KA_RULES", rules.leak()),
        ]
    }))
}

/// The ways in which `socket` sets everything.
pub fn without_rules() -> [Preload; 4] {
    [Preload::OURS, Preload::FORCED, LOGGED, logged_to_file()]
}

/// All of the ways in which a program may have the library.
pub fn every_way() -> [Preload; 5] {
    let [a, b, c, d] = without_rules();
    [a, b, c, d, crowded()]
}

/// What has to stand in the brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Without the library not our values, with it those, in all of them.
    Ours,
    /// The same without the library and with it: it does not get to see these sockets.
    Unseen,
    /// Anything, but with the library our values at least once.
    SomeOurs,
    /// Our values, or the same as without the library: with rules, nothing is set before the peer is known.
    OursOnceConnected,
    /// Anything.
    Anything,
}

/// Whether sockets that are not connected stay as they are.
fn has_rules(way: Preload) -> bool {
    matches!(way, Preload::With(settings) if settings.iter().any(|(name, _)| *name == "KA_RULES"))
}

/// Runs a program without the library and then in these ways, and returns what came of the latter.
pub fn alike(
    ways: &[Preload],
    sockets: Sockets,
    program: impl Fn() -> Result<Program>,
) -> Result<Vec<Transcript>> {
    alike_by(ways, sockets, |way| program()?.preload(way).run())
}

/// The same for what has to see to the library by itself.
pub fn alike_by(
    ways: &[Preload],
    sockets: Sockets,
    run: impl Fn(Preload) -> Result<Output>,
) -> Result<Vec<Transcript>> {
    let without = transcript(run(Preload::No)?);
    if sockets == Sockets::Ours && without.keepalive.iter().any(|k| *k == ours()) {
        return Err(format!("without the library:\n{}", without.all).into());
    }
    let mut all = Vec::new();
    for &way in ways {
        let with = run(way).map(transcript).and_then(|with| {
            let sockets = match sockets {
                Sockets::Ours if has_rules(way) => Sockets::OursOnceConnected,
                Sockets::SomeOurs if has_rules(way) => Sockets::Anything,
                sockets => sockets,
            };
            same(&without, &with, sockets)?;
            Ok(with)
        });
        all.push(with.map_err(|error| format!("{way:?}:\n{}", error.message().unwrap_or_default()))?);
    }
    Ok(all)
}

/// A program under the library, or not, with other preloads before it and after it.
pub fn among(mut program: Program, way: Preload, before: &[&Path], after: &[&Path]) -> Result<Program> {
    let mut list: Vec<PathBuf> = before.iter().map(Into::into).collect();
    if way != Preload::No {
        list.push(library()?.to_owned());
    }
    list.extend(after.iter().map(Into::into));
    if let Preload::With(settings) = way {
        program.command().envs(settings.iter().copied());
    }
    program.command().env("LD_PRELOAD", env::join_paths(list)?);
    Ok(program.preloads_others(way))
}

/// What a program left, taken apart.
pub struct Transcript {
    /// Everything, to be shown.
    pub all: String,
    /// Without what was in brackets.
    pub text: String,
    /// What was in brackets.
    pub keepalive: Vec<String>,
    /// How it ended.
    pub status: String,
    /// Standard error, without what the library says.
    pub stderr: String,
}

/// What stands in the brackets of a socket of ours.
pub fn ours() -> String {
    format!("{:?}", Preload::ours())
}

/// Takes apart what a program left.
pub fn transcript(output: Output) -> Transcript {
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut text = String::new();
    let mut keepalive = Vec::new();
    for part in all.split_inclusive(['[', ']']) {
        match part.strip_suffix(']') {
            Some(inside) => keepalive.push(inside.to_owned()),
            None => text += part,
        }
    }
    let of_others = |line: &&str| !line.starts_with("kashim: ");
    let stderr: String = output.stderr.split_inclusive('\n').filter(of_others).collect();
    Transcript { all, text, keepalive, status: output.status.to_string(), stderr }
}

/// Compares what a program did without the library and with it.
pub fn same(without: &Transcript, with: &Transcript, sockets: Sockets) -> Result {
    let kept = match sockets {
        Sockets::Ours => with.keepalive.iter().all(|k| *k == ours()) && !with.keepalive.is_empty(),
        Sockets::Unseen => with.keepalive == without.keepalive,
        Sockets::SomeOurs => with.keepalive.iter().any(|k| *k == ours()),
        Sockets::Anything => true,
        Sockets::OursOnceConnected => {
            with.keepalive.len() == without.keepalive.len()
                && with.keepalive.iter().zip(&without.keepalive).all(|(k, other)| *k == ours() || k == other)
        }
    };
    let alike = without.text == with.text && without.status == with.status && without.stderr == with.stderr;
    if kept && alike {
        return Ok(());
    }
    let shown = |t: &Transcript| format!("{}{}{}\n", t.all, t.stderr, t.status);
    Err(format!("without the library:\n{}with it:\n{}", shown(without), shown(with)).into())
}

/// Runs a program to its end that may take longer than others, above all in its long form.
pub fn run_patiently(program: Program) -> Result<Output> {
    let patience = Duration::from_secs(if long() { 3600 } else { 120 });
    let mut program = program.start()?;
    until_within(patience, "the program to end", || Ok(program.wait().ok()))?;
    program.output()
}
