//! `ka systemd`: drop-ins, as systemd's own `systemd-analyze` takes them. systemd itself need not run.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kashim_tests::ka_helpers::{expect_in, expect_status};
use kashim_tests::{Failed, Need, Output, Program, Result, Scratch, Trial, built_tree, compile, each, trial};

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
        trial!(what_a_log_needs),
        trial!(whose_privilege_counts, &[Prog("cc")]),
        trial!(programs_that_clear_the_environment),
        trial!(what_the_service_sees, &[Prog("cc")]),
        trial!(drop_ins_behind_ours),
        trial!(another_name, &[Prog("ln")]),
        trial!(names_of_units),
        trial!(where_settings_are_found, &[Prog("ln")]),
        trial!(the_root_is_not_left, &[Prog("ln"), Prog("mkfifo")]),
        trial!(everybody_may_read_it),
        trial!(nothing_is_half_done),
        trial!(what_the_kernel_is_told),
        trial!(socket_units),
        trial!(control_characters),
        trial!(what_a_unit_cannot_execute),
    ]
}

/// A system with a unit `x.service`, which has these lines in its section [Service].
fn system(lines: &str) -> Result<Scratch> {
    let root = Scratch::new()?;
    for directory in ["usr/lib/systemd/system", "usr/bin", "etc/default"] {
        fs::create_dir_all(root.join(directory))?;
    }
    write_unit(&root, lines)?;
    root.copy_program(Path::new("/bin/true"), "usr/bin/x")?;
    // The library by the path that it has outside.
    let library = built_tree()?.join("lib/libkashim.so");
    let inside = root.join(library.strip_prefix("/")?);
    fs::create_dir_all(inside.parent().ok_or("no directory")?)?;
    fs::copy(library, inside)?;
    Ok(root)
}

/// Gives its unit these lines.
fn write_unit(root: &Scratch, lines: &str) -> Result {
    let text = format!("[Service]\nExecStart=/usr/bin/x\n{lines}\n");
    root.write("usr/lib/systemd/system/x.service", text).map(|_| ())
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
    for mode in ["preload", "cgroup"] {
        // The program of the unit is looked for outside of the root.
        let root = system("")?;
        root.write("usr/lib/systemd/system/x.service", "[Service]\nExecStart=/bin/sleep 1\n")?;
        fs::create_dir_all(root.join("bin"))?;
        root.copy_program(Path::new("/bin/sleep"), "bin/sleep")?;
        run(&root, &[&["x", "--write", "--mode", mode], &values[..]].concat(), 0)?;
        let said = verify(&root, &["x.service"])?;
        if !said.is_empty() {
            return Err(format!("{mode}: {said}").into());
        }
        // It does look at the drop-in.
        let written = fs::read_to_string(root.join(DROPIN))?;
        root.write(DROPIN, written + "NoSuchSetting=1\n")?;
        expect_in(&verify(&root, &["x.service"])?, "NoSuchSetting")?;
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
    expect_in(&fs::read_to_string(root.join(DROPIN))?, "ExecStartPre=-+\"")?;
    let said = run(&root, &["x", "--write"], 0)?;
    assert!(!fs::read_to_string(root.join(DROPIN))?.contains("ExecStartPre"));
    // Of another system no command is named that would be for this one.
    assert!(!String::from_utf8_lossy(&said.stdout).contains("systemctl"));
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
    expect_in(&run(&root, &["x", "--idle", "5m"], 1)?.stderr, "UnsetEnvironment=KA_IDLE")?;
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

/// What is said on standard error: all of the words, or no more than notes.
fn says(root: &Scratch, arguments: &[&str], words: &[&str]) -> Result {
    let said = run(root, arguments, i32::from(words.first() == Some(&"error")))?.stderr;
    if words.is_empty() && said.lines().any(|line| !line.contains("note: ")) {
        return Err(said.into());
    }
    words.iter().try_for_each(|word| expect_in(&said, word))
}

const USERS: &str =
    "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\njoe:x:1234:1234::/home/joe:/bin/sh\n";

fn what_a_log_needs() -> Result {
    let cases: [(&str, &str, &[&str]); 18] = [
        ("SystemCallFilter=~@process\n", "/var/log/k.log", &["error", "forbids clone, wait4"]),
        ("SystemCallFilter=~@process\n", "stderr", &[]),
        ("SystemCallFilter=~readlinkat:EPERM\n", "/var/log/k.log", &["error", "forbids readlinkat"]),
        ("SystemCallFilter=~getpid\n", "stderr", &["error", "forbids getpid"]),
        (
            "ProtectSystem=full\nReadOnlyPaths=/var/log\nReadWritePaths=/var/log\n",
            "/var/log/k.log",
            &["warning"],
        ),
        ("User=nobody\nLogsDirectory=x\n", "/var/log/x/k.log", &[]),
        ("User=nobody\nExecStart=\nExecStart=+/usr/bin/x\n", "/var/log/k.log", &[]),
        ("SystemCallFilter=@network-io @basic-io\n", "stderr", &["error", "forbids ppoll, fstat, statx"]),
        ("SystemCallFilter=@system-service\n", "/var/log/k.log", &[]),
        (
            "ProtectSystem=strict\n",
            "/var/log/k.log",
            &["warning", "KA_LOG=/var/log/k.log", "ProtectSystem=strict"],
        ),
        ("ProtectSystem=strict\nLogsDirectory=x\n", "/var/log/x/k.log", &[]),
        ("ProtectSystem=full\n", "/etc/k.log", &["warning", "only read there"]),
        ("ReadOnlyPaths=/var\nReadWritePaths=/var/log\n", "/var/log/k.log", &[]),
        ("User=nobody\n", "/var/log/k.log", &["warning", "may not write there"]),
        ("User=nobody\n", "/var/log/open.log", &[]),
        ("InaccessiblePaths=/var/log\n", "/var/log/k.log", &["warning", "hides that place"]),
        ("LogsDirectory=new\n", "/var/log/new/k.log", &[]),
        ("", "/var/log/new/k.log", &["warning", "its directory does not exist"]),
    ];
    each(&cases, |&(lines, log, words)| {
        let root = system(lines)?;
        root.write("etc/passwd", USERS)?;
        fs::create_dir_all(root.join("var/log/x"))?;
        fs::set_permissions(root.write("var/log/open.log", "")?, Permissions::from_mode(0o666))?;
        says(&root, &["x", &format!("--log={log}")], words)
    })
}

/// That of the service's user, not of who asks.
fn whose_privilege_counts() -> Result {
    let root = system("")?;
    let ours = fs::metadata(root.join("usr/bin/x"))?;
    let (uid, gid) = (ours.uid(), ours.gid());
    let directory = built_tree()?.join("lib").display().to_string();
    root.write("etc/passwd", USERS)?;
    root.write("etc/group", format!("games:x:{gid}:\n"))?;
    let cases: [(u32, String, &[&str]); 10] = [
        (0o4755, "User=nobody".into(), &["error", "it is setuid"]),
        (0o4755, "DynamicUser=no\nUser=4711".into(), &["error", "it is setuid"]),
        (0o4755, format!("User={uid}"), &[]),
        (0o4755, "User=nobody\nNoNewPrivileges=yes".into(), &[]),
        (0o4755, format!("DynamicUser=yes\nBindReadOnlyPaths={directory}"), &[]),
        (0o2755, "User=nobody".into(), &["error", "it is setgid"]),
        (0o2755, "User=nobody\nGroup=games".into(), &[]),
        (0o2755, format!("User=nobody\nGroup={gid}"), &[]),
        (0o755, "User=nobody".into(), &[]),
        (
            0o4755,
            "ExecStart=\nExecStart=+/usr/bin/x\nUser=nobody".into(),
            if uid == 0 { &[] } else { &["error"] },
        ),
    ];
    each(&cases, |(mode, lines, words)| {
        write_unit(&root, lines)?;
        fs::set_permissions(root.join("usr/bin/x"), Permissions::from_mode(*mode))?;
        says(&root, &["x"], words)
    })?;
    // And who may read the library.
    fs::set_permissions(root.join("usr/bin/x"), Permissions::from_mode(0o755))?;
    let library = root.join(built_tree()?.join("lib/libkashim.so").strip_prefix("/")?);
    fs::set_permissions(&library, Permissions::from_mode(0o640))?;
    for (lines, words) in [
        ("User=nobody".to_owned(), &["error", "may not read the library"][..]),
        (format!("User={uid}"), &[]),
        ("User=nobody\nGroup=games".to_owned(), &[]),
        ("User=nobody\nSupplementaryGroups=games".to_owned(), &[]),
        ("User=root".to_owned(), &[]),
    ] {
        write_unit(&root, &lines)?;
        says(&root, &["x"], words)?;
    }
    // A user without a name is a member of no group.
    write_unit(&root, &format!("DynamicUser=yes\nBindReadOnlyPaths={directory}"))?;
    says(&root, &["x"], &["error", "may not read the library"])?;
    // Root is nobody special without the capabilities.
    fs::set_permissions(&library, Permissions::from_mode(0o000))?;
    for (lines, words) in [
        ("CapabilityBoundingSet=CAP_NET_BIND_SERVICE", &["error", "may not read the library"][..]),
        ("CapabilityBoundingSet=~CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH", &["error"]),
        ("CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_CHOWN", &[]),
        ("CapabilityBoundingSet=cap_dac_override", &[]),
        ("CapabilityBoundingSet=~CAP_DAC_OVERRIDE", &[]),
        ("CapabilityBoundingSet=", &["error"]),
        ("CapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_KILL", &["error"]),
        ("CapabilityBoundingSet=~", &[]),
        ("PrivateUsers=yes", &["error"]),
        ("SecureBits=noroot", &["error"]),
    ] {
        write_unit(&root, lines)?;
        says(&root, &["x"], words)?;
    }
    Ok(())
}

fn programs_that_clear_the_environment() -> Result {
    each(&["pg_ctlcluster", "postmulti", "squid"], |name| {
        let root = system(&format!("ExecStart=\nExecStart=/usr/bin/{name} start\n"))?;
        root.copy_program(Path::new("/bin/true"), &format!("usr/bin/{name}"))?;
        says(&root, &["x"], &["error", "no preload reaches it", "--mode cgroup does"])?;
        run(&root, &["x", "--mode", "cgroup"], 0).map(|_| ())
    })?;
    // A unit for others.
    let root = system("ExecStart=\nExecStart=/bin/true\n")?;
    for mode in ["preload", "cgroup"] {
        says(&root, &["x", "--mode", mode], &["error", "its processes belong to other units"])?;
    }
    // One of several is another thing.
    let root = system("ExecStart=\nExecStart=/bin/true ; /usr/bin/x\n")?;
    fs::create_dir_all(root.join("bin"))?;
    root.copy_program(Path::new("/bin/true"), "bin/true")?;
    says(&root, &["x"], &[])
}

fn what_the_service_sees() -> Result {
    let library = built_tree()?.join("lib/libkashim.so").display().to_string();
    let directory = built_tree()?.join("lib").display().to_string();
    let (_, top) = library.split_once('/').ok_or("no path")?;
    let top = format!("/{}", top.split('/').next().unwrap_or_default());
    let cases: [(String, &[&str]); 19] = [
        (format!("InaccessiblePaths={top}\nExecPaths=/"), &["error", "keeps the library out"]),
        // Nothing can be mounted over what is inaccessible.
        (
            format!("InaccessiblePaths={top}\nBindReadOnlyPaths={directory}"),
            &["error", "keeps the library out"],
        ),
        // By a link.
        ("InaccessiblePaths=/srv/link".into(), &["error", "keeps the library out"]),
        ("InaccessibleDirectories=/srv/link".into(), &["error", "keeps the library out"]),
        // systemd takes none of these.
        ("InaccessiblePaths=-\nTemporaryFileSystem=:ro\nNoExecPaths=\"\"".into(), &[]),
        ("InaccessiblePaths=%h".into(), &["warning", "InaccessiblePaths=%h: cannot tell"]),
        ("User=%j".into(), &["warning", "User=%j: cannot tell"]),
        (format!("InaccessiblePaths={top}\nExecStart=\nExecStart=+/usr/bin/x"), &[]),
        (
            format!("NoExecPaths={directory}\nExecPaths={top}"),
            &["error", "keeps the library out", "ExecPaths="],
        ),
        (format!("NoExecPaths=/\nExecPaths={directory} /usr"), &[]),
        (format!("TemporaryFileSystem={top}\nBindReadOnlyPaths={directory}"), &[]),
        (format!("BindReadOnlyPaths=/srv/empty:{directory}"), &["warning", "there is no library at"]),
        (format!("BindReadOnlyPaths=/srv/%p:{directory}"), &[]),
        (
            "RootDirectory=/srv/jail\nExecStart=\nExecStart=/usr/bin/dynamic".into(),
            &["warning", "RootDirectory=: the library has to be"],
        ),
        (
            format!("RootDirectory=/srv/jail\nBindPaths={directory}\nExecStart=\nExecStart=/usr/bin/dynamic"),
            &[],
        ),
        (
            format!("RootDirectory=/srv/jail\nBindPaths={directory}\nExecStart=\nExecStart=/usr/bin/static"),
            &["error", "statically linked"],
        ),
        ("RootImage=/srv/i.raw".into(), &["warning", "RootImage=: the library has to be", "cannot tell"]),
        ("ExecStart=\nExecStart=/usr/bin/%p".into(), &[]),
        ("ExecStart=\nExecStart=%h/x".into(), &["warning", "cannot tell"]),
    ];
    let build = Scratch::new()?;
    let source = build.write("s.c", "int main(void) { return 0; }\n")?;
    let compiled = compile("cc", &source, &["-static"])?;
    each(&cases, |(lines, words)| {
        let root = system(&format!("{lines}\n"))?;
        for place in ["srv/empty", "srv/x", "srv/jail/usr/bin"] {
            fs::create_dir_all(root.join(place))?;
        }
        fs::copy(&library, root.join("srv/x/libkashim.so"))?;
        link(&root, &root.join(&top[1..]).display().to_string(), "srv/link")?;
        // In the jail each is what it is not outside.
        root.copy_program(&compiled, "usr/bin/dynamic")?;
        root.copy_program(Path::new("/bin/sleep"), "usr/bin/static")?;
        root.copy_program(Path::new("/bin/sleep"), "srv/jail/usr/bin/dynamic")?;
        root.copy_program(&compiled, "srv/jail/usr/bin/static")?;
        says(&root, &["x"], words)
    })?;
    // By a specifier the program is found, too.
    let root = system("ExecStart=\nExecStart=/usr/bin/%p-%%\n")?;
    root.copy_program(&compiled, "usr/bin/x-%")?;
    says(&root, &["x"], &["error", "statically linked"])
}

fn drop_ins_behind_ours() -> Result {
    let library = built_tree()?.join("lib/libkashim.so").display().to_string();
    let cases: [(&str, &str, &[&str]); 7] = [
        ("zzz.conf", "Environment=LD_PRELOAD=/x.so", &["error", "wins over it"]),
        ("zzz.conf", "Environment=", &["error", "takes away what this one sets"]),
        ("zzz.conf", "Environment=KA_IDLE=7000", &["warning", "KA_IDLE=7000", "wins over it"]),
        ("zzz.conf", "Environment=LD_PRELOAD=%l", &["error"]),
        ("zz-a.conf", "Environment=LD_PRELOAD=/x.so", &[]),
        ("a.conf", "UnsetEnvironment=KA_RULES KA_IDLE=5", &[]),
        ("a.conf", "UnsetEnvironment=KA_IDLE=5m", &["error", "takes away"]),
    ];
    each(&cases, |&(name, line, words)| {
        let root = system("")?;
        put(&root, &format!("etc/systemd/system/x.service.d/{name}"), &format!("[Service]\n{line}\n"))?;
        says(&root, &["x", "--idle", "5m"], words)
    })?;
    let root = system("")?;
    let late = format!("[Service]\nEnvironment=LD_PRELOAD=/y.so:{library}\n");
    put(&root, "etc/systemd/system/x.service.d/zzz.conf", &late)?;
    says(&root, &["x"], &["warning", "wins over it"])?;
    // A file with a blank in its name, which has the library or has not.
    let root = system("EnvironmentFile=/etc/default/my file\n")?;
    put(&root, "etc/default/my file", "LD_PRELOAD=/y.so\n")?;
    says(&root, &["x"], &["warning", "/etc/default/my file sets LD_PRELOAD"])?;
    put(&root, "etc/default/my file", &format!("LD_PRELOAD=\"{library}\"\n"))?;
    says(&root, &["x"], &[])
}

/// By any of its names the unit itself is meant.
fn another_name() -> Result {
    let root = system("")?;
    link(&root, "/usr/lib/systemd/system/x.service", "etc/systemd/system/y.service")?;
    let said = run(&root, &["y", "--write"], 0)?;
    expect_in(&said.stderr, "x.service: that is the unit's own name; y leads to it")?;
    assert!(root.join(DROPIN).exists() && !root.join("etc/systemd/system/y.service.d").exists());
    run(&root, &["y.service", "--remove"], 0)?;
    assert!(!root.join(DROPIN).exists());
    // What lies under another name of it goes too.
    run(&root, &["x", "--write"], 0)?;
    fs::rename(root.join("etc/systemd/system/x.service.d"), root.join("etc/systemd/system/y.service.d"))?;
    run(&root, &["x", "--remove"], 0)?;
    assert!(!root.join("etc/systemd/system/y.service.d").exists());
    // An instance by another name of its template.
    put(&root, "usr/lib/systemd/system/t@.service", "[Service]\nExecStart=/usr/bin/x\n")?;
    link(&root, "t@.service", "usr/lib/systemd/system/u@.service")?;
    run(&root, &["u@1", "--write"], 0)?;
    assert!(root.join("etc/systemd/system/t@1.service.d/zz-kashim.conf").exists());
    // What cannot be read is said to be so.
    fs::create_dir_all(root.join("etc/systemd/system/d.service"))?;
    says(&root, &["d"], &["error", "there is no such unit"])?;
    link(&root, "/no/such", "etc/systemd/system/x.service.d/l.conf")?;
    says(&root, &["x"], &["warning", "l.conf", "cannot be read"])
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
    let ways: [Way; 9] = [
        ("the longest prefix", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\nExecStart=/usr/bin/x\n")?;
            link(root, "a-b.service", "usr/lib/systemd/system/p-q-r.service")?;
            put(root, "etc/systemd/system/p-.service.d/f.conf", "[Service]\n")?;
            put(root, "etc/systemd/system/p-q-.service.d/f.conf", FILTER)
        }),
        ("the first directory", |root| {
            put(root, "usr/lib/systemd/system/a-b.service", "[Service]\nExecStart=/usr/bin/x\n")?;
            put(root, "usr/lib/systemd/system/a-b.service.d/f.conf", "[Service]\n")?;
            put(root, "etc/systemd/system/a-.service.d/f.conf", FILTER)
        }),
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
    // Nor is anything removed outside.
    let root = system("")?;
    run(&root, &["x", "--write"], 0)?;
    let text = fs::read(root.join(DROPIN))?;
    fs::remove_dir_all(root.join("etc/systemd/system/x.service.d"))?;
    fs::write(outside.join("zz-kashim.conf"), text)?;
    link(&root, &away, "etc/systemd/system/x.service.d")?;
    expect_in(&run(&root, &["x", "--remove"], 125)?.stderr, "is no directory, or a link to one")?;
    assert!(outside.join("zz-kashim.conf").exists());
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

/// Whatever the mask of who writes it.
fn everybody_may_read_it() -> Result {
    let root = system("")?;
    let ka = built_tree()?.join("bin/ka");
    let line = format!("umask 077; exec {} systemd x --write --root {}", ka.display(), root.path().display());
    Program::new("sh").args(["-c", &line]).succeed()?;
    let mode = |path: &Path| Ok::<_, Failed>(fs::metadata(path)?.permissions().mode() & 0o777);
    let written = root.join(DROPIN);
    assert_eq!(mode(&written)?, 0o644);
    assert_eq!(mode(written.parent().ok_or("no directory")?)?, 0o755);
    Ok(())
}

/// A directory of drop-ins that cannot be made, and a reader that takes nothing.
fn nothing_is_half_done() -> Result {
    let root = system("")?;
    put(&root, "etc/systemd/system/x.service.d", "a file\n")?;
    let before = files(root.path())?;
    for mode in ["preload", "cgroup"] {
        run(&root, &["x", "--write", "--mode", mode], 125)?;
    }
    assert_eq!(files(root.path())?, before);
    let root = system("")?;
    let before = files(root.path())?;
    run(&root, &["x", "--write"], 0)?;
    let ka = built_tree()?.join("bin/ka");
    let line =
        format!("exec {} systemd x --remove --root {} >/dev/full", ka.display(), root.path().display());
    expect_status(&Program::new("sh").args(["-c", &line]).run()?, 125)?;
    assert_eq!(files(root.path())?, before);
    Ok(())
}

/// In the way that systemd reads: specifiers, variables, and words.
fn what_the_kernel_is_told() -> Result {
    let root = system("")?;
    let told = |values: &[&str]| {
        let output = run(&root, &[&["x", "--mode", "cgroup"][..], values].concat(), 0)?;
        let text = String::from_utf8(output.stdout)?;
        assert_eq!(text.lines().count(), 3, "{text}");
        Ok::<_, Failed>(text.split_once(" attach %n").ok_or("nothing is attached")?.1.to_owned())
    };
    assert_eq!(told(&["--idle", "5m", "--count", "3", "--force"])?, " --idle \"5m\" --count \"3\" --force\n");
    let rules = ["--rule", "10.0.0.0/8:22 off", "--rule", "* idle=5m"];
    assert_eq!(told(&rules)?, " --rule \"10.0.0.0/8:22 off; * idle=5m\"\n");
    assert_eq!(told(&[])?, "\n");
    Ok(())
}

/// Connections that are systemd's.
fn socket_units() -> Result {
    for (socket, text, name, mode, words) in [
        ("x.socket", "[Socket]\nListenStream=80\n", "x", "preload", &[][..]),
        (
            "x.socket",
            "[Socket]\nListenStream=80\n",
            "x",
            "cgroup",
            &["error", "listens for its connections (x.socket)", "KeepAlive=yes"],
        ),
        (
            "t.socket",
            "[Socket]\nAccept=yes\n",
            "t@",
            "preload",
            &["error", "accepts its connections (t.socket)"],
        ),
        ("t.socket", "[Socket]\nAccept=yes\n", "t@1", "cgroup", &["error", "accepts its connections"]),
        ("other.socket", "[Socket]\nAccept=yes\n", "s", "preload", &["error", "other.socket"]),
    ] {
        let root = system("")?;
        put(&root, "usr/lib/systemd/system/t@.service", "[Service]\nExecStart=/usr/bin/x\n")?;
        put(
            &root,
            "usr/lib/systemd/system/s.service",
            "[Service]\nExecStart=/usr/bin/x\nSockets=other.socket\n",
        )?;
        put(&root, &format!("usr/lib/systemd/system/{socket}"), text)?;
        let said = run(&root, &[name, "--mode", mode], i32::from(!words.is_empty()))?.stderr;
        words.iter().try_for_each(|word| expect_in(&said, word))?;
    }
    Ok(())
}

/// A terminal does not act on what comes from a unit.
fn control_characters() -> Result {
    let root = system("ExecStart=\nExecStart=/opt/\\x1b[31mX\\x07\nEnvironmentFile=/\x1b[32m*\n")?;
    let said = run(&root, &["x"], 0)?.stderr;
    expect_in(&said, "/opt/\\x1b[31mX\\x07: cannot tell")?;
    assert!(!said.contains(['\x1b', '\x07']), "{said:?}");
    Ok(())
}

fn what_a_unit_cannot_execute() -> Result {
    let place = Scratch::new()?;
    fs::create_dir(place.join("it's"))?;
    let ka = place.copy_program(&built_tree()?.join("bin/ka"), "it's/ka")?;
    let root = system("")?;
    let output =
        Program::new(ka).args(["systemd", "x", "--mode", "cgroup", "--root"]).arg(root.path()).run()?;
    expect_status(&output, 125)?;
    expect_in(&output.stderr, "a unit cannot execute")?;
    // What the kernel's program does not know is said, and that there is none.
    let said = run(&root, &["x", "--mode", "cgroup", "--log=/x"], 0)?.stderr;
    expect_in(&said, "KA_LOG is the library's")?;
    expect_in(&said, "there is no ka at")
}
