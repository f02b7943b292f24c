//! `scripts/build` and `scripts/dist` in odd checkouts and environments, with a cargo that only puts what is built already.

use std::env::consts::ARCH;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kashim_tests::{Need, Program, Result, Scratch, Trial, built_tree, library, trial, workspace};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let dist = [Prog("git"), Prog("dpkg-deb"), Prog("rpmbuild")];
    vec![
        trial!(the_build_is_for_this_machine, &[Prog("git"), Prog("flock")]),
        trial!(the_same_bytes, &dist),
        trial!(only_what_is_committed, &dist),
        trial!(it_says_what_is_missing, &dist),
    ]
}

/// A checkout of what the scripts read, with everything committed, and beside it a `bin` with the cargo.
struct Checkout {
    place: Scratch,
    root: PathBuf,
}

impl Checkout {
    fn new() -> Result<Self> {
        let place = Scratch::new()?;
        let root = place.join("a check out");
        fs::create_dir(&root)?;
        let read =
            ["Cargo.toml", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md"];
        let read = read.iter().chain(&["docs", "packaging", "scripts", "services"]);
        let files = read.map(|name| workspace().join(name));
        Program::new("cp").arg("-R").args(files).arg(&root).succeed()?;
        fs::write(root.join(".gitignore"), "/target\n")?;
        // It must not be given the lock, which a server that it starts would hold for good.
        let cargo = format!(
            "#!/bin/sh
            set -e
            [ \"$1\" != metadata ] || exit 0
            if [ -e /proc/self/fd/9 ]; then echo the lock >&2; exit 1; fi
            while [ $# -gt 0 ]; do
                case $1 in --target) for=$2 ;; --target-dir) into=$2 ;; esac
                shift
            done
            mkdir -p \"$into/$for/release\"
            cp '{}' '{}' \"$into/$for/release/\"",
            built_tree()?.join("bin/ka").display(),
            library()?.display(),
        );
        fs::create_dir(place.join("bin"))?;
        place.write_program("bin/cargo", &cargo)?;
        place.write_program("bin/rustc", &format!("#!/bin/sh\necho 'host: {ARCH}-unknown-linux-gnu'"))?;
        let checkout = Self { place, root };
        checkout.git(&["init", "--quiet"])?;
        checkout.git(&["add", "--all"])?;
        let commit = ["-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "-m", "all"];
        checkout.git(&commit)?;
        Ok(checkout)
    }

    fn git(&self, arguments: &[&str]) -> Result {
        Program::new("git").args(arguments).directory(&self.root).succeed().map(drop)
    }

    /// Runs a shell script in the checkout.
    fn shell(&self, script: &str) -> Program {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.place.join("bin").display());
        let shell = Program::new("sh").args(["-ec", script]).directory(&self.root).env("PATH", path);
        // A configuration of the one who runs the tests.
        shell.env("CARGO_BUILD_TARGET", "other").env("CARGO_BUILD_TARGET_DIR", "/nonexistent")
    }

    /// What `scripts/dist` put into this directory: the bytes of each package by its name.
    fn packages(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(self.place.join(directory))? {
            let entry = entry?;
            packages.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
        }
        packages.sort();
        if packages.len() == 3 { Ok(packages) } else { Err(format!("{} packages", packages.len()).into()) }
    }
}

/// Whatever target and directory are configured, and wherever CDPATH points to.
fn the_build_is_for_this_machine() -> Result {
    let checkout = Checkout::new()?;
    fs::create_dir_all(checkout.place.join("elsewhere/scripts"))?;
    checkout.shell("scripts/build").env("CDPATH", checkout.place.join("elsewhere")).succeed()?;
    let built = checkout.root.join("target/kashim/lib/libkashim.so");
    assert!(fs::read(built)? == fs::read(library()?)?);
    Ok(())
}

/// Who makes the packages, where and how is not to be seen in them.
fn the_same_bytes() -> Result {
    let checkout = Checkout::new()?;
    checkout.shell("scripts/dist '../plain'").succeed()?;
    let plain = checkout.packages("plain")?;
    fs::write(checkout.place.join(".rpmmacros"), "%packager Somebody\n%_binary_payload w1.gzdio\n")?;
    for directory in ["target", "tmp"].map(|name| checkout.root.join("..").join(name)) {
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o2700))?;
    }
    // A file system that counts the size of a directory in another way.
    let temporary = Path::new("/dev/shm");
    let temporary = if temporary.is_dir() { temporary.to_owned() } else { checkout.place.join("tmp") };
    let odd = checkout
        .shell(
            "umask 077
            chmod -R go= README.md docs services scripts
            chmod g+s . docs
            echo private | tee docs/ignored.md docs/man/ignored.1 services/ignored >/dev/null
            echo 'ignored*' >.git/info/exclude
            cd docs
            ../scripts/dist '../../odd one'",
        )
        .env("HOME", checkout.place.path())
        .env("CARGO_TARGET_DIR", checkout.place.join("target"))
        .env("RUSTFLAGS", " -C  opt-level=1 ")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
        .env("DPKG_DEB_THREADS_MAX", "2");
    odd.env("TMPDIR", temporary).succeed()?;
    same(&plain, &checkout.packages("odd one")?)?;
    let mut without_home =
        checkout.shell("scripts/dist ../without").env("TMPDIR", checkout.place.join("tmp"));
    without_home.command().env_remove("HOME");
    without_home.succeed()?;
    same(&plain, &checkout.packages("without")?)
}

fn same(these: &[(String, Vec<u8>)], those: &[(String, Vec<u8>)]) -> Result {
    let different = these.iter().zip(those).filter(|(this, that)| this != that);
    let different: Vec<_> = different.map(|((name, _), _)| name).collect();
    if different.is_empty() { Ok(()) } else { Err(format!("not the same: {different:?}").into()) }
}

/// A file that git does not know, whatever it is told to show; and where git itself fails.
fn only_what_is_committed() -> Result {
    let checkout = Checkout::new()?;
    checkout.git(&["config", "status.showUntrackedFiles", "no"])?;
    let refused = |script: &str, said: &str| -> Result {
        let output = checkout.shell(script).run()?;
        assert!(output.status.code() == Some(1) && output.stderr.contains(said), "{}", output.stderr);
        Ok(())
    };
    refused("touch docs/new.md; scripts/dist", "changes that are not committed")?;
    refused("rm docs/new.md; echo broken >.git/index; scripts/dist", "git cannot tell")
}

fn it_says_what_is_missing() -> Result {
    let checkout = Checkout::new()?;
    let without_cargo = Scratch::programs_but("cargo")?;
    let output = checkout.shell("scripts/dist --target=x").env("PATH", without_cargo.path()).run()?;
    assert_eq!(output.stderr, "scripts/dist: needs cargo\n");
    let output = checkout.shell("scripts/dist --target=vax").run()?;
    assert_eq!(output.stderr, "scripts/dist: no packages are made for vax\n");
    Ok(())
}
