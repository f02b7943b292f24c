//! A unit, as its files have it (systemd.unit(5), systemd.service(5), systemd.exec(5)). systemd itself need not run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::DROPIN;
use super::syntax::{expanded, settings, words};
use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Where units are, the first wins (systemd.unit(5), "Unit File Load Path").
const DIRECTORIES: [&str; 7] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// A service.
#[derive(Debug)]
pub struct Unit {
    /// With `.service`; of several names, the one that the others lead to.
    pub name: String,
    /// The others.
    pub aliases: Vec<String>,
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// Whether it is masked: nobody can start it.
    pub masked: bool,
    /// Which of its files cannot be read.
    pub unread: Vec<PathBuf>,
    /// What stands in the section [Service], of the file and then of its drop-ins.
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: String,
    value: String,
    /// From a drop-in that comes behind ours.
    late: bool,
}

impl Unit {
    /// Finds a unit by the name on the command line, in the system below `root`. What is in drop-ins of ours is not read.
    pub fn read(name: &OsStr, root: &Path) -> Result<Self, Error> {
        let given = checked(name)?;
        let (name, file) = real_name(root, given.clone());
        let mut aliases = file.as_ref().map(|file| aliases(root, &name, file)).unwrap_or_default();
        if given != name && !aliases.contains(&given) {
            aliases.push(given);
        }
        let masked = file.as_ref().is_some_and(|file| is_nothing(file));
        let mut unit = Self { name, aliases, file, masked, unread: Vec::new(), settings: Vec::new() };
        if let Some(file) = unit.file.clone() {
            unit.add(&file, root, false);
        }
        for (name, path) in unit.dropins(root) {
            unit.add(&path, root, name.as_slice() > DROPIN.as_bytes());
        }
        Ok(unit)
    }

    /// The drop-ins, in the order of their names. Of two of the same name the one in the first directory counts.
    fn dropins(&self, root: &Path) -> BTreeMap<Vec<u8>, PathBuf> {
        let mut directories = Vec::new();
        for name in std::iter::once(&self.name).chain(&self.aliases) {
            for place in DIRECTORIES {
                directories.extend(dropin_directories(name).iter().map(|last| root.join(place).join(last)));
            }
        }
        directories.extend(DIRECTORIES.map(|place| root.join(place).join("service.d")));
        let mut found = BTreeMap::new();
        for directory in directories {
            for entry in fs::read_dir(resolve(root, &directory)).into_iter().flatten().flatten() {
                let file = entry.file_name();
                if file.as_bytes().ends_with(b".conf") && file != DROPIN {
                    found.entry(file.as_bytes().to_owned()).or_insert_with(|| entry.path());
                }
            }
        }
        found
    }

    fn add(&mut self, path: &Path, root: &Path, late: bool) {
        let file = resolve(root, path);
        if is_nothing(&file) {
            return;
        }
        let Some(text) = read(&file) else {
            self.unread.push(path.to_owned());
            return;
        };
        let new = settings(&text, "Service").into_iter().map(|(name, value)| Setting { name, value, late });
        self.settings.extend(new);
    }

    /// The values of a setting that may stand there several times; an empty one forgets those before.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(self.settings.iter().filter(|setting| setting.name == name))
    }

    /// The same, of what comes before our drop-in.
    pub fn values_before(&self, name: &str) -> Vec<&str> {
        values(self.settings.iter().filter(|setting| setting.name == name && !setting.late))
    }

    /// What is set behind our drop-in, empty ones too.
    pub fn values_behind(&self, name: &str) -> Vec<&str> {
        let late = self.settings.iter().filter(|setting| setting.name == name && setting.late);
        late.map(|setting| setting.value.as_str()).collect()
    }

    /// The words of such a setting.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.values(name).iter().flat_map(|value| words(value)).collect()
    }

    /// The same, with what specifiers stand for. A word with a specifier that we do not know is left as it is.
    pub fn expanded_words(&self, name: &str) -> Vec<String> {
        self.words(name).into_iter().map(|word| self.expanded(&word).unwrap_or(word)).collect()
    }

    /// The value of a setting that counts once; the last one does.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().copied()
    }

    /// Whether a setting that is yes or no is yes.
    pub fn is_on(&self, name: &str) -> bool {
        let yes = ["1", "yes", "y", "true", "t", "on"];
        self.value(name).is_some_and(|value| yes.iter().any(|word| value.eq_ignore_ascii_case(word)))
    }

    /// Which of these settings stand there.
    pub fn has(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.value(name).is_some()).collect()
    }

    /// With what its specifiers stand for, if we know that.
    pub fn expanded(&self, text: &str) -> Option<String> {
        expanded(text, &self.name)
    }

    /// Whether it is a template: only its instances can be started.
    pub fn is_template(&self) -> bool {
        self.name.contains("@.")
    }

    /// Whether it runs once and ends, as what a timer starts.
    pub fn runs_once(&self) -> bool {
        self.value("Type") == Some("oneshot") && !self.is_on("RemainAfterExit")
    }
}

fn values<'a>(settings: impl Iterator<Item = &'a Setting>) -> Vec<&'a str> {
    let mut values = Vec::new();
    for setting in settings {
        if setting.value.is_empty() {
            values.clear();
        } else {
            values.push(setting.value.as_str());
        }
    }
    values
}

/// A name that a service can have, with its suffix.
fn checked(name: &OsStr) -> Result<String, Error> {
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
fn real_name(root: &Path, mut name: String) -> (String, Option<PathBuf>) {
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
        match other.map(|other| with_instance(&other, &name)).filter(|other| *other != name) {
            Some(other) => name = other,
            None => break,
        }
    }
    (name, file)
}

/// The other names of a unit: the links to its file.
fn aliases(root: &Path, name: &str, file: &Path) -> Vec<String> {
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
fn dropin_directories(name: &str) -> Vec<String> {
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

/// What masks a unit or a drop-in.
fn is_nothing(path: &Path) -> bool {
    path == Path::new("/dev/null")
        || fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// A file as it is; nothing if it cannot be read, or is a pipe that would keep us waiting.
pub fn read(path: &Path) -> Option<String> {
    let bytes = path.is_file().then(|| fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned())
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
