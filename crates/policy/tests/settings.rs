//! All settings of a process: from an environment to values, complaints, warnings and words.

use kashim_policy::describe;
use kashim_policy::keepalive::PerField;
use kashim_policy::line::Line;
use kashim_policy::log::{Log, MAX_LOG_PATH};
use kashim_policy::outcome::{Outcome, SkipReason, Written};
use kashim_policy::parse::ErrorKind;
use kashim_policy::setting_error::SettingError;
use kashim_policy::settings::Settings;
use kashim_policy::skip;
use kashim_policy::variables::{Environment, Global, Variable};
use kashim_policy::warning::{self, Warning};

fn environment<'a>(entries: &'a [&'a str]) -> Environment<'a> {
    Environment::from_entries(entries.iter().map(|entry| entry.as_bytes()))
}

/// Settings, and the complaints about them.
fn read(entries: &[&str]) -> (Box<Settings>, Vec<String>) {
    let mut settings = Box::new(Settings::EMPTY);
    // It may hold anything before.
    settings.force = true;
    let mut complaints = Vec::new();
    let environment = environment(entries);
    settings.read(&environment, &Global::read(&environment), &mut |complaint: &SettingError| {
        complaints.push(text(|line| complaint.write(line)));
    });
    (settings, complaints)
}

fn text(write: impl FnOnce(&mut Line)) -> String {
    let mut line = Line::EMPTY;
    write(&mut line);
    String::from_utf8(line.as_bytes().to_owned()).unwrap()
}

fn described(entries: &[&str]) -> String {
    let (settings, complaints) = read(entries);
    assert_eq!(complaints, [""; 0]);
    text(|line| describe::settings(line, &settings))
}

#[test]
fn entries_of_an_environment() {
    let found = environment(&[
        "PATH=/bin",
        "KA_IDLE=5",
        "KA_IDLE=6",
        "KA_COUNT",
        "KA_INTERVALS=7",
        "XKA_INTERVAL=8",
        "ka_force=1",
        "KA_USER_TIMEOUT==5",
        "KA_RULES= ",
        "KA_SKIP=",
        "KA_SKIP=a",
        "",
        "=",
        "KA_LOG=\r/x\t",
    ]);
    for (variable, value) in [
        (Variable::Idle, Some("5")),
        (Variable::Count, None),
        (Variable::Interval, None),
        (Variable::Force, None),
        (Variable::UserTimeout, Some("=5")),
        (Variable::Rules, None),
        // Empty is unset, but the first of two all the same, as for getenv(3).
        (Variable::Skip, None),
        (Variable::Log, Some("/x")),
    ] {
        assert_eq!(found.get(variable), value.map(str::as_bytes), "{variable:?}");
    }
    for (name, variable) in [
        ("KA_IDLE", Variable::Idle),
        ("KA_INTERVAL", Variable::Interval),
        ("KA_COUNT", Variable::Count),
        ("KA_USER_TIMEOUT", Variable::UserTimeout),
        ("KA_FORCE", Variable::Force),
        ("KA_RULES", Variable::Rules),
        ("KA_SKIP", Variable::Skip),
        ("KA_DISABLE", Variable::Disable),
        ("KA_LOG", Variable::Log),
    ] {
        assert_eq!(environment(&[&format!("{name}=x")]).get(variable), Some(&b"x"[..]), "{name}");
        assert_eq!(
            environment(&[&format!("{name}_=x"), &format!("X{name}=x")]).get(variable),
            None,
            "{name}"
        );
    }
}

#[test]
fn settings_in_words() {
    for (entries, want) in [
        (&[][..], "idle 60 s, interval 15 s, count 9, user timeout off"),
        (&["KA_IDLE=5"], "idle 5 s, interval 5 s, count 9, user timeout off"),
        (&["KA_IDLE=system"], "idle system, interval 15 s or the kernel's idle, count 9, user timeout off"),
        (
            &["KA_IDLE=system", "KA_INTERVAL=system", "KA_COUNT=system"],
            "idle system, interval system, count system, user timeout off",
        ),
        (&["KA_USER_TIMEOUT=auto", "KA_COUNT=1"], "idle 60 s, interval 15 s, count 1, user timeout auto"),
        (&["KA_USER_TIMEOUT=1h", "KA_INTERVAL=1m"], "idle 60 s, interval 60 s, count 9, user timeout 3600 s"),
        (
            &["KA_FORCE=yes", "KA_RULES=:22 off"],
            "idle 60 s, interval 15 s, count 9, user timeout off, 1 rule, force",
        ),
        (
            &["KA_FORCE=no", "KA_RULES=:22 off;*  idle=5\n"],
            "idle 60 s, interval 15 s, count 9, user timeout off, 2 rules",
        ),
        (
            &["KA_SKIP=a:b", "KA_DISABLE=1", "KA_LOG=/x"],
            "idle 60 s, interval 15 s, count 9, user timeout off",
        ),
    ] {
        assert_eq!(described(entries), want, "{entries:?}");
    }
}

#[test]
fn complaints() {
    for (entries, want) in [
        (
            &["KA_IDLE=5 m"][..],
            &[
                r#"KA_IDLE="5 m": has a blank inside; accepted: 1 to 32767 seconds (300, 90s, 5m, 9h) or system; using 60"#,
            ][..],
        ),
        (
            &["KA_INTERVAL=0"],
            &[
                r#"KA_INTERVAL="0": too small; accepted: 1 to 32767 seconds (300, 90s, 5m, 9h) or system; using 15"#,
            ],
        ),
        (
            &["KA_IDLE=4", "KA_INTERVAL=0"],
            &[
                r#"KA_INTERVAL="0": too small; accepted: 1 to 32767 seconds (300, 90s, 5m, 9h) or system; using 4"#,
            ],
        ),
        (
            &["KA_INTERVAL=0", "KA_IDLE=system"],
            &[
                r#"KA_INTERVAL="0": too small; accepted: 1 to 32767 seconds (300, 90s, 5m, 9h) or system; using 15, or the kernel's idle if that is less"#,
            ],
        ),
        (&["KA_COUNT=128"], &[r#"KA_COUNT="128": too large; accepted: 1 to 127 or system; using 9"#]),
        (
            &["KA_USER_TIMEOUT=-1"],
            &[
                r#"KA_USER_TIMEOUT="-1": has a sign; accepted: off, auto or 1 to 2147483 seconds (300, 90s, 5m, 9h); using off"#,
            ],
        ),
        (
            &["KA_FORCE=2"],
            &[r#"KA_FORCE="2": not a boolean; accepted: 0, 1, no, yes, off, on, false, true; using 0"#],
        ),
        (
            &["KA_LOG=log/x"],
            &[
                r#"KA_LOG="log/x": a relative path; accepted: off, stderr or an absolute path of at most 4095 bytes; using stderr, for bad settings only"#,
            ],
        ),
        (
            &["KA_LOG=stdout"],
            &[
                r#"KA_LOG="stdout": not a place to log to; accepted: off, stderr or an absolute path of at most 4095 bytes; using stderr, for bad settings only"#,
            ],
        ),
        (
            &["KA_SKIP=a:/bin/b"],
            &[
                r#"KA_SKIP="a:/bin/b": has a path, but programs are known by their base name; accepted: base names of programs, separated by :; using the other names"#,
            ],
        ),
        // Told of elsewhere, or not at all: whatever its value is, it works.
        (&["KA_DISABLE=maybe"], &[]),
        (
            &["KA_COUNT=\"\\\x1b\u{e9}\x7f", "KA_RULES=10.0.0.0/33 off; :22 off", "KA_IDLE=x"],
            &[
                r#"KA_IDLE="x": not a whole number; accepted: 1 to 32767 seconds (300, 90s, 5m, 9h) or system; using 60"#,
                r#"KA_COUNT="\"\\\x1b\xc3\xa9\x7f": not a whole number; accepted: 1 to 127 or system; using 9"#,
                r#"KA_RULES rule 1 "10.0.0.0/33 off": not a prefix length; accepted: *, 10.0.0.0/8, [2001:db8::]/32, each alone or with :PORT or :LOW-HIGH, or :PORT alone; rule skipped"#,
            ],
        ),
        (
            &["KA_RULES=* count=0"],
            &[r#"KA_RULES rule 1 "* count=0": too small; accepted: 1 to 127 or system; rule skipped"#],
        ),
        (
            &["KA_RULES=*"],
            &[
                r#"KA_RULES rule 1 "*": says nothing about what to set; accepted: off, or idle= interval= count= user-timeout=, each once; rule skipped"#,
            ],
        ),
    ] {
        let want: Vec<_> = want.iter().map(|rest| format!("kashim: error: {rest}")).collect();
        assert_eq!(read(entries).1, want, "{entries:?}");
    }
}

#[test]
fn complaint_about_too_many_rules() {
    let many = "KA_RULES=".to_owned() + &":1 off;".repeat(64) + "x off;:2 off;:3 off";
    let skipped = r#"kashim: error: KA_RULES rule 65 "x off": host names are not looked up; accepted: *, 10.0.0.0/8, [2001:db8::]/32, each alone or with :PORT or :LOW-HIGH, or :PORT alone; rule skipped"#;
    let ended = r#"kashim: error: KA_RULES rule 66 ":2 off": too many rules; accepted: 64 rules; this rule and all later rules skipped"#;
    assert_eq!(read(&[&many]).1, [skipped, ended]);
}

/// The longest complaint there is still says at its end what is used instead.
#[test]
fn no_complaint_is_cut() {
    let nasty = "\u{7f}".repeat(200);
    let entries = [
        "KA_IDLE",
        "KA_INTERVAL",
        "KA_COUNT",
        "KA_USER_TIMEOUT",
        "KA_FORCE",
        "KA_LOG=/",
        "KA_LOG",
        "KA_SKIP=/",
        "KA_RULES",
        "KA_RULES=*",
        "KA_RULES=* idle=",
        "KA_RULES=* user-timeout=",
    ];
    for entry in entries {
        let nasty = if entry.ends_with('/') { nasty.repeat(30) } else { nasty.clone() };
        let entry = if entry.contains('=') { format!("{entry}{nasty}") } else { format!("{entry}={nasty}") };
        let complaints = read(&[&entry, "KA_IDLE=system"]).1;
        let complaint = complaints.last().unwrap_or_else(|| panic!("nothing about {entry:?}"));
        assert!(complaint.contains("..."), "{complaint}");
        assert!(complaint.ends_with("skipped") || complaint.contains("; using "), "{complaint}");
        assert!(complaint.len() < 511, "{complaint}");
    }
}

#[test]
fn bad_values_leave_the_defaults() {
    let (settings, complaints) = read(&[
        "KA_IDLE=x",
        "KA_INTERVAL=x",
        "KA_COUNT=x",
        "KA_USER_TIMEOUT=x",
        "KA_FORCE=x",
        "KA_RULES=x",
        "KA_LOG=x",
        "KA_SKIP=/x",
    ]);
    assert_eq!(complaints.len(), 8);
    assert_eq!(text(|line| describe::settings(line, &settings)), described(&[]));
    // Rules take over the good ones.
    let (settings, _) = read(&["KA_IDLE=x", "KA_COUNT=3", "KA_RULES=* interval=4"]);
    let kashim_policy::rules::Action::Values(values) = settings.rules.as_slice()[0].action else { panic!() };
    assert_eq!(
        text(|line| describe::values(line, &values)),
        "idle 60 s, interval 4 s, count 3, user timeout off"
    );
}

#[test]
fn what_disables() {
    for (value, disabled) in [
        ("", false),
        ("0", false),
        ("no", false),
        ("OFF", false),
        ("False", false),
        (" 0\r", false),
        ("1", true),
        ("YES", true),
        ("on", true),
        ("true", true),
        ("maybe", true),
        ("2", true),
        ("00", true),
        ("0;", true),
    ] {
        assert_eq!(
            Global::read(&environment(&[&format!("KA_DISABLE={value}")])).disabled,
            disabled,
            "{value:?}"
        );
    }
    assert!(!Global::read(&environment(&[])).disabled);
    assert!(Global::read(&Environment::from_entries([&b"KA_DISABLE=\xff"[..]].into_iter())).disabled);
}

#[test]
fn where_the_log_goes() {
    let longest = format!("KA_LOG=/{}", "x".repeat(MAX_LOG_PATH - 1));
    for (entry, want) in [
        ("KA_LOG=", Ok(Log::Complaints)),
        ("KA_LOG=off", Ok(Log::Off)),
        ("KA_LOG=stderr\r", Ok(Log::Stderr)),
        ("KA_LOG=/a b", Ok(Log::Path(b"/a b"))),
        ("KA_LOG=/dev/stderr.log", Ok(Log::Path(b"/dev/stderr.log"))),
        ("KA_LOG=/dev/stderr", Err(ErrorKind::LogIsDescriptor)),
        ("KA_LOG=/dev/stdout", Err(ErrorKind::LogIsDescriptor)),
        ("KA_LOG=/dev/fd/2", Err(ErrorKind::LogIsDescriptor)),
        ("KA_LOG=/proc/self/fd/2", Err(ErrorKind::LogIsDescriptor)),
        (&longest, Ok(Log::Path(&longest.as_bytes()[7..]))),
        (&format!("{longest}x"), Err(ErrorKind::PathTooLong)),
        ("KA_LOG=./a", Err(ErrorKind::RelativePath)),
        ("KA_LOG=a/", Err(ErrorKind::RelativePath)),
        ("KA_LOG=OFF", Err(ErrorKind::NotALogTarget)),
        ("KA_LOG=1", Err(ErrorKind::NotALogTarget)),
    ] {
        let entries = [entry];
        let environment = environment(&entries);
        let read = environment.get(Variable::Log).map_or(Ok(Log::Complaints), Log::read);
        assert_eq!(read, want, "{entry:.30}");
        // What is bad counts as nothing.
        assert_eq!(Global::read(&environment).log, want.unwrap_or_default(), "{entry:.30}");
    }
    assert_eq!(Global::read(&environment(&[])).log, Log::Complaints);
}

#[test]
fn programs_that_are_skipped() {
    for (name, list, skipped) in [
        ("chronyd", None, true),
        ("chronyd", Some(""), true),
        ("vsftpd", Some("chronyd"), true),
        ("chronyd2", None, false),
        ("mysql", Some("mysql"), true),
        ("mysql", Some("a: mysql :b"), true),
        ("mysql", Some("/usr/bin/mysql"), false),
        ("mysql", Some("mysq:mysqldump:MySQL:my*"), false),
        // An empty name is nobody's, also not that of a program without one.
        ("", Some("::"), false),
        ("", Some(""), false),
    ] {
        let by = skip::skipped(name.as_bytes(), list.map(str::as_bytes));
        assert_eq!(by.is_some(), skipped, "{name:?} {list:?}");
    }
    assert_eq!(skip::skipped(b"chronyd", Some(b"chronyd")), Some(skip::Skipped::BuiltIn));
    assert_eq!(skip::skipped(b"ssh", Some(b"ssh")), Some(skip::Skipped::Named));
    assert_eq!(skip::skipped(b"ssh", Some(b"scp")), None);
    assert_ne!(skip::Skipped::BuiltIn.text(), skip::Skipped::Named.text());
    assert_eq!(skip::base_name(b"/usr/bin/ssh"), b"ssh");
    assert_eq!(skip::base_name(b"ssh"), b"ssh");
    assert_eq!(skip::base_name(b"/"), b"");
    assert!(skip::check(b"a:b").is_ok() && skip::check(b"a:b/").is_err());
    assert!(skip::is_nameless(b"/dev/fd/3") && skip::is_nameless(b"/proc/self/fd/10"));
    assert!(skip::is_nameless(b"/proc/self/exe") && skip::is_nameless(b"/proc/12/exe"));
    for name in
        ["/dev/fd/", "/dev/fd/3/chronyd", "dev/fd/3", "/dev/fd/x", "/proc/x", "/dev/fd/exe", "exe", ""]
    {
        assert!(!skip::is_nameless(name.as_bytes()), "{name}");
    }
    assert_eq!(skip::linked_name(b"/usr/sbin/chronyd"), b"chronyd");
    assert_eq!(skip::linked_name(b"/usr/sbin/chronyd (deleted)"), b"chronyd");
    assert_eq!(skip::linked_name(b""), b"");
}

#[test]
fn warnings() {
    let one = Warning::SingleProbe;
    let above = |idle, interval, kernel| Warning::IntervalAboveIdle { idle, interval, kernel };
    for (entries, want) in [
        (&[][..], &[][..]),
        (&["KA_COUNT=2", "KA_INTERVAL=60"], &[]),
        (&["KA_COUNT=1"], &[(None, one)]),
        (&["KA_INTERVAL=61"], &[(None, above(60, 61, false))]),
        (&["KA_IDLE=74", "KA_INTERVAL=system"], &[(None, above(74, 75, true))]),
        (&["KA_IDLE=75", "KA_INTERVAL=system"], &[]),
        (&["KA_IDLE=system", "KA_INTERVAL=9h"], &[]),
        (
            &["KA_RULES=* off; * count=1 interval=2m; * idle=70; * idle=10 interval=11"],
            &[(Some(2), one), (Some(2), above(60, 120, false)), (Some(4), above(10, 11, false))],
        ),
        // What a rule only takes over was named.
        (&["KA_COUNT=1", "KA_RULES=* idle=70; * interval=4"], &[(None, one)]),
        // The interval of the plain settings is above the rule's idle time.
        (&["KA_INTERVAL=50", "KA_RULES=* idle=40"], &[(Some(1), above(40, 50, false))]),
    ] {
        let (settings, complaints) = read(entries);
        assert_eq!(complaints, [""; 0]);
        let mut found = Vec::new();
        warning::each(&settings, &mut |rule, warning| found.push((rule, warning)));
        assert_eq!(found, want, "{entries:?}");
    }
    assert_eq!(text(|line| one.write(line)), "count 1: one lost probe ends a healthy connection");
    assert_eq!(
        text(|line| above(2, 75, true).write(line)),
        "interval 75 (the kernel's) above idle 2: a healthy silent connection is probed only every 75 s"
    );
}

#[test]
fn outcomes_in_words() {
    let written = |keepalive, fields: [u32; 4], refused| {
        let fields = PerField(fields.map(|n| Some(n).filter(|&n| n != u32::MAX)));
        Outcome::Written(Written { keepalive, fields, refused })
    };
    const NO: u32 = u32::MAX;
    for (outcome, want) in [
        (written(Some(true), [60, 15, 9, NO], None), "set keepalive on, idle 60, interval 15, count 9"),
        (
            written(Some(false), [7200, 75, NO, 0], None),
            "set keepalive off, idle 7200, interval 75, user timeout 0 ms",
        ),
        (written(None, [NO, NO, 3, 195_000], None), "set count 3, user timeout 195000 ms"),
        (written(Some(true), [NO; 4], None), "set keepalive on"),
        (Outcome::Skipped(SkipReason::NotTcp), "left alone: not TCP"),
        (Outcome::Skipped(SkipReason::AlreadySet), "left alone: already as wanted"),
        (Outcome::Skipped(SkipReason::ProgramsOwn), "left alone: the program's own settings"),
        (Outcome::Skipped(SkipReason::NoMarker), "left alone: no setting differs from the kernel's"),
    ] {
        assert_eq!(text(|line| describe::outcome(line, &outcome)), want);
    }
    let refused = text(|line| describe::outcome(line, &Outcome::Skipped(SkipReason::Refused(1))));
    assert!(refused.starts_with("left alone: refused by the system ("), "{refused}");
    let half = text(|line| describe::outcome(line, &written(Some(true), [NO; 4], Some(22))));
    assert!(
        half.starts_with("set keepalive on; ")
            && half.contains("refused by the system (")
            && half.contains("22"),
        "{half}"
    );
}
