//! Where a film goes, and where it is until it is complete.

use std::{
    fs::{self, File, Permissions},
    io,
    path::{Path, PathBuf},
    time::Duration,
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
        sweep(&folder);
        let mut builder = Builder::new();
        builder.prefix(UNFINISHED).suffix(".mp4");
        // Temporary files are for their owner only; films are as readable as any file (the process's mask applies).
        #[cfg(unix)]
        builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|source| Error::Place { path: target.to_owned(), source })?;
        claim(file.as_file());
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

/// The file in an unfinished folder of PNGs that says whether somebody still writes there.
pub(crate) const CLAIM: &str = ".writing";
/// Younger ones may not be claimed yet.
const LEAST_AGE: Duration = Duration::from_mins(1);

/// Marks a file as being written, for as long as it is open: the system takes the lock away when a program dies.
pub(crate) fn claim(file: &File) {
    // Locks are advisory on Unix; elsewhere they would keep ffmpeg from writing. File systems without locks refuse them,
    // and then nothing there is ever found abandoned.
    if cfg!(unix) {
        let _ = file.try_lock();
    }
}

/// Removes what films left behind whose programs were killed. What is young, claimed, a link, or holds other things than such
/// films do stays, as does all that cannot be removed.
pub(crate) fn sweep(folder: &Path) {
    if !cfg!(unix) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_file() && path.extension().is_some_and(|ending| ending == "mp4") {
            if is_abandoned(&path) {
                let _ = fs::remove_file(&path);
            }
        } else if kind.is_dir() && is_abandoned(&path.join(CLAIM)) {
            remove_pictures(&path);
        }
    }
}

/// Whether nobody has written to a claimed file for a while, and nobody holds it.
fn is_abandoned(file: &Path) -> bool {
    let Ok(file) = File::options().read(true).open(file) else { return false };
    let age = file.metadata().and_then(|data| data.modified()).map(|then| then.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > LEAST_AGE) && file.try_lock().is_ok()
}

/// Removes an unfinished folder's numbered pictures, its claim, and the folder if nothing else was in it.
fn remove_pictures(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if is_numbered(Path::new(&name)) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_file(folder.join(CLAIM));
    let _ = fs::remove_dir(folder);
}

/// Whether a file is called as a picture of a PNG sequence.
pub(crate) fn is_numbered(name: &Path) -> bool {
    name.extension().is_some_and(|end| end == "png")
        && name
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem.len() >= 5 && stem.bytes().all(|byte| byte.is_ascii_digit()))
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

    #[cfg(unix)]
    #[test]
    fn what_killed_programs_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - LEAST_AGE * 2;
        let aged = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            file.set_modified(old).unwrap();
            file
        };
        aged(".outframe-film-dead.mp4");
        aged("other.mp4");
        let living = aged(".outframe-film-living.mp4");
        claim(&living);
        File::create(place.path().join(".outframe-film-young.mp4")).unwrap();
        // Folders: abandoned, written to, with something else in it, and an old film that stepped aside.
        for name in ["dead", "living", "mixed"] {
            aged(&format!(".outframe-film-{name}/00000.png"));
        }
        aged(".outframe-film-dead/.writing");
        aged(".outframe-film-mixed/.writing");
        aged(".outframe-film-mixed/notes.txt");
        let writing = aged(".outframe-film-living/.writing");
        claim(&writing);
        aged(".outframe-film-aside/old/00000.png");
        sweep(place.path());
        let left = |folder: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let kept = ["aside", "living", "living.mp4", "mixed", "young.mp4"].map(|name| format!(".outframe-film-{name}"));
        assert_eq!(left(place.path()), [&kept[..], &["other.mp4".to_owned()]].concat());
        assert_eq!(left(&place.path().join(".outframe-film-mixed")), ["notes.txt"]);
        assert_eq!(left(&place.path().join(".outframe-film-living")), [".writing", "00000.png"]);
        assert_eq!(left(&place.path().join(".outframe-film-aside/old")), ["00000.png"]);
    }

    #[test]
    fn names_without_a_folder_are_in_the_present_one() {
        assert_eq!(folder(Path::new("film.mp4")).unwrap(), fs::canonicalize(".").unwrap());
        assert!(matches!(folder(Path::new("/")), Err(Error::Place { .. })));
    }
}
