//! Other programs a benchmark drives: where they are.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where `scripts/peers` puts programs that are only unpacked, below the root of the project.
const UNPACKED: &str = "target/peers/bin";
/// Where daemons are that a user's PATH may not name.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds `program`: at `given` if that is set, else in PATH, else among the unpacked peers of the directory this
/// runs in or of one above it.
///
/// # Errors
/// When it is in none of these places.
pub fn find(program: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return path.is_file().then(|| path.to_owned()).ok_or_else(|| missing(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .chain(here.ancestors().map(|directory| directory.join(UNPACKED)))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| missing(program))
}

fn missing(program: &str) -> Error {
    let remedy = "scripts/peers unpacks it under target/peers, or name it with its option".into();
    Error::Missing { program: program.into(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(find("sh", None).is_ok());
        assert_eq!(find("x", Some(Path::new("/bin/sh"))).ok(), Some(PathBuf::from("/bin/sh")));
        assert!(find("sh", Some(Path::new("/nowhere/sh"))).is_err());
        assert!(find("no such program", None).is_err());
    }
}
