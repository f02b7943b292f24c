//! As whom a service runs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::unit::{Unit, read};
use crate::preload::privilege::Caller;

/// The user and the groups of a service.
#[derive(Debug)]
pub struct Account {
    /// `None` if there is no such user yet.
    uid: Option<u32>,
    gid: Option<u32>,
    others: Vec<u32>,
    /// Root with the capability that opens every file.
    writes_all: bool,
    /// Or with the one that opens it for reading.
    reads_all: bool,
    no_new_privs: bool,
}

/// What may be done with a file, as in its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Executing it, or passing through a directory.
    Enter = 1,
    /// Writing to it.
    Write = 2,
    /// Reading it.
    Read = 4,
}

impl Account {
    /// Of the service; users and groups are those of the system below `root`.
    pub fn of(unit: &Unit, root: &Path) -> Self {
        let users = read(&root.join("etc/passwd")).unwrap_or_default();
        let groups = read(&root.join("etc/group")).unwrap_or_default();
        let is_dynamic = unit.is_on("DynamicUser");
        let named = |setting| unit.value(setting).and_then(|name| unit.expanded(name));
        let user = match unit.value("User") {
            Some(name) => unit.expanded(name).unwrap_or_default(),
            None if is_dynamic => String::new(),
            None => "root".to_owned(),
        };
        let line = line(&users, &user).or_else(|| users.lines().find(|line| field(line, 2) == Some(&user)));
        let number = |text: Option<&str>| text?.parse::<u32>().ok();
        let uid = line.map_or_else(|| number(Some(&user)), |line| number(field(line, 2)));
        let uid = uid.or_else(|| (user == "root").then_some(0));
        let of_group = |name: &str| {
            let line = self::line(&groups, name);
            line.map_or_else(|| number(Some(name)), |line| number(field(line, 2)))
        };
        let primary = line.map_or((uid == Some(0)).then_some(0), |line| number(field(line, 3)));
        let gid = named("Group").map_or(primary, |name| of_group(&name));
        let login = line.and_then(|line| field(line, 0)).unwrap_or(&user);
        let is_member = |line: &&str| {
            field(line, 3)
                .is_some_and(|members| members.split(',').any(|it| it == login && !login.is_empty()))
        };
        let mut others: Vec<u32> =
            groups.lines().filter(is_member).filter_map(|line| number(field(line, 2))).collect();
        others.extend(unit.expanded_words("SupplementaryGroups").iter().filter_map(|name| of_group(name)));
        let [writes_all, reads] = if uid == Some(0) { dac(unit) } else { [false; 2] };
        Self {
            uid,
            gid,
            others,
            writes_all,
            reads_all: writes_all || reads,
            // In a user namespace of its own nobody becomes somebody else.
            no_new_privs: is_dynamic || unit.is_on("NoNewPrivileges") || unit.is_on("PrivateUsers"),
        }
    }

    /// Root, with everything.
    pub fn root() -> Self {
        Self {
            uid: Some(0),
            gid: Some(0),
            others: Vec::new(),
            writes_all: true,
            reads_all: true,
            no_new_privs: false,
        }
    }

    /// Whether the mode of a file lets it do this.
    pub fn may(&self, what: May, file: &Metadata) -> bool {
        let whose = if self.uid == Some(file.uid()) {
            6
        } else if self.gid == Some(file.gid()) || self.others.contains(&file.gid()) {
            3
        } else {
            0
        };
        (if what == May::Write { self.writes_all } else { self.reads_all })
            || file.mode() >> whose & what as u32 != 0
    }

    /// Who executes the service's programs: itself, or root, where the line in the unit says so.
    pub fn caller(&self, as_root: bool) -> Caller {
        // A user that is still to be made has a number of its own.
        const NOBODYS: u32 = u32::MAX - 1;
        if as_root {
            return Caller { uid: 0, gid: 0, no_new_privs: false };
        }
        Caller {
            uid: self.uid.unwrap_or(NOBODYS),
            gid: self.gid.unwrap_or(NOBODYS),
            no_new_privs: self.no_new_privs,
        }
    }
}

fn field(line: &str, number: usize) -> Option<&str> {
    line.split(':').nth(number)
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| !name.is_empty() && field(line, 0) == Some(name))
}

/// Which of these capabilities root has: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
fn dac(unit: &Unit) -> [bool; 2] {
    const NAMES: [&str; 2] = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];
    if unit.is_on("PrivateUsers") || unit.words("SecureBits").iter().any(|bit| bit.starts_with("noroot")) {
        return [false; 2];
    }
    let mut has = [true; 2];
    for (at, value) in unit.assigned("CapabilityBoundingSet").into_iter().enumerate() {
        let (takes, list) = value.strip_prefix('~').map_or((true, value), |list| (false, list));
        for (has, name) in has.iter_mut().zip(NAMES) {
            let named = list.split_whitespace().any(|word| word.eq_ignore_ascii_case(name));
            *has = match (named, takes) {
                (true, takes) => takes,
                // An empty one takes all away, and a first list what it does not name.
                (false, true) if value.is_empty() || at == 0 => false,
                (false, false) if list.is_empty() => true,
                (false, _) => *has,
            };
        }
    }
    has
}
