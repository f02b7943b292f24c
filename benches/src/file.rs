//! What a preload's file is made of, and what of it is in a process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use goblin::elf::{Elf, program_header};

use crate::preloads::{NONE, Preload};
use crate::process::command;
use crate::table::{number, table};
use crate::{Bench, Result};

/// What is known without measuring time.
#[derive(Default)]
pub struct Footprint {
    /// The file's size in bytes.
    pub size: usize,
    segments: usize,
    relocations: usize,
    /// Those of them for which a name is looked up.
    named: usize,
    mappings: f64,
    /// Mapped in, whether touched or brought along by a neighbour, in kB.
    resident: f64,
    dirty: f64,
    /// Private dirty memory added to the whole process, in kB.
    pub dirty_added: f64,
}

/// Looks at each file, and at a process that it is preloaded into. It must be there.
pub fn look(bench: &Bench) -> Result<Vec<Footprint>> {
    let mut all = bench.preloads.iter().map(one).collect::<Result<Vec<_>>>()?;
    let (mappings, dirty) = (all[NONE].mappings, all[NONE].dirty_added);
    for footprint in &mut all {
        footprint.mappings -= mappings;
        footprint.dirty_added -= dirty;
    }
    Ok(all)
}

fn one(preload: &Preload) -> Result<Footprint> {
    let mut footprint = Footprint::default();
    if let Some(library) = &preload.library {
        let bytes = fs::read(library)?;
        let elf = Elf::parse(&bytes)?;
        let relocations = || elf.dynrelas.iter().chain(elf.dynrels.iter()).chain(elf.pltrelocs.iter());
        footprint.size = bytes.len();
        footprint.segments =
            elf.program_headers.iter().filter(|header| header.p_type == program_header::PT_LOAD).count();
        footprint.relocations = relocations().count();
        footprint.named = relocations().filter(|relocation| relocation.r_sym != 0).count();
    }
    let smaps = smaps(preload)?;
    let mut ours = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        // `Name: number kB`, or a mapping: addresses, rights and so on, the path last. What follows without a path is
        // the library's, too, if it has more zeroes than fit in the file's last page.
        let Some(name) = first.strip_suffix(':') else {
            let path = words.nth(3);
            let is_library = |path: &str| {
                preload
                    .library
                    .as_deref()
                    .is_some_and(|l| l.ends_with(path) || l == std::path::Path::new(path))
            };
            ours = path.map_or(ours, is_library);
            footprint.mappings += 1.0;
            continue;
        };
        let kilobytes = second.parse().unwrap_or(0.0);
        match name {
            "Private_Dirty" => {
                footprint.dirty_added += kilobytes;
                if ours {
                    footprint.dirty += kilobytes;
                }
            }
            "Rss" if ours => footprint.resident += kilobytes,
            _ => {}
        }
    }
    if preload.library.is_some() && footprint.resident == 0.0 {
        return Err(format!("{} is not in the process", preload.name).into());
    }
    Ok(footprint)
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
        "private dirty, kB",
        "private dirty added to the process, kB",
    ];
    let rows = bench.preloads.iter().zip(footprints).skip(1).map(|(preload, f)| {
        vec![
            preload.name.clone(),
            f.size.to_string(),
            f.segments.to_string(),
            f.relocations.to_string(),
            f.named.to_string(),
            number(f.mappings, 0),
            number(f.resident, 0),
            number(f.dirty, 0),
            number(f.dirty_added, 0),
        ]
    });
    table(&header, rows)
}
