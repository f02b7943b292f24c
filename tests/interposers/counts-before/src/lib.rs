//! A preload library that counts the calls that pass through it, in an array named `before`.

include!("../../counts.rs");

counts_in!(before);
