//! Names of units, where their files are, and where a link leads to (systemd.unit(5)).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::unit::is_nothing;
use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Where units are, the first wins (systemd.unit(5), "Unit File Load Path").
pub const DIRECTORIES: [&str; 13] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// A name that a service can have, with its suffix.
pub fn checked(name: &OsStr) -> Result<String, Error> {
    let shown = escaped(name.as_bytes());
    let text = name.to_str().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || !text.chars().all(allowed) || text.starts_with(['.', '@']) || text.ends_with('.') {
        return Err(Error::usage(format!(
            "\"{shown}\": no name of a unit; accepted: nginx, nginx.service, a@b.service"
        )));
    }
    match text.rsplit_once('.') {
        Some((_, "service")) => Ok(text.to_owned()),
        Some((_, "socket")) => Err(Error::usage(format!(
            "{shown}: a socket unit has settings of its own: KeepAlive=yes, KeepAliveTimeSec=, KeepAliveIntervalSec= and \
             KeepAliveProbes= (systemd.socket(5)); or give its service"
        ))),
        Some((
            _,
            "timer" | "path" | "mount" | "target" | "slice" | "scope" | "swap" | "device" | "automount",
        )) => Err(Error::usage(format!(
            "{shown}: it has no processes of its own; give the service that it starts"
        ))),
        _ => Ok(format!("{text}.service")),
    }
}

/// The template of an instance: `a@.service` of `a@b.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    (rest != ".service").then(|| format!("{prefix}@.service"))
}

/// A name with the instance of another one, if it is a template and that one an instance.
fn with_instance(name: &str, other: &str) -> String {
    match (name.strip_suffix("@.service"), other.split_once('@')) {
        (Some(prefix), Some((_, instance))) => format!("{prefix}@{instance}"),
        _ => name.to_owned(),
    }
}

/// Follows a name that is a link to another unit. With its file, if there is one.
pub fn real_name(root: &Path, mut name: String) -> (String, Option<PathBuf>) {
    let find = |name: &str| {
        let mut places = DIRECTORIES.iter().map(|place| root.join(place).join(name));
        places.find(|path| fs::symlink_metadata(path).is_ok())
    };
    let mut file = None;
    // As many as the kernel follows.
    for _ in 0..40 {
        let Some(found) = find(&name).or_else(|| find(&template(&name)?)) else { break };
        let target = fs::read_link(&found).ok().map(|target| followed(root, &found, &target));
        let is_unit = |path: &PathBuf| {
            path.extension().is_some_and(|suffix| suffix == "service")
                && path
                    .parent()
                    .is_some_and(|parent| DIRECTORIES.iter().any(|place| parent == root.join(place)))
        };
        let other = target.filter(is_unit).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        file = Some(resolve(root, &found));
        // A template is no name of a service, nor the other way round.
        let kind = |name: &str| (name.contains('@'), name.contains("@."));
        let other =
            other.map(|other| with_instance(&other, &name)).filter(|other| kind(other) == kind(&name));
        match other.filter(|other| *other != name) {
            Some(other) => name = other,
            None => break,
        }
    }
    (name, file)
}

/// The other names of a unit: the links to its file.
pub fn aliases(root: &Path, name: &str, file: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if is_nothing(file) {
        return found;
    }
    for place in DIRECTORIES {
        for entry in fs::read_dir(root.join(place)).into_iter().flatten().flatten() {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let Some(link) =
                entry.file_name().to_str().filter(|link| link.ends_with(".service")).map(str::to_owned)
            else {
                continue;
            };
            let alias = with_instance(&link, name);
            if is_link
                && alias != name
                && !found.contains(&alias)
                && is_same(&resolve(root, &entry.path()), file)
            {
                found.push(alias);
            }
        }
    }
    found
}

/// Whether two paths are of one file: /lib may be a link to /usr/lib.
fn is_same(one: &Path, other: &Path) -> bool {
    let who = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    who(one).is_some_and(|one| Some(one) == who(other))
}

/// The directories with drop-ins for a name: its own, its template's, and those for all whose names begin alike up to a
/// dash, the longest first (unit_file_process_dir in systemd's src/shared/dropin.c).
pub fn dropin_directories(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".service").unwrap_or(name);
    let prefix = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    let dashes = prefix.match_indices('-').map(|(at, _)| at).filter(|&at| at + 1 < prefix.len()).rev();
    let prefixes = dashes.map(|at| format!("{}.service.d", &prefix[..=at]));
    let template = template(name).map(|template| format!("{template}.d"));
    std::iter::once(format!("{name}.d")).chain(template).chain(prefixes).collect()
}

/// Where a link leads to in one step, where `root` is the root directory.
fn followed(root: &Path, link: &Path, target: &Path) -> PathBuf {
    match target.strip_prefix("/") {
        Ok(inside) if target != Path::new("/dev/null") => root.join(inside),
        Ok(_) => target.to_owned(),
        Err(_) => {
            let mut path = link.parent().unwrap_or(root).to_owned();
            for part in target.components() {
                match part {
                    std::path::Component::ParentDir => drop(path.pop()),
                    std::path::Component::Normal(name) => path.push(name),
                    _ => {}
                }
            }
            path
        }
    }
}

/// Where a path of the system below `root` is.
pub fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What a link leads to, where `root` is the root directory.
pub fn resolve(root: &Path, path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = followed(root, &path, &target);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_drop_ins_are() {
        let directories = dropin_directories("a-b-c@1-2.service");
        let want = ["a-b-c@1-2.service.d", "a-b-c@.service.d", "a-b-.service.d", "a-.service.d"];
        assert_eq!(directories, want);
    }

    #[test]
    fn names() {
        let name = |name: &str| checked(OsStr::new(name)).ok();
        assert_eq!(name("nginx").as_deref(), Some("nginx.service"));
        assert_eq!(name("a@b-1.service").as_deref(), Some("a@b-1.service"));
        assert_eq!(name("org.x.Y").as_deref(), Some("org.x.Y.service"));
        for bad in ["", "a/b", "../a", "a b", "x.socket", "x.timer", ".d"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn instances() {
        assert_eq!(template("a@b.service").as_deref(), Some("a@.service"));
        assert_eq!((template("a@.service"), template("a.service")), (None, None));
        assert_eq!(with_instance("b@.service", "a@1.service"), "b@1.service");
        assert_eq!(with_instance("b.service", "a@1.service"), "b.service");
        assert_eq!(with_instance("b@.service", "a.service"), "b@.service");
    }
}
