//! The list of trials: what they need, and how they are run.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use goblin::elf::Elf;
use libtest_mimic::{Arguments, Completion, Trial};
use rustix::process::{Signal, WaitOptions, geteuid, getpid, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use temp_dir::TempDir;

use crate::processes::descendants;
use crate::program::{end, search_path};
use crate::{Program, Result};

/// Something without which a test cannot be run.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A program in the path, or in one of PostgreSQL's own directories.
    Program(&'static str),
    /// A program that a preload reaches: Debian's busybox-static has the same name as its busybox.
    Dynamic(&'static str),
    /// A shared library, by its name or that of its directory and its own.
    Library(&'static str),
    /// A module of Debian's python3.
    Python(&'static str),
    /// To be root.
    Root,
    /// A feature of the kernel, and the way to find out. Nobody can install one, so a test that lacks it is ignored
    /// everywhere.
    Kernel(&'static str, fn() -> bool),
}

impl Need {
    /// Why the test cannot be run, if it cannot.
    fn missing(self) -> Option<String> {
        match self {
            Self::Program(name) => find_program(name).is_none().then(|| format!("needs {name}")),
            Self::Dynamic(name) => {
                let found = find_program(name).is_some_and(|path| is_dynamic(&path));
                (!found).then(|| format!("needs {name}, dynamically linked"))
            }
            Self::Library(name) => find_library(name).is_none().then(|| format!("needs {name}")),
            Self::Python(module) => {
                let import = Program::new("python3").arg("-c").arg(format!("import {module}")).succeed();
                import.is_err().then(|| format!("needs {module} for python3"))
            }
            Self::Root => (!is_root()).then(|| "needs root".to_owned()),
            Self::Kernel(feature, present) => (!present()).then(|| format!("needs a kernel with {feature}")),
        }
    }
}

/// Whether we are root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Where a program is, in the path that [`Program`] uses.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).exists().then(|| name.into());
    }
    env::split_paths(search_path()).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Whether a program has an interpreter, which loads shared libraries.
fn is_dynamic(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap_or_default();
    Elf::parse(&bytes).is_ok_and(|elf| elf.interpreter.is_some())
}

/// Where a shared library is, in the system's directories of them.
pub fn find_library(name: &str) -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let architectures = architectures.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    architectures.chain(["/usr/lib".into()]).map(|directory| directory.join(name)).find(|path| path.exists())
}

/// Why a test with these needs is to be ignored, if it is. What could be installed but is not is an error on CI, because
/// there a test that does not run is one that nobody misses.
pub fn reason_to_ignore(needs: &[Need], on_ci: bool) -> Result<Option<String>> {
    for need in needs {
        let Some(reason) = need.missing() else { continue };
        if on_ci && !matches!(need, Need::Kernel(..)) {
            return Err(format!(
                "{reason}; with CI set that is a failure (scripts/test --install installs it)"
            )
            .into());
        }
        return Ok(Some(reason));
    }
    Ok(None)
}

/// [`trial`](fn@crate::trial) for a function, by its name; with needs, if there are any.
#[macro_export]
macro_rules! trial {
    ($test:ident) => {
        $crate::trial(stringify!($test), &[], $test)
    };
    ($test:ident, $needs:expr $(,)?) => {
        $crate::trial(stringify!($test), $needs, $test)
    };
}

/// A test, which is ignored, with the reason, where a need is not met; on CI (a `CI` in the environment that is neither
/// empty nor `false` nor 0) it mostly fails then, see [`reason_to_ignore`]. The file that it is made in stands before its
/// name.
#[track_caller]
pub fn trial(
    name: impl Into<String>,
    needs: &[Need],
    test: impl FnOnce() -> Result + Send + 'static,
) -> Trial {
    let needs = needs.to_vec();
    let name = [module(Path::new(Location::caller().file())), name.into()].concat();
    Trial::ignorable_test(name, move || {
        let on_ci =
            env::var_os("CI").is_some_and(|value| !["", "0", "false"].map(OsStr::new).contains(&&*value));
        match reason_to_ignore(&needs, on_ci)? {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map(|()| Completion::Completed),
        }
    })
}

/// `MODULE::`, for a file that is a module; nothing for the main file of a test binary.
fn module(file: &Path) -> String {
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match name(file).as_str() {
        "main" => String::new(),
        "mod" => format!("{}::", name(file.parent().unwrap_or(file))),
        module => format!("{module}::"),
    }
}

const RUN_DIRECTORY: &str = "KASHIM_TESTS_RUN_DIRECTORY";

/// The directory of this run, which holds all others.
pub(crate) fn run_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| env::var_os(RUN_DIRECTORY).expect("the trials are started by run()").into())
}

/// Runs the trials as the command line says, and leaves nothing behind: no process and no file, also if the tests are
/// interrupted or crash. So they run in a child, which this process outlives and cleans up after.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    run_in_turn([(None, trials)])
}

/// [`run`] for groups of trials, one group after the other. With a number, so many of the group run at once instead of one
/// for each processor, unless the command line says otherwise: for trials that mostly wait.
pub fn run_in_turn(groups: impl IntoIterator<Item = (Option<usize>, Vec<Trial>)>) -> ExitCode {
    if env::var_os(RUN_DIRECTORY).is_none() {
        return supervise().unwrap_or_else(|error| {
            eprintln!("{}", error.message().unwrap_or("cannot run the tests"));
            ExitCode::FAILURE
        });
    }
    let mut failed = false;
    for (at_once, trials) in groups {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(at_once);
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
    }
    if failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

fn supervise() -> Result<ExitCode> {
    let directory = TempDir::with_prefix("kashim-tests.")?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    // Servers that put themselves into the background stay our descendants.
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut tests = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(RUN_DIRECTORY, directory.path())
        .spawn()?;
    let status = loop {
        if interrupted.load(Ordering::Relaxed) {
            let _ = tests.kill();
        }
        if let Some(status) = tests.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(10));
    };
    end_all_descendants();
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}

/// Ends what the tests left running, and what that starts meanwhile, and reaps it.
fn end_all_descendants() {
    loop {
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        let left = descendants(getpid().as_raw_nonzero().get()).split_off(1);
        if left.is_empty() {
            return;
        }
        end(&left, Signal::TERM);
    }
}
