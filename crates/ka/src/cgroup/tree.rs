//! The tree of cgroups (v2), and the one that is meant on the command line.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatFs, fstatfs, openat, statfs};
use rustix::io::Errno;

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// CGROUP2_SUPER_MAGIC (include/uapi/linux/magic.h).
const CGROUP2: u32 = 0x6367_7270;

/// Where the tree is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The directory.
    pub top: PathBuf,
    /// Which cgroup it shows, as seen from our cgroup namespace: `/` but for a part of the tree.
    root: PathBuf,
}

/// A cgroup, held open: no other one can take its place.
#[derive(Debug)]
pub struct Cgroup {
    /// Its directory.
    pub path: PathBuf,
    /// The same.
    pub fd: OwnedFd,
    /// Its name in the tree, from `/` on; the directory where the tree is not known.
    pub name: OsString,
}

impl Cgroup {
    /// The name, fit for a terminal.
    pub fn shown(&self) -> String {
        escaped(self.name.as_bytes()).into_owned()
    }

    /// The processes in it, with those of all cgroups below.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        walk(&self.path, &mut |directory| {
            let read = |name: &str| fs::read_to_string(directory.join(name));
            // A cgroup of threads has none of processes (EOPNOTSUPP); a thread's number does for what we ask.
            let text = read("cgroup.procs").or_else(|_| read("cgroup.threads")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&pid| pid > 0));
        });
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

/// Visits a directory and all below it. One that goes meanwhile is no error.
fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(directory);
    let mut inner: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    inner.sort();
    inner.iter().for_each(|directory| walk(directory, visit));
}

impl Tree {
    /// Where the kernel has it, by /proc/self/mountinfo.
    pub fn find() -> Result<Self, Error> {
        Self::mounted()?.into_iter().next().ok_or_else(|| {
            let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            Error::new(if known.lines().any(|line| line.ends_with("\tcgroup2")) {
                "no cgroup tree (version 2) is mounted here; mount one: mount -t cgroup2 none DIRECTORY. In a \
                 container, bring the host's in (docker run -v /sys/fs/cgroup:/sys/fs/cgroup)"
            } else {
                "this kernel has no cgroups of version 2 (CONFIG_CGROUPS), and attaching needs them"
            })
        })
    }

    /// Everywhere where it is mounted, the best place first.
    fn mounted() -> Result<Vec<Self>, Error> {
        fs::read("/proc/self/mountinfo")
            .map(|table| {
                let mut trees = Self::among(&table);
                // Something else may be mounted over it.
                trees.retain(|tree| is_cgroup2(statfs(&tree.top)));
                trees
            })
            .map_err(|error| Error::new(format!("cannot read /proc/self/mountinfo: {error}")))
    }

    /// Those in a table of mounts: that of /sys/fs/cgroup before those that show all, and these before others.
    fn among(table: &[u8]) -> Vec<Self> {
        let trees = table.split(|&b| b == b'\n').filter_map(|line| {
            let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
            let dash = words.iter().position(|word| *word == b"-")?;
            if words.get(dash + 1) != Some(&&b"cgroup2"[..]) {
                return None;
            }
            let path = |n: usize| Some(PathBuf::from(OsString::from_vec(unescape(words.get(n)?))));
            Some(Self { root: path(3)?, top: path(4)? })
        });
        let mut trees: Vec<Self> = trees.collect();
        // Stable: of equally good ones the first.
        trees.sort_by_key(|tree| match () {
            () if tree.top == Path::new("/sys/fs/cgroup") => 0,
            () if tree.root == Path::new("/") => 1,
            () => 2,
        });
        trees
    }

    /// The cgroup of this directory.
    pub(super) fn open(&self, path: &Path) -> Result<Cgroup, Error> {
        let mut cgroup = open(path)?;
        if let Ok(name) = path.strip_prefix(&self.top) {
            cgroup.name = Path::new("/").join(name).into_os_string();
        }
        Ok(cgroup)
    }

    /// Does something with every cgroup, from the top on, until there is an error. There can be more of them than we may
    /// have descriptors.
    pub fn each(&self, mut visit: impl FnMut(Cgroup) -> Result<(), Error>) -> Result<(), Error> {
        let mut result = Ok(());
        walk(&self.top, &mut |directory| {
            if result.is_ok() {
                result = self.open(directory).map_or(Ok(()), &mut visit);
            }
        });
        result
    }

    /// A cgroup that is written as in /proc/PID/cgroup.
    fn by_name(&self, name: &Path) -> Result<Cgroup, Error> {
        let inside = name.strip_prefix(&self.root).map_err(|_| {
            if self.root.components().any(|part| part == Component::ParentDir) {
                return Error::new(
                    "a cgroup namespace hides where the processes are; run ka on the host, or in a container that has the \
                     host's (docker run --cgroupns=host), or name a directory",
                );
            }
            let (name, top) =
                (escaped(name.as_os_str().as_bytes()), escaped(self.top.as_os_str().as_bytes()));
            Error::new(format!("the cgroup {name} is outside of what {top} shows; run ka on the host"))
        })?;
        self.open(&self.top.join(inside))
    }

    /// That of a process.
    pub(super) fn of_process(&self, pid: i32) -> Result<Cgroup, Error> {
        let table = fs::read(format!("/proc/{pid}/cgroup")).map_err(|_| {
            Error::new(format!("{pid}: no such process (in a container, use its numbers there)"))
        })?;
        let name = table
            .split(|&b| b == b'\n')
            .find_map(|line| line.strip_prefix(b"0::"))
            .ok_or_else(|| Error::new(format!("{pid}: the process is in no cgroup of version 2")))?;
        // The kernel writes " (deleted)" behind the name of one that has gone; there may also be one of that name.
        self.by_name(Path::new(OsStr::from_bytes(name))).map_err(|error| {
            match name.ends_with(b" (deleted)") {
                true => Error::new(format!("{pid}: its cgroup has gone; give another target")),
                false => error,
            }
        })
    }

    /// That of a systemd unit: it has the unit's name, wherever in the tree it is. Below user.slice users make what they like.
    fn of_unit(&self, unit: &OsStr) -> Result<Cgroup, Error> {
        let shown = escaped(unit.as_bytes());
        let with_suffix = [unit.as_bytes(), b".service"].concat();
        let mut found = Vec::new();
        let users = self.top.join("user.slice");
        walk(&self.top, &mut |directory| {
            if directory.starts_with(&users) && directory != users {
                return;
            }
            let name = directory.file_name().unwrap_or_default().as_bytes();
            if directory != self.top && (name == unit.as_bytes() || name == with_suffix) {
                found.push(directory.to_owned());
            }
        });
        match found.as_slice() {
            [one] => self.open(one),
            [] => Err(Error::new(format!(
                "{shown}: no running systemd unit has this name (a unit has a cgroup while it runs); accepted: a \
                 directory of the cgroup tree, a unit, a process by number, or / for the host"
            ))),
            many => {
                let list: Vec<_> = many.iter().map(|path| escaped(path.as_os_str().as_bytes())).collect();
                Err(Error::new(format!(
                    "{shown}: several units have this name: {}; give the directory",
                    list.join(", ")
                )))
            }
        }
    }
}

/// A target as it stands on the command line.
pub fn resolve(target: &OsStr) -> Result<Cgroup, Error> {
    let bytes = target.as_bytes();
    if bytes.is_empty() {
        return Err(Error::usage(
            "\"\": accepted: a directory of the cgroup tree, a systemd unit, a process by number, or / for the host",
        ));
    }
    if bytes == b"/" {
        let tree = Tree::find()?;
        return tree.open(&tree.top);
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        let pid = target.to_str().and_then(|text| text.parse().ok()).filter(|&pid: &i32| pid > 0);
        let pid =
            pid.ok_or_else(|| Error::usage(format!("{}: no process can have this number", escaped(bytes))))?;
        let tree = Tree::find()?;
        let cgroup = tree.of_process(pid)?;
        // Nobody names one process and means all.
        return if cgroup.path == tree.top {
            Err(Error::new(format!(
                "{pid}: its cgroup is the top of the tree, with all processes in it; give / for that"
            )))
        } else {
            Ok(cgroup)
        };
    }
    if !bytes.contains(&b'/') && bytes != b"." && bytes != b".." {
        return Tree::find()?.of_unit(target);
    }
    let path = Path::new(target);
    match open(path) {
        Ok(cgroup) => {
            let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let trees = Tree::mounted().unwrap_or_default();
            let tree = trees.iter().find(|tree| whole.starts_with(&tree.top));
            tree.map_or(Ok(cgroup), |tree| tree.open(&whole))
        }
        // As ka shows it, and as /proc/PID/cgroup and systemd write it: not the same where a part of the tree is shown.
        Err(error) if path.is_absolute() => Tree::find()
            .and_then(|tree| {
                let shown = tree.top.join(path.strip_prefix("/").unwrap_or(path));
                tree.open(&shown).or_else(|_| tree.by_name(path))
            })
            .map_err(|_| error),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> Result<Cgroup, Error> {
    let shown = escaped(path.as_os_str().as_bytes()).into_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT | Errno::NODEV => Error::new(format!("{shown}: there is no such cgroup")),
        Errno::NOTDIR => Error::new(format!("{shown}: a cgroup is a directory, and this is none")),
        error => Error::new(format!("{shown}: cannot open it: {error}")),
    })?;
    if !is_cgroup2(fstatfs(&fd)) {
        return Err(Error::new(format!(
            "{shown}: this is no directory of the cgroup tree of version 2 (one is mounted where findmnt -t cgroup2 says)"
        )));
    }
    Ok(Cgroup { path: path.to_owned(), fd, name: path.as_os_str().to_owned() })
}

fn is_cgroup2(statfs: rustix::io::Result<StatFs>) -> bool {
    statfs.is_ok_and(|statfs| statfs.f_type as u32 == CGROUP2)
}

/// Takes back the `\040` for a blank and the like in /proc/self/mountinfo.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let number = tail.get(..3).filter(|_| byte == b'\\');
        let number = number.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(number.unwrap_or(byte));
        rest = if number.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_tree_is() {
        let hybrid = b"24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            25 24 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            26 24 0:23 /a /mnt rw,x shared:1 master:2 - cgroup2 none rw\n\
            27 24 0:23 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 none rw\n";
        assert_eq!(Tree::among(hybrid)[0].top, Path::new("/sys/fs/cgroup/uni fied"));
        let with = [&hybrid[..], b"9 1 0:23 / /sys/fs/cgroup rw - cgroup2 none rw\n"].concat();
        assert_eq!(Tree::among(&with)[0].top, Path::new("/sys/fs/cgroup"));
        assert_eq!(Tree::among(&with).len(), 3);
        assert_eq!(Tree::among(b"24 1 0:21 / / rw - ext4 /dev/vda rw\n\n"), []);
    }

    #[test]
    fn escapes_of_the_table() {
        assert_eq!(unescape(b"/a\\040b\\134c\\09"), b"/a b\\c\\09");
    }
}
