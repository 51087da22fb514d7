//! Files that are written whole or not at all.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that a kill at any moment leaves the old file or the new one. What a link leads to is replaced, not
/// the link; a pipe or a device is written to.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::io("write", path, e);
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let file = OpenOptions::new().write(true).open(path);
        return file.and_then(|mut file| file.write_all(bytes)).map_err(failed);
    }
    write_with(path, |file| file.write_all(bytes).map_err(failed))
}

/// [`write()`], where `fill` writes the file: under a temporary name, which is then flushed and renamed.
///
/// # Errors
/// [`Error::Io`], also for what is there and no file; those of `fill`.
pub fn write_with<T>(path: &Path, fill: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |e| Error::io("write", path, e);
    check(path)?;
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(failed(io::Error::other("it is no regular file, and would be replaced")));
    }
    let place = dunce::canonicalize(path).unwrap_or_else(|_| path.into());
    let temporary = temporary(&place);
    // Not through a link that somebody else has put there.
    let create = || match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => File::create_new(&temporary),
    };
    let written = create().map_err(failed).and_then(|mut file| {
        let value = fill(&mut file)?;
        file.sync_all().map_err(failed)?;
        Ok(value)
    });
    let renamed = written.and_then(|value| {
        std::fs::rename(&temporary, &place).and_then(|()| flush_directory_of(&place)).map_err(failed)?;
        Ok(value)
    });
    renamed.inspect_err(|_| {
        // What was half-written is of no use; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// That a file can stand at `path`: to ask before the work whose result it is to hold.
///
/// # Errors
/// [`Error::Io`] where its directory is not there, or what is there is no file.
pub fn check(path: &Path) -> Result<()> {
    let refuse = |kind: io::ErrorKind| Err(Error::io("write", path, kind.into()));
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => refuse(io::ErrorKind::IsADirectory),
        Ok(_) => Ok(()),
        Err(_) if path.file_name().is_none() || ends_in_separator(path) => {
            refuse(io::ErrorKind::InvalidInput)
        }
        Err(_) => match std::fs::metadata(directory_of(path)) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => refuse(io::ErrorKind::NotADirectory),
            Err(e) => Err(Error::io("write", path, e)),
        },
    }
}

/// A directory's name, as which no file can be made.
fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// In the same directory, as renaming needs; always the same, so that what a kill leaves is written over.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// A rename itself lasts once the directory is flushed; not every system opens directories.
fn flush_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)).map_or(Ok(()), |directory| directory.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_fails_leaves_the_older_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("net.st");
        // A user's own file of such a name.
        std::fs::write(directory.path().join("net.tmp"), "mine").expect("a small file");
        write(&path, b"one").expect("a good place");
        let failed = write_with(&path, |file| {
            file.write_all(b"tw").expect("a good place");
            Err::<(), _>(Error::Usage("no".into()))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).expect("it is there"), b"one");
        write(&path, b"two").expect("a good place");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"two");
        assert_eq!(names(directory.path()), ["net.st", "net.tmp"]);
    }

    /// A link under the temporary name is not written through.
    #[cfg(unix)]
    #[test]
    fn the_temporary_file_is_a_new_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [path, victim] = ["out", "victim"].map(|name| directory.path().join(name));
        std::fs::write(&victim, "precious").expect("a small file");
        std::os::unix::fs::symlink(&victim, temporary(&path)).expect("a new link");
        write(&path, b"new").expect("a good place");
        assert_eq!(std::fs::read(&victim).expect("it is there"), b"precious");
        assert!(std::fs::symlink_metadata(&path).expect("it is there").is_file());
    }

    /// What is no file is not replaced by one.
    #[cfg(unix)]
    #[test]
    fn sockets_and_devices_stay() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a short path");
        let refused = write_with(&path, |_| Ok(())).expect_err("a socket").to_string();
        assert!(refused.contains("no regular file"), "{refused}");
        assert!(!std::fs::metadata(&path).expect("it is there").is_file());
        assert_eq!(names(directory.path()), ["socket"]);
    }

    #[test]
    fn places_are_checked() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        std::fs::write(root.join("file"), "text").expect("a small file");
        for good in ["new", "file"] {
            check(&root.join(good)).expect(good);
        }
        for bad in ["nowhere/new", "file/new", "", "..", "new/"] {
            let path = root.join(bad);
            assert!(check(&path).is_err() && write(&path, b"x").is_err(), "{bad}");
        }
        check(Path::new("here")).expect("the working directory");
        assert_eq!(names(root), ["file"]);
    }

    #[test]
    #[cfg(unix)]
    fn links_and_devices_stay_what_they_are() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (link, file) = (directory.path().join("link"), directory.path().join("file"));
        std::fs::write(&file, "old").expect("a small file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        write(&link, b"new").expect("a good place");
        assert_eq!(std::fs::read(&file).expect("it is there"), b"new");
        assert!(link.is_symlink() && names(directory.path()) == ["file", "link"]);
        let null = directory.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).expect("a link");
        write(&null, b"new").expect("it takes everything");
        assert!(null.is_symlink() && !std::fs::metadata("/dev/null").expect("it is there").is_file());
    }
}
