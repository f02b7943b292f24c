//! The library's file: what it asks of the process that it is loaded into, and what it brings along.

use std::fs;
use std::ops::Range;
use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::dynamic::{
    DF_1_NOW, DF_BIND_NOW, DF_TEXTREL, DT_FINI, DT_FINI_ARRAY, DT_INIT, DT_INIT_ARRAYSZ, DT_PREINIT_ARRAY,
    DT_TEXTREL,
};
use goblin::elf::program_header::{PF_W, PF_X, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_LOAD, PT_TLS};
use goblin::elf::sym::STB_WEAK;
use kashim_tests::{Result, Trial, library, trial, workspace};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(is_small),
        trial("needs_no_library_and_no_version", &[], || with_elf(needs_no_library_and_no_version)),
        trial("exports_the_hooks_alone", &[], || with_elf(exports_the_hooks_alone)),
        trial("calls_only_what_every_process_has", &[], || with_elf(calls_only_what_every_process_has)),
        trial("is_read_only_after_loading", &[], || with_elf(is_read_only_after_loading)),
        trial("has_no_surprising_segment", &[], || with_elf(has_no_surprising_segment)),
        trial("runs_one_function_when_loaded", &[], || with_elf(runs_one_function_when_loaded)),
        trial("can_be_unwound", &[], || with_elf(can_be_unwound)),
        trial!(source_is_for_every_architecture),
    ]
}

fn with_elf(test: impl FnOnce(&Elf) -> Result) -> Result {
    test(&Elf::parse(&fs::read(library()?)?)?)
}

/// Fails unless the two are equal, and says which thing it is about.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}").into()) }
}

fn is_small() -> Result {
    const MOST: u64 = 40 * 1024;
    let size = fs::metadata(library()?)?.len();
    if size <= MOST { Ok(()) } else { Err(format!("{size} bytes, more than {MOST}").into()) }
}

/// No NEEDED entry, so that no C library is asked for by name; no version either, so that no age of it is.
fn needs_no_library_and_no_version(elf: &Elf) -> Result {
    expect("NEEDED", &elf.libraries[..], &[])?;
    expect("versions required", elf.verneed.is_some(), false)?;
    expect("versions defined", elf.verdef.is_some(), false)?;
    expect("a path to look for libraries", (&elf.rpaths[..], &elf.runpaths[..]), (&[], &[]))?;
    expect("interpreter", elf.interpreter, None)?;
    expect("SONAME", elf.soname, Some("libkashim.so"))
}

fn exports_the_hooks_alone(elf: &Elf) -> Result {
    let mut exports: Vec<&str> = elf
        .dynsyms
        .iter()
        .filter(|symbol| !symbol.is_import() && symbol.st_name != 0)
        .filter_map(|symbol| elf.dynstrtab.get_at(symbol.st_name))
        .collect();
    exports.sort_unstable();
    expect("exports", &exports[..], &["accept", "accept4", "connect", "setsockopt", "socket"])
}

/// What the library may call, and why that is there: in glibc since long before 2.17 and in musl, without libdl or
/// libpthread, under the same name. (Not `fstat`, for one, a symbol since glibc 2.33.)
const CALLED: &[(&str, &str)] = &[
    ("__errno_location", "behind errno: where the calling thread has it"),
    ("__environ", "the settings"),
    ("getauxval", "AT_SECURE and the name of the program; glibc 2.16, musl 1.1"),
    ("syscall", "what must be no cancellation point and pass no other preloaded library"),
    // One of them is there.
    ("dlsym", "the next function; in libdl before glibc 2.34"),
    ("_dl_sym", "the next function, where there is no libdl; glibc alone"),
];

/// That `abort` is not among them proves that no code in the library can panic: the panic handler calls it. And there
/// is no allocation, no lock, no thread, no stdio, no thread-local storage.
fn calls_only_what_every_process_has(elf: &Elf) -> Result {
    let mut strong = Vec::new();
    let mut unlisted = Vec::new();
    for symbol in elf.dynsyms.iter().filter(|symbol| symbol.is_import() && symbol.st_name != 0) {
        let name = elf.dynstrtab.get_at(symbol.st_name).ok_or("a symbol without a name")?;
        if symbol.st_bind() != STB_WEAK {
            strong.push(name);
        }
        if CALLED.iter().all(|called| called.0 != name) {
            unlisted.push(name);
        }
    }
    expect("references to what is not on the list", &unlisted[..], &[])?;
    // A program without a C library must start.
    expect("references that are not weak", &strong[..], &[])
}

/// Full RELRO: everything is looked up while loading, and all that the loader writes is made read-only after that.
fn is_read_only_after_loading(elf: &Elf) -> Result {
    let dynamic = elf.dynamic.as_ref().ok_or("not dynamic")?;
    expect("BIND_NOW", dynamic.info.flags & DF_BIND_NOW != 0, true)?;
    expect("NOW", dynamic.info.flags_1 & DF_1_NOW != 0, true)?;
    let relro = segment(elf, PT_GNU_RELRO).ok_or("no GNU_RELRO")?;
    // The loader protects whole pages, and leaves out one that is begun.
    let align = elf.program_headers.iter().filter(|s| s.p_type == PT_LOAD).map(|s| s.p_align).max();
    expect("bytes of GNU_RELRO on a page that stays writable", relro.end % align.unwrap_or(1), 0)?;
    let all = elf.dynrelas.iter().chain(&elf.dynrels).chain(&elf.pltrelocs);
    let outside: Vec<u64> = all.map(|r| r.r_offset).filter(|offset| !relro.contains(offset)).collect();
    expect("words that the loader writes outside GNU_RELRO", &outside[..], &[])
}

fn has_no_surprising_segment(elf: &Elf) -> Result {
    let flags = |kind| elf.program_headers.iter().find(|s| s.p_type == kind).map(|s| s.p_flags);
    expect("GNU_STACK", flags(PT_GNU_STACK).map(|flags| flags & PF_X), Some(0))?;
    expect("thread-local storage", flags(PT_TLS), None)?;
    let both = elf.program_headers.iter().filter(|s| s.p_flags & PF_W != 0 && s.p_flags & PF_X != 0).count();
    expect("segments that are writable and executable", both, 0)?;
    let dynamic = elf.dynamic.as_ref().ok_or("not dynamic")?;
    expect("TEXTREL", dynamic.info.flags & DF_TEXTREL != 0 || has(elf, DT_TEXTREL), false)
}

fn runs_one_function_when_loaded(elf: &Elf) -> Result {
    let dynamic = elf.dynamic.as_ref().ok_or("not dynamic")?;
    let size = dynamic.dyns.iter().find(|entry| entry.d_tag == DT_INIT_ARRAYSZ).map(|entry| entry.d_val);
    expect("bytes of INIT_ARRAY", size, Some(8))?;
    for (name, tag) in [
        ("PREINIT_ARRAY", DT_PREINIT_ARRAY),
        ("INIT", DT_INIT),
        ("FINI", DT_FINI),
        ("FINI_ARRAY", DT_FINI_ARRAY),
    ] {
        expect(name, has(elf, tag), false)?;
    }
    Ok(())
}

/// A cancelled thread is unwound through the hook that it was blocked in. That it works is seen in `systems.rs`.
fn can_be_unwound(elf: &Elf) -> Result {
    let frames = segment(elf, PT_GNU_EH_FRAME).ok_or("no GNU_EH_FRAME")?;
    expect("GNU_EH_FRAME is empty", frames.is_empty(), false)?;
    let names = elf.section_headers.iter().filter_map(|section| elf.shdr_strtab.get_at(section.sh_name));
    expect("sections .eh_frame", names.filter(|name| *name == ".eh_frame").count(), 1)
}

fn segment(elf: &Elf, kind: u32) -> Option<Range<u64>> {
    let segment = elf.program_headers.iter().find(|segment| segment.p_type == kind)?;
    Some(segment.p_vaddr..segment.p_vaddr + segment.p_memsz)
}

fn has(elf: &Elf, tag: u64) -> bool {
    elf.dynamic.iter().flat_map(|dynamic| &dynamic.dyns).any(|entry| entry.d_tag == tag)
}

/// The files that may name an architecture.
const NAMES_ARCHITECTURES: [&str; 2] = ["src/weak.rs", MAKES_A_CHILD];
/// The one that has instructions, since no function of the C library makes such a child.
const MAKES_A_CHILD: &str = "src/apart.rs";

/// Nothing in the sources is tied to an architecture: no name of one outside two files, no instruction outside one.
fn source_is_for_every_architecture() -> Result {
    let mut wrong = Vec::new();
    for directory in ["src", "crates/policy/src"] {
        for entry in fs::read_dir(workspace().join(directory))? {
            let path = entry?.path();
            if path.is_dir() {
                return Err(format!("{} would not be looked at", path.display()).into());
            }
            look_through(&path, &mut wrong)?;
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn look_through(path: &Path, wrong: &mut Vec<String>) -> Result {
    const NAMES: [&str; 10] =
        ["target_arch", "x86", "amd64", "i386", "i686", "aarch64", "arm64", "riscv", "powerpc", "s390"];
    let may_name = NAMES_ARCHITECTURES.iter().any(|name| path == workspace().join(name));
    let may_instruct = path == workspace().join(MAKES_A_CHILD);
    let mut in_assembly = false;
    for (line, number) in fs::read_to_string(path)?.lines().zip(1..) {
        let lower = line.trim().to_lowercase();
        let mut complain = |what: &str| wrong.push(format!("{}:{number}: {what}: {line}", path.display()));
        if !may_name && NAMES.iter().any(|name| lower.contains(name)) {
            complain("an architecture's name");
        }
        if lower.contains("asm!") {
            in_assembly = lower.ends_with("global_asm!(");
            if !may_instruct && (!may_name || !in_assembly) {
                complain("assembly");
            }
        } else if in_assembly && lower == ");" {
            in_assembly = false;
        } else if in_assembly && !lower.starts_with("//") {
            // `.directive ...` or `label: .directive ...`
            let text = lower.trim_start_matches('"');
            if !text.split_once(": ").map_or(text, |label| label.1).starts_with('.') {
                complain("not a directive");
            }
        }
    }
    Ok(())
}
