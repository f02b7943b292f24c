//! Whether the log can be written. The library drops in silence what it cannot write.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kashim_policy::log::Log;
use kashim_policy::variables::{Environment, Global, Variable};
use rustix::fs::{Access, access};

use crate::output::escape::escaped;

/// What is wrong with the file that `KA_LOG` names, in words. Whether it names one at all is the parser's matter.
pub fn fault(environment: &Environment) -> Option<String> {
    let Log::Path(bytes) = Global::read(environment).log else { return None };
    let fault = of_file(Path::new(OsStr::from_bytes(bytes)))?;
    let name = String::from_utf8_lossy(Variable::Log.text());
    Some(format!("{name}=\"{}\": {fault}", escaped(bytes)))
}

fn of_file(path: &Path) -> Option<&'static str> {
    let directory = path.parent().unwrap_or(path);
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Some("a symbolic link, which the log does not follow"),
        Ok(found) if found.is_dir() => Some("a directory"),
        Ok(_) => access(path, Access::WRITE_OK).is_err().then_some("you may not write to it"),
        Err(_) if !directory.is_dir() => Some("its directory does not exist"),
        Err(_) => access(directory, Access::WRITE_OK).is_err().then_some("you may not make a file there"),
    }
}
