//! What is to be shown.

use crate::cli::peers::Peers;
use crate::cli::selector::Selector;
use crate::output::terminal::Color;

/// What is to be shown, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// These processes alone, if there are any.
    pub selectors: Vec<Selector>,
    /// Connections to these peers alone.
    pub peers: Option<Peers>,
    /// Also connections without a process that we can see.
    pub all: bool,
    /// What each connection is to outlive.
    pub lifetime: Option<IdleTimeout>,
    /// Whether in colours.
    pub color: Color,
    /// As JSON.
    pub json: bool,
    /// Ask each socket for its values.
    pub values: bool,
}

/// A middlebox that forgets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout {
    /// By what name it was asked for, if by one.
    pub name: Option<&'static str>,
    /// After so many seconds of silence.
    pub timeout: u32,
}
