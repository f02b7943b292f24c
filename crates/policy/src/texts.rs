//! Enums whose variants stand for a text.

/// An enum with a text for each variant, and a method `text` that has it.
///
/// The texts are one string, and not a table of strings: the loader would have to relocate each of its entries in every
/// process that the library is loaded into.
macro_rules! texts {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// All variants.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The text that this variant stands for.
            pub fn text(self) -> &'static [u8] {
                const TEXTS: &str = concat!($($text, "\n"),*);
                $crate::texts::line(TEXTS.as_bytes(), self as usize)
            }
        }
    };
}
pub(crate) use texts;

/// One line of a text.
#[inline(never)]
pub(crate) fn line(text: &[u8], number: usize) -> &[u8] {
    text.split(|&b| b == b'\n').nth(number).unwrap_or_default()
}
