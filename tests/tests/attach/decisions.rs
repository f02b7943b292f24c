//! What is set, what is left alone, and that it is the same as under the library.

use std::path::PathBuf;

use kashim_tests::lab::{Namespace, ip};
use kashim_tests::{Cgroup, Need, Preload, Result, Steps, Trial, cgroups, compile, each, fixture, trial};

use super::{attach, attached, count, detach};
use kashim_tests::ka_helpers::{command, expect_in, expect_status};

pub fn trials() -> Vec<Trial> {
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        trial(name, &[&cgroups()[..], &[Need::Program("cc")], needs].concat(), test)
    };
    vec![
        with("same_as_the_library", &[], || each(SAME, |&(settings, script)| same(settings, script))),
        with("options_are_the_variables", &[], options),
        with("counts", &[], counts),
        with("as_many_rules_as_fit", &[], as_many_rules_as_fit),
        with("inner_cgroup_wins", &[], inner_cgroup_wins),
        with("force_and_errors", &[], force_and_errors),
        with("namespaces_with_other_defaults", &[Need::Program("ip")], namespaces),
    ]
}

fn program() -> Result<PathBuf> {
    compile("cc", &fixture("steps.c"), &["-static", "-pthread"])
}

fn run_in(cgroup: &Cgroup, script: &str) -> Result<Vec<u8>> {
    let program = program()?;
    Ok(cgroup.enter(|| Steps::new(Preload::No, script)?.program(program).run())?.stdout)
}

type Settings = &'static [(&'static str, &'static str)];

const PLAIN: Settings = &[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5")];

/// Settings, and what a program does.
const SAME: &[(Settings, &str)] = &[
    (&[], "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l; show c; show a"),
    (PLAIN, "l=listener [::1]:0; c=socket inet6 stream tcp; connect c @l; a=accept l; show c; show a"),
    (PLAIN, "l=listener 127.0.0.1:0; c=socket inet stream+nonblock 0; connect c @l -> -1 EINPROGRESS; show c"),
    // What the program has chosen before stays, value by value.
    (
        PLAIN,
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; set c idle 33; connect c @l; show c
         d=socket inet stream 0; set d interval 33; connect d @l; show d; e=socket inet stream 0; set e count 3; connect e @l
         show e; f=socket inet stream 0; set f keepalive 1; set f idle 33; set f interval 3; set f count 3; connect f @l; show f
         g=socket inet stream 0; set g timeout 2000; connect g @l; show g; h=socket inet stream 0; set h keepalive 1; connect h @l
         show h",
    ),
    // And what it chooses later.
    (
        PLAIN,
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c idle 33; show c; set c keepalive 0; show c
         a=accept l; set a count 3; show a",
    ),
    // A listener hands on what the program has chosen for it.
    (
        PLAIN,
        "l=socket inet stream 0; set l keepalive 1; set l idle 20; bind l 127.0.0.1:0; listen l; c=rawsocket inet stream 0
         connect c @l; a=accept l; show a",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system"), ("KA_USER_TIMEOUT", "auto")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; a=accept l; show c; show a",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_USER_TIMEOUT", "30")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c timeout 2000; connect c @l; show c; d=socket inet stream 0
         connect d @l; show d",
    ),
    // The first rule that matches, by prefix; IPv4 in IPv6 too.
    (
        &[("KA_IDLE", "77"), ("KA_RULES", "127.0.1.0/24 count=3; 127.0.0.0/15 idle=30 interval=4; 127.4.0.0/14 idle=2m; * idle=20")],
        "l=listener [::]:0; c=socket inet stream 0; connect c 127.0.1.5:@l; show c; d=socket inet stream 0
         connect d 127.1.255.5:@l; show d; e=socket inet stream 0; connect e 127.2.0.1:@l; show e; f=socket inet6 stream 0
         connect f [::ffff:127.7.255.254]:@l; show f; g=socket inet6 stream 0; connect g [::1]:@l; show g; h=accept l; show h",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_RULES", "[2001:db8::]/32 count=1; [::]/127 count=2; [::ffff:127.0.0.0]/104 count=7")],
        "l=listener [::]:0; c=socket inet6 stream 0; connect c [::1]:@l; show c; d=socket inet stream 0
         connect d 127.0.0.1:@l; show d; e=socket inet6 stream 0; connect e [::ffff:127.0.0.1]:@l; show e
         a=accept l; show a; b=accept l; show b",
    ),
    // The peer's address and the service's port, also where the connection was accepted.
    (
        &[("KA_RULES", "127.0.0.9:1-65535 idle=30")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; bind c 127.0.0.9:0; connect c 127.0.0.1:@l; a=accept l; show a; show c",
    ),
    (
        &[("KA_RULES", "127.0.0.0/8 off")],
        "l=listener [::]:0; c=socket inet stream 0; connect c 127.0.0.1:@l; show c; a=accept l; show a; d=socket inet6 stream 0
         connect d [::1]:@l; show d; e=socket inet stream 0; set e keepalive 1; set e idle 33; connect e 127.0.0.1:@l; show e",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_RULES", "127.0.0.9 count=3")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; set c idle 33; connect c 127.0.0.9:@l; show c; d=socket inet stream 0
         set d idle 33; set d count 4; connect d 127.0.0.1:@l; show d",
    ),
    (
        &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_RULES", "* idle=system count=3 user-timeout=auto")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c; a=accept l; show a",
    ),
    // Forced: before, after, and errors.
    (
        &[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_USER_TIMEOUT", "30"), ("KA_FORCE", "1")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c idle 20; set c interval 20; set c count 20
         set c timeout 2000; set c keepalive 0; show c; set c idle 0 -> -1 EINVAL; set c idle 32768 -> -1 EINVAL
         set c interval 0 -> -1 EINVAL; set c count 128 -> -1 EINVAL; set c timeout -1 -> -1 EINVAL; show c; set c nodelay 1
         a=accept l; set a keepalive 0; set a idle 1; show a",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_FORCE", "1"), ("KA_RULES", "127.0.0.2 idle=system; 127.0.0.3 off; 127.0.0.4 idle=40")],
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.2:@l; set c idle 20; set c count 20; show c
         d=socket inet stream 0; connect d 127.0.0.4:@l; set d idle 20; set d keepalive 0; show d; e=socket inet stream 0
         connect e 127.0.0.3:@l; set e keepalive 1; set e idle 20; show e",
    ),
    // What we would have set is no reason to leave keepalive off.
    (
        PLAIN,
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c idle 77; set c interval 11; set c count 5; connect c @l; show c",
    ),
    (
        &[("KA_IDLE", "77"), ("KA_INTERVAL", "11"), ("KA_COUNT", "5"), ("KA_FORCE", "1"), ("KA_RULES", "127.0.0.9 off")],
        "l=socket inet stream 0; set l idle 77; set l interval 11; set l count 5; set l keepalive 1; bind l 0.0.0.0:0; listen l
         c=socket inet stream 0; set c idle 77; set c interval 11; set c count 5; connect c 127.0.0.1:@l; show c; a=accept l; show a
         d=socket inet stream 0; set d idle 77; set d interval 11; set d count 5; set d keepalive 1; connect d 127.0.0.1:@l; show d
         set d keepalive 1; show d",
    ),
    // Nothing is held where a rule says off, whatever the others are for.
    (
        &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system"), ("KA_FORCE", "1"), ("KA_RULES", "127.0.0.0/8 off")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; set c keepalive 1; connect c @l; show c; d=socket inet stream 0
         connect d @l; set d keepalive 1; set d idle 30; show d",
    ),
    (
        &[("KA_FORCE", "1"), ("KA_RULES", "10.0.0.0/8 idle=7200 interval=75 count=9; 127.0.0.0/8 off")],
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c keepalive 1; set c idle 30; show c",
    ),
    // A socket that is connected once more, to somebody else, has nothing of the first attempt.
    (
        &[("KA_IDLE", "77"), ("KA_RULES", "127.0.0.2 idle=30 count=2; 127.0.0.3 idle=40 interval=system; 127.0.0.4 off")],
        "l=listener 0.0.0.0:0; c=socket inet stream+nonblock 0; connect c 127.0.0.2:1 -> -1 EINPROGRESS
         d=socket inet stream 0; connect d 127.0.0.2:@l; connect d unspec; connect d 127.0.0.3:@l; show d; e=socket inet stream 0
         connect e 127.0.0.2:@l; connect e unspec; connect e 127.0.0.4:@l; show e; f=socket inet stream 0; connect f 127.0.0.2:@l
         connect f unspec; connect f 127.0.0.1:@l; show f; g=socket inet stream 0; connect g 127.0.0.2:@l; set g idle 33
         connect g unspec; connect g 127.0.0.3:@l; show g",
    ),
    // Nothing but TCP.
    (
        PLAIN,
        "u=socket inet dgram 0; connect u 127.0.0.1:9; show u; x=listener unix; y=socket unix stream 0; connect y @x; show y",
    ),
];

fn same(settings: Settings, script: &str) -> Result {
    let mut preloaded = Steps::new(Preload::With(&[]), script)?;
    for (name, value) in settings {
        preloaded = preloaded.env(name, value);
    }
    let under_the_library = preloaded.run()?.stdout;
    let cgroup = Cgroup::new()?;
    let path = cgroup.path().display().to_string();
    let attach = settings.iter().fold(command(&["attach", &path])?, |ka, (name, value)| ka.env(name, value));
    expect_status(&attach.run()?, 0)?;
    let in_the_cgroup = run_in(&cgroup, script)?;
    let lines = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines().filter(|line| !line.starts_with("maps ")).map(str::to_owned).collect()
    };
    let (library, cgroup) = (lines(&under_the_library), lines(&in_the_cgroup));
    if !library.iter().any(|line| line.starts_with("show ")) || library.len() != cgroup.len() {
        return Err(format!("not the same steps: {library:?}, {cgroup:?}").into());
    }
    for (one, other) in library.iter().zip(&cgroup) {
        // Descriptors are numbers of their own.
        if one != other && !one.contains('=') {
            return Err(format!("under the library {one:?}, in the cgroup {other:?}").into());
        }
    }
    Ok(())
}

fn options() -> Result {
    let cgroup = Cgroup::new()?;
    let show = |want: &str| {
        run_in(
            &cgroup,
            &format!("l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> {want}"),
        )
    };
    attach(&cgroup, &[])?;
    show("on 60/15/9")?;
    attach(&cgroup, &["--for", "aws", "--count", "4"])?;
    show("on 120/20/4")?;
    let said = attach(&cgroup, &["--idle", "5", "--user-timeout", "auto", "--rule", "10.0.0.0/8 off"])?;
    expect_in(&said, "attached, in place of what was there (5/5/9, user timeout 50 s, 1 rule)")?;
    show("on 5/5/9, user timeout 50000")?;
    // An option goes before a variable, and rules given as options before the others.
    let path = cgroup.path().display().to_string();
    let ka = command(&["attach", &path, "--idle", "44", "--rule", "127.0.0.0/8 count=4"])?;
    expect_status(&ka.env("KA_IDLE", "55").env("KA_RULES", "* count=5").run()?, 0)?;
    show("on 44/15/4")?;
    let said = attach(&cgroup, &["--count", "1"])?;
    expect_in(&said, "ka: warning: count 1: one lost probe ends a healthy connection")
}

fn counts() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &["--idle", "77", "--rule", "127.0.0.3 off"])?;
    run_in(
        &cgroup,
        "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.1:@l; d=socket inet stream 0
         connect d 127.0.0.3:@l; e=socket inet stream 0; set e keepalive 1; set e idle 30; set e interval 31; set e count 32
         connect e 127.0.0.1:@l; u=socket inet dgram 0; connect u 127.0.0.1:9",
    )?;
    // Each has another end, which was accepted from 127.0.0.1.
    for (counter, want) in [("set", 4), ("off", 1), ("programs_own", 1), ("already_set", 0), ("refused", 0)] {
        let is = count(&cgroup, counter)?;
        if is != want {
            return Err(format!("{counter}: {is}, not {want}: {}", attached(&cgroup)?).into());
        }
    }
    let text = String::from_utf8(command(&["attached"])?.run()?.stdout)?;
    expect_in(
        &text,
        &format!("{}\n  settings    77/15/9, 1 rule\n  rule        127.0.0.3 off\n", cgroup.name()),
    )?;
    expect_in(&text, "  set         4\n  left alone  1 the program's own settings; 1 a rule says off")
}

fn as_many_rules_as_fit() -> Result {
    let cgroup = Cgroup::new()?;
    let mut arguments = Vec::new();
    for n in 0..63 {
        arguments.extend(["--rule".to_owned(), format!("10.0.{n}.0/24:{}-{} count=2", n + 1, n + 2)]);
    }
    arguments.extend(["--rule", "127.0.0.0/8 count=77"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    for force in [&[][..], &["--force"]] {
        attach(&cgroup, &[&arguments[..], force].concat())?;
        run_in(
            &cgroup,
            "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; show c -> on 60/15/77; a=accept l
             show a -> on 60/15/77",
        )?;
    }
    let path = cgroup.path().display().to_string();
    let output = command(&["attach", &path])?.args(&arguments).args(["--rule", "* off"]).run()?;
    expect_status(&output, 2)?;
    expect_in(&output.stderr, "64 rules")
}

fn inner_cgroup_wins() -> Result {
    let outer = Cgroup::new()?;
    let inner = outer.inner("inner")?;
    attach(&outer, &["--idle", "77", "--force"])?;
    attach(&inner, &["--idle", "33", "--rule", "127.0.0.3 off"])?;
    let script = |one: &str, other: &str| {
        format!(
            "l=listener 0.0.0.0:0; c=socket inet stream 0; connect c 127.0.0.1:@l; show c -> {one}; d=socket inet stream 0
             connect d 127.0.0.3:@l; show d -> {other}"
        )
    };
    run_in(&inner, &script("on 33/15/9", "off"))?;
    // And the outer one does not hold what it has not set.
    run_in(
        &inner,
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c idle 600; show c -> on 600/15/9",
    )?;
    run_in(&outer, &script("on 77/15/9", "on 77/15/9"))?;
    if count(&outer, "inner_cgroup")? != 6 {
        return Err(format!("not six left to the inner one: {}", attached(&outer)?).into());
    }
    detach(&inner)?;
    run_in(&inner, &script("on 77/15/9", "on 77/15/9"))?;
    Ok(())
}

/// Also where the library would not have been asked: raw system calls.
fn force_and_errors() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &["--idle", "77", "--interval", "11", "--count", "5", "--force"])?;
    let held = "l=listener 127.0.0.1:0; c=rawsocket inet stream 0; rawset c idle 20; rawset c keepalive 1; rawconnect c @l
         show c -> on 77/11/5; rawset c idle 20; rawset c interval 20; rawset c count 20; rawset c keepalive 0
         show c -> on 77/11/5; rawset c timeout 2000; show c -> on 77/11/5, user timeout 2000; set c idle 0 -> -1 EINVAL
         a=accept l; rawset a keepalive 0; show a -> on 77/11/5";
    run_in(&cgroup, held)?;
    if count(&cgroup, "held")? != 5 {
        return Err(format!("not five calls held: {}", attached(&cgroup)?).into());
    }
    // Without it the program has the last word again.
    attach(&cgroup, &["--idle", "77"])?;
    if attached(&cgroup)?["holds"] != false {
        return Err("the program that holds values is still there".into());
    }
    run_in(
        &cgroup,
        "l=listener 127.0.0.1:0; c=socket inet stream 0; connect c @l; set c idle 20; show c -> on 20/15/9",
    )?;
    Ok(())
}

fn namespaces() -> Result {
    let namespace = Namespace::new()?;
    ip(&namespace, &["link set lo up"])?;
    namespace.enter(|| {
        for (name, value) in [("time", "300"), ("intvl", "20"), ("probes", "3")] {
            std::fs::write(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"), value)?;
        }
        Ok(())
    })?;
    let cgroup = Cgroup::new()?;
    // It is found by a process that is in it.
    let mut inside = kashim_tests::Program::new("sleep").arg("99").within(&namespace).start()?;
    attach(&cgroup, &["--idle", "77", "--count", "system"])?;
    let run = |script: &str| {
        let program = program()?;
        cgroup.enter(|| {
            let steps = Steps::new(Preload::No, script)?.program(program);
            steps.command()?.within(&namespace).run()?.success()
        })
    };
    let said = run(
        "l=listener 127.0.0.1:0; c=socket inet stream 0; show c; connect c @l; show c; d=socket inet stream 0
         set d idle 7200; connect d @l; show d",
    )?;
    let said = String::from_utf8(said)?;
    expect_in(&said, "show c: off 300/20/3")?;
    expect_in(&said, "show c: on 77/15/3")?;
    // What is Linux's default is the program's own here.
    expect_in(&said, "show d: on 7200/15/3")?;
    if inside.ended()?.is_some() { Err("the process in the namespace ended".into()) } else { Ok(()) }
}
