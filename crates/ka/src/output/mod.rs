//! Text on its way to a person.

pub mod columns;
pub mod escape;
pub mod line;
pub mod say;
pub mod terminal;
