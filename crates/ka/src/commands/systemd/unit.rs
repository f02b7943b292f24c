//! A unit, as its files have it (systemd.unit(5), systemd.service(5), systemd.exec(5)). systemd itself need not run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    /// With `.service`.
    pub name: String,
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// Whether it is masked: nobody can start it.
    pub masked: bool,
    /// What stands in the section [Service], of the file and then of its drop-ins.
    service: Vec<(String, String)>,
}

impl Unit {
    /// Finds a unit by the name on the command line, in the system below `root`. What is in drop-ins of ours is not read.
    pub fn read(name: &OsStr, root: &Path, ours: &str) -> Result<Self, Error> {
        let name = checked(name)?;
        let find =
            |name: &str| places(root, name).into_iter().find(|path| fs::symlink_metadata(path).is_ok());
        let mut names = with_template(&name);
        let found = names.iter().find_map(|name| find(name));
        // By an alias, the drop-ins of the unit itself count too.
        let file = found.map(|link| resolve(root, &link));
        if let Some(target) = file.as_ref().and_then(|file| file.file_name()?.to_str()) {
            names.extend(with_template(target).into_iter().filter(|name| name.ends_with(".service")));
        }
        let masked = file.as_ref().is_some_and(|file| is_nothing(file));
        let mut texts: Vec<String> = file.iter().map(|file| read(file)).collect();
        // Of two files of the same name the one in the first directory counts.
        let mut dropins = BTreeMap::new();
        for directory in names.iter().flat_map(|name| dropin_directories(name)) {
            for place in places(root, &directory) {
                for entry in fs::read_dir(resolve(root, &place)).into_iter().flatten().flatten() {
                    let file = entry.file_name();
                    if file.as_bytes().ends_with(b".conf") && file != ours {
                        dropins.entry(file).or_insert_with(|| resolve(root, &entry.path()));
                    }
                }
            }
        }
        texts.extend(dropins.values().map(|path| read(path)));
        let service = texts.iter().flat_map(|text| settings(text, "Service")).collect();
        Ok(Self { name, file, masked, service })
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

/// A name, and that of the template that it is an instance of: `a@b.service` has its own files, and those of `a@.service`.
fn with_template(name: &str) -> Vec<String> {
    let template = name.split_once('@').map(|(prefix, _)| format!("{prefix}@.service"));
    std::iter::once(name.to_owned()).chain(template.filter(|template| template != name)).collect()
}

/// The directories with drop-ins for a unit: its own, those for all whose names begin alike up to a dash, and that for all
/// services.
fn dropin_directories(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".service").unwrap_or(name);
    let dashes = stem.match_indices('-').map(|(at, _)| at).filter(|&at| at + 1 < stem.len());
    let prefixes = dashes.map(|at| format!("{}.service.d", &stem[..=at]));
    std::iter::once(format!("{name}.d")).chain(prefixes).chain(["service.d".to_owned()]).collect()
}

fn places(root: &Path, file: &str) -> Vec<PathBuf> {
    DIRECTORIES.iter().map(|directory| root.join(directory).join(file)).collect()
}

/// What a link leads to, where `root` is the root directory.
pub fn resolve(root: &Path, path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = match target.strip_prefix("/") {
            Ok(inside) if target != Path::new("/dev/null") => root.join(inside),
            Ok(_) => target,
            Err(_) => path.parent().unwrap_or(root).join(target),
        };
    }
    path
}

/// What masks a unit or a drop-in.
fn is_nothing(path: &Path) -> bool {
    path == Path::new("/dev/null")
        || fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// A file as it is; nothing if it is none, or a pipe that would keep us waiting.
pub fn read(path: &Path) -> String {
    if !path.is_file() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    text.trim_start_matches('\u{feff}').to_owned()
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
    if let (true, Some((name, value))) = (here, begun.split_once('=')) {
        found.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    found
}

/// Splits as systemd does: at blanks outside of quotes, with escapes. Specifiers (`%n`) and `%%` stay as they are.
pub fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (_, '\\') => word.get_or_insert_default().extend(escaped_letter(&mut letters)),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// What stands behind a backslash (systemd.syntax(7)).
fn escaped_letter(letters: &mut std::str::Chars) -> Option<char> {
    let number = |letters: &mut std::str::Chars, digits: usize, base: u32| {
        let text = letters.as_str().get(..digits)?;
        let letter = char::from_u32(u32::from_str_radix(text, base).ok()?)?;
        *letters = letters.as_str()[digits..].chars();
        Some(letter)
    };
    match letters.next()? {
        'n' => Some('\n'),
        't' => Some('\t'),
        's' => Some(' '),
        'x' => number(letters, 2, 16),
        other => Some(other),
    }
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
        // A continuation that the file ends with.
        assert_eq!(settings("[Service]\nA=1\\", "Service"), [("A".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn where_drop_ins_are() {
        let directories = dropin_directories("a-b-c@1.service");
        assert_eq!(directories, ["a-b-c@1.service.d", "a-.service.d", "a-b-.service.d", "service.d"]);
    }

    #[test]
    fn words_are_split_as_systemd_does() {
        assert_eq!(
            words(r#"A=1 "B=x y" 'C="' D=\"q E=50%% """#),
            ["A=1", "B=x y", "C=\"", "D=\"q", "E=50%%", ""]
        );
        assert_eq!(words(r"/a\x2db\sc \x"), ["/a-b c", ""]);
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
