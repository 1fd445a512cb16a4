//! What concerns the file rather than the picture: its size, and its thumbnail.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::Project;
use crate::error::Error;
use crate::store::{blobs, file, steps};
use crate::validate::MAX_THUMBNAIL_BYTES;

/// How every PNG file begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What [`Project::compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// The size of the file before, in bytes, its log included.
    pub bytes_before: u64,
    /// The size of the file after, in bytes.
    pub bytes_after: u64,
    /// How many pictures were dropped because nothing refers to them.
    pub orphans: u64,
}

impl Project {
    /// Makes the file as small as it can be without forgetting anything: returns to the disk what
    /// [purging](Self::purge) has freed, and drops pictures that neither the document nor any step refers to.
    ///
    /// All or nothing: killed in between, the file is as before. For a while it takes up to twice the size of what
    /// remains; [`Error::NoRoom`] when the disk does not have that. Readers may stay. Takes time in proportion to the
    /// size of the project.
    pub fn compact(&mut self) -> Result<Compacted, Error> {
        self.check_writable()?;
        let bytes_before = self.size_on_disk()?;
        let pages = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = (pages("page_count")? - pages("freelist_count")?).max(0).saturating_mul(pages("page_size")?) as u64;
        // One copy is made first, where the system keeps temporary files; then it goes into the log, before the file is cut.
        let margin = 1 << 20;
        require_room(file::folder(&self.path), used + margin)?;
        require_room(&std::env::temp_dir(), used + margin)?;

        let orphans = self.transact(|work, _| {
            let orphans = steps::unnamed_blobs(work.connection)?;
            orphans.iter().try_for_each(|blob| blobs::delete(work.connection, *blob))?;
            Ok(orphans.len() as u64)
        })?;
        self.connection.flush_prepared_statement_cache();
        self.connection.execute_batch("VACUUM")?;
        // A reader may keep the log from being played in now; then that is done when the project closes.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(Compacted { bytes_before, bytes_after: self.size_on_disk()?, orphans })
    }

    /// The size of the file and of its log, in bytes.
    pub fn size_on_disk(&self) -> Result<u64, Error> {
        file::size_on_disk(&self.path)
    }

    /// Stores a small picture of the project for file managers, in place of any before. Not a change of the document:
    /// undo does not concern it.
    ///
    /// [`Error::InvalidEdit`] unless it is a PNG of at most [`MAX_THUMBNAIL_BYTES`].
    pub fn set_thumbnail(&mut self, png: &[u8]) -> Result<(), Error> {
        if !png.starts_with(PNG) {
            return Err(Error::invalid("a thumbnail must be a PNG picture"));
        }
        if png.len() > MAX_THUMBNAIL_BYTES {
            let why = format!("a thumbnail has {} bytes; at most {MAX_THUMBNAIL_BYTES} are allowed", png.len());
            return Err(Error::invalid(why));
        }
        self.transact(|work, _| {
            work.connection
                .prepare_cached(
                    "INSERT INTO thumbnail (id, time, png) VALUES (1, ?1, ?2)
                     ON CONFLICT (id) DO UPDATE SET time = excluded.time, png = excluded.png",
                )?
                .execute(params![steps::now(), png])?;
            Ok(())
        })
    }

    /// The picture for file managers, an encoded PNG; `None` when none has been set.
    pub fn thumbnail(&self) -> Result<Option<Vec<u8>>, Error> {
        read_thumbnail(&self.connection)
    }

    /// The thumbnail of a project that need not be open: reads nothing else, and changes nothing.
    pub fn thumbnail_of(path: impl AsRef<Path>) -> Result<Option<Vec<u8>>, Error> {
        read_thumbnail(&file::open_readable(path.as_ref())?)
    }
}

fn read_thumbnail(connection: &Connection) -> Result<Option<Vec<u8>>, Error> {
    let sql = "SELECT png FROM thumbnail WHERE length(png) <= ?1";
    Ok(connection.query_row(sql, [MAX_THUMBNAIL_BYTES as i64], |row| row.get(0)).optional()?)
}

fn require_room(folder: &Path, needed: u64) -> Result<(), Error> {
    // Where the system does not tell, the disk will: that costs nothing but time.
    match fs4::available_space(folder) {
        Ok(available) if available < needed => Err(Error::NoRoom { folder: folder.into(), needed, available }),
        _ => Ok(()),
    }
}
