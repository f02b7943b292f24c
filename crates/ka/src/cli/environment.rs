//! The variables of kashim in our own environment: what a program would find that is started from here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kashim_policy::parse::ErrorKind;
use kashim_policy::rules;
use kashim_policy::settings::Settings;
use kashim_policy::variables as policy;
use kashim_policy::variables::{Global, Variable};
use kashim_policy::warning;
use serde::Deserialize;

use crate::cli::error::Error;
use crate::output::line::line;

/// One field for each variable, as text, and what else begins like them.
#[derive(Debug, Default, Deserialize)]
struct Fields {
    ka_idle: Option<String>,
    ka_interval: Option<String>,
    ka_count: Option<String>,
    ka_user_timeout: Option<String>,
    ka_force: Option<String>,
    ka_rules: Option<String>,
    ka_skip: Option<String>,
    ka_disable: Option<String>,
    ka_log: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, String>,
}

/// The variables.
#[derive(Debug, Default)]
pub struct Environment {
    /// `NAME=value` of those that there are.
    entries: Vec<Vec<u8>>,
    /// Names that begin like ours and are none.
    unknown: Vec<String>,
}

/// What is wrong with a value, as the library would say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose value it is.
    pub variable: Variable,
    /// For `KA_RULES`, which rule, counted from 1.
    pub rule: Option<u32>,
    /// What it is.
    pub problem: ErrorKind,
    /// That and what is accepted, in words.
    pub text: String,
    /// What the library uses instead, in words.
    pub instead: String,
}

/// The warnings of single rules in words, each with the number of its rule among all.
pub fn rule_warnings(settings: &Settings, rules: &[(u32, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    warning::each(settings, &mut |rule, warning| {
        // Counted from 1, and without those that do not hold.
        let place = rule.and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
        if let Some((number, _)) = place.and_then(|place| rules.get(place)) {
            found.push(format!("rule {number}: {}", line(|line| warning.write(line))));
        }
    });
    found
}

impl Environment {
    /// Those of the process.
    pub fn ours() -> Result<Self, Error> {
        Self::read(std::env::vars_os())
    }

    /// From pairs of a name and a value. If a variable is set twice, the first wins, as for getenv(3).
    pub fn read(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Error> {
        let mut seen = Vec::new();
        let mut unknown = Vec::new();
        let mut texts = Vec::new();
        for (name, value) in pairs {
            let name = name.into_vec();
            if !name.starts_with(Variable::PREFIX) || seen.contains(&name) {
                continue;
            }
            // envy makes no difference between capitals and others; the library does.
            if name.iter().any(|b| b.is_ascii_lowercase()) {
                unknown.push(as_text(&name));
            } else {
                texts.push((as_text(&name), as_text(&value.into_vec())));
            }
            seen.push(name);
        }
        let originals: BTreeMap<_, _> =
            texts.iter().map(|(name, _)| (name.to_lowercase(), name.clone())).collect();
        let fields: Fields = envy::from_iter(texts)
            .map_err(|error| Error::new(format!("cannot read the environment: {error}")))?;
        unknown.extend(fields.unknown.keys().map(|name| originals.get(name).unwrap_or(name).clone()));
        unknown.sort();
        let entries = Variable::ALL
            .iter()
            .filter_map(|&variable| {
                let value = fields.of(variable)?;
                Some([variable.text(), b"=", &as_bytes(value)].concat())
            })
            .collect();
        Ok(Self { entries, unknown })
    }

    /// As the parser wants it.
    pub fn policy(&self) -> policy::Environment<'_> {
        policy::Environment::from_entries(self.entries.iter().map(Vec::as_slice))
    }

    /// The settings, and what is wrong with them.
    pub fn settings(&self) -> (Box<Settings>, Vec<Fault>) {
        let mut settings = Box::new(Settings::EMPTY);
        let mut faults = Vec::new();
        let policy = self.policy();
        settings.read(&policy, &Global::read(&policy), &mut |complaint| {
            faults.push(Fault {
                variable: complaint.variable,
                rule: complaint.rule,
                problem: complaint.problem,
                text: line(|line| complaint.fault(line)),
                instead: line(|line| complaint.instead(line)),
            });
        });
        (settings, faults)
    }

    /// The rules that hold as they were written, with the numbers that they have among all.
    pub fn rules(&self, faults: &[Fault]) -> Vec<(u32, Vec<u8>)> {
        let policy = self.policy();
        let text = policy.get(Variable::Rules).unwrap_or_default();
        let bad = |n| faults.iter().any(|fault| fault.rule == Some(n));
        let skipped =
            faults.iter().filter(|fault| fault.problem == ErrorKind::TooManyRules).find_map(|f| f.rule);
        (1..)
            .zip(rules::split_rules(text))
            .filter(|&(n, _)| !bad(n) && skipped.is_none_or(|end| n < end))
            .map(|(n, rule)| (n, rule.to_vec()))
            .collect()
    }

    /// A warning for each name that begins like ours and is none. Other software has such variables too.
    pub fn unknown_variables(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().map(|name| not_read(name))
    }

    /// Those among them that look like one of ours. The others may be somebody else's.
    pub fn misspelt_variables(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().filter(|name| nearest(name).is_some()).map(|name| not_read(name))
    }
}

fn not_read(name: &str) -> String {
    let shown = crate::output::escape::escaped(&as_bytes(name)).into_owned();
    match nearest(name) {
        Some(variable) => format!("{shown} is not read by kashim; is {} meant?", text_of(variable)),
        None => format!("{shown} is not read by kashim"),
    }
}

impl Fields {
    fn of(&self, variable: Variable) -> Option<&String> {
        match variable {
            Variable::Idle => &self.ka_idle,
            Variable::Interval => &self.ka_interval,
            Variable::Count => &self.ka_count,
            Variable::UserTimeout => &self.ka_user_timeout,
            Variable::Force => &self.ka_force,
            Variable::Rules => &self.ka_rules,
            Variable::Skip => &self.ka_skip,
            Variable::Disable => &self.ka_disable,
            Variable::Log => &self.ka_log,
        }
        .as_ref()
    }
}

/// The name of a variable.
pub fn text_of(variable: Variable) -> String {
    String::from_utf8_lossy(variable.text()).into_owned()
}

/// The variable that is likely to be meant: at most two slips away, or part of the name or the other way round, as in
/// KA_TIMEOUT.
fn nearest(name: &str) -> Option<Variable> {
    let name = name.to_uppercase();
    let stem = |name: &str| name.get(Variable::PREFIX.len()..).unwrap_or_default().to_owned();
    let close = |&variable: &Variable| {
        let ours = text_of(variable);
        let slips = strsim::osa_distance(&name, &ours);
        let (ours, theirs) = (stem(&ours), stem(&name));
        let part = theirs.len() >= 3 && (ours.contains(&theirs) || theirs.contains(&ours));
        (slips <= 2 || part).then_some((slips, variable))
    };
    Variable::ALL.iter().filter_map(close).min_by_key(|(slips, _)| *slips).map(|(_, variable)| variable)
}

/// Any bytes as text: each becomes the character with its number. A value need not be UTF-8, and has to reach the
/// parser as it is.
fn as_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The bytes again.
fn as_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn read(pairs: &[(&str, &[u8])]) -> Environment {
        let pair =
            |&(name, value): &(&str, &[u8])| (name.into(), std::ffi::OsStr::from_bytes(value).to_owned());
        Environment::read(pairs.iter().map(pair)).expect("an environment")
    }

    #[test]
    fn values_arrive_as_they_are() {
        let environment = read(&[
            ("KA_IDLE", b" 5m\r"),
            ("PATH", b"/bin"),
            ("KA_LOG", b"/tmp/\xff\xe4,x"),
            ("KA_COUNT", b""),
            ("KA_IDLE", b"9"),
        ]);
        let policy = environment.policy();
        assert_eq!(policy.get(Variable::Idle), Some(&b"5m"[..]));
        assert_eq!(policy.get(Variable::Log), Some(&b"/tmp/\xff\xe4,x"[..]));
        assert_eq!(policy.get(Variable::Count), None);
        assert!(environment.settings().1.is_empty());
    }

    #[test]
    fn every_variable_has_a_field() {
        for &variable in Variable::ALL {
            let environment = read(&[(&text_of(variable), b"x")]);
            assert_eq!(environment.policy().get(variable), Some(&b"x"[..]));
            assert!(environment.unknown.is_empty());
        }
    }

    #[test]
    fn faults_are_told_as_the_library_tells_them() {
        let environment = read(&[("KA_IDLE", b"5 m"), ("KA_RULES", b":22 off; x off")]);
        let (settings, faults) = environment.settings();
        assert_eq!(settings.rules.as_slice().len(), 1);
        assert!(faults[0].text.starts_with("KA_IDLE=\"5 m\": has a blank inside; accepted: "), "{faults:?}");
        assert_eq!((faults[1].variable, faults[1].rule), (Variable::Rules, Some(2)));
    }

    #[test]
    fn unknown_variables() {
        let names = ["KA_IDEL", "KA_idle", "KA_TIMEOUT", "KA_LOGFILE", "KA_KA_IDLE", "KA_", "KA_RKE_WORKERS"];
        let pairs: Vec<(&str, &[u8])> = names.iter().map(|&name| (name, &b"1"[..])).collect();
        let environment = read(&pairs);
        let told: Vec<_> = environment.unknown_variables().collect();
        let expected = [
            "KA_ is not read by kashim",
            "KA_IDEL is not read by kashim; is KA_IDLE meant?",
            "KA_KA_IDLE is not read by kashim; is KA_IDLE meant?",
            "KA_LOGFILE is not read by kashim; is KA_LOG meant?",
            "KA_RKE_WORKERS is not read by kashim",
            "KA_TIMEOUT is not read by kashim; is KA_USER_TIMEOUT meant?",
            "KA_idle is not read by kashim; is KA_IDLE meant?",
        ];
        assert_eq!(told, expected);
        assert_eq!(environment.misspelt_variables().count(), 5);
    }
}
