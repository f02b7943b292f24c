//! Text that the policy writes.

use kashim_policy::line::Line;

/// A line of text, as the library writes it.
pub fn line(write: impl FnOnce(&mut Line)) -> String {
    let mut line = Line::EMPTY;
    write(&mut line);
    String::from_utf8_lossy(line.as_bytes()).into_owned()
}
