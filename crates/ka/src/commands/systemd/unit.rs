//! A unit, as its files have it (systemd.unit(5), systemd.service(5), systemd.exec(5)). systemd itself need not run.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// Where units are, the first wins (systemd.unit(5), "Unit File Load Path").
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// A service.
#[derive(Debug)]
pub struct Unit {
    /// With `.service`.
    pub name: String,
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// What stands in the section [Service], of the file and then of its drop-ins.
    service: Vec<(String, String)>,
}

impl Unit {
    /// Finds a unit by the name on the command line, in the system below `root`. What is in drop-ins of ours is not read.
    pub fn read(name: &OsStr, root: &Path, ours: &str) -> Result<Self, Error> {
        let name = checked(name)?;
        // `a@b.service` has its own files, and those of `a@.service`.
        let template = name.split_once('@').map(|(prefix, _)| format!("{prefix}@.service"));
        let names: Vec<&str> = [Some(name.as_str()), template.as_deref()].into_iter().flatten().collect();
        let places = |file: &str| DIRECTORIES.map(|directory| root.join(directory).join(file));
        let file = names.iter().flat_map(|name| places(name)).find(|path| path.is_file());
        let mut texts: Vec<String> = file.iter().map(|file| read(file)).collect();
        let mut dropins = Vec::new();
        for directory in names.iter().chain(&["service"]).flat_map(|name| places(&format!("{name}.d"))) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "conf") && !path.ends_with(ours) {
                    dropins.push(path);
                }
            }
        }
        dropins.sort_by_key(|path| path.file_name().map(OsStr::to_owned));
        texts.extend(dropins.iter().map(|path| read(path)));
        let service = texts.iter().flat_map(|text| settings(text, "Service")).collect();
        Ok(Self { name, file, service })
    }

    /// The values of a setting that may stand there several times; an empty one forgets those before.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.service.iter().filter(|(other, _)| other == name) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    /// The words of such a setting.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.values(name).iter().flat_map(|value| words(value)).collect()
    }

    /// The value of a setting that counts once; the last one does.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().copied()
    }

    /// Which of these settings stand there.
    pub fn has(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.value(name).is_some()).collect()
    }
}

/// A name that a service can have, with its suffix.
fn checked(name: &OsStr) -> Result<String, Error> {
    let shown = escaped(name.as_bytes());
    let text = name.to_str().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || !text.chars().all(allowed) || text.starts_with('.') {
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

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The settings in a section. A line that ends with a backslash goes on with the next that is no comment.
fn settings(text: &str, section: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut here = false;
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) || (line.is_empty() && begun.is_empty()) {
            continue;
        }
        if let Some(more) = line.strip_suffix('\\') {
            begun += more;
            begun.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut begun) + line;
        if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
        } else if let (true, Some((name, value))) = (here, whole.split_once('=')) {
            found.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// Splits as systemd does: at blanks outside of quotes, which may hold escapes; `%%` is a percent sign.
pub fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (_, '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, '%') if letters.next_if_eq(&'%').is_some() => word.get_or_insert_default().push('%'),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_section() {
        let text =
            "[Unit]\nA=0\n# x\n[Service]\nA = 1 \\\n# not this\n  2\n;B=3\nB=\nC=x=y\n[Install]\nA=9\n";
        let found = settings(text, "Service");
        let pairs: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "1  2"), ("B", ""), ("C", "x=y")]);
    }

    #[test]
    fn words_are_split_as_systemd_does() {
        assert_eq!(
            words(r#"A=1 "B=x y" 'C="' D=\"q E=50%% """#),
            ["A=1", "B=x y", "C=\"", "D=\"q", "E=50%", ""]
        );
        assert!(words("  ").is_empty());
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
}
