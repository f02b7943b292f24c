//! What SECURITY.md promises: that behind each promise stands a test that there is, and a look at a whole process for what
//! no single test would notice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use kashim_tests::{
    Need, Preload, Program, Result, Steps, Trial, descendants, maps_library, trial, workspace,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(every_promise_has_its_tests),
        trial("everything_else_of_a_process_is_as_without", &[Need::Program("cc")], everything_else),
    ]
}

/// The headings under which each item of the list is a promise.
const PROMISES: &[&str] = &[
    "## If you suspect it",
    "## What the library does in a process",
    "## What it never does",
    "## ka-run",
    "## ka attach",
];

/// The items of the lists in a section, each as one line.
fn items(section: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut in_item = false;
    for line in section.lines() {
        if let Some(text) = line.strip_prefix("* ") {
            items.push(text.to_owned());
        } else if let (true, Some(text), Some(item)) = (in_item, line.strip_prefix("  "), items.last_mut()) {
            *item += " ";
            *item += text.trim_start();
        }
        in_item = line.starts_with("* ") || (in_item && line.starts_with("  "));
    }
    items
}

/// The tests of each file, by its name in SECURITY.md, as the test binaries list them.
fn tests() -> Result<BTreeMap<String, Vec<String>>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["test", "--workspace", "--locked", "--no-run", "--message-format=json"])
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()?;
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(built.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let (target, executable) = (&message["target"], message["executable"].as_str());
        let (Some(source), Some(executable)) = (target["src_path"].as_str(), executable) else { continue };
        let Some(name) = target["name"].as_str() else { continue };
        let source = Path::new(source).strip_prefix(workspace())?;
        let is_policy = source.starts_with("crates/policy/tests");
        if !is_policy && !source.starts_with("tests/tests") {
            continue;
        }
        let list = String::from_utf8(Program::new(executable).arg("--list").succeed()?)?;
        for test in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            let (file, test) = match test.split_once("::") {
                Some((module, test)) if !is_policy => (format!("{name}/{module}"), test),
                _ => (format!("policy/{name}"), test),
            };
            tests.entry(file).or_default().push(test.to_owned());
        }
    }
    Ok(tests)
}

/// Whether a file has a test of this name, in which a `*` stands for anything. `::SHELL` may stand behind it.
fn has(tests: &BTreeMap<String, Vec<String>>, file: &str, name: &str) -> bool {
    let fits = |test: &str| match name.split_once('*') {
        None => test.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
        Some((before, behind)) => test.strip_prefix(before).is_some_and(|rest| rest.ends_with(behind)),
    };
    tests.get(file).is_some_and(|tests| tests.iter().any(|test| fits(test)))
}

fn every_promise_has_its_tests() -> Result {
    let text = fs::read_to_string(workspace().join("SECURITY.md"))?;
    let all = tests()?;
    let mut wrong = String::new();
    for heading in PROMISES {
        let (_, section) = text.split_once(&format!("\n{heading}\n")).ok_or(format!("no {heading:?}"))?;
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let items = items(section);
        if items.is_empty() {
            wrong += &format!("{heading}: promises nothing\n");
        }
        for item in items {
            let tests = item.split_once(" Tests: ").map_or("", |(_, tests)| tests);
            let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
            if names.is_empty() {
                wrong += &format!("no test stands behind this: {item}\n");
            }
            for name in names {
                let (file, test) =
                    name.split_once("::").ok_or_else(|| format!("not FOLDER/FILE::TEST: {name}"))?;
                if !has(&all, file, test) {
                    wrong += &format!("there is no test {name}\n");
                }
            }
        }
    }
    // And what says that there is no such test does find that out.
    for (file, test, is) in [
        ("library/hooks", "the_chain_is_kept", true),
        ("library/hooks", "the_chain", false),
        ("policy/kernel", "the_limits_are_the_kernels", true),
        ("policy/kernel", "the_limits", false),
        ("library/hooks", "untouched_*", true),
        ("library/hooks", "touched_*", false),
        ("compat/libc_compat", "*_every_hook", true),
        ("no_such_file", "*", false),
        ("compat/libc_compat", "*_every_hooks", false),
    ] {
        assert_eq!(has(&all, file, test), is, "{file}::{test}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// What /proc says about a process that can be the same for two of them.
fn portrait(preload: Preload) -> Result<BTreeMap<String, String>> {
    let script =
        "l=listener 127.0.0.1:0; s=socket inet stream 0; connect s @l; a=accept l; b=socket inet6 stream 0
                  u=socket unix stream 0; set s idle 20; close b; connect s @l -> -1 EISCONN
                  d=socket inet dgram 0; hold";
    let mut running = Steps::new(preload, script)?.command()?.stdin(Stdio::piped()).start()?;
    running.wait_for_output("d=socket inet dgram 0: ")?;
    let pid = running.pid();
    assert_eq!(maps_library(pid)?, preload != Preload::No);
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let mut portrait = BTreeMap::new();
    for name in ["limits", "personality", "oom_score_adj", "coredump_filter", "timers", "cgroup"] {
        // Not every kernel has all of them.
        portrait.insert(name.to_owned(), read(name).unwrap_or_default());
    }
    for name in ["cwd", "root", "exe"] {
        let link = fs::read_link(format!("/proc/{pid}/{name}"))?;
        portrait.insert(name.to_owned(), link.display().to_string());
    }
    // Threads, signals that are blocked, ignored or caught, users, groups, capabilities, filters.
    for line in read("status")?.lines() {
        let (name, value) = line.split_once(':').ok_or("not a line of status")?;
        let is_its_own = matches!(name, "Pid" | "Tgid" | "NSpid" | "NStgid" | "NSpgid" | "NSsid" | "PPid");
        let varies = name.ends_with("ctxt_switches") || name == "SigQ" || name == "State";
        // The loader maps one file more.
        let is_memory = name.starts_with("Vm") || name.starts_with("Rss") || name.starts_with("Huge");
        if !(is_its_own || varies || is_memory) {
            portrait.insert(format!("status: {name}"), value.trim().to_owned());
        }
    }
    let environment = read("environ")?;
    let others = environment.split('\0').filter(|e| !e.starts_with("LD_PRELOAD=") && !e.starts_with("KA_"));
    portrait.insert("environment".to_owned(), others.collect::<Vec<_>>().join("\n"));
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let target = fs::read_link(entry.path())?.display().to_string();
        // Without the number of the inode, and the directory that is this run's own.
        let target = target.split(['[', '/']).next().unwrap_or_default().to_owned();
        let fd = entry.file_name().into_string().map_err(|_| "not a number")?;
        let flags = read(&format!("fdinfo/{fd}"))?;
        let flags = flags.lines().find(|line| line.starts_with("flags:")).unwrap_or_default();
        portrait.insert(format!("descriptor {fd}"), format!("{target} {flags}"));
    }
    portrait.insert("processes".to_owned(), descendants(pid).len().to_string());
    running.write("x")?;
    let output = running.output()?;
    portrait.insert("standard error".to_owned(), output.stderr.clone());
    let said = String::from_utf8(output.success()?)?;
    let said = said.lines().filter(|line| !line.starts_with("maps "));
    portrait.insert("standard output".to_owned(), said.collect::<Vec<_>>().join("\n"));
    Ok(portrait)
}

/// A process that has used every hook has the same threads, descriptors, signals, limits, users and environment with the
/// library as without, whether that is switched off or not, and has started nothing.
fn everything_else() -> Result {
    let without = portrait(Preload::No)?;
    assert!(without.len() > 40 && without["processes"] == "1" && without["status: Threads"] == "1");
    const DISABLED: Preload = Preload::With(&[("KA_DISABLE", "1"), ("KA_LOG", "stderr")]);
    const MUCH: Preload = Preload::With(&[
        ("KA_FORCE", "1"),
        ("KA_USER_TIMEOUT", "auto"),
        ("KA_RULES", "127.0.0.0/8 idle=system; * off"),
    ]);
    for preload in [Preload::OURS, MUCH, DISABLED] {
        let with = portrait(preload)?;
        for (name, value) in &without {
            assert_eq!(with.get(name), Some(value), "{preload:?}: {name}");
        }
        assert_eq!(with.len(), without.len(), "{preload:?}: {with:?}");
    }
    Ok(())
}
