//! How it is decided whether a preload reaches a program, in this order: the library ([`library`]), the command
//! ([`command`]), the scripts in front of the program ([`script`]), the names that are left alone (the policy's list),
//! what kind of file the program is and for which architecture ([`elf`]), and its privilege ([`privilege`]).
//! What `LD_PRELOAD` holds then is [`value`]'s. No process is started, and nothing is written.

pub mod command;
mod elf;
pub mod library;
pub mod privilege;
mod script;
pub mod value;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kashim_policy::skip::{self, Skipped};

use crate::cli::error::Error;
use crate::output::escape::escaped;
use elf::Program;
use library::Library;
use privilege::{Caller, Gain};
use script::Followed;

/// Whether the library gets into a program.
#[derive(Debug)]
pub enum Reach {
    /// It does.
    Reached,
    /// It does, and leaves the program alone.
    LeftAlone(Skipped),
    /// It does not.
    Unreachable(Unreachable),
    /// That cannot be told, and why.
    Unknown(String),
}

/// Why the library does not get in.
#[derive(Debug)]
pub struct Unreachable {
    /// The reason, behind "NOT reached:".
    pub why: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the library still reaches what the program starts.
    pub children: bool,
}

impl Unreachable {
    fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into(), children: false }
    }

    fn but_its_children(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { children: true, ..Self::new(why, remedy) }
    }
}

impl From<Unreachable> for Reach {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

/// What was found out about a command.
#[derive(Debug)]
pub struct Examined {
    /// The file that is executed.
    pub path: PathBuf,
    /// Scripts, each with its interpreter behind it; the last is the program.
    pub chain: Vec<PathBuf>,
    /// The base name that the library will see as the program's.
    pub executed: OsString,
    /// The loader that the program names (PT_INTERP).
    pub loader: Option<PathBuf>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Sanitizer runtimes that the program is linked to: these have to be loaded before the library.
    pub sanitizers: Vec<OsString>,
    /// The answer.
    pub reach: Reach,
}

impl Examined {
    /// The chain in one line, if there is a script.
    pub fn script(&self) -> Option<String> {
        let shown: Vec<_> = self.chain.iter().map(shown).collect();
        (shown.len() > 1).then(|| shown.join(" -> "))
    }
}

/// A path, fit for a terminal.
pub fn shown(path: impl AsRef<OsStr>) -> String {
    escaped(path.as_ref().as_bytes()).into_owned()
}

/// Looks at the command `called`, which was found at `path`, and is executed by `caller`. `skip` is the value of
/// `KA_SKIP`. An error with the status 127 means that the command cannot run at all.
pub fn examine(
    library: &Library,
    called: &OsStr,
    path: PathBuf,
    skip: Option<&[u8]>,
    caller: &Caller,
) -> Result<Examined, Error> {
    let mut examined = Examined {
        chain: vec![path.clone()],
        path,
        executed: OsStr::from_bytes(skip::base_name(called.as_bytes())).to_owned(),
        loader: None,
        notes: Vec::new(),
        sanitizers: Vec::new(),
        reach: Reach::Reached,
    };
    examined.reach = decide(&mut examined, library, skip, caller)?;
    Ok(examined)
}

fn decide(
    examined: &mut Examined,
    library: &Library,
    skip: Option<&[u8]>,
    caller: &Caller,
) -> Result<Reach, Error> {
    let followed = script::follow(examined)?;
    // Also if it is not reached: whoever names a program there does not want to hear of it.
    if let Some(by) = skip::skipped(examined.executed.as_bytes(), skip) {
        return Ok(Reach::LeftAlone(by));
    }
    let file = match followed {
        Followed::Program(file) => file,
        Followed::Ends(reach) => return Ok(reach),
    };
    let program = examined.chain.last().unwrap_or(&examined.path).clone();
    if let Some(reach) = look_at_file(examined, &file, &program, library)? {
        return Ok(reach);
    }
    Ok(look_at_privilege(examined, &file, &program, caller))
}

/// What kind of file it is, and for which architecture; `None` if the library could be loaded into it.
fn look_at_file(
    examined: &mut Examined,
    file: &File,
    path: &Path,
    library: &Library,
) -> Result<Option<Reach>, Error> {
    let Some(architecture) = elf::architecture(file) else {
        let why = "neither a program nor a script as Linux knows them by itself";
        return Ok(Some(Reach::Unknown(why.into())));
    };
    if architecture != library.architecture {
        return Ok(Some(
            Unreachable::but_its_children(
                "it is built for another architecture than the library",
                "build kashim for that architecture, and use that build's ka-run",
            )
            .into(),
        ));
    }
    let Some(Program { loader, go, needed, directories }) = elf::read(file) else {
        return Ok(Some(Reach::Unknown("its ELF headers are damaged".into())));
    };
    if go {
        return Ok(Some(
            Unreachable::but_its_children(
                "it is a Go program: it makes its system calls itself, past every preload",
                "Go turns keepalive on by itself, every 15 or 30 s, unless the program says otherwise: see its settings",
            )
            .into(),
        ));
    }
    let Some(loader) = loader else {
        let name = path.file_name().unwrap_or_default().as_bytes();
        // The loader itself, given a program as its argument, preloads as ever.
        if name.starts_with(b"ld-") || name.starts_with(b"ld.so") {
            examined.notes.push("it is a loader: what it loads was not looked at".into());
            return Ok(None);
        }
        return Ok(Some(
            Unreachable::but_its_children(
                "it is statically linked: there is no loader that would load the library",
                "use a dynamically linked build of it, or the program's own settings",
            )
            .into(),
        ));
    };
    let shown_loader = shown(&loader);
    if !loader.exists() {
        return Err(Error::not_found(format!("{}: its loader is missing: {shown_loader}", shown(path))));
    }
    // Not a pipe, which would keep us waiting.
    let opened = if loader.is_file() { File::open(&loader).ok() } else { None };
    let of_loader = opened.and_then(|file| elf::architecture(&file));
    examined.loader = Some(loader);
    if of_loader != Some(library.architecture) {
        return Ok(Some(Reach::Unknown(format!(
            "its loader {shown_loader} is not one of this architecture"
        ))));
    }
    examined.sanitizers = value::sanitizers(&needed, &directories, path);
    Ok(None)
}

/// Programs that do not hand the environment on to what they start, and what they do instead.
const CLEARING: [(&str, &str); 4] = [
    (
        "pg_ctlcluster",
        "it starts PostgreSQL with what /etc/postgresql/VERSION/NAME/environment holds, and nothing else",
    ),
    ("postfix", "it clears the environment of its daemons"),
    ("postmulti", "it clears the environment of Postfix's daemons"),
    ("squid", "its workers change their user, and the loader drops every preload then"),
];

/// Whether the loader listens to `LD_PRELOAD`, and whether the program hands it on.
fn look_at_privilege(examined: &mut Examined, file: &File, path: &Path, caller: &Caller) -> Reach {
    let name = path.file_name().unwrap_or_default();
    if ["sudo", "sudo-rs", "doas", "pkexec"].iter().any(|&other| name == other) {
        let name = shown(name);
        return Unreachable::new(
            format!("{name} takes LD_PRELOAD out of the environment of what it starts"),
            format!("put it in front: {name} ka-run COMMAND"),
        )
        .into();
    }
    let called = |other: &str| examined.chain.iter().any(|file| file.file_name() == Some(other.as_ref()));
    if let Some((_, why)) = CLEARING.iter().find(|(name, _)| called(name)) {
        return Unreachable::new(
            *why,
            "as root, use ka run --mode cgroup, or for a service ka systemd --mode cgroup",
        )
        .into();
    }
    match privilege::of(file, caller) {
        Gain::Nothing => {}
        Gain::Refused(what) => examined.notes.push(format!(
            "it {what}: you gain nothing by that, so the library reaches it; for others it does not"
        )),
        Gain::Granted(what) => {
            return Unreachable::new(
                format!("it {what}, and the loader drops every preload for such a program"),
                "run it as somebody who has that privilege already, as in: sudo ka-run COMMAND",
            )
            .into();
        }
    }
    Reach::Reached
}
