//! `ka env`: the settings, for whoever reads an environment from a file.

pub mod args;
pub mod form;

use std::os::unix::ffi::OsStrExt;

use kashim_policy::variables::Variable;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::settings::{SettingArgs, good_settings};
use crate::output::print::print;
use crate::preload::library;
use args::EnvArgs;
use form::Form;

/// Prints the settings in the form that was asked for.
pub fn run(args: EnvArgs) -> Result<Exit, Error> {
    show(args.settings, args.form)
}

/// Prints the settings in this form.
pub fn show(settings: SettingArgs, form: Form) -> Result<Exit, Error> {
    let given = settings.over_environment()?;
    let library = library::find()?.path;
    if given.disabled().is_none() {
        good_settings(&given, "nothing was printed")?;
    }
    let policy = given.environment.policy();
    let mut text = form.heading().as_bytes().to_vec();
    for &variable in Variable::ALL {
        if let Some(value) = policy.get(variable) {
            form.write(&mut text, variable.text(), value)?;
        }
    }
    form.write_preload(&mut text, library.as_os_str().as_bytes())?;
    print(&text)?;
    Ok(Exit::Yes)
}
