//! What stands in `LD_PRELOAD`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use kashim_policy::skip::base_name;

use super::elf::Directories;

/// The value: what was there, with our library first, behind sanitizer runtimes only, those that are there and then
/// `linked`. A libkashim.so that was there already is replaced: one is enough.
pub fn preload(inherited: &OsStr, linked: &[OsString], library: &Path) -> OsString {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let entries = inherited.as_bytes().split(|b| matches!(b, b':' | b' ')).filter(|entry| !entry.is_empty());
    for entry in entries {
        if is_sanitizer(entry) {
            first.push(entry);
        } else if base_name(entry) != b"libkashim.so" {
            rest.push(entry);
        }
    }
    // The same runtime may stand there by a longer name: libasan.so.8.0.0 for libasan.so.8.
    let named = |name: &[u8]| first.iter().any(|entry| base_name(entry).starts_with(base_name(name)));
    let linked: Vec<_> = linked.iter().map(|name| name.as_bytes()).filter(|name| !named(name)).collect();
    let all = [first, linked, vec![library.as_os_str().as_bytes()], rest].concat();
    OsString::from_vec(all.join(&b':'))
}

/// The sanitizer runtimes among the libraries that a program needs, so that the loader finds each also for the programs
/// that this one starts: by path, if it is one of the program's own directories that has it.
pub fn sanitizers(needed: &[Vec<u8>], directories: &Directories, program: &Path) -> Vec<OsString> {
    let runtimes: Vec<_> = needed.iter().filter(|name| is_sanitizer(name)).collect();
    if runtimes.is_empty() {
        return Vec::new();
    }
    let paths = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let origin = program.canonicalize().unwrap_or_default();
    let origin = origin.parent().unwrap_or(Path::new("/"));
    let searched: Vec<PathBuf> = [&directories.before, &paths.into_vec(), &directories.behind]
        .iter()
        .flat_map(|list| list.split(|b| matches!(b, b':' | b';')))
        .filter(|directory| !directory.is_empty())
        .map(|directory| expanded(directory, origin))
        .collect();
    let place = |name: &Vec<u8>| {
        let name = OsStr::from_bytes(name);
        let found = searched.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
        found.map_or_else(|| name.to_owned(), PathBuf::into_os_string)
    };
    runtimes.into_iter().map(place).collect()
}

/// A directory with `$ORIGIN`, the only word of those that ld.so(8) knows which is used for such a purpose.
fn expanded(directory: &[u8], origin: &Path) -> PathBuf {
    for word in [&b"$ORIGIN"[..], b"${ORIGIN}"] {
        if let Some(behind) = directory.strip_prefix(word) {
            let path = [origin.as_os_str().as_bytes(), behind].concat();
            return PathBuf::from(OsString::from_vec(path));
        }
    }
    PathBuf::from(OsStr::from_bytes(directory))
}

/// Sanitizer runtimes by gcc's and clang's names. They refuse to start where another library comes before them.
fn is_sanitizer(library: &[u8]) -> bool {
    let name = base_name(library);
    let gcc = ["asan", "hwasan", "lsan", "msan", "tsan", "ubsan"];
    let by_gcc = |&which: &&str| name.starts_with(format!("lib{which}.so").as_bytes());
    let by_clang = || {
        let rest = name.strip_prefix(b"libclang_rt.").unwrap_or_default();
        rest.windows(3).any(|part| part == b"san") && rest.windows(3).any(|part| part == b".so")
    };
    gcc.iter().any(by_gcc) || by_clang()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitizers_come_first() {
        let value = |inherited: &str, linked: &[&str]| {
            let linked: Vec<_> = linked.iter().map(OsString::from).collect();
            preload(inherited.as_ref(), &linked, Path::new("/l/libkashim.so"))
        };
        assert_eq!(value("", &[]), "/l/libkashim.so");
        assert_eq!(value("a.so b.so", &["libasan.so.8"]), "libasan.so.8:/l/libkashim.so:a.so:b.so");
        assert_eq!(value("/x/libasan.so.8.0.0", &["libasan.so.8"]), "/x/libasan.so.8.0.0:/l/libkashim.so");
        assert_eq!(value("/old/libkashim.so:a.so", &[]), "/l/libkashim.so:a.so");
        assert!(is_sanitizer(b"libclang_rt.tsan-x86_64.so") && !is_sanitizer(b"libsanitize.so"));
    }
}
