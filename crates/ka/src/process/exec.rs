//! Becoming another program.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr;

use super::caller;

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// Becomes the program at `path`. Its environment is ours, byte for byte and in the same order, also what is no
/// `NAME=value`, but for these variables: each stands where it stood before, or else at the end. Returns only if that
/// fails.
pub fn exec(path: &Path, arguments: &[OsString], variables: &[(Vec<u8>, OsString)]) -> io::Error {
    match try_exec(path, arguments, variables) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_exec(
    path: &Path,
    arguments: &[OsString],
    variables: &[(Vec<u8>, OsString)],
) -> io::Result<std::convert::Infallible> {
    let file = text(path.as_os_str())?;
    let arguments = arguments.iter().map(|argument| text(argument)).collect::<io::Result<Vec<_>>>()?;
    let environment = environment(&ours(), variables)?;
    caller::restore();
    let error = execve(&file, &arguments, &environment);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return Err(error);
    }
    // A text without an interpreter, as execvp(3) does it.
    let shell = c"/bin/sh".to_owned();
    let mut for_shell = vec![shell.clone(), file];
    for_shell.extend(arguments.into_iter().skip(1));
    Err(execve(&shell, &for_shell, &environment))
}

fn text(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// Our environment, entry by entry.
fn ours() -> Vec<CString> {
    let mut entries = Vec::new();
    // SAFETY: environ(7) is a list of strings that a null pointer ends, or null itself. This program has one thread when
    // it becomes another, and changes nothing in there.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

fn environment(ours: &[CString], variables: &[(Vec<u8>, OsString)]) -> io::Result<Vec<CString>> {
    let mut fresh = Vec::new();
    for (name, value) in variables {
        let entry = [name, &b"="[..], &value.clone().into_vec()].concat();
        fresh.push((name, Some(CString::new(entry)?)));
    }
    let mut result = Vec::with_capacity(ours.len() + fresh.len());
    for entry in ours {
        let is = |name: &[u8]| entry.to_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="));
        match fresh.iter_mut().find(|(name, _)| is(name)) {
            // The second of the same name goes: the first is what counts.
            Some((_, new)) => result.extend(new.take()),
            None => result.push(entry.clone()),
        }
    }
    result.extend(fresh.into_iter().filter_map(|(_, new)| new));
    Ok(result)
}

fn execve(file: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|entry| entry.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: three strings and lists of strings, ended by null pointers, that live until it returns.
    unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_variables_change() {
        let list = |entries: &[&str]| -> Vec<CString> {
            entries.iter().map(|entry| CString::new(*entry).expect("no zero")).collect()
        };
        let ours = list(&["B=1", "KA_IDLE=1", "nonsense", "A=", "KA_IDLE=2", "KA_IDLER=3", "=x"]);
        let set = [(b"KA_IDLE".to_vec(), "9".into()), (b"LD_PRELOAD".to_vec(), "l".into())];
        let expected = list(&["B=1", "KA_IDLE=9", "nonsense", "A=", "KA_IDLER=3", "=x", "LD_PRELOAD=l"]);
        assert_eq!(environment(&ours, &set).expect("an environment"), expected);
    }
}
