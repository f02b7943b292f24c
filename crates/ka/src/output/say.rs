//! Lines on standard error, with the program's name before each.

use std::io::Write;
use std::sync::OnceLock;

static NAME: OnceLock<&'static str> = OnceLock::new();

/// Says under which name we speak; `ka` otherwise.
pub fn called(name: &'static str) {
    let _ = NAME.set(name);
}

/// Says something, a line or more.
pub fn say(text: &str) {
    let name = NAME.get().unwrap_or(&"ka");
    let lines: String = text.lines().map(|line| format!("{name}: {line}\n")).collect();
    // Not `eprintln!`, which panics where nobody can read.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
