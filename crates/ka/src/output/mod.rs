//! Text on its way to a person.

pub mod columns;
pub mod escape;
pub mod line;
pub mod print;
pub mod say;
pub mod terminal;
