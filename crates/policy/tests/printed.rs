//! What is printed can be read: values in words are settings again, a complaint shows the value that it is about, and
//! what it says is accepted is.

use kashim_policy::describe;
use kashim_policy::keepalive::{Defaults, Field, PerField};
use kashim_policy::line::Line;
use kashim_policy::middleboxes::MIDDLEBOXES;
use kashim_policy::parse::Accepted;
use kashim_policy::parse::ErrorKind;
use kashim_policy::rules::Action;
use kashim_policy::setting_error::SettingError;
use kashim_policy::settings::Settings;
use kashim_policy::variables::{Environment, Global, Variable};
use kashim_policy::warning;
use proptest::prelude::*;

fn text(write: impl FnOnce(&mut Line)) -> String {
    let mut line = Line::EMPTY;
    write(&mut line);
    String::from_utf8(line.as_bytes().to_owned()).unwrap()
}

/// Settings and the complaints about them.
fn read(entries: &[Vec<u8>]) -> (Box<Settings>, Vec<String>) {
    let mut settings = Box::new(Settings::EMPTY);
    let mut complaints = Vec::new();
    let environment = Environment::from_entries(entries.iter().map(Vec::as_slice));
    settings.read(&environment, &Global::read(&environment), &mut |complaint: &SettingError| {
        let (whole, fault) = (text(|line| complaint.write(line)), text(|line| complaint.fault(line)));
        let instead = text(|line| complaint.instead(line));
        assert_eq!(whole, format!("kashim: error: {fault}; {instead}"));
        complaints.push(whole);
    });
    (settings, complaints)
}

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"=", value].concat()
}

/// What `describe` says of values, as environment entries and as a rule. An interval that nobody asked for is said as
/// the number that it is where that is known, and otherwise in words, which mean that nobody asked.
fn settings_out_of_words(words: &str) -> (Vec<Vec<u8>>, String) {
    let (mut entries, mut rule) = (Vec::new(), "*".to_owned());
    for item in words.split(", ") {
        let (name, value) = ["idle", "interval", "count", "user timeout"]
            .iter()
            .find_map(|name| Some((name, item.strip_prefix(name)?.strip_prefix(' ')?)))
            .unwrap_or_else(|| panic!("{item:?}"));
        if value.contains(" or ") {
            continue;
        }
        let value = value.replace(' ', "");
        rule += &format!(" {}={value}", name.replace(' ', "-"));
        let variable = format!("KA_{}", name.replace(' ', "_").to_uppercase());
        entries.push(entry(variable.as_bytes(), value.as_bytes()));
    }
    (entries, rule)
}

/// What stands between the quotes of a complaint, as the bytes that it was, and whether that was all.
fn unquoted(complaint: &str) -> (Vec<u8>, bool) {
    let (_, rest) = complaint.split_once('"').unwrap();
    let (mut bytes, mut rest) = (Vec::new(), rest.as_bytes());
    loop {
        match rest {
            [b'"', b':', ..] => break,
            [b'\\', b'x', high, low, ..] => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = &rest[4..];
            }
            [b'\\', byte, ..] => {
                bytes.push(*byte);
                rest = &rest[2..];
            }
            [byte, ..] => {
                bytes.push(*byte);
                rest = &rest[1..];
            }
            [] => panic!("{complaint}"),
        }
    }
    // Three dots mean that there was more, if there are more than 60 bytes then.
    let whole = bytes.len() <= 60;
    bytes.truncate(60);
    (bytes, whole)
}

/// A value as somebody may write it, good or bad.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let word = "[0-9]{1,6}[smhM]?|system|off|auto| off|idle=|count=|interval=|user-timeout=|[-+*:;/ =.\"\\\\]|10\\.0\\.0\\.1|\\[::1\\]|/x|[a-z]{1,4}";
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(word, 0..8).prop_map(|words| words.concat().into_bytes()),
        "[0-9]{1,5}[smh]?|system|auto|off|yes".prop_map(String::into_bytes),
    ]
}

fn any_entries() -> impl Strategy<Value = Vec<(Variable, Vec<u8>)>> {
    let one = (prop::sample::select(Variable::ALL.to_vec()), any_value());
    prop::collection::vec(one, 0..6)
}

fn entries(from: &[(Variable, Vec<u8>)]) -> Vec<Vec<u8>> {
    from.iter().map(|(variable, value)| entry(variable.text(), value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Values in words, as the log has them, are the same values when they are read as settings or as a rule.
    #[test]
    fn values_in_words_are_values(from in any_entries()) {
        let (settings, _) = read(&entries(&from));
        let rules = settings.rules.as_slice().iter().filter_map(|rule| match rule.action {
            Action::Values(values) => Some(values),
            Action::Off => None,
        });
        for values in rules.chain([settings.global]) {
            let words = text(|line| describe::values(line, &values));
            let (entries, rule) = settings_out_of_words(&words);
            let (again, complaints) = read(&entries);
            prop_assert_eq!(complaints, Vec::<String>::new(), "{}", &words);
            prop_assert_eq!(text(|line| describe::values(line, &again.global)), words.clone());
            // A rule takes over what it does not name, so it is read beside an idle time left to the kernel.
            let (by_rule, complaints) = read(&[entry(b"KA_IDLE", b"system"), entry(b"KA_RULES", rule.as_bytes())]);
            prop_assert_eq!(complaints, Vec::<String>::new(), "{}", &rule);
            let Action::Values(by_rule) = by_rule.rules.as_slice()[0].action else { panic!("{rule}") };
            prop_assert_eq!(text(|line| describe::values(line, &by_rule)), words);
            for kernel in [Defaults::LINUX, PerField([10, 20, 3, 0])] {
                prop_assert_eq!(again.global.resolve(&kernel), values.resolve(&kernel));
                prop_assert_eq!(by_rule.resolve(&kernel), values.resolve(&kernel));
            }
        }
    }

    /// A complaint shows the value as it was given, so that it can be found, and that value alone is complained of in the
    /// same words. It ends with what is used instead, and that is what is used.
    #[test]
    fn a_complaint_is_about_its_value(from in any_entries()) {
        let given = entries(&from);
        let (settings, complaints) = read(&given);
        let environment = Environment::from_entries(given.iter().map(Vec::as_slice));
        for complaint in complaints {
            let (value, whole) = unquoted(&complaint);
            let head = complaint.strip_prefix("kashim: error: ").unwrap();
            let variable = *Variable::ALL.iter().filter(|v| head.as_bytes().starts_with(v.text())).max_by_key(|v| v.text().len()).unwrap();
            let all = environment.get(variable).unwrap();
            prop_assert!(all.windows(value.len()).any(|part| part == value), "{}", &complaint);
            if !whole {
                prop_assert!(complaint.contains("...\": "), "{}", &complaint);
            } else if variable == Variable::Rules {
                // Alone, it is the first rule.
                let (_, again) = read(&[entry(b"KA_RULES", &value)]);
                let behind = |complaint: &str| complaint.split_once(" \"").map(|(_, rest)| rest.to_owned());
                prop_assert!(again.len() == 1 && behind(&again[0]) == behind(&complaint), "{}: {:?}", &complaint, again);
            } else {
                let idle = environment.get(Variable::Idle).unwrap_or_default();
                let (_, again) = read(&[entry(b"KA_IDLE", idle), entry(variable.text(), &value)]);
                prop_assert!(again.contains(&complaint), "{}: {:?}", &complaint, again);
            }
            let used = complaint.rsplit_once("using ").map_or("", |(_, used)| used);
            let field = match variable {
                Variable::Idle => Field::Idle,
                Variable::Interval => Field::Interval,
                Variable::Count => Field::Count,
                Variable::UserTimeout => {
                    prop_assert!(used == "off" && settings.global.resolve(&Defaults::LINUX).of(Field::UserTimeout).is_none());
                    continue;
                }
                Variable::Force => {
                    prop_assert!(used == "0" && !settings.force);
                    continue;
                }
                _ => continue,
            };
            let number = used.split_once(',').map_or(used, |(number, _)| number);
            let is = settings.global.resolve(&Defaults::LINUX).of(field).map(|n| n.get().to_string());
            prop_assert_eq!(is.as_deref(), Some(number), "{}", &complaint);
        }
    }
}

/// Every value that is given as an example of what is accepted, and both ends of every range.
#[test]
fn what_is_said_to_be_accepted_is() {
    let said = |accepted: Accepted| std::str::from_utf8(accepted.text()).unwrap();
    for (variable, values, too_large) in [
        (Variable::Idle, &["1", "32767", "300", "90s", "5m", "9h", "system"][..], "32768"),
        (Variable::Interval, &["1", "32767", "300", "90s", "5m", "9h", "system"], "32768"),
        (Variable::Count, &["1", "127", "system"], "128"),
        (Variable::UserTimeout, &["1", "2147483", "300", "90s", "5m", "9h", "off", "auto"], "2147484"),
        (Variable::Force, &["0", "1", "no", "yes", "off", "on", "false", "true"], "2"),
        (Variable::Disable, &["0", "1", "no", "yes", "off", "on", "false", "true"], ""),
        (Variable::Log, &["off", "stderr", "/x"], "x"),
    ] {
        let text = said(variable.accepted());
        for value in values {
            assert!(value.starts_with('/') || text.contains(value), "{value} is not in {text:?}");
            let (_, complaints) = read(&[entry(variable.text(), value.as_bytes())]);
            assert_eq!(complaints, [""; 0], "{variable:?} {value}");
        }
        // The words are all there are.
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let others = ["to", "seconds", "or", "an", "absolute", "path", "of", "at", "most", "4095", "bytes"];
        let unknown: Vec<_> = words.filter(|w| !values.contains(w) && !others.contains(w)).collect();
        assert_eq!(unknown, [""; 0], "{text:?}");
        let bad = read(&[entry(variable.text(), too_large.as_bytes())]).1;
        assert_eq!(bad.len(), usize::from(!too_large.is_empty()), "{variable:?}: {bad:?}");
    }
    let text = said(Accepted::Match);
    for destination in ["*", "10.0.0.0/8", "[2001:db8::]/32"] {
        assert!(text.contains(destination), "{text:?}");
        for ports in ["", ":22", ":22-24"] {
            assert_eq!(
                read(&[entry(b"KA_RULES", format!("{destination}{ports} off").as_bytes())]).1,
                [""; 0]
            );
        }
    }
    assert_eq!(read(&[entry(b"KA_RULES", b":22 off")]).1, [""; 0]);
    let text = said(Accepted::Actions);
    for action in ["off", "idle=", "interval=", "count=", "user-timeout="] {
        assert!(text.contains(action), "{text:?}");
        let value = if action == "off" { "" } else { "5" };
        assert_eq!(read(&[entry(b"KA_RULES", format!("* {action}{value}").as_bytes())]).1, [""; 0]);
    }
    assert_eq!(said(Accepted::Rules), format!("{} rules", kashim_policy::rules::MAX_RULES));
}

/// Texts are told apart by their place in one string, so none of them may be empty or stand twice.
#[test]
fn every_text_is_its_own() {
    fn distinct(texts: impl Iterator<Item = &'static [u8]>) {
        let texts: Vec<_> = texts.collect();
        for (i, text) in texts.iter().enumerate() {
            assert!(!text.is_empty() && text.iter().all(|b| (b' '..=b'~').contains(b)), "{i}");
            assert!(!texts[..i].contains(text), "{:?}", std::str::from_utf8(text));
        }
    }
    distinct(Variable::ALL.iter().map(|v| v.text()));
    distinct(ErrorKind::ALL.iter().map(|p| p.text()));
    distinct(Accepted::ALL.iter().map(|a| a.text()));
}

/// The values for every middlebox with a name are accepted as settings, and have nothing dangerous about them.
#[test]
fn presets_are_settings() {
    for preset in MIDDLEBOXES {
        let value = |n: u32| n.to_string().into_bytes();
        let (settings, complaints) = read(&[
            entry(b"KA_IDLE", &value(preset.idle)),
            entry(b"KA_INTERVAL", &value(preset.interval)),
            entry(b"KA_COUNT", &value(preset.count)),
        ]);
        assert_eq!(complaints, [""; 0], "{preset:?}");
        let shown = settings.global.resolve(&Defaults::LINUX).0.map(|n| n.map(|n| n.get()));
        assert_eq!(shown, [Some(preset.idle), Some(preset.interval), Some(preset.count), None]);
        warning::each(&settings, &mut |_, warning| panic!("{preset:?}: {warning:?}"));
    }
}
