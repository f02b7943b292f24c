//! How a variable is written for whoever reads it.

use clap::builder::TypedValueParser;
use kashim_policy::variables::Variable;

use crate::cli::error::Error;
use crate::output::escape::escaped;

/// The longest line with a variable that cron and pam_env read; they cut longer ones off in silence.
const LONGEST: usize = 990;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A shell's profile, or `eval`.
    Sh,
    /// The top of a crontab.
    Crontab,
    /// A file that a unit names with `EnvironmentFile=`.
    Systemd,
    /// /etc/environment.
    Environment,
}

impl Form {
    /// Reads the name of one.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        clap::builder::PossibleValuesParser::new(["sh", "crontab", "systemd", "environment"]).map(|name| {
            match name.as_str() {
                "crontab" => Self::Crontab,
                "systemd" => Self::Systemd,
                "environment" => Self::Environment,
                _ => Self::Sh,
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Crontab => "crontab",
            Self::Systemd => "systemd",
            Self::Environment => "environment",
        }
    }

    /// The first line, which says what the file is for.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Sh => "",
            Self::Crontab => "# kashim: for the top of a crontab; the jobs below need no change.\n",
            Self::Systemd => "# kashim: for a file that a unit names with EnvironmentFile=\n",
            Self::Environment => "# kashim: for /etc/environment\n",
        }
    }

    /// Writes one variable.
    pub fn write(self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut value = value.to_vec();
        if self != Self::Sh {
            // Only sh has a way to write a line's end; rules do not need one.
            if name == Variable::Rules.text() {
                value.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b';');
            }
            if value.iter().any(u8::is_ascii_control) {
                return Err(self.cannot(name, &value));
            }
            if self != Self::Systemd && name.len() + value.len() > LONGEST {
                let name = escaped(name);
                return Err(Error::new(format!(
                    "{name} is too long for a line of that file ({LONGEST} bytes with its name)"
                )));
            }
        }
        let has = |bytes: &[u8]| value.iter().any(|b| bytes.contains(b));
        let value = match self {
            Self::Sh => quoted(&value),
            // crontab(5): taken as it is, but a quote at the start reaches to its like.
            Self::Crontab => match value.first() {
                Some(b'\'' | b'"') if has(b"'") && has(b"\"") => return Err(self.cannot(name, &value)),
                Some(b'\'') => [b"\"", value.as_slice(), b"\""].concat(),
                Some(b'"') => [b"'", value.as_slice(), b"'"].concat(),
                _ => value,
            },
            // systemd.exec(5): between double quotes these four need a backslash.
            Self::Systemd => {
                let escape = |&b: &u8| if b"\"\\$`".contains(&b) { vec![b'\\', b] } else { vec![b] };
                let inner: Vec<u8> = value.iter().flat_map(escape).collect();
                [b"\"", inner.as_slice(), b"\""].concat()
            }
            // pam_env(8) ends a value at #; systemd reads the same file and expands $; neither can be helped by quotes.
            Self::Environment if has(b"#$\\\"'`") => return Err(self.cannot(name, &value)),
            Self::Environment => value,
        };
        out.extend([name, b"=", value.as_slice()].concat());
        if self == Self::Sh {
            out.extend([b"; export ", name, b";"].concat());
        }
        out.push(b'\n');
        Ok(())
    }

    /// Writes `LD_PRELOAD`.
    pub fn write_preload(self, out: &mut Vec<u8>, library: &[u8]) -> Result<(), Error> {
        if self != Self::Sh {
            return self.write(out, b"LD_PRELOAD", library);
        }
        // What is there stays, and however often this is read the library stands there once. It ends so that
        // `eval $(ka env)` works without quotes too.
        let library = quoted(library);
        out.extend_from_slice(b"case \":${LD_PRELOAD:-}:\" in *[:\\ ]");
        out.extend_from_slice(&library);
        out.extend_from_slice(b"[:\\ ]*) ;; *) LD_PRELOAD=");
        out.extend_from_slice(&library);
        out.extend_from_slice(b"\"${LD_PRELOAD:+:$LD_PRELOAD}\"; export LD_PRELOAD;; esac\n");
        Ok(())
    }

    fn cannot(self, name: &[u8], value: &[u8]) -> Error {
        Error::new(format!(
            "{}=\"{}\" holds a character that the form \"{}\" cannot write\n\
             use another value, or ka-run with options in front of the command",
            escaped(name),
            escaped(value),
            self.name()
        ))
    }
}

/// Between single quotes, for a shell.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for &b in text {
        match b {
            b'\'' => out.extend_from_slice(b"'\\''"),
            _ => out.push(b),
        }
    }
    out.push(b'\'');
    out
}
