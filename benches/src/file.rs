//! What a preload's file is made of, and what of it is in a process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use goblin::elf::Elf;
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};

use crate::preloads::{NONE, Preload};
use crate::process::command;
use crate::statistics::round_robin;
use crate::table::{number, table};
use crate::{Bench, Result};

/// What is known without measuring time.
pub struct Footprint {
    /// Of the file.
    pub file: File,
    /// Of a process with it, less those of one without.
    pub added: Memory,
}

/// What a library's file is made of.
#[derive(Default)]
pub struct File {
    /// Its size in bytes.
    pub size: usize,
    segments: usize,
    relocations: usize,
    /// Those of them for which a name is looked up.
    named: usize,
}

/// The memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    mappings: f64,
    /// Of the library's file: mapped in, whether touched or brought along by a neighbour, in kB.
    resident: f64,
    /// Private and written to, in kB.
    pub dirty: f64,
}

/// How many processes are looked at: where the stack and the heap begin is random, and so how many pages they touch.
const PROCESSES: usize = 31;

/// Looks at each file, and at processes that it is preloaded into. It must be there.
pub fn look(bench: &Bench) -> Result<Vec<Footprint>> {
    let preloads = &bench.preloads;
    let seen = round_robin(preloads.len(), PROCESSES, |i| memory(&preloads[i]))?;
    let mean = |i: usize, of: fn(&Memory) -> f64| seen[i].iter().map(of).sum::<f64>() / PROCESSES as f64;
    let added = |i: usize, of: fn(&Memory) -> f64| mean(i, of) - mean(NONE, of);
    let one = |(i, preload): (usize, &Preload)| {
        let memory = Memory {
            mappings: added(i, |m| m.mappings),
            resident: added(i, |m| m.resident),
            dirty: added(i, |m| m.dirty),
        };
        Ok(Footprint { file: file(preload)?, added: memory })
    };
    preloads.iter().enumerate().map(one).collect()
}

fn file(preload: &Preload) -> Result<File> {
    let Some(library) = &preload.library else { return Ok(File::default()) };
    let bytes = fs::read(library)?;
    let elf = Elf::parse(&bytes)?;
    let relocations = || elf.dynrelas.iter().chain(elf.dynrels.iter()).chain(elf.pltrelocs.iter());
    let is_load = |header: &&ProgramHeader| header.p_type == PT_LOAD;
    Ok(File {
        size: bytes.len(),
        segments: elf.program_headers.iter().filter(is_load).count(),
        relocations: relocations().count(),
        named: relocations().filter(|relocation| relocation.r_sym != 0).count(),
    })
}

fn memory(preload: &Preload) -> Result<Memory> {
    let mut memory = Memory::default();
    let library = preload.library.as_deref();
    let mut of_library = false;
    for line in smaps(preload)?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Private_Dirty:", kilobytes, "kB"] => memory.dirty += kilobytes.parse::<f64>()?,
            ["Rss:", kilobytes, "kB"] if of_library => memory.resident += kilobytes.parse::<f64>()?,
            // A mapping: addresses, rights, offset, device, inode and path.
            [addresses, _, _, _, _, ref path @ ..] if !addresses.ends_with(':') => {
                memory.mappings += 1.0;
                of_library = library.is_some_and(|library| path == [library.as_os_str()]);
            }
            _ => {}
        }
    }
    if library.is_some() && memory.resident == 0.0 {
        return Err(format!("{} is not in the process", preload.name).into());
    }
    Ok(memory)
}

/// The memory of a small program under a preload, once it runs.
fn smaps(preload: &Preload) -> Result<String> {
    let mut child = command("/bin/cat", preload).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let smaps =
        running(&mut child).and_then(|()| Ok(fs::read_to_string(format!("/proc/{}/smaps", child.id()))?));
    drop(child.stdin.take());
    child.wait()?;
    smaps
}

/// It runs as soon as it has answered.
fn running(child: &mut Child) -> Result<()> {
    let (Some(input), Some(output)) = (&mut child.stdin, &mut child.stdout) else { unreachable!() };
    input.write_all(b"here\n")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line == "here\n" { Ok(()) } else { Err("cat does not answer".into()) }
}

/// As a table.
pub fn show(bench: &Bench, footprints: &[Footprint]) -> String {
    let header = [
        "preload",
        "file, bytes",
        "LOAD segments",
        "relocations",
        "of them by name",
        "mappings added",
        "resident, kB",
        "private dirty added, kB",
    ];
    let rows = bench.preloads.iter().zip(footprints).skip(1).map(|(preload, f)| {
        vec![
            preload.name.clone(),
            f.file.size.to_string(),
            f.file.segments.to_string(),
            f.file.relocations.to_string(),
            f.file.named.to_string(),
            number(f.added.mappings, 1),
            number(f.added.resident, 0),
            number(f.added.dirty, 1),
        ]
    });
    table(&header, rows)
}
