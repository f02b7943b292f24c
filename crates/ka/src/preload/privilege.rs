//! setuid, setgid and file capabilities: the loader drops LD_PRELOAD where running the program gives somebody more than
//! he has (AT_SECURE, begin_new_exec and cap_bprm_creds_from_file in the kernel).

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, StatVfsMountFlags, fgetxattr, fstatvfs};
use rustix::process::{getegid, geteuid};
use rustix::thread::no_new_privs;

/// What the caller gains.
#[derive(Debug, PartialEq, Eq)]
pub enum Gain {
    /// There is nothing to gain.
    Nothing,
    /// There is, but not for the caller.
    Refused(&'static str),
    /// The privilege, as "it ..." goes on.
    Granted(&'static str),
}

/// Who executes a program.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// Nothing that is executed gives more (PR_SET_NO_NEW_PRIVS).
    pub no_new_privs: bool,
}

impl Caller {
    /// This process, and what it becomes.
    pub fn ours() -> Self {
        Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            no_new_privs: no_new_privs().unwrap_or(false),
        }
    }
}

/// Looks at the file of a program.
pub fn of(file: &File, caller: &Caller) -> Gain {
    let Ok(metadata) = file.metadata() else { return Gain::Nothing };
    let mode = Mode::from_raw_mode(metadata.mode());
    let setuid = mode.contains(Mode::SUID);
    // Without the right to execute for its group, the bit is about locks.
    let setgid = mode.contains(Mode::SGID | Mode::XGRP);
    let mut room = [0u8; 64];
    let length = fgetxattr(file, "security.capability", &mut room[..]).unwrap_or(0);
    let (effective, permitted) = capabilities(room.get(..length).unwrap_or_default());

    // The kernel gives nobody anything then. But on the effective bit alone the loader is told to beware.
    let no_suid = fstatvfs(file).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    let nothing_new = caller.no_new_privs || no_suid;
    if effective && caller.uid != 0 && !no_suid {
        return Gain::Granted("has file capabilities");
    }
    let mut answer = Gain::Nothing;
    for (has, gains, what) in [
        (setuid, metadata.uid() != caller.uid, "is setuid"),
        (setgid, metadata.gid() != caller.gid, "is setgid"),
        (effective || permitted, caller.uid != 0, "has file capabilities"),
    ] {
        if has && gains && !nothing_new {
            return Gain::Granted(what);
        }
        if has && answer == Gain::Nothing {
            answer = Gain::Refused(what);
        }
    }
    answer
}

/// Of struct vfs_cap_data (include/uapi/linux/capability.h): whether it is effective, and whether it gives anything; what is
/// only inheritable does not.
fn capabilities(data: &[u8]) -> (bool, bool) {
    let word = |at: usize| data.get(at..at + 4).is_some_and(|bytes| bytes != [0; 4]);
    (data.first().is_some_and(|flags| flags & 1 != 0), word(4) || word(12))
}
