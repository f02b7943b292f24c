//! What kashim costs, beside its peers. `scripts/bench` prepares what this needs and runs it.

mod calls;
mod established;
mod file;
mod preloads;
mod process;
mod report;
mod scale;
mod sockets;
mod start;
mod statistics;
mod table;
mod wrappers;

use std::path::{Path, PathBuf};

use preloads::Preload;

/// What went wrong, for a person to read.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What every measurement needs.
pub struct Bench {
    /// Where the libraries and programs are.
    directory: PathBuf,
    preloads: Vec<Preload>,
    /// Only to see that it works.
    quick: bool,
}

impl Bench {
    /// The path of one of our programs.
    fn program(&self, name: &str) -> String {
        self.directory.join("programs").join(name).display().to_string()
    }

    fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, quick) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [directory] => (directory, false),
        [directory, "--quick"] => (directory, true),
        _ => {
            return Err("usage: kashim-benches DIRECTORY [--quick]; scripts/bench makes the directory".into());
        }
    };
    let directory = Path::new(directory).canonicalize()?;
    let preloads = preloads::all(&directory.join("preloads"));
    let bench = Bench { directory, preloads, quick };
    process::stay_on_one_processor()?;

    let told = |what: &str| eprintln!("measuring: {what}");
    told("memory");
    let footprints = file::look(&bench)?;
    told("process start");
    let start = start::measure(&bench, "/bin/true")?;
    let threaded = start::measure(&bench, &bench.program("threads"))?;
    told("wrappers");
    let wrappers = wrappers::measure(&bench)?;
    told("sockets");
    let sockets = sockets::measure(&bench)?;
    told("system calls");
    let calls = calls::measure(&bench)?;
    told("an established connection");
    let established = established::measure(&bench)?;
    told("many connections");
    let connections = scale::connections(&bench)?;
    told("traffic");
    let wire = scale::wire(&bench)?;

    report::write(
        &bench,
        &report::Results {
            footprints,
            start,
            threaded,
            wrappers,
            sockets,
            calls,
            established,
            connections,
            wire,
        },
    )
}
