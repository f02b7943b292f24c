//! `KA_RULES`, alone and with `KA_FORCE`, and `KA_USER_TIMEOUT`: what the kernel has for a socket in the end.

use kashim_tests::{
    Need, Preload, Program, Result, Steps, Trial, both_with, each, free_port, library, trial,
};

pub fn trials() -> Vec<Trial> {
    const CC: Need = Need::Program("cc");
    vec![
        trial("destinations", &[CC], || each(DESTINATIONS, |&(rules, script)| with_rules(rules, script))),
        trial("destinations_by_port", &[CC], || each(PORTS, |&(rules, script)| with_port(rules, script))),
        trial("what_a_rule_sets", &[CC], || each(VALUES, |(rules, script)| with_rules(rules, script))),
        trial("off", &[CC], || each(OFF, |(rules, script)| with_rules(rules, script))),
        trial("under_other_settings", &[CC], || {
            each(SETTINGS, |(settings, script)| both_with(Preload::With(&[]), settings, script))
        }),
        trial("rules_and_force", &[CC], || {
            each(FORCED, |(rules, script)| both_with(Preload::FORCED, &[("KA_RULES", rules)], script))
        }),
        trial("mptcp", &[CC, mptcp()], || {
            each(MPTCP, |(settings, script)| both_with(Preload::OURS, settings, script))
        }),
        trial!(as_many_rules_as_fit, &[CC]),
        trial!(a_socket_that_is_disconnected, &[Need::Program("python3")]),
        trial!(a_listener_with_values_like_ours, &[Need::Program("python3")]),
        trial!(bad_rules_are_skipped, &[CC]),
        trial("namespaces_with_other_defaults", &[CC, Need::Root], || {
            each(NAMESPACES, |(rules, script)| with_rules(rules, script))
        }),
    ]
}

fn mptcp() -> Need {
    Need::Kernel("MPTCP", || {
        Steps::new(Preload::No, "s=socket inet stream mptcp").and_then(|steps| steps.run()).is_ok()
    })
}

type Settings = &'static [(&'static str, &'static str)];

fn with_rules(rules: &str, script: &str) -> Result {
    both_with(Preload::OURS, &[("KA_RULES", rules)], script)
}

/// With `P` and `Q` replaced by two ports that are free, the second one larger. Others for each run: a port stays
/// taken for a while.
fn with_port(rules: &str, script: &str) -> Result {
    each(&[Preload::No, Preload::OURS], |&preload| {
        let run = || -> Result {
            let (p, q) = (free_port()?, free_port()?);
            let fill_in =
                |text: &str| text.replace('P', &p.min(q).to_string()).replace('Q', &p.max(q).to_string());
            Steps::new(preload, &fill_in(script))?.env("KA_RULES", fill_in(rules)).run()?;
            Ok(())
        };
        // Another test's connection may have taken one of them meanwhile; nothing else is tried twice.
        run().or_else(|error| {
            if error.message().is_some_and(|text| text.contains("no listener")) { run() } else { Err(error) }
        })
    })
}

/// Rules, and connections that are 77/11/5 where no rule is for them.
const DESTINATIONS: &[(&str, &str)] = &[
    (
        "127.0.0.2 idle=30",
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off | on 30/11/5
         d=socket inet stream 0; connect d 127.0.0.3:@l; show d -> off | ours
         e=socket inet6 stream 0; connect e [::ffff:127.0.0.2]:@l; show e -> off | on 30/11/5
         f=rawsocket inet stream+nonblock 0; connect f 127.0.0.2:@l -> -1 EINPROGRESS; show f -> off | on 30/11/5",
    ),
    // The first that matches wins, and host bits do not count.
    (
        "127.0.1.77/24 count=3; 127.0.0.0/15 idle=30 interval=4\n 127.4.0.0/14 idle=2m;* idle=20",
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.1.5:@l; show c -> off | on 77/11/3
         d=socket inet stream 0; connect d 127.1.255.5:@l; show d -> off | on 30/4/5
         e=socket inet stream 0; connect e 127.2.0.1:@l; show e -> off | on 20/11/5
         f=socket inet stream 0; connect f 127.7.255.254:@l; show f -> off | on 120/11/5",
    ),
    (
        "127.0.0.9/32 count=1; 0.0.0.0/0 count=2; * count=3",
        "l=listener [::]:0; c=socket inet stream 0; connect c 127.0.0.9:@l; show c -> off | on 77/11/1
         d=socket inet stream 0; connect d 127.0.0.8:@l; show d -> off | on 77/11/2
         e=socket inet6 stream 0; connect e [::1]:@l; show e -> off | on 77/11/3",
    ),
    (
        "[::1] idle=30",
        "l=listener [::]:0; c=socket inet6 stream 0; connect c [::1]:@l; show c -> off | on 30/11/5
         d=socket inet6 stream 0; connect d [::ffff:127.0.0.1]:@l; show d -> off | ours
         e=rawsocket inet6 stream 0; connect e [::1]:@l 24; show e -> off | on 30/11/5",
    ),
    (
        "[2001:db8::]/32 count=1; [::]/127 count=2",
        "l=listener [::]:0; c=socket inet6 stream 0; connect c [::1]:@l; show c -> off | on 77/11/2
         d=socket inet stream 0; connect d 127.0.0.1:@l; show d -> off | ours",
    ),
    // IPv6 rules for mapped addresses are rules for IPv4.
    (
        "[::ffff:127.0.0.0]/104 idle=30",
        "l=listener [::]:0; c=socket inet stream 0; connect c 127.0.0.1:@l; show c -> off | on 30/11/5
         d=socket inet6 stream 0; connect d [::ffff:127.9.9.9]:@l; show d -> off | on 30/11/5
         e=socket inet6 stream 0; connect e [::1]:@l; show e -> off | ours",
    ),
    // The peer's address counts, also where the connection was accepted.
    (
        "127.0.0.9 idle=30",
        "l=listener 0.0.0.0:0; c=rawsocket inet stream 0; bind c 127.0.0.9:0; rawconnect c 127.0.0.1:@l; a=accept l
         show a -> off | on 30/11/5; d=rawsocket inet stream 0; rawconnect d 127.0.0.9:@l; b=accept4 l cloexec full
         show b -> off | ours; show d -> off",
    ),
    (
        "127.0.0.9 idle=30",
        "l=listener [::]:0; c=rawsocket inet stream 0; bind c 127.0.0.9:0; rawconnect c 127.0.0.1:@l; a=accept l room=3
         show a -> off | on 30/11/5",
    ),
    // Inherited from a listener of ours, then the rule.
    (
        "127.0.0.0/8 idle=30; * off",
        "l=socket inet6 stream 0; bind l [::]:0; listen l; c=rawsocket inet stream 0; rawconnect c 127.0.0.1:@l
         a=accept l; show a -> off | on 30/11/5; d=rawsocket inet6 stream 0; rawconnect d [::1]:@l; b=accept l; show b -> off",
    ),
    // Without a match nothing is different.
    (
        "10.0.0.0/8 off; [2001:db8::]/32 off; :1 off",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | ours; a=accept l; show a -> off | ours
         d=rawsocket inet stream 0; rawset d idle 33; connect d @l; show d -> off 33/75/9 | on 33/11/5; u=socket inet dgram 0
         connect u 127.0.0.1:9; show u -> off, not TCP; x=listener unix; y=socket unix stream 0; connect y @x; z=accept x
         show z -> off, not TCP",
    ),
    // A rule for every address is still none for what is not TCP.
    (
        "* idle=30",
        "u=socket inet dgram 0; connect u 127.0.0.1:9; show u -> off, not TCP; x=listener unix; y=socket unix stream 0
         connect y @x; z=accept x full; show z -> off, not TCP",
    ),
];

/// With `P` and `Q` for two ports.
const PORTS: &[(&str, &str)] = &[
    (
        ":P idle=30",
        "p=listener 127.0.0.1:P; q=listener 127.0.0.1:Q; c=socket inet stream 0; connect c @p; show c -> off | on 30/11/5
         d=socket inet stream 0; connect d @q; show d -> off | ours; a=accept p; show a -> off | on 30/11/5
         b=accept q; show b -> off | ours",
    ),
    (
        "127.0.0.2:P idle=30; *:Q idle=40; 127.0.0.0/8:P idle=50",
        "p=listener 0.0.0.0:P; q=listener 0.0.0.0:Q; c=socket inet stream 0; connect c 127.0.0.2:@p; show c -> off | on 30/11/5
         d=socket inet stream 0; connect d 127.0.0.2:@q; show d -> off | on 40/11/5
         e=socket inet stream 0; connect e 127.0.0.1:@p; show e -> off | on 50/11/5",
    ),
    (
        "*:P-Q idle=30",
        "p=listener 127.0.0.1:P; q=listener 127.0.0.1:Q; c=socket inet stream 0; connect c @p; show c -> off | on 30/11/5
         d=socket inet stream 0; connect d @q; show d -> off | on 30/11/5",
    ),
    (
        ":1-1024 idle=20; [::1]:P idle=30; [::]/0:Q-Q idle=40",
        "p=listener [::]:P; q=listener [::]:Q; c=socket inet6 stream 0; connect c [::1]:@p; show c -> off | on 30/11/5
         d=socket inet6 stream 0; connect d [::1]:@q; show d -> off | on 40/11/5; e=socket inet stream 0
         connect e 127.0.0.1:@q; show e -> off | ours",
    ),
    // The service's port, never the client's.
    (
        ":P idle=30",
        "q=listener 127.0.0.1:Q; c=socket inet stream 0; set c reuseaddr 1; bind c 127.0.0.1:P; connect c @q
         show c -> off | ours; a=accept q; show a -> off | ours",
    ),
];

const VALUES: &[(&str, &str)] = &[
    (
        "127.0.0.0/8 idle=5m interval=20s count=2 user-timeout=1m",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 300/20/2, user timeout 60000
         a=accept l; show a -> off | on 300/20/2, user timeout 60000",
    ),
    // What the rule does not name is the plain value, also in a socket that came another way.
    (
        "* count=1",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 77/11/1; d=rawsocket inet stream 0
         connect d @l; show d -> off | on 77/11/1",
    ),
    ("* user-timeout=auto", "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 77/11/5, user timeout 132000"),
    // Back to the kernel's.
    ("* idle=system", "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 7200/11/5"),
    (
        "* interval=system count=system",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 77/75/9; a=accept l; show a -> off | on 77/75/9",
    ),
    (
        "* idle=system interval=system count=system",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | system; a=accept l; show a -> off | system",
    ),
    // The program's own fields stay, the others are replaced.
    (
        "* idle=30 count=3",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c idle 20; connect c @l; show c -> off 20/75/9 | on 20/11/3
         d=socket inet stream 0; set d interval 20; connect d @l; show d -> off 7200/20/9 | on 30/20/3
         e=socket inet stream 0; set e count 20; connect e @l; show e -> off 7200/75/20 | on 30/11/20
         f=socket inet stream 0; connect f @l; set f idle 20; set f count 4; show f -> off 20/75/4 | on 20/11/4
         g=socket inet stream 0; set g timeout 5000; connect g @l; show g -> off 7200/75/9, user timeout 5000 | on 30/11/3, user timeout 5000",
    ),
    // Also where they have the value that a rule has, for another destination.
    (
        "127.0.0.2 interval=20 user-timeout=9",
        "l=listener 0.0.0.0:0; c=rawsocket inet stream 0; rawset c interval 20; rawset c timeout 9000; connect c 127.0.0.1:@l
         show c -> off 7200/20/9, user timeout 9000 | on 77/20/5, user timeout 9000",
    ),
    // So does its decision to have none.
    (
        "* idle=30",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 0; connect c @l; show c -> off | off 30/11/5
         d=rawsocket inet stream 0; rawset d idle 33; connect d @l; show d -> off 33/75/9 | on 33/11/5",
    ),
    // What the program has set is its own, also where it is ours as well, or the kernel's.
    (
        "* idle=300",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; set c idle 60; set c interval 60; connect c @l
         show c -> on 60/60/9 | on 60/60/5; d=socket inet stream 0; set d idle 7200; set d interval 75; connect d @l
         show d -> off | on 7200/75/5; e=socket inet stream 0; set e idle 77; set e interval 11; connect e @l
         show e -> off 77/11/9 | on 77/11/5; z=socket inet stream 0; set z keepalive 0; bind z 127.0.0.1:0; listen z
         f=rawsocket inet stream 0; rawconnect f @z; a=accept z; show a -> off | off 300/11/5",
    ),
    // Fast open passes no hook, and before it nothing is set.
    ("* idle=30", "l=listener 127.0.0.1:0; c=socket inet stream 0; fastopen c @l -> 1; show c -> off"),
    // Looked at again, a socket keeps what the rule gave it.
    (
        "* idle=30",
        "l=listener 127.0.0.1:0; c=socket inet stream+nonblock 0; connect c @l -> -1 EINPROGRESS; wait c -> connected
         show c -> off | on 30/11/5; connect c @l; show c -> off | on 30/11/5; set c keepalive 0; show c -> off | off 30/11/5",
    ),
];

const OFF: &[(&str, &str)] = &[
    (
        "127.0.0.0/8 off",
        "l=listener 0.0.0.0:0; c=socket inet stream 0; show c -> off; connect c 127.0.0.1:@l; show c -> off
         a=accept l; show a -> off; d=rawsocket inet stream 0; connect d 127.0.0.1:@l; show d -> off",
    ),
    (
        "* off",
        "l=socket inet stream 0; bind l 127.0.0.1:0; listen l; c=rawsocket inet stream 0; rawconnect c @l; a=accept4 l 0
         show a -> off; show l -> off; s=socket inet stream+nonblock 0; connect s @l -> -1 EINPROGRESS; show s -> off",
    ),
    // The program has what it would have without us.
    (
        "127.0.0.0/8 off",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; connect c @l; show c -> system
         d=rawsocket inet stream 0; rawset d keepalive 1; connect d @l; show d -> system
         e=socket inet stream 0; set e keepalive 1; set e idle 60; set e interval 60; connect e @l; show e -> on 60/60/9
         f=socket inet stream 0; set f keepalive 1; set f idle 77; set f interval 11; set f count 5; connect f @l; show f -> on 77/11/5",
    ),
    (
        "* off",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; set c idle 20; connect c @l; show c -> on 20/75/9
         d=rawsocket inet stream 0; rawset d keepalive 1; rawset d idle 20; connect d @l; show d -> on 20/75/9
         z=socket inet stream 0; set z keepalive 1; bind z 127.0.0.1:0; listen z; e=rawsocket inet stream 0; rawconnect e @z
         a=accept z; show a -> system",
    ),
    (
        "* off",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c interval 20; set c timeout 5000; connect c @l
         show c -> off 7200/20/9, user timeout 5000; d=rawsocket inet stream 0; rawset d count 20; connect d @l; show d -> off 7200/75/20",
    ),
    // What the program does afterwards holds.
    ("* off", "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c keepalive 1; set c count 3; show c -> on 7200/75/3"),
    (
        "127.0.0.2 off; * idle=30 user-timeout=40",
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off; d=socket inet stream 0
         connect d 127.0.0.3:@l; show d -> off | on 30/11/5, user timeout 40000",
    ),
];

const SETTINGS: &[(Settings, &str)] = &[
    // An interval that nobody set follows the idle time of the rule.
    (
        &[("KA_RULES", "127.0.0.2 idle=5; 127.0.0.3 idle=300; 127.0.0.4 interval=30; 127.0.0.5 idle=system")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off | on 5/5/9
         d=socket inet stream 0; connect d 127.0.0.3:@l; show d -> off | on 300/15/9; e=socket inet stream 0
         connect e 127.0.0.4:@l; show e -> off | on 60/30/9; f=socket inet stream 0; connect f 127.0.0.5:@l; show f -> off | on 7200/15/9
         g=socket inet stream 0; connect g 127.0.0.6:@l; show g -> off | on 60/15/9",
    ),
    (
        &[("KA_IDLE", "4"), ("KA_RULES", "127.0.0.2 idle=300; 127.0.0.3 count=3")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; show c -> off; connect c 127.0.0.2:@l; show c -> off | on 300/15/9
         d=socket inet stream 0; connect d 127.0.0.3:@l; show d -> off | on 4/4/3",
    ),
    (
        &[("KA_IDLE", "4"), ("KA_INTERVAL", "9"), ("KA_RULES", "* idle=300")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; show c -> off; connect c 127.0.0.2:@l; show c -> off | on 300/9/9",
    ),
    // One connect is refused, and the next one goes elsewhere. (The one between fetches the error.)
    (
        &[("KA_RULES", "127.0.0.3 idle=20 user-timeout=1s; 127.0.0.4 off")],
        "l=listener 127.0.0.1:0; c=socket inet stream+nonblock 0; connect c 127.0.0.3:@l -> -1 EINPROGRESS
         wait c -> ECONNREFUSED; show c -> off | on 20/15/9, user timeout 1000; connect c @l -> -1 ECONNABORTED; connect c @l -> -1 EINPROGRESS
         show c -> off | on 60/15/9; d=socket inet stream+nonblock 0; connect d 127.0.0.3:@l -> -1 EINPROGRESS
         wait d -> ECONNREFUSED; connect d 127.0.0.4:@l -> -1 ECONNABORTED; connect d 127.0.0.4:@l -> -1 EINPROGRESS; show d -> off
         e=socket inet stream+nonblock 0; set e count 7; connect e 127.0.0.3:@l -> -1 EINPROGRESS; wait e -> ECONNREFUSED
         set e idle 7200; connect e @l -> -1 ECONNABORTED; connect e @l -> -1 EINPROGRESS; show e -> off 7200/75/7 | on 7200/15/7",
    ),
    // Switched off, a socket is in the program's hands, also where a value of ours is the kernel's, too.
    (
        &[("KA_FORCE", "1"), ("KA_RULES", "127.0.0.2 off")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off; set c count 20; set c keepalive 1
         show c -> on 7200/75/20; d=socket inet stream 0; connect d 127.0.0.3:@l; set d count 20; set d keepalive 0
         show d -> off 7200/75/20 | on 60/15/9",
    ),
    // Everything is left to the kernel, but for one destination.
    (
        &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system"), ("KA_RULES", "127.0.0.2 idle=30; 127.0.0.3 off")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; show c -> off; connect c 127.0.0.2:@l; show c -> off | on 30/75/9
         d=rawsocket inet stream 0; connect d 127.0.0.2:@l; show d -> off | on 30/75/9
         e=socket inet stream 0; connect e 127.0.0.3:@l; show e -> off; f=rawsocket inet stream 0; connect f 127.0.0.4:@l
         show f -> off | system; g=socket inet stream 0; connect g 127.0.0.4:@l; show g -> off | system",
    ),
    // The user timeout.
    (&[("KA_USER_TIMEOUT", "off")], "c=socket inet stream 0; show c -> off | on 60/15/9"),
    (&[("KA_USER_TIMEOUT", "90s")], "c=socket inet stream 0; show c -> off | on 60/15/9, user timeout 90000"),
    (&[("KA_USER_TIMEOUT", "auto")], "c=socket inet6 stream 0; show c -> off | on 60/15/9, user timeout 195000"),
    (
        &[("KA_USER_TIMEOUT", "auto"), ("KA_IDLE", "2"), ("KA_COUNT", "3")],
        "c=socket inet stream 0; show c -> off | on 2/2/3, user timeout 8000",
    ),
    (
        &[("KA_USER_TIMEOUT", "auto"), ("KA_IDLE", "9h"), ("KA_INTERVAL", "9h"), ("KA_COUNT", "127")],
        "c=socket inet stream 0; show c -> off | on 32400/32400/127, user timeout 2147483000",
    ),
    (
        &[("KA_USER_TIMEOUT", "auto"), ("KA_IDLE", "system"), ("KA_COUNT", "system")],
        "c=socket inet stream 0; show c -> off | on 7200/15/9, user timeout 7335000; l=listener 127.0.0.1:0
         d=rawsocket inet stream 0; connect d @l; show d -> off | on 7200/15/9, user timeout 7335000",
    ),
    (&[("KA_USER_TIMEOUT", "2147483")], "c=socket inet stream 0; show c -> off | on 60/15/9, user timeout 2147483000"),
    (
        &[("KA_USER_TIMEOUT", "10")],
        "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; connect c @l; show c -> off | on 60/15/9, user timeout 10000; a=accept l
         show a -> off | on 60/15/9, user timeout 10000; set a timeout 2000; show a -> off 7200/75/9, user timeout 2000 | on 60/15/9, user timeout 2000
         d=rawsocket inet stream 0; rawset d timeout 3000; connect d @l; show d -> off 7200/75/9, user timeout 3000 | on 60/15/9, user timeout 3000",
    ),
    (
        &[("KA_USER_TIMEOUT", "10"), ("KA_FORCE", "yes")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c timeout 2000; show c -> off 7200/75/9, user timeout 2000 | on 60/15/9, user timeout 10000
         set c timeout -1 -> -1 EINVAL; show c -> off 7200/75/9, user timeout 2000 | on 60/15/9, user timeout 10000
         d=rawsocket inet stream 0; rawset d timeout 3000; connect d @l; show d -> off 7200/75/9, user timeout 3000 | on 60/15/9, user timeout 10000",
    ),
    (
        &[("KA_USER_TIMEOUT", "10"), ("KA_RULES", "127.0.0.2 user-timeout=off; 127.0.0.3 off; 127.0.0.4 user-timeout=auto")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off | on 60/15/9
         d=socket inet stream 0; connect d 127.0.0.3:@l; show d -> off; e=socket inet stream 0; connect e 127.0.0.4:@l
         show e -> off | on 60/15/9, user timeout 195000; f=socket inet stream 0; set f timeout 2000; connect f 127.0.0.2:@l
         show f -> off 7200/75/9, user timeout 2000 | on 60/15/9, user timeout 2000; g=socket inet stream 0; set g timeout 2000
         connect g 127.0.0.3:@l; show g -> off 7200/75/9, user timeout 2000",
    ),
];

/// Rules with `KA_FORCE`, where 77/11/5 is for all others.
const FORCED: &[(&str, &str)] = &[
    (
        "127.0.0.0/8 idle=30 count=3",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c idle 20; show c -> off 20/75/9; connect c @l
         show c -> off 20/75/9 | on 30/11/3; set c idle 20; set c interval 20; set c count 20; set c keepalive 0
         show c -> off 20/20/20 | on 30/11/3; d=rawsocket inet stream 0; rawset d idle 33; rawset d count 33; connect d @l
         show d -> off 33/75/33 | on 30/11/3; a=accept l; set a keepalive 0; set a idle 1; show a -> off 1/75/9 | on 30/11/3",
    ),
    // Off is never forced on a program that has an idle time of its own, and stays in its own hands after that.
    (
        "* off",
        "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c keepalive 1; rawset c idle 33; connect c @l; show c -> on 33/75/9
         d=socket inet stream 0; connect d @l; show d -> off; set d keepalive 1; set d idle 20; set d interval 21; set d count 22
         show d -> on 20/21/22",
    ),
    // A rule that leaves one field to the kernel holds the others, also beside a rule that says off.
    (
        "127.0.0.2 idle=system; 127.0.0.3 off",
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; set c interval 20; set c count 20
         show c -> off 7200/20/20 | on 7200/11/5; d=socket inet stream 0; connect d 127.0.0.4:@l; set d count 20; set d keepalive 0
         show d -> off 7200/75/20 | ours",
    ),
    // A field that nobody asked for is the program's.
    (
        "* idle=system",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> off | on 7200/11/5; set c idle 20; set c count 20
         show c -> off 20/75/20 | on 20/11/5",
    ),
    (
        "* user-timeout=30",
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c timeout 2000; connect c @l
         show c -> off 7200/75/9, user timeout 2000 | on 77/11/5, user timeout 30000; set c timeout 2000
         show c -> off 7200/75/9, user timeout 2000 | on 77/11/5, user timeout 30000",
    ),
];

/// MPTCP refuses a user timeout, and takes everything else.
const MPTCP: &[(Settings, &str)] = &[
    (
        &[("KA_USER_TIMEOUT", "10")],
        "l=listener 127.0.0.1:0 mptcp; c=socket inet stream mptcp; show c -> off | ours; connect c @l; show c -> off | ours",
    ),
    (
        &[("KA_RULES", "* idle=30 user-timeout=auto")],
        "l=listener 127.0.0.1:0 mptcp; c=socket inet stream mptcp; connect c @l; show c -> off | on 30/11/5; a=accept l full
         show a -> off | on 30/11/5",
    ),
    (
        &[("KA_RULES", "* off")],
        "l=listener [::1]:0 mptcp; c=socket inet6 stream mptcp; connect c @l; show c -> off; a=accept l; show a -> off",
    ),
];

const NAMESPACES: &[(&str, &str)] = &[
    (
        "127.0.0.2 off; 127.0.0.3 idle=system interval=system count=system",
        "namespace 300 20 3; l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> off 300/20/3
         d=rawsocket inet stream 0; connect d 127.0.0.2:@l; show d -> off 300/20/3; e=socket inet stream 0
         connect e 127.0.0.3:@l; show e -> off 300/20/3 | on 300/20/3; f=rawsocket inet stream 0; rawset f idle 7200
         connect f 127.0.0.2:@l; show f -> off 7200/20/3",
    ),
    (
        "127.0.0.2 idle=30",
        "namespace 300 20 3; l=listener 0.0.0.0:0; c=rawsocket inet stream 0; connect c 127.0.0.2:@l; show c -> off 300/20/3 | on 30/11/5
         d=rawsocket inet stream 0; rawset d idle 7200; connect d 127.0.0.2:@l; show d -> off 7200/20/3 | on 7200/11/5",
    ),
];

/// 64 rules fit; the next one is reported.
fn as_many_rules_as_fit() -> Result {
    let rules = |n: u32| -> String { (1..=n).map(|i| format!("127.0.1.{i} idle={};", 1000 + i)).collect() };
    let script =
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.1.64:@l; show c -> on 1064/11/5
        d=socket inet stream 0; connect d 127.0.1.65:@l; show d -> on 77/11/5
        e=socket inet stream 0; connect e 127.0.1.1:@l; show e -> on 1001/11/5";
    let run = |n| Steps::new(Preload::OURS, script)?.env("KA_RULES", rules(n)).run();
    assert_eq!(run(64)?.stderr, "");
    for n in [65, 70] {
        let said = run(n)?.stderr;
        assert!(said.starts_with("kashim: error: KA_RULES rule 65 \"127.0.1.65 idle=1065\": "), "{said}");
        assert!(said.contains("64 rules") && said.contains("skipped"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    Ok(())
}

/// Each bad rule is reported by its number, and the others hold.
fn bad_rules_are_skipped() -> Result {
    let rules = " 127.0.0.2 idle=0;127.0.0.2 idle=30;; localhost off\n127.0.0.3 count=2 ;127.0.0.4 off; 127.0.0.4/33 idle=30;";
    let script = "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; show c -> on 30/11/5
        d=socket inet stream 0; connect d 127.0.0.3:@l; show d -> on 77/11/2
        e=socket inet stream 0; connect e 127.0.0.4:@l; show e -> off";
    let said = Steps::new(Preload::OURS, script)?.env("KA_RULES", rules).run()?.stderr;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, begins) in lines.iter().zip([
        "kashim: error: KA_RULES rule 1 \"127.0.0.2 idle=0\": ",
        "kashim: error: KA_RULES rule 3 \"localhost off\": ",
        "kashim: error: KA_RULES rule 6 \"127.0.0.4/33 idle=30\": ",
    ]) {
        assert!(line.starts_with(begins) && line.contains("; accepted: "), "{line}");
        assert!(line.ends_with("; rule skipped"), "{line}");
    }
    Ok(())
}

/// What a python program says under the library, with these settings.
fn python(script: &str, settings: &[(&str, &str)]) -> Result<String> {
    let mut program = Program::new("python3").args(["-c", script]).env("LIBRARY", library()?);
    for (name, value) in settings {
        program = program.env(name, value);
    }
    Ok(String::from_utf8(program.succeed()?)?.trim().to_owned())
}

/// What a socket shows, in python.
const SHOW: &str = "
import ctypes, os, socket, sys
def show(s):
    numbers = [s.getsockopt(6, option) for option in (4, 5, 6)]
    return f'{s.getsockopt(1, 9)} {numbers[0]}/{numbers[1]}/{numbers[2]}'
def loaded(): assert 'libkashim' in open('/proc/self/maps').read()
";

/// It has no peer any more, so no rule is for it, and nothing is set; by a rule `off` neither before nor after.
fn a_socket_that_is_disconnected() -> Result {
    let script = format!(
        "{SHOW}
if 'LD_PRELOAD' not in os.environ:
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {{**os.environ, 'LD_PRELOAD': os.environ['LIBRARY']}})
loaded()
listener = socket.create_server(('127.0.0.1', 0))
s = socket.create_connection(listener.getsockname())
before = show(s)
assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0
print(before, show(s), sep=', ')"
    );
    let found = python(&script, &[("KA_RULES", "* off")])?;
    assert_eq!(found, "0 7200/75/9, 0 7200/75/9");
    Ok(())
}

/// Systemd can hand over a listener whose own values are just ours. What it accepts is the program's: `off` takes nothing
/// of that away.
fn a_listener_with_values_like_ours() -> Result {
    let script = format!(
        "{SHOW}
if 'LD_PRELOAD' not in os.environ:
    listener = socket.create_server(('127.0.0.1', 0))
    listener.setsockopt(1, 9, 1)
    for option, value in ((4, 60), (5, 15), (6, 9)): listener.setsockopt(6, option, value)
    listener.set_inheritable(True)
    environment = {{**os.environ, 'LD_PRELOAD': os.environ['LIBRARY'], 'LISTENER': str(listener.fileno())}}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
loaded()
listener = socket.socket(fileno=int(os.environ['LISTENER']))
client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
print(show(accepted))"
    );
    for force in ["0", "1"] {
        let found = python(&script, &[("KA_RULES", "127.0.0.0/8 off"), ("KA_FORCE", force)])?;
        assert_eq!(found, "1 60/15/9", "KA_FORCE={force}");
    }
    Ok(())
}
