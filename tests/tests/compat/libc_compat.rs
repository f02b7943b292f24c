//! The one release file in other systems than the one that built it: glibc 2.31, musl, and a process with no C library
//! that anybody knows; in threads that are cancelled; and however a process comes by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use goblin::elf::Elf;
use kashim_tests::{
    Keepalive, Need, Preload, Program, Result, Running, Scratch, Trial, compile, debug_library, library,
    trial, workspace,
};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (system, needs) in [
        (HOST, &[Need::Program("cc")][..]),
        (
            DEBIAN_11,
            &[Need::Program("debootstrap"), Need::Program("apt-get"), Need::Program("unshare"), Need::Root],
        ),
        (MUSL, &[Need::Program("musl-gcc")]),
    ] {
        let mut add = |what: &str, test: fn(System) -> Result| {
            trials.push(trial(format!("{}_{what}", system.name), needs, move || test(system)));
        };
        add("every_hook", every_hook);
        add("log", log);
        add("cancelled_in_accept", |system| cancelled(system, "accept"));
        add("cancelled_in_accept4", |system| cancelled(system, "accept4"));
        add("cancelled_in_connect", |system| cancelled(system, "connect"));
        add("socket_before_our_constructor", socket_before_our_constructor);
        add("other_preloads", other_preloads);
        add("empty_environment", empty_environment);
        add("environment_emptied_by_the_program", environment_emptied_by_the_program);
        add("only_the_preload_in_the_environment", only_the_preload_in_the_environment);
        add("plugin", plugin);
        if system != MUSL {
            add("any_program", any_program);
            add("no_dlsym_in_the_process", no_dlsym_in_the_process);
            add("no_c_library_in_the_process", no_c_library_in_the_process);
        }
        if system == DEBIAN_11 {
            add("program_with_libdl", program_with_libdl);
        }
    }
    trials.push(trial("host_looked_up_before_main", &[Need::Program("cc")], looked_up_before_main));
    trials.push(trial("host_cancelled_in_cplusplus", &[Need::Program("c++")], cancelled_in_cplusplus));
    trials.push(trial("host_debug_build", &[Need::Program("cc")], debug_build));
    trials
}

/// Where programs are compiled and run.
#[derive(Clone, Copy, PartialEq, Eq)]
struct System {
    name: &'static str,
    compiler: &'static str,
    /// Whether it has a root directory of its own.
    rooted: bool,
}

const HOST: System = System { name: "host", compiler: "cc", rooted: false };
const MUSL: System = System { name: "musl", compiler: "musl-gcc", rooted: false };
const DEBIAN_11: System = System { name: "debian_11", compiler: "gcc", rooted: true };

impl System {
    fn root(self) -> Result<Option<&'static Path>> {
        self.rooted.then(|| kashim_tests::DEBIAN_11.root()).transpose()
    }

    /// Where a path in this system is for us.
    fn outside(self, path: &Path) -> Result<PathBuf> {
        Ok(match self.root()? {
            Some(root) => root.join(path.strip_prefix("/")?),
            None => path.to_owned(),
        })
    }

    /// A file of `fixtures/systems`, as a path in this system.
    fn fixture(self, name: &str) -> Result<PathBuf> {
        Ok(match self.root()? {
            Some(_) => kashim_tests::DEBIAN_11.bring(&fixtures().join(name))?,
            None => fixtures().join(name),
        })
    }

    /// Compiles one; returns the path in this system.
    fn compile(self, source: &str, flags: &[&str]) -> Result<PathBuf> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let source = self.fixture(source)?;
        if !self.rooted {
            return compile(self.compiler, &source, flags);
        }
        let result = source.with_extension(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        self.program(Path::new(self.compiler))?
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .args([&result, &source])
            .args(flags)
            .succeed()?;
        Ok(result)
    }

    /// A program by its path in this system. In a root of its own it is the same process: chroot becomes it.
    fn program(self, path: &Path) -> Result<Program> {
        Ok(match self.root()? {
            Some(root) => Program::new("chroot").arg(root).arg(path),
            None => Program::new(path),
        })
    }
}

fn fixtures() -> PathBuf {
    workspace().join("tests/fixtures/systems")
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// Starts one of the programs that say which descriptor came by which way.
fn start(program: Program) -> Result<Running> {
    program.stdin(Stdio::piped()).start()
}

/// Waits until it is ready, compares its sockets with what is expected of each way, and has it end.
fn expect(mut program: Running, expected: &[(&str, Keepalive)]) -> Result<Running> {
    let output = program.wait_for_output("ready\n")?;
    for (way, keepalive) in expected {
        let fd = output
            .lines()
            .find_map(|line| line.strip_prefix(way)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
            .ok_or_else(|| format!("no {way:?} in {output:?}"))?;
        program
            .expect(|socket| socket.fd == fd, *keepalive)
            .map_err(|error| format!("{way}: {}", error.message().unwrap_or_default()))?;
    }
    Ok(program)
}

/// Has it end.
fn end(program: Running) -> Result<String> {
    let output = program.output()?;
    let stderr = output.stderr.clone();
    output.success()?;
    Ok(stderr)
}

/// `sockets.c`, whose sockets all show `keepalive`.
fn every_way(keepalive: Keepalive) -> [(&'static str, Keepalive); 5] {
    [
        ("untouched", Keepalive::untouched()),
        ("socket", keepalive),
        ("connect", keepalive),
        ("accept", keepalive),
        ("accept4", keepalive),
    ]
}

/// Without the library, and with it.
fn both() -> [(Preload, Keepalive); 2] {
    [(Preload::No, Keepalive::untouched()), (Preload::OURS, Preload::ours())]
}

/// The files that a process maps.
fn maps(program: &Running) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{}/maps", program.pid()))?)
}

fn every_hook(system: System) -> Result {
    let sockets = system.compile("sockets.c", &[])?;
    for (preload, keepalive) in both() {
        let program = start(system.program(&sockets)?.preload(preload))?;
        let program = expect(program, &every_way(keepalive))?;
        without_libdl(system, &program)?;
        end(program)?;
    }
    Ok(())
}

/// Before glibc 2.34 `dlsym` is in libdl: that a program works that has none is the point.
fn without_libdl(system: System, program: &Running) -> Result {
    let maps = maps(program)?;
    if system == DEBIAN_11 && !maps.contains("/libc-2.31.so") {
        return Err(format!("not glibc 2.31:\n{maps}").into());
    }
    if maps.contains("/libdl") { Err(format!("libdl is there:\n{maps}").into()) } else { Ok(()) }
}

fn log(system: System) -> Result {
    let sockets = system.compile("sockets.c", &[])?;
    let program = system.program(&sockets)?.preload(Preload::OURS).env("KA_LOG", "stderr");
    let stderr = end(expect(start(program)?, &every_way(Preload::ours()))?)?;
    for part in [
        " loaded ",
        " socket fd ",
        " connect fd ",
        " accept fd ",
        " accept4 fd ",
        "idle 77, interval 11, count 5",
    ] {
        if !stderr.contains(part) {
            return Err(format!("no {part:?} in the log:\n{stderr}").into());
        }
    }
    // Every call goes the ordinary way.
    if stderr.contains("straight to the kernel") { Err(stderr.into()) } else { Ok(()) }
}

/// The smallest there is, linked with the C library alone.
fn any_program(system: System) -> Result {
    let output =
        system.program(Path::new("/bin/true"))?.preload(Preload::OURS).env("KA_LOG", "stderr").run()?;
    let said = output.stderr.lines().last().unwrap_or_default().to_owned();
    output.success()?;
    if said.starts_with("kashim: true[") && said.contains("] loaded ") { Ok(()) } else { Err(said.into()) }
}

fn cancelled(system: System, call: &str) -> Result {
    // The C library of musl runs clean-up handlers, and unwinds nothing.
    let unwinds = system != MUSL;
    let exceptions = if unwinds { "-fexceptions" } else { "-fno-exceptions" };
    let program = system.compile("cancel.c", &[exceptions, "-pthread"])?;
    for (preload, keepalive) in both() {
        let program = system.program(&program)?.arg(call).preload(preload);
        let program = cancel(start(program)?, unwinds, &[("socket", keepalive)])?;
        without_libdl(system, &program)?;
        end(program)?;
    }
    Ok(())
}

fn cancelled_in_cplusplus() -> Result {
    // The driver takes the file for C++.
    let program = compile("c++", &fixtures().join("cancel.c"), &["-pthread"])?;
    for call in ["accept", "accept4", "connect"] {
        for (preload, keepalive) in both() {
            let program = Program::new(&program).arg(call).preload(preload);
            end(cancel(start(program)?, true, &[("socket", keepalive)])?)?;
        }
    }
    Ok(())
}

/// Cancels the thread of `cancel.c` once it is blocked in the system call.
fn cancel(mut program: Running, unwinds: bool, expected: &[(&str, Keepalive)]) -> Result<Running> {
    let blocks = program.wait_for_output("\n")?;
    let words: Vec<&str> = blocks.split_whitespace().collect();
    let ["blocks", thread, call] = words[..] else { return Err(format!("{blocks:?}").into()) };
    let place = format!("/proc/{}/task/{thread}/syscall", program.pid());
    program.until("the thread to block", |_| {
        Ok((fs::read_to_string(&place)?.split(' ').next() == Some(call)).then_some(()))
    })?;
    program.write("\n")?;
    let program = expect(program, expected)?;
    let said = String::from_utf8(program.stdout())?;
    let frame = if unwinds { "frame left\n" } else { "" };
    let wanted = format!("{blocks}{frame}cleaned up\ncancelled\nsocket ");
    if said.starts_with(&wanted) { Ok(program) } else { Err(format!("{said:?}, not {wanted:?}").into()) }
}

/// A program linked with a library whose constructor opens a socket before ours has run.
fn socket_before_our_constructor(system: System) -> Result {
    let early = system.compile("early.c", &["-shared", "-fPIC"])?;
    let sockets = system.compile("sockets.c", &["-Wl,--no-as-needed", text(&early)?])?;
    for (preload, keepalive) in both() {
        // The loader's own word for the order; musl's gives none. (chroot comes first, and says the same of itself.)
        let program = system.program(&sockets)?.preload(preload).env("LD_DEBUG", "files");
        let program = expect(start(program)?, &every_way(keepalive))?;
        let stderr = end(expect(program, &[("early", keepalive)])?)?;
        if system != MUSL && preload != Preload::No {
            let called = |path: &Path| stderr.rfind(&format!("calling init: {}", path.display()));
            let (early, ours) = (called(&early), called(library()?));
            if early.is_none() || ours.is_none() || early > ours {
                return Err(format!("not in the order that was wanted:\n{stderr}").into());
            }
        }
    }
    Ok(())
}

/// Another preload whose constructor opens a socket, on either side of ours.
fn other_preloads(system: System) -> Result {
    let early = system.compile("early.c", &["-shared", "-fPIC"])?;
    let sockets = system.compile("sockets.c", &[])?;
    let (early, ours) = (text(&early)?, text(library()?)?);
    for (list, preload, keepalive) in [
        (early.to_owned(), Preload::No, Keepalive::untouched()),
        (format!("{early}:{ours}"), Preload::OURS, Preload::ours()),
        (format!("{ours}:{early}"), Preload::OURS, Preload::ours()),
    ] {
        let mut program = system.program(&sockets)?.preloads_others(preload);
        if let Preload::With(settings) = preload {
            program.command().envs(settings.iter().copied());
        }
        program.command().env("LD_PRELOAD", list);
        let program = expect(start(program)?, &every_way(keepalive))?;
        end(expect(program, &[("early", keepalive)])?)?;
    }
    Ok(())
}

const DEFAULTS: Preload = Preload::With(&[]);

fn defaults() -> Keepalive {
    Keepalive::new(60, 15, 9)
}

/// Looking a function up takes the loader's lock, which a signal handler must not wait for: all of that is over before the
/// program's own code runs. The loader itself tells of each look-up.
fn looked_up_before_main() -> Result {
    let sockets = HOST.compile("sockets.c", &[])?;
    // The program's own look-ups are then over, too.
    let program = HOST.program(&sockets)?.preload(Preload::OURS).env("LD_BIND_NOW", "1");
    let said = end(expect(start(program.env("LD_DEBUG", "symbols,files"))?, &every_way(Preload::ours()))?)?;
    let (_, ours) = said
        .split_once(&format!("calling init: {}\n", library()?.display()))
        .ok_or("the library is not initialised")?;
    let (ours, afterwards) = ours.split_once("transferring control: ").ok_or("the program does not begin")?;
    for name in ["socket", "connect", "accept", "accept4", "setsockopt", "getsockopt"] {
        let looked_up = format!("symbol={name}; ");
        assert!(ours.contains(&looked_up) && !afterwards.contains(&looked_up), "{name}:\n{said}");
    }
    Ok(())
}

/// Not one variable: the loader is told on its command line what to preload.
fn empty_environment(system: System) -> Result {
    let sockets = system.compile("sockets.c", &[])?;
    let file = fs::read(system.outside(&sockets)?)?;
    let loader = Elf::parse(&file)?.interpreter.ok_or("the program has no loader")?;
    let mut program = system
        .program(Path::new(loader))?
        .arg("--preload")
        .arg(library()?)
        .arg(&sockets)
        .preloads_others(DEFAULTS);
    program.command().env_clear();
    let program = expect(start(program)?, &every_way(defaults()))?;
    let environment = fs::read(format!("/proc/{}/environ", program.pid()))?;
    if !environment.is_empty() {
        return Err(String::from_utf8_lossy(&environment).into_owned().into());
    }
    end(program)?;
    Ok(())
}

/// The settings were read before.
fn environment_emptied_by_the_program(system: System) -> Result {
    let sockets = system.compile("sockets.c", &[])?;
    let program = system.program(&sockets)?.arg("clearenv").preload(Preload::OURS);
    end(expect(start(program)?, &every_way(Preload::ours()))?)?;
    Ok(())
}

fn only_the_preload_in_the_environment(system: System) -> Result {
    let sockets = system.compile("sockets.c", &[])?;
    let mut program = system.program(&sockets)?.preloads_others(DEFAULTS);
    program.command().env_clear().env("LD_PRELOAD", library()?);
    end(expect(start(program)?, &every_way(defaults()))?)?;
    Ok(())
}

/// Loaded as a plugin the library stands before nothing, and there is no next function after it: what it exports works
/// all the same, by system calls.
fn plugin(system: System) -> Result {
    let host = system.compile("plugin.c", &["-ldl"])?;
    for scope in ["local", "global"] {
        let program = system.program(&host)?.arg(library()?).arg(scope);
        let mut program = program.preloads_others(Preload::OURS);
        program.command().envs(
            Preload::OURS
                .variables()?
                .iter()
                .filter_map(|variable| variable.split_once('=').filter(|(name, _)| *name != "LD_PRELOAD")),
        );
        let program =
            expect(start(program)?, &[("untouched", Keepalive::untouched()), ("socket", Preload::ours())])?;
        end(program)?;
    }
    Ok(())
}

const WITHOUT_LIBC: [&str; 3] = ["-nostdlib", "-ffreestanding", "-fno-stack-protector"];

/// A process with neither `dlsym` nor `_dl_sym`: its C library is one of our own.
fn no_dlsym_in_the_process(system: System) -> Result {
    let libc = system.compile("bare_libc.c", &[&WITHOUT_LIBC[..], &["-shared", "-fPIC"]].concat())?;
    let bare = system.compile("bare.c", &[&WITHOUT_LIBC[..], &["-fpie", "-pie", text(&libc)?]].concat())?;
    for (preload, keepalive) in [
        (Preload::No, Keepalive::untouched()),
        (Preload::OURS, Preload::ours()),
        (Preload::FORCED, Preload::ours()),
    ] {
        // It switches keepalive off for the last one.
        let last = if preload == Preload::FORCED { keepalive } else { Keepalive { on: false, ..keepalive } };
        let program = system.program(&bare)?.preload(preload).env("KA_LOG", "stderr");
        let mut expected = every_way(keepalive);
        expected[4].1 = last;
        let program = expect(start(program)?, &expected)?;
        without_libc(&program)?;
        let stderr = end(program)?;
        if stderr.contains("straight to the kernel") != (preload != Preload::No) {
            return Err(format!("what the log says of it: {stderr:?}").into());
        }
    }
    Ok(())
}

/// A process that has nothing of what the library calls, and none of its own calls for the library to stand before.
fn no_c_library_in_the_process(system: System) -> Result {
    let functions = system.fixture("bare_libc.c")?;
    let bare =
        system.compile("bare.c", &[&WITHOUT_LIBC[..], &["-fpie", "-pie", text(&functions)?]].concat())?;
    for preload in [Preload::No, Preload::FORCED] {
        let program = system.program(&bare)?.preload(preload).env("KA_LOG", "stderr");
        let program = expect(start(program)?, &every_way(Keepalive::untouched()))?;
        without_libc(&program)?;
        end(program)?;
    }
    Ok(())
}

fn without_libc(program: &Running) -> Result {
    let maps = maps(program)?;
    if ["/libc.so", "/libc-", "/ld-musl"].iter().any(|name| maps.contains(name)) {
        return Err(format!("the system's C library is there:\n{maps}").into());
    }
    Ok(())
}

/// A program of Debian's that is linked with libdl.
fn program_with_libdl(system: System) -> Result {
    let script = system.fixture("sockets.pl")?;
    for (preload, keepalive) in both() {
        let program = system.program(Path::new("/usr/bin/perl"))?.arg(&script).preload(preload);
        let program =
            expect(start(program)?, &[("socket", keepalive), ("connect", keepalive), ("accept", keepalive)])?;
        if !maps(&program)?.contains("/libdl-2.31.so") {
            return Err("perl is not linked with libdl".into());
        }
        end(program)?;
    }
    Ok(())
}

/// The debug build, which has checks that panic, also lets a cancelled thread through.
fn debug_build() -> Result {
    let scratch = Scratch::new()?;
    let debug = debug_library(&scratch)?;
    let preloaded = |program: Program| program.env("LD_PRELOAD", &debug).env("KA_IDLE", "77");
    let keepalive = Keepalive::new(77, 15, 9);
    let mapped = |program: &Running| -> Result {
        if maps(program)?.contains(text(&debug)?) {
            Ok(())
        } else {
            Err("the debug build is not there".into())
        }
    };

    let sockets = compile("cc", &fixtures().join("sockets.c"), &[])?;
    let program = expect(start(preloaded(Program::new(sockets)))?, &every_way(keepalive))?;
    mapped(&program)?;
    end(program)?;
    for (compiler, flags) in [("cc", &["-fexceptions", "-pthread"][..]), ("c++", &["-pthread"])] {
        let threads = compile(compiler, &fixtures().join("cancel.c"), flags)?;
        for call in ["accept", "accept4", "connect"] {
            let program = start(preloaded(Program::new(&threads).arg(call)))?;
            let program = cancel(program, true, &[("socket", keepalive)])?;
            mapped(&program)?;
            end(program)?;
        }
    }
    Ok(())
}
