//! What an ELF file says of itself (elf(5)). Only the parts that are asked for are read.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, Dynamic};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP};
use goblin::elf::{Elf, Header, ProgramHeader, SectionHeader};

/// The most that is read at once; more than any of these tables has.
const MOST: u64 = 16 << 20;

/// Class, byte order and machine, as they stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture([u8; 4]);

/// What there is to know of a program.
#[derive(Debug)]
pub struct Program {
    /// PT_INTERP.
    pub loader: Option<PathBuf>,
    /// Go's own linker made it, which marks what it makes by two sections.
    pub go: bool,
    /// DT_NEEDED, by name.
    pub needed: Vec<Vec<u8>>,
    /// Where these are looked for first: before `LD_LIBRARY_PATH` and behind it.
    pub directories: Directories,
}

/// DT_RPATH, which counts only where there is no DT_RUNPATH, and that.
#[derive(Debug, Default)]
pub struct Directories {
    /// Before `LD_LIBRARY_PATH`, with colons between.
    pub before: Vec<u8>,
    /// Behind it.
    pub behind: Vec<u8>,
}

/// Up to `length` bytes from there; `None` if the file cannot be read.
pub fn read_at(file: &File, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(bytes.get_mut(filled..)?, offset.checked_add(filled as u64)?) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

fn table(file: &File, offset: u64, length: u64) -> Option<Vec<u8>> {
    read_at(file, offset, usize::try_from(length.min(MOST)).ok()?)
}

/// The architecture; `None` if it is no ELF file.
pub fn architecture(file: &File) -> Option<Architecture> {
    match *read_at(file, 0, 20)?.as_slice() {
        [0x7f, b'E', b'L', b'F', class, order, .., low, high] if low != 0 || high != 0 => {
            Some(Architecture([class, order, low, high]))
        }
        _ => None,
    }
}

/// The rest; `None` if it is damaged.
pub fn read(file: &File) -> Option<Program> {
    let header = Elf::parse_header(&read_at(file, 0, 64)?).ok()?;
    let context = Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let bytes = table(file, header.e_phoff, u64::from(header.e_phentsize) * u64::from(header.e_phnum))?;
    let segments = ProgramHeader::parse(&bytes, 0, header.e_phnum.into(), context).ok()?;
    let loader = match segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        Some(segment) => {
            let name = table(file, segment.p_offset, segment.p_filesz.min(4096))?;
            Some(OsStr::from_bytes(c_string(&name, 0)?).into())
        }
        None => None,
    };
    let (needed, directories) = linked(file, &segments, context).unwrap_or_default();
    Some(Program { loader, go: is_go(file, &header, context).unwrap_or(false), needed, directories })
}

/// What the dynamic section says.
fn linked(file: &File, segments: &[ProgramHeader], context: Ctx) -> Option<(Vec<Vec<u8>>, Directories)> {
    let mut segments = segments.to_vec();
    let dynamic = segments.iter_mut().find(|segment| segment.p_type == PT_DYNAMIC)?;
    let bytes = table(file, dynamic.p_offset, dynamic.p_filesz)?;
    // The segment is all that was read, so it begins there.
    (dynamic.p_offset, dynamic.p_filesz) = (0, bytes.len() as u64);
    let dynamic = Dynamic::parse(&bytes, &segments, context).ok()??;
    // String by string: the table of a large C++ program has megabytes.
    let string = |at: u64| {
        let left = (dynamic.info.strsz as u64).checked_sub(at)?;
        let bytes = table(file, (dynamic.info.strtab as u64).checked_add(at)?, left.min(4096))?;
        c_string(&bytes, 0).map(<[u8]>::to_vec)
    };
    let all = |tag| {
        let of_tag = dynamic.dyns.iter().filter(move |entry| entry.d_tag == tag);
        of_tag.filter_map(|entry| string(entry.d_val))
    };
    let behind = all(DT_RUNPATH).next();
    let before = if behind.is_some() { None } else { all(DT_RPATH).next() };
    let directories = Directories { before: before.unwrap_or_default(), behind: behind.unwrap_or_default() };
    Some((all(DT_NEEDED).collect(), directories))
}

fn is_go(file: &File, header: &Header, context: Ctx) -> Option<bool> {
    let size = u64::from(header.e_shentsize);
    let bytes = table(file, header.e_shoff, size * u64::from(header.e_shnum))?;
    if header.e_shnum == 0 {
        return Some(false);
    }
    let sections = SectionHeader::parse_from(&bytes, 0, header.e_shnum.into(), context).ok()?;
    let names = sections.get(usize::from(header.e_shstrndx))?;
    let names = table(file, names.sh_offset, names.sh_size)?;
    Some(sections.iter().any(|section| {
        matches!(c_string(&names, section.sh_name), Some(b".go.buildinfo" | b".note.go.buildid"))
    }))
}

/// The bytes from there up to a zero.
fn c_string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)?.split(|&b| b == 0).next()
}
