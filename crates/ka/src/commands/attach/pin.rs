//! `ka attach --pin`: the program at a path, from which systemd attaches it to a unit.

use std::ffi::CString;
use std::fs;
use std::io::stdout;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::Errno;

use super::say;
use crate::cgroup::attachment::Loaded;
use crate::cgroup::denial;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::output::escape::escaped;

/// BPF_FS_MAGIC (include/uapi/linux/magic.h).
const BPF_FS: u32 = 0xcafe_4a11;

/// Pins what was loaded, in place of what was there.
pub fn run(path: &Path, loaded: &Loaded, what: &str, dry_run: bool) -> Result<Exit, Error> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = |path: &Path| escaped(path.as_os_str().as_bytes()).into_owned();
    if path.file_name().is_none_or(|name| name.as_bytes().contains(&b'.')) {
        return Err(Error::usage(format!(
            "{}: a BPF file system takes no name with a dot in it; write ~ or - instead",
            shown(path)
        )));
    }
    let kind = statfs(directory).map(|statfs| statfs.f_type as u32);
    if kind == Err(Errno::NOENT) {
        return Err(Error::new(format!("{}: there is no directory {}", shown(path), shown(directory))));
    }
    if kind != Ok(BPF_FS) {
        return Err(Error::new(format!(
            "{}: a program can only be put into a BPF file system, and {} is none; mount one: mount -t bpf none \
             /sys/fs/bpf",
            shown(path),
            shown(directory)
        )));
    }
    // The second one is known only beside the first: that one goes last.
    let mut beside = path.as_os_str().to_owned();
    beside.push("-hold");
    let beside = PathBuf::from(beside);
    let mut pins = vec![(path, "sock_ops", loaded.decide())];
    if let Some(hold) = loaded.hold() {
        pins.insert(0, (beside.as_path(), "setsockopt", hold));
    }
    for (path, attach, program) in pins {
        if !dry_run {
            put(path, &program)?;
        }
        let done = if dry_run { "would be put there" } else { "put there" };
        say(&mut stdout(), &format!("{0}: {done} ({what}); in a unit: BPFProgram={attach}:{0}", shown(path)));
    }
    // One of an earlier time would hold what this one does not know.
    if loaded.hold().is_none() && !dry_run && beside.exists() {
        fs::remove_file(&beside)
            .map_err(|error| Error::new(format!("{}: cannot be removed: {error}", shown(&beside))))?;
        say(&mut stdout(), &format!("{}: removed, since there is no --force", shown(&beside)));
    }
    Ok(Exit::Yes)
}

/// Under a name of its own first: `rename` replaces at once.
fn put(path: &Path, program: &impl std::os::fd::AsFd) -> Result<(), Error> {
    let failed = |errno| denial::explain(denial::Step::Pin, errno);
    let mut name = path.as_os_str().to_owned();
    name.push("-new");
    let new = PathBuf::from(&name);
    // Of one that was killed.
    let _ = fs::remove_file(&new);
    let text = CString::new(name.as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    crate::cgroup::pin(program, &text).map_err(failed)?;
    fs::rename(&new, path).map_err(|error| {
        let _ = fs::remove_file(&new);
        failed(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
    })
}
