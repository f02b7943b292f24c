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
    /// Root with the capabilities that open every file.
    opens_all: bool,
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
        let user =
            named("User").unwrap_or_else(|| if is_dynamic { String::new() } else { "root".to_owned() });
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
        let is_member =
            |line: &&str| field(line, 3).is_some_and(|members| members.split(',').any(|it| it == login));
        let mut others: Vec<u32> =
            groups.lines().filter(is_member).filter_map(|line| number(field(line, 2))).collect();
        others.extend(unit.expanded_words("SupplementaryGroups").iter().filter_map(|name| of_group(name)));
        Self {
            uid,
            gid,
            others,
            opens_all: uid == Some(0) && keeps_dac(unit),
            no_new_privs: is_dynamic || unit.is_on("NoNewPrivileges"),
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
        self.opens_all || file.mode() >> whose & what as u32 != 0
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

/// Whether CapabilityBoundingSet= leaves root what opens the files of others.
fn keeps_dac(unit: &Unit) -> bool {
    let mut all: Option<bool> = None;
    for value in unit.values("CapabilityBoundingSet") {
        let takes = !value.starts_with('~');
        let has = value
            .trim_start_matches('~')
            .split_whitespace()
            .any(|name| ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"].contains(&name));
        // The first decides what is there without a word.
        let before = all.unwrap_or(!takes);
        all = Some(if has { takes } else { before });
    }
    all.unwrap_or(true)
}
