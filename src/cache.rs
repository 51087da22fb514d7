//! What is kept between runs of the program, in the user's cache directory: everything there can be made again.

use std::path::{Path, PathBuf};

/// `SHIFTNET_CACHE`, else `shiftnet` in the system's place for caches; none where neither is known, or `SHIFTNET_CACHE` is
/// empty.
pub fn directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = std::env::var_os("SHIFTNET_CACHE") {
        return Some(PathBuf::from(own)).filter(|path| !path.as_os_str().is_empty());
    }
    let system = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    system.map(|path| path.join("shiftnet"))
}

/// The file `name`; none where it is not there or cannot be read.
pub fn read(directory: &Path, name: &str) -> Option<Vec<u8>> {
    std::fs::read(directory.join(name)).ok()
}

/// Writes the file `name`, under a temporary name first. Where that fails there is no file: it is only a cache.
pub fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.{}.tmp", std::process::id()));
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&temporary, bytes))
        .and_then(|()| std::fs::rename(&temporary, &path));
    if let Err(error) = written {
        tracing::warn!("{} could not be written: {error}", path.display());
        let _ = std::fs::remove_file(&temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_and_replace_each_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path().join("new");
        assert_eq!(read(&place, "a"), None);
        for bytes in [&b"one"[..], b"two"] {
            write(&place, "a", bytes);
            assert_eq!(read(&place, "a").as_deref(), Some(bytes));
        }
        assert_eq!(std::fs::read_dir(&place).expect("it was made").count(), 1);
        // A directory that cannot be made is no error.
        write(&place.join("a"), "b", b"three");
    }
}
