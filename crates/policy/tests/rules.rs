//! Rules: what they are for, what they do, and what is said about bad ones.

use std::net::IpAddr;

use kashim_policy::describe;
use kashim_policy::keepalive::Values;
use kashim_policy::line::Line;
use kashim_policy::parse::ErrorKind;
use kashim_policy::rules::{Action, MAX_RULES, Rules, Service};

/// The rules, and what is wrong with the bad ones.
fn read(text: &str) -> (Box<Rules>, Vec<(u32, ErrorKind)>) {
    let mut rules = Box::new(Rules::NONE);
    let mut bad = Vec::new();
    rules.read(text.as_bytes(), &Values::DEFAULT, &mut |complaint| {
        bad.push((complaint.rule.unwrap(), complaint.problem));
    });
    (rules, bad)
}

fn find(rules: &Rules, peer: &str, port: u16) -> String {
    let peer: IpAddr = peer.parse().unwrap();
    match rules.find(&Service { peer, port }).map(|rule| &rule.action) {
        None => "none".to_owned(),
        Some(Action::Off) => "off".to_owned(),
        Some(Action::Values(values)) => {
            let mut line = Line::EMPTY;
            describe::values(&mut line, values);
            String::from_utf8(line.as_bytes().to_owned()).unwrap()
        }
    }
}

#[test]
fn matches() {
    for (destination, for_these, for_no_such) in [
        ("*", &["1.2.3.4 1", "::1 65535", "::ffff:1.2.3.4 1"][..], &[][..]),
        (":22", &["1.2.3.4 22", "::1 22"], &["1.2.3.4 23", "::1 21"]),
        ("*:22-24", &["1.2.3.4 22", "::1 24"], &["1.2.3.4 21", "1.2.3.4 25"]),
        (":1-65535", &["1.2.3.4 1", "::1 65535"], &[]),
        ("10.0.0.1", &["10.0.0.1 1", "::ffff:10.0.0.1 1"], &["10.0.0.2 1", "::10.0.0.1 1", "::1 1"]),
        ("10.0.0.1:22", &["10.0.0.1 22"], &["10.0.0.1 23", "10.0.0.2 22"]),
        (
            "10.0.0.0/8",
            &["10.255.255.255 1", "10.0.0.0 1", "::ffff:10.1.1.1 1"],
            &["11.0.0.0 1", "9.255.255.255 1", "::a00:0 1"],
        ),
        ("10.1.2.3/8:22", &["10.9.9.9 22"], &["10.9.9.9 23", "11.1.2.3 22"]),
        ("10.0.0.128/25", &["10.0.0.128 1", "10.0.0.255 1"], &["10.0.0.127 1", "10.0.1.128 1"]),
        ("10.0.0.4/31", &["10.0.0.5 1"], &["10.0.0.6 1", "10.0.0.3 1"]),
        ("10.0.0.4/32", &["10.0.0.4 1"], &["10.0.0.5 1"]),
        ("0.0.0.0/0", &["255.255.255.255 1", "::ffff:1.2.3.4 1"], &["::1 1", "2001:db8:: 1"]),
        ("128.0.0.0/1", &["200.0.0.1 1"], &["100.0.0.1 1"]),
        ("[::1]", &["::1 1"], &["::2 1", "127.0.0.1 1", "1::1 1"]),
        ("[::1]:22-22", &["::1 22"], &["::1 23"]),
        ("[2001:db8::]/32", &["2001:db8:ffff::1 1"], &["2001:db9:: 1", "2001:db7:ffff:: 1"]),
        ("[2001:db8::ffff]/64:22", &["2001:db8::1 22"], &["2001:db8:0:1::1 22", "2001:db8::1 23"]),
        ("[2001:db8::8000]/113", &["2001:db8::ffff 1"], &["2001:db8::7fff 1"]),
        ("[8000::]/1", &["ffff:: 1"], &["7fff:: 1"]),
        // IPv6, but not the IPv4 addresses that are mapped into it.
        ("[::]/0", &["::1 1", "ffff:: 1"], &["1.2.3.4 1", "::ffff:1.2.3.4 1"]),
        ("[::]/80", &["::1 1"], &["1.2.3.4 1", "::ffff:1.2.3.4 1"]),
        ("[::ffff:0:0]/95", &["::fffe:0:1 1"], &["::ffff:1.2.3.4 1"]),
        // Rules for mapped addresses are rules for those in them.
        ("[::ffff:10.0.0.0]/104", &["10.1.2.3 1", "::ffff:10.1.2.3 1"], &["11.1.2.3 1"]),
        ("[::ffff:10.0.0.1]", &["10.0.0.1 1"], &["10.0.0.2 1"]),
        ("[::ffff:0:0]/96", &["1.2.3.4 1"], &["::1 1"]),
    ] {
        let (rules, bad) = read(&format!("{destination} off"));
        assert_eq!(bad, [], "{destination}");
        for (services, want) in [(for_these, "off"), (for_no_such, "none")] {
            for service in services {
                let (peer, port) = service.split_once(' ').unwrap();
                assert_eq!(find(&rules, peer, port.parse().unwrap()), want, "{destination} and {service}");
            }
        }
    }
}

#[test]
fn the_first_that_matches_wins() {
    let (rules, bad) = read("10.0.0.0/8:22 off; 10.0.0.0/8 count=3;:22 count=4\n\n ; * count=5 ;");
    assert_eq!(bad, []);
    assert_eq!(rules.as_slice().len(), 4);
    for (peer, port, count) in [("10.1.1.1", 23, 3), ("::1", 22, 4), ("11.1.1.1", 1, 5)] {
        assert!(find(&rules, peer, port).contains(&format!("count {count},")), "{peer} {port}");
    }
    assert_eq!(find(&rules, "10.1.1.1", 22), "off");
}

#[test]
fn settings_of_a_rule() {
    for (settings, want) in [
        ("off", "off"),
        ("idle=5m", "idle 300 s, interval 15 s, count 9, user timeout off"),
        ("idle=5", "idle 5 s, interval 5 s, count 9, user timeout off"),
        ("interval=system", "idle 60 s, interval system, count 9, user timeout off"),
        ("idle=system", "idle system, interval 15 s or the kernel's idle, count 9, user timeout off"),
        ("count=127 idle=1h", "idle 3600 s, interval 15 s, count 127, user timeout off"),
        ("  user-timeout=auto\t interval=1s  ", "idle 60 s, interval 1 s, count 9, user timeout auto"),
        ("user-timeout=off count=system", "idle 60 s, interval 15 s, count system, user timeout off"),
        ("idle=1 interval=2 count=3 user-timeout=4", "idle 1 s, interval 2 s, count 3, user timeout 4 s"),
    ] {
        let (rules, bad) = read(&format!("* {settings}"));
        assert_eq!(bad, [], "{settings}");
        assert_eq!(find(&rules, "::1", 1), want, "{settings}");
    }
}

#[test]
fn bad_rules() {
    use ErrorKind::*;
    for (text, want) in [
        ("localhost off", HostName),
        ("example.org:80 off", HostName),
        ("10.0.0 off", HostName),
        ("10.0.0.256 off", HostName),
        ("010.0.0.1 off", HostName),
        // Everything is not a network, nor is nothing.
        ("*/8 off", HostName),
        ("/8 off", HostName),
        ("/8:22 off", HostName),
        ("10.0.0.1/33 off", Prefix),
        ("10.0.0.1/ off", Prefix),
        ("10.0.0.1/-1 off", Prefix),
        ("10.0.0.1/255.0.0.0 off", Prefix),
        ("10.0.0.0/4294967304 off", Prefix),
        ("[::1]/129 off", Prefix),
        ("[::1]x off", Prefix),
        ("10.0.0.1: off", Port),
        (": off", Port),
        (":0 off", Port),
        (":65536 off", Port),
        (":65558 off", Port),
        (":ssh off", Port),
        (":22- off", Port),
        (":-22 off", Port),
        (":24-22 off", Port),
        (":22-23-24 off", Port),
        (":22,23 off", Port),
        ("::1 off", Brackets),
        ("2001:db8::/32 off", Brackets),
        ("[::1 off", Brackets),
        ("[10.0.0.1] off", Brackets),
        ("[] off", Brackets),
        ("[[::1]] off", Brackets),
        ("[fe80::1%eth0] off", Scope),
        ("fe80::1%eth0 off", Scope),
        ("*", NoSettings),
        ("10.0.0.1", NoSettings),
        ("* off idle=5", OffAndMore),
        ("* idle=5 off", OffAndMore),
        ("* off off", OffAndMore),
        ("* idel=5", UnknownField),
        ("* idle = 5", UnknownField),
        ("* on", UnknownField),
        ("* OFF", UnknownField),
        ("* force=1", UnknownField),
        ("* IDLE=5", UnknownField),
        ("* idle=5, count=5", NotANumber),
        ("* idle=5 idle=5", FieldTwice),
        ("* user-timeout=off count=1 user-timeout=off", FieldTwice),
        ("* idle=", NotANumber),
        ("* idle=0", TooSmall),
        ("* interval=10h", TooLarge),
        ("* count=128", TooLarge),
        ("* count=-1", Sign),
        ("* user-timeout=system", NotANumber),
        ("* idle=auto", NotANumber),
        ("* idle=5M", UnknownUnit),
    ] {
        let (rules, bad) = read(text);
        assert_eq!(bad, [(1, want)], "{text:?}");
        assert!(rules.is_empty(), "{text:?}");
    }
    // Nothing at all is nothing bad.
    for text in ["", ";", " ;\n; ", "\r\n"] {
        let (rules, bad) = read(text);
        assert!(bad.is_empty() && rules.is_empty(), "{text:?}");
    }
}

#[test]
fn good_ones_hold_beside_bad_ones() {
    let (rules, bad) = read("x off; * count=3; y off;; :22 off;z");
    assert_eq!(bad.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(rules.as_slice().len(), 2);
    assert!(find(&rules, "::1", 22).contains("count 3,"));
}

#[test]
fn as_many_as_fit() {
    let rules = |n| "* off;".repeat(n);
    let (read64, bad) = read(&rules(MAX_RULES));
    assert_eq!((read64.as_slice().len(), bad), (64, vec![]));
    // One complaint, however many there are.
    for n in [65, 1000] {
        let (read65, bad) = read(&rules(n));
        assert_eq!((read65.as_slice().len(), bad), (64, vec![(65, ErrorKind::TooManyRules)]));
    }
    // Bad ones take no room, and are told of behind the last that fits, too.
    let (read66, bad) = read(&format!("x off;{}y off", rules(64)));
    assert_eq!(read66.as_slice().len(), 64);
    assert_eq!(bad, [(1, ErrorKind::HostName), (66, ErrorKind::HostName)]);
    // Read again, they are other ones.
    let mut again = read64;
    again.clear();
    assert!(again.is_empty());
    again.read(b":1 off", &Values::DEFAULT, &mut |_| panic!());
    assert_eq!(again.as_slice().len(), 1);
    assert_eq!(find(&again, "::1", 2), "none");
}
