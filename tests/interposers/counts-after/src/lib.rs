//! A preload library that counts the calls that pass through it, in an array named `after`.

include!("../../counts.rs");

counts_in!(after);
