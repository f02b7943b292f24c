//! Reading single values, and what several of them make together.

use std::num::{NonZeroU16, NonZeroU32};

use kashim_policy::keepalive::{Defaults, Desired, Field, Interval, PerField, UserTimeout, Values};
use kashim_policy::parse::{self, ErrorKind, MAX_COUNT, MAX_SECONDS, MAX_USER_TIMEOUT};
use kashim_policy::variables::Variable;

#[test]
fn durations() {
    use ErrorKind::*;
    for (text, want) in [
        ("1", Ok(1)),
        ("32767", Ok(32767)),
        ("0032767", Ok(32767)),
        ("5s", Ok(5)),
        ("5m", Ok(300)),
        ("9h", Ok(32400)),
        ("546m", Ok(32760)),
        ("0", Err(TooSmall)),
        ("0m", Err(TooSmall)),
        ("32768", Err(TooLarge)),
        ("10h", Err(TooLarge)),
        ("547m", Err(TooLarge)),
        ("4294967295", Err(TooLarge)),
        ("4294967296", Err(TooLarge)),
        ("4294967297", Err(TooLarge)),
        ("99999999999999999999", Err(TooLarge)),
        // Would be 60 if it overflowed.
        ("71582789m", Err(TooLarge)),
        ("1193047h", Err(TooLarge)),
        ("-1", Err(Sign)),
        ("+5", Err(Sign)),
        ("-", Err(Sign)),
        ("+5m", Err(Sign)),
        ("5 m", Err(BlankInside)),
        ("5\t", Err(BlankInside)),
        ("1 000", Err(BlankInside)),
        ("", Err(NotANumber)),
        ("s", Err(NotANumber)),
        ("1.5", Err(NotANumber)),
        ("5mm", Err(NotANumber)),
        ("0x10", Err(NotANumber)),
        ("abc", Err(NotANumber)),
        ("5-", Err(NotANumber)),
        ("5é", Err(NotANumber)),
        ("５", Err(NotANumber)),
        ("5M", Err(UnknownUnit)),
        ("5d", Err(UnknownUnit)),
    ] {
        assert_eq!(parse::duration(text.as_bytes(), MAX_SECONDS), want, "{text:?}");
    }
    assert_eq!(parse::duration(b"2147483", MAX_USER_TIMEOUT), Ok(MAX_USER_TIMEOUT));
    assert_eq!(parse::duration(b"2147484", MAX_USER_TIMEOUT), Err(TooLarge));
    assert_eq!(parse::duration(b"596h", MAX_USER_TIMEOUT), Ok(596 * 3600));
    assert_eq!(parse::duration(b"597h", MAX_USER_TIMEOUT), Err(TooLarge));
    assert_eq!(parse::duration(&[b'7'; 100_000], MAX_SECONDS), Err(TooLarge));
    assert_eq!(parse::duration(&[0xff, 0xfe], MAX_SECONDS), Err(NotANumber));
}

#[test]
fn every_number_of_seconds() {
    for n in 0..=40_000 {
        let want = match n {
            0 => Err(ErrorKind::TooSmall),
            1..=32767 => Ok(n),
            _ => Err(ErrorKind::TooLarge),
        };
        assert_eq!(parse::duration(n.to_string().as_bytes(), MAX_SECONDS), want);
    }
}

#[test]
fn counts() {
    for (text, want) in [
        ("1", Ok(1)),
        ("127", Ok(127)),
        ("0", Err(ErrorKind::TooSmall)),
        ("128", Err(ErrorKind::TooLarge)),
        ("5s", Err(ErrorKind::NotANumber)),
        ("-1", Err(ErrorKind::Sign)),
        ("", Err(ErrorKind::NotANumber)),
    ] {
        assert_eq!(parse::count(text.as_bytes(), MAX_COUNT), want, "{text:?}");
    }
}

#[test]
fn booleans() {
    for (words, want) in [(["0", "no", "off", "false"], false), (["1", "yes", "on", "true"], true)] {
        for word in words {
            // Every mixture of cases.
            for mixture in 0..1u32 << word.len() {
                let upper =
                    |(i, c): (usize, char)| if mixture >> i & 1 == 1 { c.to_ascii_uppercase() } else { c };
                let text: String = word.chars().enumerate().map(upper).collect();
                assert_eq!(parse::boolean(text.as_bytes()), Ok(want), "{text}");
            }
        }
    }
    for word in [
        "", "2", "00", "10", "y", "n", "t", "f", "maybe", "yes ", "o n", "falsee", "disable", "ｙes", "\0",
        "1\0",
    ] {
        assert_eq!(parse::boolean(word.as_bytes()), Err(ErrorKind::NotABoolean), "{word:?}");
    }
}

#[test]
fn blanks_around_a_value() {
    for (text, want) in [
        ("", ""),
        (" \t\r", ""),
        ("5", "5"),
        (" 5", "5"),
        ("5\r", "5"),
        ("\t 5 m \r", "5 m"),
        ("\u{a0}5", "\u{a0}5"),
    ] {
        assert_eq!(parse::trim(text.as_bytes()), want.as_bytes(), "{text:?}");
    }
}

fn seconds(n: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(n)
}

fn desired(values: [u32; 4]) -> Desired {
    PerField(values.map(NonZeroU32::new))
}

#[test]
fn what_is_read_into_values() {
    let mut values = Values::DEFAULT;
    for (variable, text) in [
        (Variable::Idle, "5m"),
        (Variable::Interval, "20s"),
        (Variable::Count, "127"),
        (Variable::UserTimeout, "auto"),
        // Nothing to do with values.
        (Variable::Force, "1"),
        (Variable::Rules, "nonsense"),
    ] {
        assert_eq!(values.read(variable, text.as_bytes()), Ok(()), "{variable:?}");
    }
    let read = Values {
        idle: seconds(300),
        interval: Interval::Seconds(NonZeroU16::new(20).unwrap()),
        count: seconds(127),
        user_timeout: UserTimeout::Auto,
    };
    assert_eq!(values, read);
    // A bad value changes nothing.
    for variable in [Variable::Idle, Variable::Interval, Variable::Count, Variable::UserTimeout] {
        assert!(values.read(variable, b"bad").is_err());
        assert_eq!(values, read);
    }
    for variable in [Variable::Idle, Variable::Interval, Variable::Count] {
        assert_eq!(values.read(variable, b"system"), Ok(()));
        assert_eq!(values.read(variable, b"System"), Err(ErrorKind::NotANumber));
    }
    assert_eq!(values, Values { user_timeout: UserTimeout::Auto, ..Values::default() });
    assert_eq!(values.read(Variable::UserTimeout, b"system"), Err(ErrorKind::NotANumber));
    assert_eq!(values.read(Variable::UserTimeout, b"off"), Ok(()));
    assert_eq!(values, Values::default());
}

#[test]
fn what_values_make_of_a_socket() {
    let linux = Defaults::LINUX;
    let short = PerField([10, 75, 9, 0]);
    let all = |idle, interval, count, user_timeout| Values { idle, interval, count, user_timeout };
    let set = |n| Interval::Seconds(NonZeroU16::new(n).unwrap());
    use UserTimeout::{Auto, Off, Seconds};
    for (values, kernel, want) in [
        (Values::DEFAULT, linux, [60, 15, 9, 0]),
        (Values::default(), linux, [0, 0, 0, 0]),
        // An interval that nobody set is no longer than the idle time, whoever's that is.
        (all(seconds(5), Interval::Unset, None, Off), linux, [5, 5, 0, 0]),
        (all(seconds(15), Interval::Unset, None, Off), short, [15, 15, 0, 0]),
        (all(None, Interval::Unset, None, Off), linux, [0, 15, 0, 0]),
        (all(None, Interval::Unset, None, Off), short, [0, 10, 0, 0]),
        // One that somebody set is what it is.
        (all(seconds(5), set(20), None, Off), linux, [5, 20, 0, 0]),
        (all(seconds(5), Interval::System, None, Off), linux, [5, 0, 0, 0]),
        // The user timeout, with the kernel's value where one is left to it.
        (all(seconds(60), set(15), seconds(9), Auto), linux, [60, 15, 9, 195_000]),
        (all(None, Interval::System, None, Auto), linux, [0, 0, 0, 7_875_000]),
        (all(None, Interval::System, seconds(2), Auto), short, [0, 0, 2, 160_000]),
        (all(seconds(1), Interval::Unset, None, Auto), short, [1, 1, 0, 10_000]),
        (all(None, Interval::System, None, Seconds(7)), linux, [0, 0, 0, 7000]),
        (all(None, Interval::System, None, Seconds(MAX_USER_TIMEOUT)), linux, [0, 0, 0, 2_147_483_000]),
        // It is capped: this would be 4194176 s.
        (all(seconds(32767), set(32767), seconds(127), Auto), linux, [32767, 32767, 127, 2_147_483_000]),
        (
            all(None, Interval::System, None, Auto),
            PerField([u32::MAX, u32::MAX, 255, 0]),
            [0, 0, 0, 2_147_483_000],
        ),
    ] {
        assert_eq!(values.resolve(&kernel), desired(want), "{values:?}");
    }
}

#[test]
fn what_leans_on_the_kernel() {
    let all = |idle, interval, count, user_timeout| Values { idle, interval, count, user_timeout };
    use UserTimeout::{Auto, Off, Seconds};
    for (values, leans) in [
        (Values::DEFAULT, false),
        (Values::default(), false),
        (all(None, Interval::Unset, seconds(9), Off), true),
        (all(seconds(1), Interval::System, None, Seconds(9)), false),
        (all(seconds(1), Interval::System, seconds(9), Auto), true),
        (all(seconds(1), Interval::Unset, None, Auto), true),
        (all(seconds(1), Interval::Unset, seconds(9), Auto), false),
        (all(None, Interval::System, seconds(9), Auto), true),
    ] {
        assert_eq!(values.needs_kernel_defaults(), leans, "{values:?}");
        // What it means: somewhere else the kernel's own values would give something else.
        let here = values.resolve(&Defaults::LINUX);
        let there = values.resolve(&PerField([3, 4, 5, 0]));
        assert_eq!(here != there, leans, "{values:?}");
    }
}

#[test]
fn markers() {
    let linux = Defaults::LINUX;
    for (ours, marker) in [
        ([60, 15, 9, 0], Some(Field::Idle)),
        ([7200, 15, 9, 0], Some(Field::Interval)),
        ([0, 75, 4, 0], Some(Field::Count)),
        ([7200, 75, 9, 0], None),
        ([0, 0, 0, 0], None),
        // Every socket of a program may carry one of its own.
        ([0, 0, 0, 5000], None),
    ] {
        assert_eq!(desired(ours).marker(&linux), marker, "{ours:?}");
    }
    assert_eq!(desired([60, 15, 9, 0]).marker(&PerField([60, 75, 9, 0])), Some(Field::Interval));
}
