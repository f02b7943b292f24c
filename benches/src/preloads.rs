//! What is measured.

use std::path::{Path, PathBuf};

/// A library to be preloaded, or none, with its settings.
#[derive(Clone, Debug)]
pub struct Preload {
    /// As it is called in the tables.
    pub name: String,
    /// The file.
    pub library: Option<PathBuf>,
    /// Its settings.
    pub settings: Vec<(String, String)>,
}

impl Preload {
    /// The same library with more settings.
    pub fn with(&self, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut changed = self.clone();
        changed.name = name.to_owned();
        changed.settings.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        changed
    }

    /// The whole environment of a program that is measured.
    pub fn environment(&self) -> Vec<(String, String)> {
        // As many variables as a job of cron has: each preload that reads its settings walks through them.
        let mut all: Vec<(String, String)> = [
            ("HOME", "/root"),
            ("LC_ALL", "C"),
            ("LOGNAME", "root"),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("PWD", "/root"),
            ("SHELL", "/bin/sh"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if let Some(library) = &self.library {
            all.push(("LD_PRELOAD".to_owned(), library.display().to_string()));
        }
        all.extend(self.settings.iter().cloned());
        all
    }
}

/// Places in [`all`].
pub const NONE: usize = 0;
/// The yardstick.
pub const MINIMAL: usize = 2;
/// A peer.
pub const DONTDIE: usize = 3;
/// Ours.
pub const KASHIM: usize = 5;

/// All of them. The libraries are in one directory, since the length of a path and the file system that it leads to
/// take their time.
pub fn all(directory: &Path) -> Vec<Preload> {
    let preload = |name: &str, file: Option<&str>, settings: &[(&str, &str)]| {
        let library = file.map(|file| directory.join(file));
        Preload { name: String::new(), library, settings: Vec::new() }.with(name, settings)
    };
    vec![
        preload("none", None, &[]),
        preload("empty library", Some("empty.so"), &[]),
        preload("minimal C", Some("minimal.so"), &[]),
        // The four settings of the others are built in.
        preload(
            "libdontdie",
            Some("libdontdie.so"),
            &[
                ("DD_TCP_KEEPALIVE_TIME", "60"),
                ("DD_TCP_KEEPALIVE_INTVL", "15"),
                ("DD_TCP_KEEPALIVE_PROBES", "9"),
            ],
        ),
        preload(
            "libkeepalive",
            Some("libkeepalive.so"),
            &[("KEEPIDLE", "60"), ("KEEPINTVL", "15"), ("KEEPCNT", "9")],
        ),
        preload("kashim", Some("libkashim.so"), &[]),
    ]
}
