//! `ka systemd`: drop-ins, as systemd's own `systemd-analyze` takes them. systemd itself need not run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kashim_tests::ka_helpers::{expect_in, expect_status};
use kashim_tests::{Need, Output, Program, Result, Scratch, Trial, built_tree, compile, each, trial};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let analyze = [Prog("systemd-analyze")];
    vec![
        trial!(systemd_takes_what_is_written, &analyze),
        trial!(written_and_removed),
        trial!(what_is_not_ours_stays),
        trial!(values_arrive),
        trial!(what_matters_is_said, &[Prog("cc")]),
        trial!(nothing_harmful_is_written),
        trial!(names_of_units),
        trial!(where_settings_are_found, &[Prog("ln")]),
        trial!(the_root_is_not_left, &[Prog("ln"), Prog("mkfifo")]),
        trial!(all_or_nothing),
        trial!(a_pin_for_each_unit),
    ]
}

/// A system with a unit `x.service`, which has these lines in its section [Service].
fn system(lines: &str) -> Result<Scratch> {
    let root = Scratch::new()?;
    for directory in ["usr/lib/systemd/system", "usr/bin", "etc/default"] {
        fs::create_dir_all(root.join(directory))?;
    }
    root.write("usr/lib/systemd/system/x.service", format!("[Service]\nExecStart=/usr/bin/x\n{lines}"))?;
    root.copy_program(Path::new("/bin/true"), "usr/bin/x")?;
    // The library by the path that it has outside.
    let library = built_tree()?.join("lib/libkashim.so");
    let inside = root.join(library.strip_prefix("/")?);
    fs::create_dir_all(inside.parent().ok_or("no directory")?)?;
    fs::copy(library, inside)?;
    Ok(root)
}

/// `ka systemd`, installed beside its library, for that system.
fn ka_systemd(root: &Scratch, arguments: &[&str]) -> Result<Program> {
    let ka = built_tree()?.join("bin/ka");
    Ok(Program::new(ka).arg("systemd").args(arguments).arg("--root").arg(root.path()))
}

fn run(root: &Scratch, arguments: &[&str], status: i32) -> Result<Output> {
    let output = ka_systemd(root, arguments)?.run()?;
    expect_status(&output, status)?;
    Ok(output)
}

const DROPIN: &str = "etc/systemd/system/x.service.d/zz-kashim.conf";
const PINNING: &str = "etc/systemd/system/kashim-for-x.service";

/// All files of a system, and what is in them.
fn files(root: &Path) -> Result<BTreeSet<(PathBuf, Vec<u8>)>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let text = fs::read(&path)?;
            found.insert((path, text));
        }
    }
    Ok(found)
}

/// What `systemd-analyze verify` says of the unit with its drop-in; nothing if it is content.
fn verify(root: &Scratch, units: &[&str]) -> Result<String> {
    let path = format!("{0}/etc/systemd/system:{0}/usr/lib/systemd/system:", root.path().display());
    let output = Program::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units)
        .env("SYSTEMD_UNIT_PATH", path)
        .run()?;
    let about = |line: &&str| line.contains("kashim") || line.contains("x.service");
    Ok(output.stderr.lines().filter(about).collect::<Vec<_>>().join("\n"))
}

fn systemd_takes_what_is_written() -> Result {
    let values = ["--idle", "5m", "--rule", "10.0.0.0/8:22 off", "--user-timeout", "auto", "--force"];
    for (mode, units) in [("preload", &["x.service"][..]), ("cgroup", &["x.service", "kashim-for-x.service"])]
    {
        // The program of the unit is looked for outside of the root.
        let root = system("")?;
        root.write("usr/lib/systemd/system/x.service", "[Service]\nExecStart=/bin/true\n")?;
        fs::create_dir_all(root.join("bin"))?;
        root.copy_program(Path::new("/bin/true"), "bin/true")?;
        run(&root, &[&["x", "--write", "--mode", mode], &values[..]].concat(), 0)?;
        let said = verify(&root, units)?;
        if !said.is_empty() {
            return Err(format!("{mode}: {said}").into());
        }
        // It does look at the drop-in.
        let written = fs::read_to_string(root.join(DROPIN))?;
        root.write(DROPIN, written + "NoSuchSetting=1\n")?;
        expect_in(&verify(&root, units)?, "NoSuchSetting")?;
    }
    Ok(())
}

fn written_and_removed() -> Result {
    let root = system("")?;
    let before = files(root.path())?;
    let printed = run(&root, &["x", "--for", "aws"], 0)?;
    assert_eq!(files(root.path())?, before, "printing writes nothing");
    run(&root, &["x", "--for", "aws", "--write"], 0)?;
    assert_eq!(fs::read(root.join(DROPIN))?, printed.stdout);
    // Again, with other values and in the other way: what is there is replaced.
    run(&root, &["x.service", "--mode", "cgroup", "--write"], 0)?;
    assert!(root.join(PINNING).exists());
    expect_in(&fs::read_to_string(root.join(DROPIN))?, "BPFProgram=sock_ops:/sys/fs/bpf/kashim-x~service")?;
    let said = run(&root, &["x", "--write"], 0)?;
    expect_in(
        &String::from_utf8_lossy(&said.stdout),
        "systemctl daemon-reload && systemctl restart x.service",
    )?;
    assert!(!root.join(PINNING).exists());
    run(&root, &["x", "--remove"], 0)?;
    assert_eq!(files(root.path())?, before);
    assert!(!root.join(DROPIN).parent().is_some_and(Path::exists));
    expect_in(&run(&root, &["x", "--remove"], 1)?.stderr, "nothing of ka's is there")
}

fn what_is_not_ours_stays() -> Result {
    let root = system("")?;
    fs::create_dir_all(root.join("etc/systemd/system/x.service.d"))?;
    root.write("etc/systemd/system/x.service.d/other.conf", "[Service]\n")?;
    root.write(DROPIN, "# somebody's\n")?;
    let before = files(root.path())?;
    expect_in(&run(&root, &["x", "--write"], 125)?.stderr, "not written by ka")?;
    expect_in(&run(&root, &["x", "--remove"], 125)?.stderr, "not written by ka")?;
    assert_eq!(files(root.path())?, before);
    fs::remove_file(root.join(DROPIN))?;
    run(&root, &["x", "--write"], 0)?;
    run(&root, &["x", "--remove"], 0)?;
    assert!(root.join("etc/systemd/system/x.service.d/other.conf").exists());
    Ok(())
}

fn values_arrive() -> Result {
    let root = system("Environment=\"LD_PRELOAD=/a.so /b.so\" X=1\n")?;
    let log = "/tmp/a \"b\" %n \\x.log";
    let program = ka_systemd(&root, &["x", "--idle", "5m", "--rule", "* count=3"])?;
    let output = program.env("KA_LOG", log).env("KA_SKIP", "").run()?;
    expect_status(&output, 0)?;
    let text = String::from_utf8(output.stdout)?;
    let library = built_tree()?.join("lib/libkashim.so");
    for line in [
        format!("Environment=\"LD_PRELOAD={}:/a.so:/b.so\"", library.display()),
        "Environment=\"KA_IDLE=5m\"".into(),
        "Environment=\"KA_RULES=* count=3\"".into(),
        "Environment=\"KA_LOG=/tmp/a \\\"b\\\" %%n \\\\x.log\"".into(),
    ] {
        if !text.lines().any(|it| it == line) {
            return Err(format!("no {line} in:\n{text}").into());
        }
    }
    assert_eq!(text.matches("Environment=").count(), 4, "{text}");
    Ok(())
}

fn what_matters_is_said() -> Result {
    let cases: [(&str, &[&str]); 13] = [
        ("SystemCallFilter=@system-service\n", &[]),
        ("SystemCallFilter=@basic-io\n", &["error", "forbids setsockopt"]),
        ("SystemCallFilter=read setsockopt\n", &["error", "forbids getsockopt"]),
        ("SystemCallFilter=~@mount\n", &[]),
        ("SystemCallFilter=~@network-io:EPERM\n", &["error", "forbids setsockopt"]),
        ("SystemCallFilter=@basic-io\nSystemCallFilter=\n", &[]),
        (
            "RestrictSUIDSGID=yes\nProtectSystem=strict\n",
            &["note", "no obstacle", "RestrictSUIDSGID=, ProtectSystem="],
        ),
        ("PassEnvironment=LD_PRELOAD\n", &["note", "PassEnvironment=LD_PRELOAD"]),
        ("UnsetEnvironment=LD_PRELOAD\n", &["error", "UnsetEnvironment"]),
        ("EnvironmentFile=-/etc/default/x\n", &["warning", "sets LD_PRELOAD", "put the library there"]),
        ("EnvironmentFile=-/etc/default/none\n", &[]),
        ("RootDirectory=/srv\n", &["warning", "RootDirectory=: the library has to be at"]),
        ("NoExecPaths=/\n", &["error", "NoExecPaths=/"]),
    ];
    each(&cases, |(lines, words)| {
        let root = system(lines)?;
        root.write("etc/default/x", "A=1\nLD_PRELOAD=/y.so\n")?;
        let status = i32::from(words.first() == Some(&"error"));
        let output = run(&root, &["x"], status)?;
        if words.is_empty() && !output.stderr.is_empty() {
            return Err(output.stderr.into());
        }
        words.iter().try_for_each(|word| expect_in(&output.stderr, word))
    })?;
    // A drop-in of somebody else counts too, and one for all services.
    let root = system("")?;
    for (directory, text) in [("x.service.d", "UnsetEnvironment=KA_IDLE"), ("service.d", "NoExecPaths=/usr")]
    {
        let directory = root.join("etc/systemd/system").join(directory);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("a.conf"), format!("[Service]\n{text}\n"))?;
    }
    expect_in(&run(&root, &["x"], 1)?.stderr, "UnsetEnvironment=KA_IDLE")?;
    // A program that no preload reaches.
    let source = root.write("s.c", "int main(void) { return 0; }\n")?;
    let program = compile("cc", &source, &["-static"])?;
    root.copy_program(&program, "usr/bin/x")?;
    let output = run(&root, &["x"], 1)?;
    expect_in(&output.stderr, "statically linked")?;
    expect_in(&output.stderr, "--mode cgroup")?;
    // A unit that is not there yet.
    expect_in(&run(&root, &["y"], 1)?.stderr, "y.service: there is no such unit below")?;
    expect_in(&run(&root, &["y", "--write"], 125)?.stderr, "nothing was written")?;
    // Of an instance, the template counts.
    root.write("usr/lib/systemd/system/z@.service", "[Service]\nUnsetEnvironment=LD_PRELOAD\n")?;
    expect_in(&run(&root, &["z@1"], 1)?.stderr, "z@1.service: UnsetEnvironment")?;
    Ok(())
}

fn nothing_harmful_is_written() -> Result {
    let root = system("SystemCallFilter=@basic-io\n")?;
    let before = files(root.path())?;
    expect_in(&run(&root, &["x", "--write"], 125)?.stderr, "nothing was written")?;
    expect_in(&run(&root, &["x", "--write", "--idle", "5 m"], 125)?.stderr, "has a blank inside")?;
    assert_eq!(files(root.path())?, before);
    // In the kernel it is no matter.
    run(&root, &["x", "--write", "--mode", "cgroup"], 0)?;
    Ok(())
}

fn names_of_units() -> Result {
    let root = system("")?;
    let cases: [(&str, &str); 5] = [
        ("", "no name of a unit"),
        ("a/b", "no name of a unit"),
        ("../x", "no name of a unit"),
        ("x.socket", "KeepAlive=yes"),
        ("x.timer", "give the service that it starts"),
    ];
    each(&cases, |(name, words)| expect_in(&run(&root, &[name], 2)?.stderr, words))
}

/// Puts a file into a system, with the directories that it needs.
fn put(root: &Scratch, name: &str, text: &str) -> Result {
    let path = root.join(name);
    fs::create_dir_all(path.parent().ok_or("no directory")?)?;
    Ok(fs::write(path, text)?)
}

fn link(root: &Scratch, target: &str, name: &str) -> Result {
    fs::create_dir_all(root.join(name).parent().ok_or("no directory")?)?;
    Program::new("ln").args(["-s", target]).arg(root.join(name)).succeed().map(|_| ())
}

const FILTER: &str = "[Service]\nSystemCallFilter=@basic-io\n";

fn where_settings_are_found() -> Result {
    type Way = (&'static str, fn(&Scratch) -> Result);
    // By each of these ways the filter is found.
    let ways: [Way; 7] = [
        ("a prefix", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\nExecStart=/usr/bin/x\n")?;
            put(root, "etc/systemd/system/a-.service.d/f.conf", FILTER)
        }),
        ("an alias", |root| {
            link(root, "/usr/lib/systemd/system/x.service", "etc/systemd/system/a-b.service")?;
            put(root, "etc/systemd/system/x.service.d/f.conf", FILTER)
        }),
        ("the end of a file", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\nSystemCallFilter=@basic-io\\")
        }),
        ("a mark at the beginning", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", &format!("\u{feff}{FILTER}"))
        }),
        ("quotes", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\nSystemCallFilter=\"~@network-io\"\n")
        }),
        ("a link to a drop-in", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\n")?;
            put(root, "srv/f", FILTER)?;
            link(root, "/srv/f", "etc/systemd/system/a-b.service.d/f.conf")
        }),
        ("lines that end as on Windows", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", &FILTER.replace('\n', "\r\n"))
        }),
    ];
    each(&ways.map(|(name, _)| name), |name| {
        let root = system("")?;
        let (_, way) = ways.iter().find(|(other, _)| other == name).ok_or("no way")?;
        way(&root)?;
        expect_in(&run(&root, &["a-b"], 1)?.stderr, "forbids setsockopt")
    })?;
    // What is masked or replaced does not count.
    let root = system("")?;
    put(&root, "usr/lib/systemd/system/x.service.d/f.conf", FILTER)?;
    link(&root, "/dev/null", "etc/systemd/system/x.service.d/f.conf")?;
    run(&root, &["x"], 0)?;
    link(&root, "/dev/null", "etc/systemd/system/y.service")?;
    expect_in(&run(&root, &["y"], 0)?.stderr, "masked")?;
    // No obstacles.
    let root = system("PrivateTmp=No\nProtectHome=read-only\n")?;
    let said = run(&root, &["x"], 0)?.stderr;
    assert_eq!(said, "");
    // Of several that preload, the last one stays behind ours, escapes and specifiers as they mean.
    let root = system("Environment=LD_PRELOAD=/a.so\n")?;
    put(
        &root,
        "etc/systemd/system/x.service.d/override.conf",
        "[Service]\nEnvironment=LD_PRELOAD=/b\\x2dc/%N.so\n",
    )?;
    let text = String::from_utf8(run(&root, &["x"], 0)?.stdout)?;
    expect_in(&text, "/lib/libkashim.so:/b-c/%N.so\"")?;
    // And ours is the last word: no drop-in comes behind it by the order of names.
    assert!(DROPIN.ends_with("/zz-kashim.conf"));
    Ok(())
}

fn the_root_is_not_left() -> Result {
    let outside = Scratch::new()?;
    let away = outside.path().display().to_string();
    for (name, target) in [("etc", &away), ("etc/systemd/system/x.service.d", &away)] {
        let root = system("")?;
        if name == "etc" {
            fs::remove_dir_all(root.join("etc"))?;
        }
        link(&root, target, name)?;
        expect_in(&run(&root, &["x", "--write"], 125)?.stderr, "is no directory, or a link to one")?;
        assert_eq!(files(outside.path())?, BTreeSet::new());
    }
    // Nothing that is read keeps us waiting.
    let root = system("EnvironmentFile=/etc/default/pipe\n")?;
    Program::new("mkfifo").arg(root.join("etc/default/pipe")).succeed()?;
    run(&root, &["x"], 0)?;
    let ka = Program::new(built_tree()?.join("bin/ka")).args(["systemd", "x", "--root", "/no/such"]);
    expect_in(&ka.run()?.stderr, "no such directory")?;
    // An image may lack the library.
    let root = system("")?;
    fs::remove_file(root.join(built_tree()?.join("lib/libkashim.so").strip_prefix("/")?))?;
    expect_in(&run(&root, &["x"], 0)?.stderr, "there is no library at")
}

fn all_or_nothing() -> Result {
    // A directory cannot be made.
    let root = system("")?;
    put(&root, "etc/systemd/system/x.service.d", "a file\n")?;
    let before = files(root.path())?;
    run(&root, &["x", "--write", "--mode", "cgroup"], 125)?;
    assert_eq!(files(root.path())?, before);
    // One of the two files is somebody else's.
    let root = system("")?;
    run(&root, &["x", "--write", "--mode", "cgroup"], 0)?;
    put(&root, PINNING, "# somebody's\n")?;
    let before = files(root.path())?;
    run(&root, &["x", "--remove"], 125)?;
    run(&root, &["x", "--write"], 125)?;
    assert_eq!(files(root.path())?, before);
    Ok(())
}

/// No two units share a pinned program, nor do the instances of a template.
fn a_pin_for_each_unit() -> Result {
    let root = system("")?;
    let mut pins = BTreeSet::new();
    for unit in ["a.b", "a-b", "a_b", "t@", "t@1", "t@2"] {
        let text = String::from_utf8(run(&root, &[unit, "--mode", "cgroup"], 1)?.stdout)?;
        // Each file below its path.
        for place in [format!("kashim-for-{unit}.service"), format!("{unit}.service.d/zz-kashim.conf")] {
            expect_in(&text, &format!("# {}/etc/systemd/system/{place}\n# Written", root.path().display()))?;
        }
        let (_, pin) = text.split_once("sock_ops:").ok_or("no pin")?;
        let pin = pin.lines().next().unwrap_or_default().to_owned();
        assert!(!pin.replace("/sys/fs/bpf", "").contains('.'), "{pin}");
        assert!(pins.insert(pin.clone()), "{pin} for two units");
    }
    assert!(pins.contains("/sys/fs/bpf/kashim-t@%i~service"), "{pins:?}");
    Ok(())
}
