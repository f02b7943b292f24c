//! The compiled BPF programs, as they are brought into the kernel.

use std::os::fd::{AsRawFd, OwnedFd};

use goblin::elf::{Elf, SectionHeader};
use rustix::io::Errno;

use super::syscall::{self, Kind, MapShape};

/// Made of `crates/ka/bpf/keepalive.bpf.c` by `scripts/build-bpf`.
const OBJECT: &[u8] = include_bytes!("../../bpf/keepalive.bpf.o");

/// The map with the settings, that with the counters, and that with what we have set in each socket.
pub const MAPS: [&str; 3] = ["ka_settings", "ka_counters", "ka_marks"];

/// How an instruction refers to a map (Linux, Documentation/bpf/llvm_reloc.rst).
const R_BPF_64_64: u32 = 1;

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name, also in the kernel.
    pub name: &'static str,
    /// Its section in the object.
    section: &'static str,
    /// Its kind.
    pub kind: Kind,
}

/// Sets connections up.
pub const DECIDE: Program =
    Program { name: "ka_decide", section: "sockops", kind: Kind { program: 13, attach: 3 } };
/// Holds the values against the program.
pub const HOLD: Program =
    Program { name: "ka_hold", section: "cgroup/setsockopt", kind: Kind { program: 25, attach: 22 } };

/// Why a program could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The object is none that this machine can take.
    Object(String),
    /// A map could not be made.
    Map(Errno),
    /// The kernel refused the program; what the verifier said last.
    Program(Errno, String),
}

/// The maps in the kernel; they live as long as a descriptor or a program that uses them.
#[derive(Debug)]
pub struct Maps {
    /// By the cookie of the network namespace.
    pub settings: OwnedFd,
    /// A value for each processor.
    pub counters: OwnedFd,
    /// By the socket.
    pub marks: OwnedFd,
}

impl Maps {
    /// Makes them.
    pub fn create() -> Result<Self, LoadError> {
        let [settings, counters, marks] = MAPS;
        Ok(Self { settings: create(settings)?, counters: create(counters)?, marks: create(marks)? })
    }

    fn named(&self, name: &str) -> Option<&OwnedFd> {
        let all = [&self.settings, &self.counters, &self.marks];
        MAPS.iter().zip(all).find_map(|(map, fd)| (*map == name).then_some(fd))
    }
}

fn file() -> Result<Elf<'static>, LoadError> {
    if cfg!(target_endian = "big") {
        return Err(LoadError::Object("the BPF programs in ka are for little-endian machines".to_owned()));
    }
    Elf::parse(OBJECT).map_err(|error| LoadError::Object(error.to_string()))
}

/// A section, its number, and what is in it.
fn section<'a>(file: &'a Elf<'_>, name: &str) -> Result<(usize, &'static [u8]), LoadError> {
    let named = |header: &&'a SectionHeader| file.shdr_strtab.get_at(header.sh_name) == Some(name);
    let mut headers = file.section_headers.iter().zip(0..);
    let (header, number) = headers.find(|(header, _)| named(header)).ok_or_else(|| missing(name))?;
    let content = header.file_range().and_then(|range| OBJECT.get(range)).ok_or_else(|| missing(name))?;
    Ok((number, content))
}

fn missing(what: &str) -> LoadError {
    LoadError::Object(format!("{what} is missing in the object"))
}

/// Makes the map as the object describes it (`struct map` in the C file).
fn create(name: &str) -> Result<OwnedFd, LoadError> {
    let file = file()?;
    let mut symbols = file.syms.iter();
    let symbol = symbols.find(|symbol| file.strtab.get_at(symbol.st_name) == Some(name));
    let place = symbol.ok_or_else(|| missing(name))?.st_value as usize;
    let (_, data) = section(&file, "maps")?;
    let words: Vec<u32> = data
        .get(place..)
        .unwrap_or_default()
        .chunks_exact(4)
        .take(5)
        .filter_map(|word| Some(u32::from_le_bytes(word.try_into().ok()?)))
        .collect();
    let &[kind, key_size, value_size, max_entries, flags] = words.as_slice() else {
        return Err(missing(name));
    };
    let shape = MapShape { kind, key_size, value_size, max_entries, flags };
    syscall::create_map(name, &shape).map_err(LoadError::Map)
}

/// Loads a program that uses the maps.
pub fn load(program: &Program, maps: &Maps) -> Result<OwnedFd, LoadError> {
    let file = file()?;
    let (number, code) = section(&file, program.section)?;
    let mut code = code.to_vec();
    let is_of_this = |at: usize| file.section_headers.get(at).is_some_and(|it| it.sh_info as usize == number);
    let of_this = file.shdr_relocs.iter().filter(|(at, _)| is_of_this(*at));
    for relocation in of_this.flat_map(|(_, relocations)| relocations.iter()) {
        let symbol = file.syms.get(relocation.r_sym);
        let name = symbol.and_then(|symbol| file.strtab.get_at(symbol.st_name)).unwrap_or_default();
        let map = maps.named(name).ok_or_else(|| missing(name))?;
        if relocation.r_type != R_BPF_64_64 {
            return Err(LoadError::Object(format!("{name} is referred to in a way that ka does not know")));
        }
        // An instruction that loads 64 bits: BPF_PSEUDO_MAP_FD as its source, and the descriptor as the number.
        let at = relocation.r_offset as usize;
        let instruction = code.get_mut(at..at + 8).ok_or_else(|| missing("an instruction"))?;
        let fd = map.as_raw_fd().to_ne_bytes();
        instruction.iter_mut().skip(4).zip(fd).for_each(|(place, byte)| *place = byte);
        if let Some(registers) = instruction.get_mut(1) {
            *registers = *registers & 0x0f | 1 << 4;
        }
    }
    syscall::load(program.kind, program.name, &code, None).map_err(|errno| {
        let mut log = vec![0; 1 << 20];
        let _ = syscall::load(program.kind, program.name, &code, Some(&mut log));
        LoadError::Program(errno, last_lines(&log))
    })
}

/// What the verifier said last, in one line.
fn last_lines(log: &[u8]) -> String {
    let text = log.split(|&b| b == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    lines.reverse();
    lines.join("; ")
}
