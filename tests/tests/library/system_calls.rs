//! The system calls that the library adds, one by one, with strace as the witness.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kashim_tests::{
    Need, Preload, Program, Result, Scratch, Steps, Trial, compile, each, fixture, library, trial,
};

pub fn trials() -> Vec<Trial> {
    let needs = [Need::Program("cc"), Need::Program("strace")];
    vec![
        trial("added_by_each_hook", &needs, || each(ADDED, added)),
        trial("added_in_other_namespaces", &[needs[0], needs[1], Need::Root], || {
            each(ADDED_IN_NAMESPACES, added)
        }),
        trial!(added_at_load_and_exit, &needs),
        trial!(the_log_keeps_off_the_first_descriptors, &needs),
    ]
}

/// Settings beside 77/11/5, and a script. Behind each step stand the calls that the library adds to it; to the others
/// it adds none.
type Case = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

const SET_UP: &str = "set keepalive, set idle, set interval, set count";
/// For a socket that came another way than through the `socket` hook.
const FILL_IN: &str = "get idle, get interval, get count, set keepalive, set idle, set interval, set count";
const FILL_IN_WITH_TIMEOUT: &str = "get idle, get interval, get count, get timeout, set keepalive, set idle, set interval, set count, set timeout";
/// The first TCP socket of a process shows the namespace's defaults.
const FIRST: &str = "get idle, get interval, get count";
const FIRST_SET_UP: &str =
    "get idle, get interval, get count, set keepalive, set idle, set interval, set count";
/// With rules, at `connect` and `accept`.
const BY_RULES: &str = "get idle, get peer, get interval, get count, get timeout, set keepalive, set idle, set interval, set count";
const ACCEPTED_BY_RULES: &str = "get idle, getsockname, get peer, get interval, get count, get timeout, set keepalive, set idle, set interval, set count";

const ADDED: &[Case] = &[
    (
        &[],
        &[
            ("s=socket inet stream 0", FIRST_SET_UP),
            ("t=socket inet6 stream+cloexec+nonblock tcp", SET_UP),
            ("x=socket inet dgram 0", ""),
            ("x=socket inet6 dgram+nonblock udp", ""),
            ("u=socket unix stream 0", ""),
            ("x=socket unix dgram 0", ""),
            ("x=socket unix seqpacket+cloexec 0", ""),
            ("x=socket netlink raw 0", ""),
            ("x=socket inet stream 4000", ""),
            ("l=listener 127.0.0.1:0", ""),
            ("ul=listener unix", ""),
            ("connect s @l", "get idle"),
            ("connect s @l", ""),
            ("a=accept l", FILL_IN),
            ("connect u @ul", "get idle"),
            ("b=accept ul", "get idle"),
            ("d=socket inet dgram 0", ""),
            ("connect d 127.0.0.1:9", "get idle"),
            ("connect d unspec", "get idle"),
            ("n=socket inet stream+nonblock 0", SET_UP),
            ("connect n @l", "get idle"),
            ("wait n", ""),
            ("b=accept4 l cloexec full", FILL_IN),
            // Whatever failed is left as it is.
            ("connect 99 @l", ""),
            ("connect t 127.0.0.1:1", ""),
            ("x=accept t", ""),
            ("connect s null", ""),
            // What the program sets by itself is noted.
            ("set s idle 20", "get cookie"),
            ("set s keepalive 1", "get cookie"),
            ("set s idle 0", ""),
            // Everything else passes.
            ("set s nodelay 1", ""),
            ("z=socket inet stream 0", SET_UP),
            ("bind z 127.0.0.1:0", ""),
            ("listen z", ""),
            ("y=dup z", ""),
            ("f=socket inet stream 0", SET_UP),
            ("fastopen f @l", ""),
            ("close s", ""),
            // A listener of ours hands its options on.
            ("r=rawsocket inet stream 0", ""),
            (
                "connect r @z",
                "get idle, get interval, get count, get cookie, set keepalive, set idle, set interval, set count",
            ),
            ("c=accept z", "get idle"),
            ("fork", ""),
            ("s=socket inet stream 0", SET_UP),
        ],
    ),
    (
        &[("KA_USER_TIMEOUT", "30")],
        &[
            (
                "s=socket inet stream 0",
                "get idle, get interval, get count, set keepalive, set idle, set interval, set count, set timeout",
            ),
            ("l=listener 127.0.0.1:0", ""),
            ("connect s @l", "get idle"),
            ("a=accept l", FILL_IN_WITH_TIMEOUT),
            ("r=rawsocket inet stream 0", ""),
            ("connect r @l", FILL_IN_WITH_TIMEOUT),
        ],
    ),
    (
        &[("KA_INTERVAL", "system")],
        &[
            (
                "s=socket inet stream 0",
                "get idle, get interval, get count, set keepalive, set idle, set count",
            ),
            ("l=listener 127.0.0.1:0", ""),
            ("a=socket inet stream 0", "set keepalive, set idle, set count"),
            ("connect a @l", "get idle"),
        ],
    ),
    (
        &[("KA_IDLE", "system"), ("KA_INTERVAL", "system"), ("KA_COUNT", "system")],
        &[
            ("s=socket inet stream 0", "get idle, get interval, get count, set keepalive"),
            ("l=listener 127.0.0.1:0", ""),
            ("connect s @l", "get idle"),
            ("a=accept l", "get idle"),
        ],
    ),
    // A filter that refuses the first option is not asked again.
    (
        &[],
        &[
            ("refuse setsockopt", ""),
            ("s=socket inet stream 0", "get idle, get interval, get count, set keepalive"),
            ("l=listener 127.0.0.1:0", ""),
            ("r=rawsocket inet stream 0", ""),
            ("connect r @l", "get idle, get interval, get count, set keepalive"),
        ],
    ),
    // With rules it must be known who is there, but only for TCP.
    (
        &[(
            "KA_RULES",
            "127.0.0.2 idle=30; 127.0.0.3 idle=30 interval=4 count=3 user-timeout=9; 127.0.0.4 off; 10.0.0.1 off",
        )],
        &[
            ("l=listener 0.0.0.0:0", ""),
            ("s=socket inet stream 0", FIRST),
            ("connect s 127.0.0.1:@l", BY_RULES),
            ("a=accept l", ACCEPTED_BY_RULES),
            ("t=socket inet stream 0", ""),
            ("connect t 127.0.0.2:@l", BY_RULES),
            ("v=socket inet stream 0", ""),
            (
                "connect v 127.0.0.3:@l",
                "get idle, get peer, get interval, get count, get timeout, set keepalive, set idle, set interval, set count, set timeout",
            ),
            ("ul=listener unix", ""),
            ("u=socket unix stream 0", ""),
            ("connect u @ul", "get idle"),
            ("b=accept ul", "get idle"),
            ("d=socket inet dgram 0", ""),
            ("connect d 127.0.0.2:9", "get idle"),
            ("z=socket inet6 stream 0", ""),
            ("bind z [::1]:0", ""),
            ("listen z", ""),
            ("r=rawsocket inet6 stream 0", ""),
            // The address is twice as long as the first look allows for.
            (
                "connect r @z",
                "get idle, get peer, get peer, get interval, get count, get timeout, set keepalive, set idle, set interval, set count",
            ),
            ("p=socket inet stream 0", ""),
            ("connect p 127.0.0.4:@l", "get idle, get peer, get interval, get count, get timeout"),
        ],
    ),
    (
        &[("KA_FORCE", "1")],
        &[
            ("s=socket inet stream 0", FIRST_SET_UP),
            ("set s keepalive 0", "get idle, set keepalive"),
            ("set s idle 20", "get idle, set idle"),
            ("set s interval 20", "get interval, set interval"),
            ("set s count 20", "get count, set count"),
            // No user timeout of ours, other options, errors.
            ("set s timeout 20", ""),
            ("set s nodelay 1", ""),
            ("set s reuseaddr 1", ""),
            ("set s idle 0", "get idle"),
            ("d=socket inet dgram 0", ""),
            ("set d keepalive 1", "get idle"),
            ("set d ttl 5", ""),
            ("u=socket unix stream 0", ""),
            ("set u keepalive 1", "get idle"),
            ("l=listener 127.0.0.1:0", ""),
            ("connect s @l", "get idle"),
        ],
    ),
    (
        &[("KA_FORCE", "1"), ("KA_USER_TIMEOUT", "9")],
        &[
            (
                "s=socket inet stream 0",
                "get idle, get interval, get count, set keepalive, set idle, set interval, set count, set timeout",
            ),
            ("set s timeout 20", "get timeout, set timeout"),
        ],
    ),
    // A process that has never made a TCP socket makes one, once, for the namespace's defaults.
    (
        &[],
        &[
            ("l=listener 127.0.0.1:0", ""),
            ("r=rawsocket inet stream 0", ""),
            ("rawset r idle 20", ""),
            (
                "connect r @l",
                "get idle, rt_sigprocmask, rt_sigpending, socket, get idle, get interval, get count, close, rt_sigprocmask, get interval, get count",
            ),
            ("s=rawsocket inet stream 0", ""),
            ("rawset s idle 20", ""),
            ("connect s @l", FIRST),
            ("fork", ""),
            ("t=rawsocket inet stream 0", ""),
            ("rawset t idle 20", ""),
            ("connect t @l", FIRST),
        ],
    ),
    // Switched off.
    (
        &[("KA_DISABLE", "1"), ("KA_FORCE", "1"), ("KA_RULES", "* idle=5")],
        &[
            ("s=socket inet stream 0", ""),
            ("l=listener 127.0.0.1:0", ""),
            ("connect s @l", ""),
            ("a=accept l", ""),
            ("set s keepalive 1", ""),
            ("set s idle 20", ""),
        ],
    ),
];

const ADDED_IN_NAMESPACES: &[Case] = &[(
    &[],
    &[
        ("namespace 300 20 3", ""),
        ("l=listener 127.0.0.1:0", ""),
        // Another preload may have set it.
        (
            "s=socket inet stream 0",
            "get idle, get interval, get count, get keepalive, set keepalive, set idle, set interval, set count",
        ),
        ("connect s @l", "get idle"),
        ("r=rawsocket inet stream 0", ""),
        ("connect r @l", FILL_IN),
        ("a=accept l", FILL_IN),
    ],
)];

/// What a call is called here: options by name, everything else by the call's own name.
fn short(line: &str) -> Option<String> {
    // With -f each line begins with the number of the process.
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (name, arguments) = line.split_once('(')?;
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let option = arguments.split(", ").nth(2).unwrap_or_default();
    let option = match option {
        "SO_KEEPALIVE" => "keepalive",
        "TCP_KEEPIDLE" => "idle",
        "TCP_KEEPINTVL" => "interval",
        "TCP_KEEPCNT" => "count",
        "TCP_USER_TIMEOUT" => "timeout",
        "SO_PEERNAME" => "peer",
        "SO_COOKIE" => "cookie",
        other => other,
    };
    Some(match name {
        "setsockopt" => format!("set {option}"),
        "getsockopt" => format!("get {option}"),
        _ => name.to_owned(),
    })
}

/// For each step, and for what stands before the first one and behind the last: the calls up to the line that the
/// step prints.
fn traced(preload: Preload, environment: &[(&str, &str)], script: &str) -> Result<Vec<Vec<String>>> {
    let scratch = Scratch::new()?;
    let trace = scratch.join("trace");
    let mut strace = vec!["strace".to_owned(), "-f".to_owned(), "-qq".to_owned(), "-o".to_owned()];
    strace.push(trace.display().to_string());
    let variables = preload.variables()?;
    let more = environment.iter().map(|(name, value)| format!("{name}={value}"));
    for variable in variables.into_iter().chain(more) {
        strace.extend(["-E".to_owned(), variable]);
    }
    Steps::new(preload, script)?.under(strace).command()?.succeed()?;
    let mut steps = vec![Vec::new()];
    for line in fs::read_to_string(&trace)?.lines() {
        // Of a process that only waits for its child it says nothing when it does.
        let Some(call) = short(line).filter(|call| call != "wait4") else { continue };
        if line.contains("write(1, ") {
            steps.push(Vec::new());
        } else if let Some(step) = steps.last_mut() {
            step.push(call);
        }
    }
    Ok(steps)
}

fn added(&(environment, steps): &Case) -> Result {
    let script: String = steps.iter().map(|(step, _)| format!("{step};")).collect();
    let without = traced(Preload::No, &[], &script)?;
    let with = traced(Preload::OURS, environment, &script)?;
    // In front of them is the proof that the library is there, and behind them the exit.
    if without.len() != steps.len() + 2 || with.len() != without.len() {
        return Err(format!("{} steps, {} and {} traced", steps.len(), without.len(), with.len()).into());
    }
    let mut wrong = String::new();
    let exit = ("the exit", "");
    for (i, (step, want)) in steps.iter().chain([&exit]).enumerate() {
        let mut rest: HashMap<&str, usize> = HashMap::new();
        for call in &without[i + 1] {
            *rest.entry(call).or_default() += 1;
        }
        // The program's own calls come first.
        let added: Vec<&str> = with[i + 1]
            .iter()
            .map(String::as_str)
            .filter(|call| match rest.get_mut(call) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    false
                }
                _ => true,
            })
            .collect();
        if added.join(", ") != *want {
            wrong += &format!("{step:?} added [{}], not [{want}]\n", added.join(", "));
        }
        if rest.values().any(|&n| n > 0) {
            wrong += &format!("{step:?} lost {rest:?}\n");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// The loader does for the library what it does for one that does nothing, and that is all.
fn added_at_load_and_exit() -> Result {
    let nothing =
        compile("cc", &fixture("nothing.c"), &["-shared", "-fPIC", "-nostdlib", "-Wl,-z,relro,-z,now"])?;
    let scratch = Scratch::new()?;
    let settings =
        "KA_IDLE=5m KA_INTERVAL=20 KA_COUNT=3 KA_USER_TIMEOUT=auto KA_FORCE=1 KA_SKIP=a:b KA_RULES=:22,off";
    let calls = |library: &Path| -> Result<Vec<String>> {
        let trace = scratch.join("trace");
        let mut strace = Program::new("strace").arg("-o").arg(&trace);
        strace = strace.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
        for setting in settings.split(' ') {
            strace = strace.arg("-E").arg(setting.replace(',', " "));
        }
        strace.args(["--", "true"]).succeed()?;
        let text = fs::read_to_string(&trace)?;
        assert!(text.contains(&library.display().to_string()), "{text}");
        // How many pieces a file is mapped in depends on its layout.
        Ok(text.lines().filter_map(short).filter(|call| call != "mmap").collect())
    };
    assert_eq!(calls(library()?)?, calls(&nothing)?);
    Ok(())
}

/// A host that has closed its standard descriptors is not given a log file in their place, not even for a moment in
/// which something is written.
fn the_log_keeps_off_the_first_descriptors() -> Result {
    let scratch = Scratch::new()?;
    let (trace, log) = (scratch.join("trace"), scratch.join("log"));
    let script = format!("close 0; close 2; exec KA_LOG={}; s=socket inet stream 0 -> 0", log.display());
    let strace = ["strace", "-f", "-qq", "-e", "trace=execve,write", "-o"].map(str::to_owned);
    let strace = strace.into_iter().chain([trace.display().to_string()]);
    Steps::new(Preload::OURS, &script)?.under(strace).run()?;
    let text = fs::read_to_string(&trace)?;
    let lines: Vec<_> = text.lines().filter(|line| line.contains(", \"kashim: ")).collect();
    assert_eq!(lines.len(), fs::read_to_string(log)?.lines().count(), "{text}");
    // By processes of their own: the host's descriptors are free all the time.
    let host = text.split_once(' ').ok_or("no trace")?.0;
    assert!(lines.len() == 2 && lines.iter().all(|line| !line.starts_with(host)), "{text}");
    Ok(())
}
