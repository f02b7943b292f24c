//! What cannot be attached, and that it is said why.

use kashim_tests::{Cgroup, Need, Program, Result, Trial, cgroups, ka, program_file, trial};

use super::{attach, attached, other};
use kashim_tests::ka_helpers::{command, expect_in, expect_status, run_ka};

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let with = |name: &str, needs: &[Need], test: fn() -> Result| {
        trial(name, &[&cgroups()[..], needs].concat(), test)
    };
    vec![
        with("bad_arguments", &[], bad_arguments),
        with("an_old_kernel", &[Prog("setarch")], old_kernel),
        with("no_cgroup_tree", &[Prog("unshare"), Prog("umount")], no_tree),
        with("a_containers_profile", &[Prog("python3")], profile),
        with("root_of_a_user_namespace", &[Prog("unshare")], user_namespace),
        with("another_owners_program", &[Prog("python3")], another_owner),
        with("nothing_is_attached", &[Prog("unshare")], nothing),
    ]
}

fn bad_arguments() -> Result {
    let cgroup = Cgroup::new()?;
    let path = cgroup.path().display().to_string();
    for (arguments, status, words) in [
        (&["attach"][..], 2, "<TARGET>"),
        (&["attach", &path, "--idle", "10h"], 2, "KA_IDLE=\"10h\": too large; accepted: 1 to 32767 seconds"),
        (&["attach", &path, "--count", "x"], 2, "(from --count)"),
        (&["attach", &path, "--for", "nobody"], 2, "no such middlebox; accepted: azure"),
        (&["attach", &path, "--rule", "db.example.com off"], 2, "rule 1 \"db.example.com off\": host names"),
        (&["attach", &path, "--rule", "* idle=99999"], 2, "rule 1 \"* idle=99999\": too large"),
        (&["attach", ""], 2, "accepted: a directory of the cgroup tree"),
        (&["attach", "0"], 2, "no process can have this number"),
        (&["attach", "99999999999"], 2, "no process can have this number"),
        (&["attach", "2147483647"], 125, "no such process"),
        (&["attach", "nosuch.service"], 125, "no running systemd unit has this name"),
        (&["attach", "/tmp"], 125, "/tmp: this is no directory of the cgroup tree"),
        (&["attach", "/no/such"], 125, "/no/such: there is no such cgroup"),
        (&["attach", "/etc/passwd"], 125, "a cgroup is a directory, and this is none"),
        (&["detach", "nosuch.service"], 125, "no running systemd unit has this name"),
    ] {
        let output = run_ka(arguments)?;
        expect_status(&output, status)?;
        expect_in(&output.stderr, words)?;
    }
    for (name, value, status, words) in [
        ("KA_DISABLE", "1", 125, "KA_DISABLE=1 switches kashim off"),
        ("KA_IDLE", "5 m", 2, "KA_IDLE=\"5 m\": has a blank inside"),
        ("KA_LOG", "stderr", 0, "ka: warning: KA_LOG is for the library"),
        ("KA_IDEL", "5", 0, "KA_IDEL is not read by kashim; is KA_IDLE meant?"),
    ] {
        let output = command(&["attach", &path])?.env(name, value).run()?;
        expect_status(&output, status)?;
        expect_in(&output.stderr, words)?;
    }
    Ok(())
}

/// The kernel can be made to call itself 2.6.
fn old_kernel() -> Result {
    let cgroup = Cgroup::new()?;
    let output =
        Program::new("setarch").arg("--uname-2.6").arg(ka()?).arg("attach").arg(cgroup.path()).run()?;
    expect_status(&output, 125)?;
    expect_in(&output.stderr, "attaching needs Linux 6.1 or newer, and this is 2.6.")
}

fn no_tree() -> Result {
    let script = "umount -a -t cgroup2 && exec \"$0\" attach /";
    let output = Program::new("unshare").args(["-m", "sh", "-c", script]).arg(ka()?).run()?;
    expect_status(&output, 125)?;
    expect_in(
        &output.stderr,
        "no cgroup tree (version 2) is mounted here; mount one: mount -t cgroup2 none DIRECTORY",
    )
}

/// A filter that refuses bpf(2), as Docker's default profile does.
fn profile() -> Result {
    let cgroup = Cgroup::new()?;
    let call = if cfg!(target_arch = "x86_64") { 321 } else { 280 };
    for (errno, words) in
        [(1, "a system call filter, such as a container's seccomp profile"), (38, "no bpf(2)")]
    {
        let python = Program::new("python3").arg(program_file("filtered.py")).arg(ka()?);
        let python = python.env("FILTERED", format!("{call}:{errno}"));
        let output = python.arg("attach").arg(cgroup.path()).run()?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, words)?;
    }
    Ok(())
}

fn user_namespace() -> Result {
    let cgroup = Cgroup::new()?;
    let output = Program::new("unshare").arg("-Ur").arg(ka()?).arg("attach").arg(cgroup.path()).run()?;
    expect_status(&output, 125)?;
    expect_in(&output.stderr, "you are root of a user namespace only")
}

/// One that allows no other beside it, and one that would no longer run.
fn another_owner() -> Result {
    let alone = Cgroup::new()?;
    other(&alone, &["sock_ops", "alone"])?;
    let inside = alone.inner("inner")?;
    let override_ = Cgroup::new()?;
    other(&override_, &["sock_ops", "override"])?;
    let below = override_.inner("inner")?;
    for (cgroup, words) in [
        (&alone, "a program of another owner is attached to the cgroup, or to one that it is in"),
        (&inside, "a program of another owner is attached to the cgroup, or to one that it is in"),
        (&override_, "a program of another owner is attached to the cgroup, or to one that it is in"),
        (&below, "so that it would no longer run for"),
    ] {
        // What holds values is not left behind either.
        let output = run_ka(&["attach", &cgroup.path().display().to_string(), "--force"])?;
        expect_status(&output, 125)?;
        expect_in(&output.stderr, words)?;
        if !attached(cgroup)?.is_null() {
            return Err(format!("something is attached: {}", attached(cgroup)?).into());
        }
    }
    Ok(())
}

fn nothing() -> Result {
    let cgroup = Cgroup::new()?;
    attach(&cgroup, &[])?;
    // In a cgroup namespace in which this one is not.
    let script = "umount -a -t cgroup2 && mount -t cgroup2 none /mnt && exec \"$0\" attached";
    let empty = Cgroup::new()?;
    let program = Program::new("unshare").args(["-mC", "sh", "-c", script]).arg(ka()?);
    let output = empty.enter(|| program.run())?;
    expect_status(&output, 1)?;
    expect_in(&output.stderr, "ka: nothing is attached")
}
