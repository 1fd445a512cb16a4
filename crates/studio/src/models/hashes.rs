//! Hashes of weights. A checkpoint is gigabytes, so a file is read once for both hashes, and they are kept until it changes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

use crate::{StudioError, engine::EngineError, write_whole};

/// Read at a time.
const CHUNK: usize = 1 << 20;
/// A cache larger than this is not ours.
const MAX_CACHE: u64 = 16 << 20;

/// Both hashes of a file, in small hexadecimal letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// SHA-256, which hubs quote.
    pub sha256: String,
    /// BLAKE3, by which projects name the models that painted them.
    pub blake3: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Nanoseconds since 1970, as text: JSON numbers do not hold them all.
    modified: String,
    hashes: Hashes,
}

/// The hashes that are known already.
#[derive(Debug)]
pub struct HashCache {
    file: Option<PathBuf>,
    known: BTreeMap<PathBuf, Known>,
}

impl HashCache {
    /// The one in the user's cache folder.
    pub fn open() -> Self {
        let folders = directories::ProjectDirs::from("", "", "outframe");
        Self::load(folders.map(|folders| folders.cache_dir().join("hashes.json")))
    }

    /// The one in this file, which is made when something is to be kept. A damaged one is begun anew.
    pub fn at(file: PathBuf) -> Self {
        Self::load(Some(file))
    }

    fn load(file: Option<PathBuf>) -> Self {
        let read = |path: &PathBuf| {
            let small = path.metadata().is_ok_and(|about| about.is_file() && about.len() <= MAX_CACHE);
            small.then(|| fs::read(path).ok())?.and_then(|text| serde_json::from_slice(&text).ok())
        };
        let known = file.as_ref().and_then(read).unwrap_or_default();
        Self { file, known }
    }

    /// The hashes of a file: the known ones when size and time are as they were, unless `anew`. `progress` is told the
    /// bytes read and the bytes in all. A cache that cannot be written costs only the next reading.
    pub fn hashes(
        &mut self,
        path: &Path,
        anew: bool,
        cancel: &CancellationToken,
        progress: impl FnMut(u64, u64),
    ) -> Result<Hashes, StudioError> {
        let path = path.canonicalize().map_err(StudioError::io("open", path))?;
        let before = stamp(&path)?;
        if let Some(known) =
            self.known.get(&path).filter(|known| !anew && (known.bytes, &known.modified) == (before.0, &before.1))
        {
            return Ok(known.hashes.clone());
        }
        let hashes = read(&path, before.0, cancel, progress)?;
        // A file that was written meanwhile has neither its old hash nor surely this one.
        // Nor does one that was found changed by a new reading replace what was recorded for it.
        let changed = anew && self.known.get(&path).is_some_and(|known| known.hashes != hashes);
        if !changed && stamp(&path)? == before {
            self.known.insert(path, Known { bytes: before.0, modified: before.1, hashes: hashes.clone() });
            self.keep();
        }
        Ok(hashes)
    }

    /// Records the hashes of a file that was changed on purpose; they must be of what it holds now.
    pub fn accept(&mut self, path: &Path, hashes: Hashes) -> Result<(), StudioError> {
        let path = path.canonicalize().map_err(StudioError::io("open", path))?;
        let (bytes, modified) = stamp(&path)?;
        self.known.insert(path, Known { bytes, modified, hashes });
        self.keep();
        Ok(())
    }

    /// What was computed for the file when it was last read, whatever it holds now.
    pub fn recorded(&self, path: &Path) -> Option<Hashes> {
        Some(self.known.get(&path.canonicalize().ok()?)?.hashes.clone())
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        if let (Some(folder), Ok(text)) = (file.parent(), serde_json::to_vec(&self.known)) {
            let _ = fs::create_dir_all(folder);
            let _ = write_whole(file, &text);
        }
    }
}

fn stamp(path: &Path) -> Result<(u64, String), StudioError> {
    let about = path.metadata().map_err(StudioError::io("open", path))?;
    let modified = about.modified().map_err(StudioError::io("open", path))?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((about.len(), since.as_nanos().to_string()))
}

fn read(
    path: &Path,
    bytes: u64,
    cancel: &CancellationToken,
    mut progress: impl FnMut(u64, u64),
) -> Result<Hashes, StudioError> {
    let mut file = File::open(path).map_err(StudioError::io("open", path))?;
    let (mut sha256, mut blake3) = (sha2::Sha256::new(), blake3::Hasher::new());
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let read = file.read(&mut chunk).map_err(StudioError::io("read", path))?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        sha256.update(part);
        blake3.update(part);
        done += read as u64;
        progress(done, bytes);
    }
    Ok(Hashes { sha256: format!("{:x}", sha256.finalize()), blake3: blake3.finalize().to_hex().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_computed_once_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cache) = (folder.path().join("a"), folder.path().join("cache/hashes.json"));
        fs::write(&file, "abc").unwrap();
        let cancel = CancellationToken::new();
        let mut read = 0;
        let first = HashCache::at(cache.clone()).hashes(&file, false, &cancel, |done, _| read = done).unwrap();
        // Both are the test vectors of the standards.
        assert_eq!(first.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(first.blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(read, 3);
        let not_read = |_, _| panic!("it was read again");
        assert_eq!(HashCache::at(cache.clone()).hashes(&file, false, &cancel, not_read).unwrap(), first);
        fs::write(&file, "abcd").unwrap();
        assert_ne!(HashCache::at(cache.clone()).hashes(&file, false, &cancel, |_, _| ()).unwrap(), first);
        // A change that nobody meant stays a change, however often it is looked at, until it is accepted.
        let mut open = HashCache::at(cache.clone());
        let recorded = open.recorded(&file).unwrap();
        fs::write(&file, "abce").unwrap();
        let changed = open.hashes(&file, true, &cancel, |_, _| ()).unwrap();
        assert!(changed != recorded && open.recorded(&file) == Some(recorded));
        open.accept(&file, changed.clone()).unwrap();
        assert_eq!(HashCache::at(cache.clone()).recorded(&file), Some(changed));
        cancel.cancel();
        assert!(HashCache::at(cache).hashes(&file, true, &cancel, |_, _| ()).unwrap_err().is_cancelled());
    }
}
