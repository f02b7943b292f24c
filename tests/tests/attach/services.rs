//! What is brought along for systemd and Kubernetes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kashim_tests::documents::blocks;
use kashim_tests::{
    Cgroup, Need, Program, Result, Scratch, Trial, cgroups, ka, target_dir, trial, workspace,
};

use super::{attached, count};
use kashim_tests::ka_helpers::expect_in;

pub fn trials() -> Vec<Trial> {
    use Need::Program as Prog;
    let defaults = [&cgroups()[..], &[Prog("sh")]].concat();
    vec![
        trial("unit", &[Prog("systemd-analyze")], unit),
        trial("drop_in", &defaults, drop_in),
        trial("defaults", &defaults, defaults_file),
        trial("kubernetes", &[Prog("python3"), Need::Python("venv"), Need::Python("ensurepip")], kubernetes),
    ]
}

fn file(name: &str) -> PathBuf {
    workspace().join("services").join(name)
}

fn unit() -> Result {
    let files = Scratch::new()?;
    // It is verified that what it starts is there.
    let unit = fs::read_to_string(file("kashim-host.service"))?
        .replace("/usr/local/bin/ka", &ka()?.display().to_string());
    let path = files.write("kashim-host.service", unit)?;
    let output = Program::new("systemd-analyze").args(["verify", "--man=no"]).arg(path).run()?;
    // Warnings too are on its standard error.
    if output.status.success() && !output.stderr.contains("kashim-host") {
        return Ok(());
    }
    Err(output.stderr.into())
}

/// What `ka systemd --mode cgroup` has systemd run attaches the unit.
fn drop_in() -> Result {
    let outer = Cgroup::new()?;
    let name = format!("kashim-test-drop-in-{}.service", std::process::id());
    let cgroup = outer.inner(&name)?;
    let root = Scratch::new()?;
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(&units)?;
    fs::write(units.join(&name), "[Service]\nExecStart=/bin/sleep 1\n")?;
    let ka = Program::new(ka()?).args(["systemd", &name, "--mode", "cgroup", "--idle", "77"]);
    let ka = ka.args(["--rule", "127.0.0.2 off", "--force", "--root"]).arg(root.path());
    let text = String::from_utf8(ka.succeed()?)?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStartPre=-+")).ok_or("no line")?;
    // What systemd makes of it.
    let line = line.replace("%n", &name).replace("%%", "%").replace("$$", "$");
    Program::new("sh").args(["-c", &line]).succeed()?;
    let entry = attached(&cgroup)?;
    let rules = entry["rules"].as_array().map(Vec::len);
    if entry["settings"]["idle_s"] == 77 && rules == Some(1) && entry["holds"] == true {
        return Ok(());
    }
    Err(format!("{entry}").into())
}

/// As it is delivered, and with everything in it switched on.
fn defaults_file() -> Result {
    let text = fs::read_to_string(file("kashim.default"))?;
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting)
                if setting.starts_with(|c: char| c.is_ascii_uppercase()) && setting.contains('=') =>
            {
                setting
            }
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let files = Scratch::new()?;
    for (text, idle) in [(text, 60), (all, 300)] {
        let path = files.write("kashim", text)?;
        let cgroup = Cgroup::new()?;
        let script = "set -a; . \"$1\"; exec \"$2\" attach \"$3\" $ATTACH_OPTIONS";
        Program::new("sh").args(["-c", script, "sh"]).arg(path).arg(ka()?).arg(cgroup.path()).succeed()?;
        let entry = attached(&cgroup)?;
        if entry["settings"]["idle_s"] != idle || entry["rules"].as_array().map(Vec::len) != Some(2) {
            return Err(format!("{entry}").into());
        }
        if count(&cgroup, "set")? != 0 {
            return Err("something was set".into());
        }
    }
    Ok(())
}

/// Against the schema of the API, which the package brings along for each version.
fn kubernetes() -> Result {
    let venv = target_dir().join("kubernetes-validate");
    let python = venv.join("bin/python3");
    if !venv.join("bin/kubernetes-validate").exists() {
        let patience = Duration::from_secs(300);
        let make = Program::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).start()?;
        make.output_within(patience)?.success()?;
        let pip =
            Program::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        let pip = pip.arg("kubernetes-validate==1.37.0").env("PIP_ROOT_USER_ACTION", "ignore");
        pip.start()?.output_within(patience)?.success()?;
    }
    let files = Scratch::new()?;
    let mut manifests = Vec::new();
    for name in ["kubernetes.yaml", "kubernetes-undo.yaml"] {
        expect_in(&fs::read_to_string(file(name))?, "privileged: false")?;
        manifests.push(file(name));
    }
    let shown = blocks("yaml")?;
    assert!(shown.len() >= 2, "{} manifests in the documents", shown.len());
    for (at, manifest) in shown.iter().enumerate() {
        manifests.push(files.write(&format!("shown-{at}.yaml"), manifest)?);
    }
    for manifest in &manifests {
        for version in ["1.29", "1.34"] {
            let validate = Program::new(&python).arg(venv.join("bin/kubernetes-validate"));
            let output = validate.args(["--strict", "-k", version]).arg(manifest).run()?;
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr);
            if !output.status.success() || !said.contains("passed") {
                return Err(format!("{}, {version}: {said}", manifest.display()).into());
            }
        }
    }
    // A mistake is noticed.
    let broken = fs::read_to_string(file("kubernetes.yaml"))?.replace("mountPath", "mountpath");
    let path = files.write("broken.yaml", broken)?;
    let validate = Program::new(&python).arg(venv.join("bin/kubernetes-validate"));
    let output = validate.args(["--strict", "-k", "1.29"]).arg(path).run()?;
    if output.status.success() { Err("nothing is noticed".into()) } else { Ok(()) }
}
