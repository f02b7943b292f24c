//! Starting programs.

use std::ffi::{CString, OsStr};
use std::mem::zeroed;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::time::Instant;

use crate::Result;
use crate::preloads::Preload;

/// What one run of a program took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From the call that starts it to the return of the one that waits for it, in microseconds.
    pub time: f64,
    /// Page faults served without input or output.
    pub faults: f64,
}

/// A program to be started over and over again, with all that it needs laid out in advance.
pub struct Spawner {
    words: Vec<CString>,
    environment: Vec<CString>,
}

impl Spawner {
    /// A program, by its path, and its arguments, preloaded.
    pub fn new(words: &[&str], preload: &Preload) -> Result<Self> {
        let entry = |(name, value): &(String, String)| CString::new(format!("{name}={value}"));
        let environment = preload.environment().iter().map(entry).collect::<std::result::Result<_, _>>()?;
        let words = words.iter().map(|&word| CString::new(word)).collect::<std::result::Result<_, _>>()?;
        Ok(Self { words, environment })
    }

    /// Runs it to its end, which must be a good one.
    pub fn run(&self) -> Result<Run> {
        let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain([null_mut()]).collect()
        };
        let (arguments, environment) = (pointers(&self.words), pointers(&self.environment));
        let (mut pid, mut status) = (0, 0);
        // SAFETY: all zeroes are a `rusage`.
        let mut usage = unsafe { zeroed::<libc::rusage>() };
        let start = Instant::now();
        // SAFETY: strings that end with a zero, and arrays of them that end with null.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                arguments[0],
                null(),
                null(),
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        if error != 0 {
            return Err(std::io::Error::from_raw_os_error(error).into());
        }
        // SAFETY: both point to variables of ours.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        let time = start.elapsed().as_secs_f64() * 1e6;
        if waited != pid || status != 0 {
            return Err(format!("{:?} ended with status {status}", self.words).into());
        }
        Ok(Run { time, faults: usage.ru_minflt as f64 })
    }
}

/// A program in the environment of a preload and no other.
pub fn command(path: impl AsRef<OsStr>, preload: &Preload) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(preload.environment()).stdin(Stdio::null());
    command
}

/// The numbers that a program prints. It must come to a good end.
pub fn numbers(command: &mut Command) -> Result<Vec<f64>> {
    let text = output(command)?;
    text.split_whitespace().map(|word| Ok(word.parse()?)).collect()
}

/// What a program prints. It must come to a good end.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Keeps this process and its children on one processor, the last that they may use: a process that is moved about
/// takes its time for it.
pub fn stay_on_one_processor() -> Result<()> {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: all zeroes are an empty set.
    let (mut may, mut one) = unsafe { (zeroed::<libc::cpu_set_t>(), zeroed::<libc::cpu_set_t>()) };
    // SAFETY: it points to a variable of ours of the size that is said.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut may) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the numbers are within the set.
    let last = (0..libc::CPU_SETSIZE as usize).rev().find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &may) });
    // SAFETY: as above.
    unsafe { libc::CPU_SET(last.unwrap_or(0), &mut one) };
    // SAFETY: it points to a variable of ours of the size that is said.
    if unsafe { libc::sched_setaffinity(0, size, &raw const one) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
