//! One writer per project, across processes.
//!
//! The lock is the operating system's, on a small file beside the project, and thus vanishes with its process. The
//! project file itself cannot carry it: SQLite keeps POSIX locks there, and those vanish when any handle on the file is
//! closed in the same process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Held as long as the project is open for writing.
#[derive(Debug)]
pub(crate) struct WriterLock {
    file: File,
    path: PathBuf,
}

impl WriterLock {
    /// Takes the lock of the project at `project`, or says who has it.
    pub(crate) fn acquire(project: &Path) -> Result<Self, Error> {
        // Links lead to one file, and so to one lock.
        let real = project.canonicalize().map_err(|error| Error::io("open", project, error))?;
        let path = super::file::sibling(&real, "-lock");
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| Error::io("write beside the project", &path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { path: project.into(), by: owner(&mut file) });
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
            }
            // The last holder may have removed the file between our opening and locking it: then another process
            // may lock a new one of the same name, and this lock means nothing.
            if !is_at(&file, &path) {
                continue;
            }
            // Only for the other's message: a failure to write it must not keep anyone from working.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
            return Ok(Self { file, path });
        }
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // While the lock is held, so that nobody else's lock file is removed. Elsewhere than on Unix `is_at` cannot
        // notice a removed file, so there it stays.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

fn owner(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(200).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
