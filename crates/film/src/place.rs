//! Where a film goes, and where it is until it is complete.

use std::{
    fs::{self, Permissions},
    io,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use crate::{Error, Result};

/// How the names of unfinished films begin; files so named are hidden on most systems.
pub(crate) const UNFINISHED: &str = ".outframe-film-";

/// The folder around a film, in full.
pub(crate) fn folder(path: &Path) -> Result<PathBuf> {
    let failed = |source| Error::Place { path: path.to_owned(), source };
    if path.file_name().is_none() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(parent).map_err(failed)?;
    if !folder.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    Ok(folder)
}

/// What failed while the film was being written.
pub(crate) fn failed(path: &Path, source: io::Error) -> Error {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Error::DiskFull { path: path.to_owned() };
    }
    Error::Write { path: path.to_owned(), source }
}

/// A film in one file, still under another name. Dropped, it is removed.
pub(crate) struct UnfinishedFile {
    pub(crate) file: NamedTempFile,
    target: PathBuf,
}

impl UnfinishedFile {
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let folder = folder(target)?;
        vacant(target)?;
        let mut builder = Builder::new();
        builder.prefix(UNFINISHED).suffix(".mp4");
        // Temporary files are for their owner only; films are as readable as any file (the process's mask applies).
        #[cfg(unix)]
        builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|source| Error::Place { path: target.to_owned(), source })?;
        Ok(Self { file, target: target.to_owned() })
    }

    /// What failed while it was being written.
    pub(crate) fn failed(&self, source: io::Error) -> Error {
        failed(&self.target, source)
    }

    /// Moves it to its place, over a film that may be there. Returns its size in bytes.
    pub(crate) fn place(self) -> Result<u64> {
        vacant(&self.target)?;
        let failed = |source| failed(&self.target, source);
        // What has its name after a power cut has its pictures too.
        self.file.as_file().sync_all().map_err(failed)?;
        let bytes = self.file.as_file().metadata().map_err(failed)?.len();
        self.file.persist(&self.target).map_err(|error| failed(error.error))?;
        Ok(bytes)
    }
}

/// Nothing but a file may be where a film in one file goes.
fn vacant(target: &Path) -> Result<()> {
    match fs::metadata(target) {
        Ok(found) if found.is_dir() => Err(Error::Occupied { path: target.to_owned(), what: "a folder" }),
        Ok(found) if !found.is_file() => Err(Error::Occupied { path: target.to_owned(), what: "a device" }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_that() {
        let failed = |kind| failed(Path::new("film.mp4"), io::Error::from(kind));
        let full = failed(io::ErrorKind::StorageFull);
        assert!(matches!(full, Error::DiskFull { .. }));
        assert!(full.to_string().contains("no space left"), "{full}");
        assert!(matches!(failed(io::ErrorKind::BrokenPipe), Error::Write { .. }));
    }

    #[test]
    fn names_without_a_folder_are_in_the_present_one() {
        assert_eq!(folder(Path::new("film.mp4")).unwrap(), fs::canonicalize(".").unwrap());
        assert!(matches!(folder(Path::new("/")), Err(Error::Place { .. })));
    }
}
