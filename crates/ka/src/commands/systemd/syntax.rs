//! How the lines of a unit are read (systemd.syntax(7), systemd.unit(5) "Specifiers").

/// The settings in a section. A line that ends with a backslash goes on with the next that is no comment.
pub fn settings(text: &str, section: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut here = false;
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with(['#', ';']) || (line.is_empty() && begun.is_empty()) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        // Of two, one stands for the other.
        if backslashes % 2 == 1 {
            begun += &line[..line.len() - 1];
            begun.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut begun) + line;
        if let Some(name) = whole.trim_end().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
        } else if let (true, Some((name, value))) = (here, whole.split_once('=')) {
            found.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    if let (true, Some((name, value))) = (here, begun.split_once('=')) {
        found.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    found
}

/// Splits as systemd does: at blanks outside of quotes, with escapes. Specifiers (`%n`) and `%%` stay as they are.
pub fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (_, '\\') => word.get_or_insert_default().extend(escaped_letter(&mut letters)),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// What stands behind a backslash.
fn escaped_letter(letters: &mut std::str::Chars) -> Option<char> {
    let number = |letters: &mut std::str::Chars, digits: usize, base: u32| {
        let text = letters.as_str().get(..digits)?;
        let letter = char::from_u32(u32::from_str_radix(text, base).ok()?)?;
        *letters = letters.as_str()[digits..].chars();
        Some(letter)
    };
    if letters.as_str().starts_with(|digit: char| digit.is_digit(8)) {
        return number(letters, 3, 8);
    }
    match letters.next()? {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        's' => Some(' '),
        'x' => number(letters, 2, 16),
        'u' => number(letters, 4, 16),
        'U' => number(letters, 8, 16),
        other => Some(other),
    }
}

/// A text with what its specifiers stand for in a unit of this name; `None` if it has others than those of the name.
pub fn expanded(text: &str, unit: &str) -> Option<String> {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').map_or((stem, None), |(prefix, rest)| (prefix, Some(rest)));
    // What a template's instances are called nobody knows.
    let instance = match instance {
        Some("") => None,
        given => Some(given.unwrap_or_default()),
    };
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => match letters.next()? {
                '%' => out.push('%'),
                'p' => out += prefix,
                'i' => out += instance?,
                'n' => out += instance.map(|_| unit)?,
                'N' => out += instance.map(|_| stem)?,
                _ => return None,
            },
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_section() {
        let text =
            "[Unit]\nA=0\n# x\n[Service]\nA = 1 \\\n# not this\n  2\n;B=3\nB=\nC=x=y\n[Install]\nA=9\n";
        let found = settings(text, "Service");
        let pairs: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "1  2"), ("B", ""), ("C", "x=y")]);
        // A continuation that the file ends with.
        assert_eq!(settings("[Service]\nA=1\\", "Service"), [("A".to_owned(), "1".to_owned())]);
        // And none: a backslash that is escaped, and one with a blank behind it.
        for line in ["A=1\\\\", "A=1\\ "] {
            let found = settings(&format!("[Service]\n{line}\nB=2\n"), "Service");
            assert_eq!(found.last(), Some(&("B".to_owned(), "2".to_owned())), "{line}");
        }
    }

    #[test]
    fn words_are_split_as_systemd_does() {
        assert_eq!(
            words(r#"A=1 "B=x y" 'C="' D=\"q E=50%% """#),
            ["A=1", "B=x y", "C=\"", "D=\"q", "E=50%%", ""]
        );
        assert_eq!(words(r"/a\x2db\sc \x"), ["/a-b c", ""]);
        assert_eq!(words(r"\u00e9.so \101.so \U0001f600"), ["é.so", "A.so", "😀"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn specifiers() {
        let of = |text: &str, unit: &str| expanded(text, unit);
        assert_eq!(of("/opt/%p/%i%%", "a@1-x.service").as_deref(), Some("/opt/a/1-x%"));
        assert_eq!(of("%n %N", "a.service").as_deref(), Some("a.service a"));
        assert_eq!(of("%i", "a.service").as_deref(), Some(""));
        for (text, unit) in [("%i", "a@.service"), ("%h/x", "a.service"), ("%", "a.service")] {
            assert_eq!(of(text, unit), None, "{text}");
        }
        assert_eq!(of("%p", "a@.service").as_deref(), Some("a"));
    }
}
