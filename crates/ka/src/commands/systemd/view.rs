//! What a service sees of the files (systemd.exec(5), "Paths" and "Sandboxing").

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{below, resolve};
use super::unit::Unit;

/// The directories that a service sees in another way than the system does.
#[derive(Debug)]
pub struct View {
    /// The system's root directory.
    system: PathBuf,
    /// The service's.
    root: PathBuf,
    /// Why we cannot know what is in there.
    unknown: Option<&'static str>,
    /// What lies over a directory, with the setting.
    covers: Vec<(PathBuf, Cover, String)>,
    /// Directories from which nothing is executed, or with `true`, it is.
    executable: Vec<(PathBuf, bool, String)>,
    /// Directories that can be written to, or cannot.
    writable: Vec<(PathBuf, bool, String)>,
}

/// What lies over a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cover {
    /// Nothing, and nothing can be put there.
    Nothing,
    /// An empty directory.
    Empty,
    /// Another one.
    Bind(PathBuf),
}

const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

impl View {
    /// Of a service of the system below `system`.
    pub fn of(unit: &Unit, system: &Path) -> Self {
        let mut view = Self::plain(system);
        if let Some(root) = unit.value("RootDirectory") {
            match unit.expanded(root) {
                Some(root) => view.root = below(system, root),
                None => view.unknown = Some("RootDirectory="),
            }
        }
        if unit.value("RootImage").is_some() {
            view.unknown = Some("RootImage=");
        }
        view.look_at_covers(unit);
        view.look_at_flags(unit);
        for (path, ..) in &mut view.covers {
            *path = physical(system, path);
        }
        for (path, ..) in view.executable.iter_mut().chain(&mut view.writable) {
            *path = physical(system, path);
        }
        view
    }

    /// Of what is started without the sandbox.
    pub fn plain(system: &Path) -> Self {
        Self {
            system: system.to_owned(),
            root: system.to_owned(),
            unknown: None,
            covers: Vec::new(),
            executable: Vec::new(),
            writable: Vec::new(),
        }
    }

    /// The absolute paths of such a setting. Without a + they are the system's, where the service has a root of its own.
    fn paths(&self, unit: &Unit, name: &str) -> Vec<(String, String)> {
        let words = unit.expanded_words(name).into_iter();
        let words =
            words.filter(|word| !self.is_elsewhere() || word.trim_start_matches('-').starts_with('+'));
        let path = |word: &String| bare(word).split(':').next().unwrap_or_default().to_owned();
        words
            .map(|word| (path(&word), format!("{name}={word}")))
            .filter(|(path, _)| path.starts_with('/'))
            .collect()
    }

    fn look_at_covers(&mut self, unit: &Unit) {
        let mut cover = |paths: &[&str], what: Cover, setting: &str| {
            self.covers
                .extend(paths.iter().map(|path| (PathBuf::from(path), what.clone(), setting.to_owned())));
        };
        if unit.is_on("ProtectHome") {
            cover(&HOMES, Cover::Nothing, "ProtectHome=");
        } else if unit.value("ProtectHome") == Some("tmpfs") {
            cover(&HOMES, Cover::Empty, "ProtectHome=");
        }
        let own_tmp = unit.is_on("PrivateTmp") || unit.value("PrivateTmp") == Some("disconnected");
        if own_tmp || unit.is_on("DynamicUser") {
            cover(&TEMPORARY, Cover::Empty, "PrivateTmp= or DynamicUser=");
        }
        for (name, what) in [("InaccessiblePaths", Cover::Nothing), ("TemporaryFileSystem", Cover::Empty)] {
            for (path, setting) in self.paths(unit, name) {
                self.covers.push((path.into(), what.clone(), setting));
            }
        }
        for name in ["BindPaths", "BindReadOnlyPaths"] {
            for word in unit.expanded_words(name) {
                let (from, to) = from_and_to(&word);
                self.covers.push((to.into(), Cover::Bind(from.into()), format!("{name}={word}")));
            }
        }
    }

    fn look_at_flags(&mut self, unit: &Unit) {
        for (name, on) in [("NoExecPaths", false), ("ExecPaths", true)] {
            for (path, setting) in self.paths(unit, name) {
                self.executable.push((path.into(), on, setting));
            }
        }
        let mut writable = |paths: &[&str], on: bool, setting: &str| {
            self.writable.extend(paths.iter().map(|path| (PathBuf::from(path), on, setting.to_owned())));
        };
        match unit.value("ProtectSystem") {
            _ if unit.is_on("DynamicUser") => {
                writable(&["/"], false, "DynamicUser=");
                writable(&["/dev", "/proc", "/sys"], true, "DynamicUser=");
            }
            Some("strict") => {
                writable(&["/"], false, "ProtectSystem=strict");
                writable(&["/dev", "/proc", "/sys"], true, "ProtectSystem=strict");
            }
            Some("full") => writable(&["/usr", "/boot", "/efi", "/etc"], false, "ProtectSystem=full"),
            _ if unit.is_on("ProtectSystem") => {
                writable(&["/usr", "/boot", "/efi"], false, "ProtectSystem=");
            }
            _ => {}
        }
        if unit.value("ProtectHome") == Some("read-only") {
            writable(&HOMES, false, "ProtectHome=read-only");
        }
        if unit.is_on("PrivateTmp") || unit.is_on("DynamicUser") {
            writable(&TEMPORARY, true, "PrivateTmp=");
        }
        for (name, on) in [
            // Of one path, the last of these counts.
            ("ReadWritePaths", true),
            ("BindPaths", true),
            ("BindReadOnlyPaths", false),
            ("ReadOnlyPaths", false),
        ] {
            for word in unit.expanded_words(name) {
                let (from, to) = from_and_to(&word);
                writable(&[if name.starts_with("Bind") { to } else { from }], on, &format!("{name}={word}"));
            }
        }
        for (name, place) in [
            ("LogsDirectory", "/var/log"),
            ("StateDirectory", "/var/lib"),
            ("CacheDirectory", "/var/cache"),
            ("RuntimeDirectory", "/run"),
        ] {
            for word in unit.expanded_words(name) {
                let directory = format!("{place}/{}", word.split(':').next().unwrap_or_default());
                writable(&[&directory], true, &format!("{name}={word}"));
            }
        }
    }

    /// Why nothing can be said of what is in there.
    pub fn unknown(&self) -> Option<&'static str> {
        self.unknown
    }

    /// Whether the service has a root directory of its own.
    pub fn is_elsewhere(&self) -> bool {
        self.root != self.system
    }

    /// The setting that hides a file, if one does.
    pub fn hidden(&self, path: &Path) -> Option<&str> {
        let path = physical(&self.system, path);
        let is_closed =
            |(at, what, _): &&(PathBuf, Cover, String)| *what == Cover::Nothing && path.starts_with(at);
        let closed = self.covers.iter().find(is_closed);
        let empty = longest(&path, &self.covers).filter(|(_, what, _)| *what == Cover::Empty);
        closed.or(empty).map(|(.., setting)| setting.as_str())
    }

    /// The setting by which nothing at this path can be executed, nor mapped as a library is.
    pub fn not_executable(&self, path: &Path) -> Option<&str> {
        self.switched_off(path, &self.executable)
    }

    /// The setting by which a file cannot be written.
    pub fn not_writable(&self, path: &Path) -> Option<&str> {
        self.switched_off(path, &self.writable)
    }

    fn switched_off<'a>(&self, path: &Path, list: &'a [(PathBuf, bool, String)]) -> Option<&'a str> {
        let found = longest(&physical(&self.system, path), list);
        found.filter(|(_, on, _)| !on).map(|(.., setting)| setting.as_str())
    }

    /// Whether its directory is one that systemd makes for the service.
    pub fn is_made(&self, path: &Path) -> bool {
        let path = physical(&self.system, path);
        let is_its = |(at, _, setting): &(PathBuf, bool, String)| {
            setting.contains("Directory=") && path.parent() == Some(at)
        };
        self.writable.iter().any(is_its)
    }

    /// Where we find what the service has at a path.
    pub fn real(&self, path: &Path) -> PathBuf {
        let physical = physical(&self.system, path);
        let (root, inside) = match longest(&physical, &self.covers) {
            Some((to, Cover::Bind(from), _)) => {
                (&self.system, from.join(physical.strip_prefix(to).unwrap_or(&physical)))
            }
            _ => (&self.root, path.to_owned()),
        };
        resolve(root, &below(root, &inside))
    }
}

/// A path without the marks before it: not there is no error, in the service's root directory.
fn bare(word: &str) -> &str {
    word.trim_start_matches(['-', '+'])
}

/// The source and the destination of a mount, `FROM[:TO[:OPTIONS]]`.
fn from_and_to(word: &str) -> (&str, &str) {
    let mut parts = bare(word).split(':');
    let from = parts.next().unwrap_or_default();
    (from, parts.next().filter(|to| !to.is_empty()).unwrap_or(from))
}

/// A path without links on the way, below a root; what is not there yet stays as it is.
fn physical(root: &Path, path: &Path) -> PathBuf {
    let Ok(top) = fs::canonicalize(root) else { return path.to_owned() };
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        if let Ok(found) = fs::canonicalize(below(root, there)) {
            // A link may lead out of an image: nobody follows it in there.
            let Ok(inside) = found.strip_prefix(&top) else { return path.to_owned() };
            return missing.iter().rev().fold(Path::new("/").join(inside), |path, name| path.join(name));
        }
        let (Some(above), Some(name)) = (there.parent(), there.file_name()) else { return path.to_owned() };
        missing.push(name);
        there = above;
    }
}

/// The last of the longest directories that a path is in: what is mounted further down counts.
fn longest<'a, T>(path: &Path, list: &'a [(PathBuf, T, String)]) -> Option<&'a (PathBuf, T, String)> {
    list.iter().filter(|(at, ..)| path.starts_with(at)).max_by_key(|(at, ..)| at.components().count())
}
