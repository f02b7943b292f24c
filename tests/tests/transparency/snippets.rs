//! Each hook at every moment in the life of a program, of a library that it is linked to, and of a plugin: in
//! constructors, which run before ours, in threads, and in what runs last.

use std::path::{Path, PathBuf};

use super::guest::{Sockets, alike, compile, every_way, fixture, same, transcript, without_rules};
use kashim_tests::{Need, Preload, Program, Result, Trial, library, trial};

const HOOKS: [&str; 5] = ["socket", "connect", "accept", "accept4", "setsockopt"];
const LANGUAGES: [&str; 2] = ["cc", "c++"];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for hook in HOOKS {
        for compiler in LANGUAGES {
            let language = if compiler == "cc" { "c" } else { "cplusplus" };
            let needs = [Need::Program(compiler)];
            let mut add = |place: &str, test: fn(&Snippet) -> Result| {
                let snippet = Snippet { hook, compiler };
                trials.push(trial(format!("{hook}_in_{place}_{language}"), &needs, move || test(&snippet)));
            };
            add("program", program);
            add("linked_library", linked_library);
            add("plugin", plugin);
        }
    }
    trials.push(trial!(socket_before_every_constructor, &[Need::Program("cc")]));
    trials
}

/// A hook, and the language of its caller.
struct Snippet {
    hook: &'static str,
    compiler: &'static str,
}

impl Snippet {
    fn compile(&self, flags: &[&str]) -> Result<PathBuf> {
        let hook = format!("-DHOOK=on_{}", self.hook);
        compile(self.compiler, "snippet.c", &[&[hook.as_str(), "-pthread"], flags].concat())
    }

    /// The ways in which the program's own settings do not win over ours.
    fn ways(&self) -> Vec<Preload> {
        let mut ways = every_way().to_vec();
        if self.hook == "setsockopt" {
            ways.retain(
                |way| matches!(way, Preload::With(settings) if settings.contains(&("KA_FORCE", "1"))),
            );
        }
        ways
    }

    fn alike(&self, sockets: Sockets, program: impl Fn() -> Result<Program>) -> Result {
        alike(&self.ways(), sockets, &program)?;
        // The program's own settings win, but nothing else differs.
        if self.hook == "setsockopt" && sockets == Sockets::Ours {
            alike(&every_way(), Sockets::SomeOurs, program)?;
        }
        Ok(())
    }
}

fn program(snippet: &Snippet) -> Result {
    let program = snippet.compile(&["-DPROGRAM"])?;
    snippet.alike(Sockets::Ours, || Ok(Program::new(&program)))
}

/// A program may have functions, and one library, that run before the constructors of all others, of the C library too,
/// which has not found the environment then. Such a socket may be left alone, but not at the cost of those that come after
/// it.
fn socket_before_every_constructor() -> Result {
    let snippet = Snippet { hook: "socket", compiler: "cc" };
    let first = snippet.compile(&["-shared", "-fPIC", "-Wl,-z,initfirst"])?;
    let disabled = Preload::With(&[("KA_DISABLE", "1"), ("KA_LOG", "stderr")]);
    for program in [
        snippet.compile(&["-DPROGRAM", "-DPREINIT"])?,
        snippet.compile(&["-DHOST_OF_LIBRARY", "-Wl,--no-as-needed", text(&first)?])?,
    ] {
        let without = transcript(Program::new(&program).run()?);
        for way in without_rules() {
            let mut with = transcript(Program::new(&program).preload(way).run()?);
            same(&without, &with, Sockets::SomeOurs)?;
            // The two of the first line.
            with.keepalive.drain(..2);
            same(&without, &with, Sockets::Ours)?;
        }
        alike(&[disabled], Sockets::Unseen, || Ok(Program::new(&program)))?;
    }
    Ok(())
}

/// Its constructor runs before ours, and its destructor after.
fn linked_library(snippet: &Snippet) -> Result {
    let linked = snippet.compile(&["-shared", "-fPIC"])?;
    let program = snippet.compile(&["-DHOST_OF_LIBRARY", "-Wl,--no-as-needed", text(&linked)?])?;
    snippet.alike(Sockets::Ours, || Ok(Program::new(&program)))?;

    // The loader's own word for the order.
    let output = Program::new(&program).preload(Preload::OURS).env("LD_DEBUG", "files").run()?;
    let called = |path: &Path| output.stderr.find(&format!("calling init: {}", path.display()));
    let (theirs, ours) = (called(&linked), called(library()?));
    if theirs.is_some() && ours.is_some() && theirs < ours {
        Ok(())
    } else {
        Err(format!("not in the order that was wanted:\n{}", output.stderr).into())
    }
}

fn plugin(snippet: &Snippet) -> Result {
    let plugin = snippet.compile(&["-shared", "-fPIC"])?;
    let host = kashim_tests::compile(snippet.compiler, &fixture("snippet.c"), &["-DHOST_OF_PLUGIN"])?;
    for (way, sockets) in [
        ("now", Sockets::Ours),
        ("lazy", Sockets::Ours),
        // These have a C library before ours, or of their own.
        ("deepbind", Sockets::Unseen),
        ("another", Sockets::Unseen),
    ] {
        snippet
            .alike(sockets, || Ok(Program::new(&host).arg(&plugin).arg(way)))
            .map_err(|error| format!("{way}: {}", error.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}
