//! A unit, as its files have it (systemd.unit(5), systemd.service(5), systemd.exec(5)). systemd itself need not run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files::DROPIN;
use super::names::{DIRECTORIES, aliases, checked, dropin_directories, real_name, resolve};
use super::syntax::{expanded, settings, words};
use crate::cli::error::Error;

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
        // A link that leads nowhere is no unit, nor is a directory.
        let file = file.filter(|file| masked || fs::metadata(file).is_ok_and(|found| !found.is_dir()));
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
        for (name, value) in settings(&text, "Service") {
            // Names of before systemd 231.
            let name = match name.as_str() {
                "ReadWriteDirectories" => "ReadWritePaths".to_owned(),
                "ReadOnlyDirectories" => "ReadOnlyPaths".to_owned(),
                "InaccessibleDirectories" => "InaccessiblePaths".to_owned(),
                _ => name,
            };
            self.settings.push(Setting { name, value, late });
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| setting.name == name)
    }

    /// The values of a setting that may stand there several times; an empty one forgets those before.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(self.named(name))
    }

    /// The same, of what comes before our drop-in.
    pub fn values_before(&self, name: &str) -> Vec<&str> {
        values(self.named(name).filter(|setting| !setting.late))
    }

    /// What stands there, empty ones too.
    pub fn assigned(&self, name: &str) -> Vec<&str> {
        self.named(name).map(|setting| setting.value.as_str()).collect()
    }

    /// What is set behind our drop-in, empty ones too.
    pub fn assigned_behind(&self, name: &str) -> Vec<&str> {
        self.named(name).filter(|setting| setting.late).map(|setting| setting.value.as_str()).collect()
    }

    /// The words of such a setting.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.values(name).iter().flat_map(|value| words(value)).collect()
    }

    /// The same, with what specifiers stand for. A word with a specifier that we do not know is left out.
    pub fn expanded_words(&self, name: &str) -> Vec<String> {
        self.words(name).iter().filter_map(|word| self.expanded(word)).collect()
    }

    /// The words of these settings that have a specifier which we do not know.
    pub fn unknown_words(&self, names: &[&str]) -> Vec<String> {
        let unknown = |name: &&str| {
            let words = self.words(name).into_iter().filter(|word| self.expanded(word).is_none());
            words.map(|word| format!("{name}={word}")).collect::<Vec<_>>()
        };
        names.iter().flat_map(unknown).collect()
    }

    /// The value of a setting that counts once; the last one does.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().copied()
    }

    /// Whether a setting that is yes or no is yes.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name).is_some_and(is_true)
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

    /// The socket units that start it, below `root`.
    pub fn sockets(&self, root: &Path) -> Vec<(String, String)> {
        let stem = self.name.strip_suffix(".service").unwrap_or(&self.name);
        // One that accepts itself starts an instance for each connection: a.socket and a@.service.
        let names = [format!("{stem}.socket"), format!("{}.socket", stem.split('@').next().unwrap_or(stem))];
        let mut names: Vec<_> = names.into_iter().chain(self.expanded_words("Sockets")).collect();
        names.dedup();
        let find = |name: String| {
            let place = DIRECTORIES.iter().map(|place| resolve(root, &root.join(place).join(&name)));
            let text = place.into_iter().find(|path| path.exists()).and_then(|path| read(&path))?;
            Some((name, text))
        };
        names.into_iter().filter_map(find).collect()
    }

    /// Whether it runs once and ends, as what a timer starts.
    pub fn runs_once(&self) -> bool {
        self.value("Type") == Some("oneshot") && !self.is_on("RemainAfterExit")
    }
}

/// As systemd reads a boolean.
pub fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| value.eq_ignore_ascii_case(word))
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

/// What masks a unit or a drop-in.
pub fn is_nothing(path: &Path) -> bool {
    path == Path::new("/dev/null")
        || fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// A file as it is; nothing if it cannot be read, or is a pipe that would keep us waiting.
pub fn read(path: &Path) -> Option<String> {
    let bytes = path.is_file().then(|| fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned())
}
