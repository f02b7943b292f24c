//! What a service sees of the files (systemd.exec(5), "Paths" and "Sandboxing").

use std::path::{Path, PathBuf};

use super::unit::{Unit, resolve};

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
    /// Nothing that was there.
    Nothing,
    /// Another one.
    Bind(PathBuf),
}

const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

impl View {
    /// Of a service of the system below `system`.
    pub fn of(unit: &Unit, system: &Path) -> Self {
        let mut view = Self {
            system: system.to_owned(),
            root: system.to_owned(),
            unknown: None,
            covers: Vec::new(),
            executable: Vec::new(),
            writable: Vec::new(),
        };
        if let Some(root) = unit.value("RootDirectory") {
            match unit.expanded(root) {
                Some(root) => view.root = below(system, Path::new(&root)),
                None => view.unknown = Some("RootDirectory="),
            }
        }
        if unit.value("RootImage").is_some() {
            view.unknown = Some("RootImage=");
        }
        view.look_at_covers(unit);
        view.look_at_flags(unit);
        view
    }

    fn look_at_covers(&mut self, unit: &Unit) {
        let mut cover = |paths: &[&str], setting: &str| {
            let nothing = |path: &&str| (PathBuf::from(path), Cover::Nothing, setting.to_owned());
            self.covers.extend(paths.iter().map(nothing));
        };
        if unit.is_on("ProtectHome") || unit.value("ProtectHome") == Some("tmpfs") {
            cover(&HOMES, "ProtectHome=");
        }
        let own_tmp = unit.is_on("PrivateTmp") || unit.value("PrivateTmp") == Some("disconnected");
        if own_tmp || unit.is_on("DynamicUser") {
            cover(&TEMPORARY, "PrivateTmp= or DynamicUser=");
        }
        for name in ["InaccessiblePaths", "TemporaryFileSystem"] {
            for word in unit.expanded_words(name) {
                cover(&[bare(&word).split(':').next().unwrap_or_default()], &format!("{name}={word}"));
            }
        }
        for name in ["BindPaths", "BindReadOnlyPaths"] {
            for word in unit.expanded_words(name) {
                let mut parts = bare(&word).split(':');
                let from = parts.next().unwrap_or_default();
                let to = parts.next().filter(|to| !to.is_empty()).unwrap_or(from);
                self.covers.push((to.into(), Cover::Bind(from.into()), format!("{name}={word}")));
            }
        }
    }

    fn look_at_flags(&mut self, unit: &Unit) {
        for (name, on) in [("NoExecPaths", false), ("ExecPaths", true)] {
            for word in unit.expanded_words(name) {
                self.executable.push((bare(&word).into(), on, format!("{name}={word}")));
            }
        }
        let mut writable = |paths: &[&str], on: bool, setting: &str| {
            self.writable.extend(paths.iter().map(|path| (PathBuf::from(path), on, setting.to_owned())));
        };
        match unit.value("ProtectSystem") {
            Some("strict") => {
                writable(&["/"], false, "ProtectSystem=strict");
                writable(&["/dev", "/proc", "/sys"], true, "ProtectSystem=strict");
            }
            Some("full") => writable(&["/usr", "/boot", "/efi", "/etc"], false, "ProtectSystem=full"),
            _ if unit.is_on("ProtectSystem") => {
                writable(&["/usr", "/boot", "/efi"], false, "ProtectSystem=");
            }
            _ if unit.is_on("DynamicUser") => {
                writable(&["/"], false, "DynamicUser=");
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
            ("ReadOnlyPaths", false),
            ("BindReadOnlyPaths", false),
            ("ReadWritePaths", true),
            ("BindPaths", true),
        ] {
            for word in unit.expanded_words(name) {
                let mut parts = bare(&word).split(':');
                let from = parts.next().unwrap_or_default();
                let path =
                    parts.next().filter(|to| !to.is_empty() && name.starts_with("Bind")).unwrap_or(from);
                writable(&[path], on, &format!("{name}={word}"));
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
        match longest(path, &self.covers) {
            Some((_, Cover::Nothing, setting)) => Some(setting),
            _ => None,
        }
    }

    /// The setting by which nothing at this path can be executed, nor mapped as a library is.
    pub fn not_executable(&self, path: &Path) -> Option<&str> {
        longest(path, &self.executable).filter(|(_, on, _)| !on).map(|(.., setting)| setting.as_str())
    }

    /// The setting by which a file cannot be written.
    pub fn not_writable(&self, path: &Path) -> Option<&str> {
        longest(path, &self.writable).filter(|(_, on, _)| !on).map(|(.., setting)| setting.as_str())
    }

    /// Whether it is in a directory that systemd makes for the service.
    pub fn is_made(&self, path: &Path) -> bool {
        longest(path, &self.writable).is_some_and(|(.., setting)| setting.contains("Directory="))
    }

    /// Where we find what the service has at a path.
    pub fn real(&self, path: &Path) -> PathBuf {
        let (root, inside) = match longest(path, &self.covers) {
            Some((to, Cover::Bind(from), _)) => {
                (&self.system, from.join(path.strip_prefix(to).unwrap_or(path)))
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

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The last of the longest directories that a path is in: what is mounted further down counts.
fn longest<'a, T>(path: &Path, list: &'a [(PathBuf, T, String)]) -> Option<&'a (PathBuf, T, String)> {
    list.iter().filter(|(at, ..)| path.starts_with(at)).max_by_key(|(at, ..)| at.components().count())
}
