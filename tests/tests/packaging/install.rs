//! The installer, and the three forms of use that work after it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kashim_tests::{
    Failed, Keepalive, Need, Output, Preload, Program, Result, Running, Scratch, Trial, built_tree, checkout,
    each, library, shell_test, sockets_of, trial, workspace,
};

use kashim_tests::shells::{
    LOADED, MYSQLDUMP, SHELLS, Shell, Test, defaults, under_each_shell, while_mysqldump_waits,
};

pub fn trials() -> Vec<Trial> {
    use Need::{Program as Prog, Root};
    let tests: &[Test] = &[
        shell_test!(what_is_put_is_taken_away),
        shell_test!(a_second_time),
        shell_test!(another_directory),
        shell_test!(it_works_where_it_was_put, &[Prog("python3")]),
        shell_test!(a_prefix_that_the_loader_does_not_search),
        shell_test!(from_a_release),
        shell_test!(another_place_for_the_library, &[Prog("python3")]),
        shell_test!(killed_in_between),
        shell_test!(with_a_mask),
        shell_test!(under_the_library),
        shell_test!(bad_options),
        shell_test!(it_builds),
        shell_test!(what_still_names_it),
        shell_test!(by_another_path, &[Prog("ln")]),
        shell_test!(what_others_have_put_there),
        shell_test!(a_list_that_was_changed),
        shell_test!(letters_that_are_not_ascii),
        shell_test!(what_does_not_run_here),
        shell_test!(a_full_disk, &[Root, Prog("unshare")]),
        shell_test!(a_release_where_nothing_is_executed, &[Root, Prog("unshare")]),
        shell_test!(two_at_a_time, &[Prog("flock")]),
        shell_test!(an_old_rust),
        shell_test!(without_permission, &[Root]),
    ];
    let mut trials = under_each_shell(tests);
    let three = [&[Root, Prog("unshare"), Prog("ldconfig"), Prog("dash")], MYSQLDUMP].concat();
    trials.push(trial!(the_three_forms, &three));
    trials
}

/// `scripts/install` under a shell.
fn install_by(shell: Shell) -> Result<Program> {
    Ok(shell.run(checkout()?.join("scripts/install")))
}

/// What an installation consists of, below its prefix.
const FILES: [&str; 26] = [
    "bin/ka",
    "bin/ka-run",
    "bin/kashim-profile.sh",
    "lib/libkashim.so",
    "share/bash-completion/completions/ka",
    "share/bash-completion/completions/ka-run",
    "share/fish/vendor_completions.d/ka-run.fish",
    "share/fish/vendor_completions.d/ka.fish",
    "share/kashim/manifest",
    "share/man/man1/ka-attach.1",
    "share/man/man1/ka-attached.1",
    "share/man/man1/ka-check.1",
    "share/man/man1/ka-demo.1",
    "share/man/man1/ka-detach.1",
    "share/man/man1/ka-env.1",
    "share/man/man1/ka-explain.1",
    "share/man/man1/ka-presets.1",
    "share/man/man1/ka-probe.1",
    "share/man/man1/ka-run.1",
    "share/man/man1/ka-set.1",
    "share/man/man1/ka-status.1",
    "share/man/man1/ka-systemd.1",
    "share/man/man1/ka.1",
    "share/man/man7/kashim.7",
    "share/zsh/site-functions/_ka",
    "share/zsh/site-functions/_ka-run",
];

/// And the documents of the repository.
fn expected_files() -> Result<Vec<String>> {
    let mut all: Vec<String> = FILES.map(str::to_owned).into();
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md", "SECURITY.md"] {
        all.push(format!("share/doc/kashim/{name}"));
    }
    for directory in ["docs", "services"] {
        for entry in fs::read_dir(workspace().join(directory))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                all.push(format!("share/doc/kashim/{directory}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    all.sort();
    Ok(all)
}

/// Everything below a directory: permissions and content of files, and permissions of directories.
fn tree(root: &Path) -> Result<BTreeMap<PathBuf, (u32, Vec<u8>)>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let content = if metadata.is_dir() {
                directories.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path)?
            };
            found.insert(path.strip_prefix(root)?.to_owned(), (metadata.mode(), content));
        }
    }
    Ok(found)
}

fn files(root: &Path) -> Result<Vec<String>> {
    let files = tree(root)?.into_iter().filter(|(_, (mode, _))| mode & 0o170000 != 0o040000);
    Ok(files.map(|(path, _)| path.to_string_lossy().into_owned()).collect())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn succeeded(program: Program) -> Result<String> {
    let output = program.run()?;
    assert_eq!(output.stderr, "");
    let said = text(&output);
    output.success()?;
    Ok(said)
}

fn refused(program: Program, said: &str) -> Result {
    let output = program.run()?;
    if output.status.code() == Some(1) && output.stderr.contains(said) {
        return Ok(());
    }
    Err(format!("{}, not {said:?}: {}", output.status, output.stderr).into())
}

fn what_is_put_is_taken_away(shell: Shell) -> Result {
    let place = Scratch::new()?;
    // Directories and files that were there before, among them some with the names of ours.
    fs::create_dir_all(place.join("share/doc/other"))?;
    fs::create_dir(place.join("bin"))?;
    place.write("bin/other", "other")?;
    place.write("share/other", "other")?;
    let before = tree(place.path())?;
    let said = succeeded(install_by(shell)?.arg("--prefix").arg(place.path()))?;
    let mut expected = expected_files()?;
    expected.extend(["bin/other".to_owned(), "share/other".to_owned()]);
    expected.sort();
    assert_eq!(files(place.path())?, expected);
    let after = tree(place.path())?;
    let mode = |path: &str| after[Path::new(path)].0 & 0o7777;
    assert_eq!(mode("bin/ka"), 0o755);
    assert_eq!(fs::read_link(place.join("bin/ka-run"))?, Path::new("ka"));
    assert_eq!(mode("lib/libkashim.so"), 0o644);
    assert_eq!(mode("lib"), 0o755);
    assert!(after[Path::new("lib/libkashim.so")].1 == fs::read(library()?)?);
    for file in expected_files()?.iter().filter(|file| !file.ends_with("manifest")) {
        assert!(said.contains(&*place.join(file).to_string_lossy()), "{file} is not named in:\n{said}");
    }
    // What is to be copied from it names its own paths, and not those of elsewhere.
    let elsewhere = ["bin/kashim-profile.sh", "share/doc/kashim/README.md", "share/man/man7/kashim.7"];
    for file in elsewhere.iter().chain(&["share/doc/kashim/services/kashim-host.service"]) {
        let text = fs::read_to_string(place.join(file))?;
        let wrong =
            text.lines().find(|line| line.contains("/usr/local/bin/") || line.contains("/usr/local/lib/"));
        assert_eq!(wrong, None, "{file}");
        assert!(text.contains(&*place.path().to_string_lossy()), "{file}");
    }
    // What somebody else has put into a directory of ours stays, and the directory with it.
    place.write("lib/other", "other")?;
    succeeded(install_by(shell)?.arg(format!("--prefix={}", place.path().display())).arg("--uninstall"))?;
    fs::remove_file(place.join("lib/other"))?;
    fs::remove_dir(place.join("lib"))?;
    assert!(tree(place.path())? == before, "{:?}", files(place.path())?);
    refused(install_by(shell)?.arg("--uninstall").arg("--prefix").arg(place.path()), "nothing to remove")
}

fn a_second_time(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let prefix = place.join("new/prefix");
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(&prefix));
    succeeded(install()?)?;
    let first = tree(place.path())?;
    let inode = |name: &str| Ok::<_, Failed>(fs::metadata(prefix.join(name))?.ino());
    let before = inode("lib/libkashim.so")?;
    // A program that has the old one mapped keeps it.
    let mut cat = Program::new("cat")
        .env("LD_PRELOAD", prefix.join("lib/libkashim.so"))
        .stdin(Stdio::piped())
        .start()?;
    cat.write("a\n")?;
    cat.wait_for_output("a")?;
    succeeded(install()?)?;
    assert!(tree(place.path())? == first, "it is not the same");
    assert_ne!(inode("lib/libkashim.so")?, before);
    cat.write("b\n")?;
    cat.wait_for_output("b")?;
    cat.output()?.success()?;
    // A file of an earlier version that this one has no more.
    let manifest = prefix.join("share/kashim/manifest");
    let old = prefix.join("bin/old");
    fs::write(&old, "")?;
    fs::write(&manifest, format!("{}f {}\n", fs::read_to_string(&manifest)?, old.display()))?;
    succeeded(install()?)?;
    assert!(!old.exists());
    // Also the directories that only the first time made.
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty(), "{:?}", tree(place.path())?.keys());
    Ok(())
}

fn another_directory(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let root = place.join("a root");
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--destdir").arg(&root));
    succeeded(install()?)?;
    let prefix = root.join("usr/local");
    assert_eq!(files(&prefix)?, expected_files()?);
    for file in ["bin/kashim-profile.sh", "share/kashim/manifest"] {
        let text = fs::read_to_string(prefix.join(file))?;
        assert!(!text.contains(&*root.to_string_lossy()), "{file} mentions it");
        assert!(text.contains("/usr/local/"), "{file} does not mention /usr/local");
    }
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty(), "{:?}", tree(place.path())?.keys());
    // With a prefix, and by a relative path.
    let program = install_by(shell)?.args(["--destdir=root", "--prefix=/usr/"]).directory(place.path());
    succeeded(program)?;
    assert_eq!(files(&place.join("root/usr"))?, expected_files()?);
    let snippet = fs::read_to_string(place.join("root/usr/bin/kashim-profile.sh"))?;
    assert!(snippet.contains("'/usr/lib/libkashim.so'"), "{snippet}");
    assert!(snippet.contains(" /usr/bin/kashim-profile.sh"), "{snippet}");
    Ok(())
}

/// A client that connects to a port, says "ready", and stays until the other side closes.
const PYTHON: &str = "import socket, sys\n\
                      s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                      s.sendall(b'ready\\n')\n\
                      s.recv(1)";

/// Checks that the process that has the connection to `port` has this library, or none, and these options.
fn expect(program: &Running, port: u16, library: Option<&Path>, want: Keepalive) -> Result {
    let sockets = sockets_of(program.pid());
    let socket = sockets.iter().find(|socket| socket.peer_port() == port).ok_or("no connection")?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", socket.pid))?;
    let found = maps
        .lines()
        .find_map(|line| line.find('/').map(|at| &line[at..]).filter(|p| p.ends_with("/libkashim.so")));
    if found.map(Path::new) != library {
        return Err(format!("{found:?} is loaded, not {library:?}").into());
    }
    assert_eq!(socket.keepalive, want);
    Ok(())
}

fn connects(
    program: impl FnOnce(&str) -> Result<Program>,
    library: Option<&Path>,
    want: Keepalive,
) -> Result {
    let server = kashim_tests::Listener::bind()?;
    let program = program(&server.port().to_string())?.start()?;
    let mut connection = server.accept()?;
    assert_eq!(kashim_tests::read_line(&mut connection)?, "ready");
    expect(&program, server.port(), library, want)?;
    drop(connection);
    program.output()?.success()?;
    Ok(())
}

fn it_works_where_it_was_put(shell: Shell) -> Result {
    let place = Scratch::new()?;
    succeeded(install_by(shell)?.arg("--prefix").arg(place.path()))?;
    let library = place.join("lib/libkashim.so");
    let python = |program: Program, port: &str| program.args(["python3", "-c", PYTHON, port]);
    let ka_run = place.join("bin/ka-run");
    connects(|port| Ok(python(Program::new(&ka_run), port)), Some(&library), defaults())?;
    let with_idle = |port: &str| Ok(python(Program::new(&ka_run).args(["--idle", "5m"]), port));
    connects(with_idle, Some(&library), Keepalive::new(300, 15, 9))?;
    // The whole tree moved.
    let moved = Scratch::new()?;
    for directory in ["bin", "lib"] {
        fs::rename(place.join(directory), moved.join(directory))?;
    }
    let ka_run = moved.join("bin/ka-run");
    connects(
        |port| Ok(python(Program::new(&ka_run), port)),
        Some(&moved.join("lib/libkashim.so")),
        defaults(),
    )?;
    fs::rename(moved.join("lib"), place.join("lib"))?;
    let read = format!(". '{}'; exec \"$@\"", moved.join("bin/kashim-profile.sh").display());
    let by_profile = |port: &str| {
        let program = Program::new(shell.words[0]).args(&shell.words[1..]).args(["-c", &read, "sh"]);
        Ok(python(program, port))
    };
    connects(by_profile, Some(&library), defaults())
}

fn a_prefix_that_the_loader_does_not_search(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let said = succeeded(install_by(shell)?.arg("--prefix").arg(place.path()))?;
    for part in [
        format!("LD_PRELOAD={}/lib/libkashim.so KA_IDLE=300 COMMAND", place.path().display()),
        format!("{}/bin is not in your PATH", place.path().display()),
        format!("the loader does not search {}/lib", place.path().display()),
        format!("echo {}/lib >/etc/ld.so.conf.d/kashim.conf && ldconfig", place.path().display()),
    ] {
        assert!(said.contains(&part), "no {part:?} in:\n{said}");
    }
    Ok(())
}

/// A checkout of its own, to be changed.
fn own_checkout() -> Result<Scratch> {
    let own = Scratch::new()?;
    Program::new("cp").arg("-R").arg(checkout()?.join(".")).arg(own.path()).succeed()?;
    Ok(own)
}

/// An unpacked release.
fn release() -> Result<Scratch> {
    let release = Scratch::new()?;
    Program::new("cp").arg("-a").arg(built_tree()?.join(".")).arg(release.path()).succeed()?;
    fs::copy(workspace().join("scripts/install"), release.join("install"))?;
    Ok(release)
}

/// A release is unpacked anywhere, has no scripts, and installs what lies beside its `install`.
fn from_a_release(shell: Shell) -> Result {
    let release = release()?;
    let place = Scratch::new()?;
    let install = || shell.run(release.join("install")).arg("--prefix").arg(place.path());
    succeeded(install())?;
    assert_eq!(files(place.path())?, expected_files()?);
    succeeded(install().arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty());
    Ok(())
}

fn another_place_for_the_library(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let (prefix, libdir) = (place.join("usr"), place.join("usr/lib64/"));
    let install =
        || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(&prefix).arg("--libdir").arg(&libdir));
    succeeded(install()?)?;
    assert!(libdir.join("libkashim.so").exists() && !prefix.join("lib").exists());
    let snippet = fs::read_to_string(prefix.join("bin/kashim-profile.sh"))?;
    assert!(snippet.contains(&format!("'{}libkashim.so'", libdir.display())), "{snippet}");
    // In a directory of no usual name, the list of what is installed says where it is.
    let elsewhere = place.join("libraries");
    succeeded(install_by(shell)?.arg("--prefix").arg(&prefix).arg("--libdir").arg(&elsewhere))?;
    connects(
        |port| Ok(Program::new(prefix.join("bin/ka-run")).args(["python3", "-c", PYTHON, port])),
        Some(&elsewhere.join("libkashim.so")),
        defaults(),
    )?;
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty());
    Ok(())
}

/// Killed at any moment, it leaves what it can take away again.
fn killed_in_between(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let prefix = place.join("prefix");
    let bin = Scratch::new()?;
    // The one for the manifest, and one for each of the others.
    let mut step = 0;
    loop {
        step += 1;
        bin.write("steps", "")?;
        bin.write_program(
            "chmod",
            &format!(
                "#!/bin/sh\necho >>{steps}\n[ $(wc -l <{steps}) -lt {step} ] || kill -KILL $PPID\nexec /bin/chmod \"$@\"\n",
                steps = bin.join("steps").display()
            ),
        )?;
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        let output = install_by(shell)?.arg("--prefix").arg(&prefix).env("PATH", path).run()?;
        let whole = output.status.success();
        assert!(whole || output.status.signal() == Some(9), "{output:?}");
        assert!(whole || files(&prefix)?.iter().any(|file| file.ends_with(".kashim-new")), "{step}");
        succeeded(install_by(shell)?.arg("--prefix").arg(&prefix).arg("--uninstall"))?;
        assert!(tree(place.path())?.is_empty(), "step {step}: {:?}", tree(place.path())?.keys());
        if whole {
            break;
        }
    }
    // All but the manifest and the link, and then once without being killed.
    assert_eq!(step, expected_files()?.len() - 2 + 1);
    Ok(())
}

/// What everybody is to use everybody can read, whoever installs it.
fn with_a_mask(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let install = checkout()?.join("scripts/install");
    let masked =
        Program::new("sh").args(["-c", "umask 077; exec \"$@\"", "sh"]).args(shell.words).arg(install);
    succeeded(masked.arg("--prefix").arg(place.join("prefix")))?;
    for (path, (mode, _)) in tree(place.path())? {
        let want = match mode & 0o170000 {
            0o040000 => 0o755,
            _ if path.starts_with("prefix/bin") && !path.ends_with("kashim-profile.sh") => 0o755,
            _ => 0o644,
        };
        if mode & 0o170000 != 0o120000 {
            assert_eq!(mode & 0o7777, want, "{}", path.display());
        }
    }
    Ok(())
}

/// Nothing that it starts is preloaded.
fn under_the_library(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let bin = Scratch::new()?;
    bin.write_program("mv", "#!/bin/sh\necho \"${LD_PRELOAD-none}\" >&2\nexec /bin/mv \"$@\"\n")?;
    let install = install_by(shell)?.arg("--prefix").arg(place.path());
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let output = install.env("PATH", path).preload(LOADED).run()?;
    // One for each file, and the manifest twice.
    assert_eq!(output.stderr, "none\n".repeat(expected_files()?.len() + 1));
    output.success()?;
    Ok(())
}

fn bad_options(shell: Shell) -> Result {
    let cases: &[(&[&str], &str)] = &[
        (&["--prefix"], "--prefix needs a directory"),
        (&["--destdir"], "--destdir needs a directory"),
        (&["--prefix", "usr"], "--prefix must be an absolute path"),
        (&["--prefix="], "--prefix must be an absolute path"),
        (&["--prefix", "/a b"], "--prefix must be without blanks"),
        (&["--prefix=/a:b"], "--prefix must be without blanks"),
        (&["--prefix=/a'b"], "--prefix must be without blanks"),
        (&["--prefix=/a\\b"], "--prefix must be without blanks"),
        (&["--prefix=/$ORIGIN"], "--prefix must be without blanks"),
        (&["--prefix=/a&b"], "--prefix must be without blanks"),
        (&["--bindir=/x"], "no such option"),
        (&["/usr"], "no such option"),
        (
            &["--uninstall", "--prefix", "/nonexistent"],
            "nothing to remove: there is no /nonexistent/share/kashim/manifest",
        ),
    ];
    each(cases, |&(arguments, said)| refused(install_by(shell)?.args(arguments), said))?;
    let help = succeeded(install_by(shell)?.arg("--help"))?;
    for option in ["--prefix", "--destdir", "--uninstall"] {
        assert!(help.contains(option), "{help}");
    }
    Ok(())
}

/// It builds if nothing is built, and if something is newer than what is.
fn it_builds(shell: Shell) -> Result {
    let checkout = own_checkout()?;
    fs::rename(checkout.join("target"), checkout.join("built"))?;
    let place = Scratch::new()?;
    let install = || shell.run(checkout.join("scripts/install")).arg("--prefix").arg(place.path());
    let without_cargo = Scratch::programs_but("cargo")?;
    refused(install().env("PATH", without_cargo.path()), "there is no cargo here")?;
    let build = "#!/bin/sh\ncd \"$(dirname \"$0\")/..\"\necho \"into $CARGO_TARGET_DIR\"\n\
                 rm -rf target\ncp -R built target\n";
    checkout.write_program("scripts/build", build)?;
    let into = format!("into {}\n", checkout.join("target").display());
    let builds = |why: &str| {
        let output = install().run()?;
        assert_eq!(output.stderr, format!("install: {why}; building: scripts/build\n{into}"));
        output.success()?;
        assert!(fs::read(place.join("lib/libkashim.so"))? == fs::read(library()?)?);
        Ok::<_, Failed>(())
    };
    builds("nothing is built yet")?;
    succeeded(install())?;
    fs::create_dir(checkout.join("src"))?;
    let source = checkout.write("src/lib.rs", "")?;
    let later = SystemTime::now() + Duration::from_secs(60);
    File::options().write(true).open(source)?.set_modified(later)?;
    builds("src/lib.rs is newer than what was built")?;
    // A relative directory is below the caller's, for both.
    let output = install().directory(checkout.path()).env("CARGO_TARGET_DIR", "target").run()?;
    assert_eq!(output.stderr.lines().last(), into.lines().last());
    output.success()?;
    Ok(())
}

/// The uninstaller names the services that are left under the library.
fn what_still_names_it(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let install =
        || Ok::<_, Failed>(install_by(shell)?.args(["--prefix", "/usr", "--destdir"]).arg(place.path()));
    let services = place.join("etc/systemd/system");
    for unit in ["ours.service.d", "other.service.d"] {
        fs::create_dir_all(services.join(unit))?;
    }
    succeeded(install()?)?;
    assert!(!succeeded(install()?.arg("--uninstall"))?.contains("Services still name it"));
    fs::write(services.join("other.service.d/other.conf"), "")?;
    fs::write(
        services.join("ours.service.d/zz-kashim.conf"),
        "Environment=LD_PRELOAD=/usr/lib/libkashim.so\n",
    )?;
    fs::write(
        services.join("other.service.d/zz-kashim.conf"),
        "Environment=LD_PRELOAD=/opt/lib/libkashim.so\n",
    )?;
    succeeded(install()?)?;
    let said = succeeded(install()?.arg("--uninstall"))?;
    let (_, named) = said.split_once("Services still name it").ok_or("no service is named")?;
    assert!(named.contains(&*services.join("ours.service.d/zz-kashim.conf").to_string_lossy()), "{said}");
    assert!(!named.contains("other.service.d"), "{said}");
    Ok(())
}

/// It is the same place, however it is spelt.
fn by_another_path(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let prefix = place.join("prefix").display().to_string();
    Program::new("ln").args(["-s", "prefix"]).arg(place.join("link")).succeed()?;
    let install = |options: &[&str]| succeeded(install_by(shell)?.args(options));
    let first = ["--prefix", &prefix];
    install(&first)?;
    let whole = files(&place.join("prefix"))?;
    let link = place.join("link").display().to_string();
    for other in
        [prefix.replace("/prefix", "//prefix/"), prefix.replace("/prefix", "/./prefix/."), link.clone()]
    {
        install(&["--prefix", &other])?;
        assert_eq!(files(&place.join("prefix"))?, whole, "{other}");
    }
    install(&["--prefix", &prefix, "--libdir", &format!("{link}//lib")])?;
    assert_eq!(files(&place.join("prefix"))?, whole);
    install(&["--prefix", &prefix, "--uninstall"])?;
    assert!(!place.join("prefix").exists());
    Ok(())
}

/// What it has not put there it neither replaces nor removes.
fn what_others_have_put_there(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(place.path()));
    fs::create_dir(place.join("bin"))?;
    place.write("bin/ka", "mine")?;
    let before = tree(place.path())?;
    refused(install()?, "bin/ka is there already, and was not put there by this script")?;
    assert!(tree(place.path())? == before, "{:?}", tree(place.path())?.keys());
    fs::remove_file(place.join("bin/ka"))?;
    // Where it was once, and is no more.
    let elsewhere = place.join("elsewhere");
    succeeded(install()?.arg("--libdir").arg(&elsewhere))?;
    succeeded(install()?)?;
    assert!(!elsewhere.join("libkashim.so").exists());
    fs::create_dir_all(&elsewhere)?;
    fs::write(elsewhere.join("libkashim.so"), "mine")?;
    succeeded(install()?)?;
    succeeded(install()?.arg("--uninstall"))?;
    assert_eq!(files(place.path())?, ["elsewhere/libkashim.so"]);
    Ok(())
}

/// Nothing is removed that only somebody's editor has put into the list.
fn a_list_that_was_changed(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(place.path()));
    succeeded(install()?)?;
    let manifest = place.join("share/kashim/manifest");
    let list = fs::read_to_string(&manifest)?;
    for changed in [list.replace('\n', "\r\n"), format!("{list}f precious\n"), format!("{list}\n")] {
        fs::write(&manifest, changed)?;
        let before = tree(place.path())?;
        refused(install()?.arg("--uninstall"), "is not as it was written")?;
        refused(install()?, "is not as it was written")?;
        assert!(tree(place.path())? == before);
    }
    fs::write(&manifest, list)?;
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty());
    Ok(())
}

/// They are none that somebody has put into the list.
fn letters_that_are_not_ascii(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(place.join("é/日本")));
    succeeded(install()?)?;
    succeeded(install()?)?;
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty());
    Ok(())
}

fn what_does_not_run_here(shell: Shell) -> Result {
    let release = release()?;
    release.write_program("bin/ka", "#!/no/such/interpreter\n")?;
    let place = Scratch::new()?;
    let install = || shell.run(release.join("install")).arg("--prefix").arg(place.path());
    refused(install(), "bin/ka does not run here")?;
    succeeded(install().arg("--uninstall"))?;
    assert!(tree(place.path())?.is_empty());
    Ok(())
}

/// A script that runs in a directory with a file system of its own, mounted with these options. Its arguments are the
/// shell and the installer.
fn with_a_disk(shell: Shell, options: &str, script: &str, installer: &Path) -> Result<Program> {
    let line = format!("set -e; mount -t tmpfs -o {options} tmpfs /mnt; cd /mnt; {script}");
    let program = Program::new("unshare").args(["--mount", "sh", "-c", &line, "sh"]);
    Ok(program.args(shell.words).arg(installer))
}

/// What is there stays whole, and can be taken away.
fn a_full_disk(shell: Shell) -> Result {
    let script = r#"
        "$@" --prefix "$PWD/p" >log
        cp p/share/kashim/manifest before
        ! dd if=/dev/zero of=fill bs=4k 2>/dev/null
        ! "$@" --prefix "$PWD/p" || { echo 'it has succeeded'; exit 1; }
        cmp before p/share/kashim/manifest
        p/bin/ka --version
        rm fill
        "$@" --prefix "$PWD/p" --uninstall >log
        [ ! -e p ] || { find p; exit 1; }
    "#;
    let output = with_a_disk(shell, "size=16m", script, &checkout()?.join("scripts/install"))?.run()?;
    let said = text(&output) + &output.stderr;
    if output.status.success() && said.contains("see above") { Ok(()) } else { Err(said.into()) }
}

fn a_release_where_nothing_is_executed(shell: Shell) -> Result {
    let (release, place) = (release()?, Scratch::new()?);
    let script = r#"cp -a "$TREE/." .; ! ./bin/ka --version 2>/dev/null; "$@" --prefix "$PLACE" >/dev/null"#;
    let program = with_a_disk(shell, "noexec", script, Path::new("/mnt/install"))?;
    program.env("TREE", release.path()).env("PLACE", place.join("out")).succeed()?;
    for name in ["ka", "ka-run"] {
        Program::new(place.join("out/bin").join(name)).arg("--help").succeed()?;
    }
    Ok(())
}

fn two_at_a_time(shell: Shell) -> Result {
    let place = Scratch::new()?;
    for round in 0..4 {
        let mut both = Vec::new();
        for _ in 0..2 {
            both.push(install_by(shell)?.arg("--prefix").arg(place.path()).start()?);
        }
        for install in both {
            install.output()?.success()?;
        }
        assert_eq!(files(place.path())?, expected_files()?, "round {round}");
        Program::new(place.join("bin/ka")).arg("--version").succeed()?;
        if round % 2 == 1 {
            succeeded(install_by(shell)?.arg("--prefix").arg(place.path()).arg("--uninstall"))?;
            assert!(tree(place.path())?.is_empty());
        }
    }
    Ok(())
}

/// A Rust that is too old is named, before its cargo fails at something else.
fn an_old_rust(shell: Shell) -> Result {
    let checkout = Scratch::new()?;
    for directory in ["scripts", "src"] {
        fs::create_dir(checkout.join(directory))?;
    }
    for file in ["Cargo.toml", "src/lib.rs", "scripts/build", "scripts/ka-run"] {
        fs::copy(workspace().join(file), checkout.join(file))?;
    }
    let rust = Scratch::new()?;
    rust.write_program("cargo", "#!/bin/sh\necho 'cargo was started' >&2\nexit 1\n")?;
    let path = format!("{}:/usr/bin:/bin", rust.path().display());
    let old = |minor: u8| format!("this is Rust 1.{minor}, and kashim needs 1.85 or newer");
    let cases = [
        ("1.63.0", old(63)),
        ("1.84.1", old(84)),
        ("1.85.0", "cargo was started".to_owned()),
        ("2.0.0", "cargo was started".to_owned()),
    ];
    each(&cases, |(version, said)| {
        rust.write_program("rustc", &format!("#!/bin/sh\necho 'rustc {version} (4b91a6ea7 2025-02-17)'\n"))?;
        for (script, code) in [("scripts/build", 1), ("scripts/ka-run", 125)] {
            let output = shell.run(checkout.join(script)).env("PATH", &path).run()?;
            assert_eq!(output.status.code(), Some(code), "{script}: {}", output.stderr);
            assert!(output.stderr.contains(said), "{script}: {}", output.stderr);
            let started = output.stderr.contains("cargo was started");
            assert_eq!(started, said == "cargo was started", "{script}: {}", output.stderr);
        }
        Ok(())
    })
}

fn without_permission(shell: Shell) -> Result {
    let place = Scratch::new()?;
    let prefix = place.join("prefix");
    let install = || Ok::<_, Failed>(install_by(shell)?.arg("--prefix").arg(&prefix));
    refused(install()?.user("nobody")?, "do it as root, or use --prefix for a place of your own")?;
    assert!(tree(place.path())?.is_empty());
    succeeded(install()?)?;
    refused(install()?.user("nobody")?, "do it as root")?;
    refused(install()?.arg("--uninstall").user("nobody")?, "do it as root")?;
    assert!(prefix.join("lib/libkashim.so").exists());
    // A place of one's own.
    let own = Scratch::new()?;
    fs::set_permissions(own.path(), Permissions::from_mode(0o777))?;
    let install = || install_by(shell)?.arg("--prefix").arg(own.join("local")).user("nobody");
    succeeded(install()?)?;
    succeeded(install()?.arg("--uninstall"))?;
    assert!(tree(own.path())?.is_empty());
    Ok(())
}

/// Runs its arguments where /usr/local is empty and what ldconfig(8) writes is a copy: in a mount namespace, so that
/// the machine keeps what it has.
const SCRATCH_ROOT: &str = r#"
    set -e
    if [ ! -d "$1/etc" ]; then
        mkdir "$1/usr-local" "$1/usr-local/lib" "$1/usr-local/bin" "$1/cache"
        cp -a /etc "$1/etc"
    fi
    mount --bind "$1/etc" /etc
    mount --bind "$1/usr-local" /usr/local
    mount --bind "$1/cache" /var/cache/ldconfig
    shift
    PATH=/usr/local/bin:$PATH
    exec "$@"
"#;

fn the_three_forms() -> Result {
    let root = Scratch::new()?;
    let home = Scratch::new()?;
    home.write(".profile", "PATH=/usr/local/bin:$PATH\n. /usr/local/bin/kashim-profile.sh\n")?;
    let inside =
        || Program::new("unshare").args(["--mount", "sh", "-c", SCRATCH_ROOT, "sh"]).arg(root.path());
    let in_shell = |command: &str| inside().args(["sh", "-c", command]).env("HOME", home.path());
    let library = Path::new("/usr/local/lib/libkashim.so");
    let dump = |program: &dyn Fn(&str) -> String, library: Option<&Path>, want| -> Result<Vec<u8>> {
        while_mysqldump_waits(
            |command| Ok(in_shell(&program(command)).preloads_others(Preload::No)),
            |mysqldump, port| expect(mysqldump, port, library, want),
        )?
        .output()?
        .success()
    };
    let before = dump(&|command| command.to_owned(), None, Keepalive::switched_on())?;
    let install = checkout()?.join("scripts/install");
    let said = succeeded(inside().arg(SHELLS[0].words[0]).arg(&install))?;
    for line in ["  ka-run COMMAND\n", "  LD_PRELOAD=libkashim.so KA_IDLE=300 COMMAND\n"] {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
    type Form = (fn(&str) -> String, Keepalive);
    let forms: [Form; 5] = [
        (|command| format!("LD_PRELOAD=libkashim.so KA_IDLE=300 {command}"), Keepalive::new(300, 15, 9)),
        (|command| format!("ka-run {command}"), defaults()),
        (|command| format!("ka-run --idle 5m {command}"), Keepalive::new(300, 15, 9)),
        (|command| format!("exec dash -l -c 'exec {command}'"), defaults()),
        (|command| format!(". kashim-profile.sh; {command}"), defaults()),
    ];
    for (form, want) in forms {
        let after = dump(&form, Some(library), want)?;
        assert!(after == before, "the dump under the library differs");
    }
    succeeded(inside().arg(SHELLS[0].words[0]).arg(&install).arg("--uninstall"))?;
    assert!(files(&root.join("usr-local"))?.is_empty());
    // The loader has forgotten it, too.
    let output = in_shell("ldconfig -p").run()?;
    assert!(!text(&output).contains("libkashim"), "{}", text(&output));
    dump(&|command| command.to_owned(), None, Keepalive::switched_on())?;
    Ok(())
}
