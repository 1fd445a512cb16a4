//! The `blobs` table: encoded pictures by the hash of their bytes.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;
use crate::id::BlobId;

pub(crate) fn exists(connection: &Connection, id: BlobId) -> Result<bool, Error> {
    Ok(connection.prepare_cached("SELECT 1 FROM blobs WHERE hash = ?1")?.exists(params![id.as_bytes()])?)
}

pub(crate) fn insert(connection: &Connection, id: BlobId, media_type: &str, bytes: &[u8]) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO blobs (hash, media_type, size, bytes) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id.as_bytes(), media_type, bytes.len() as i64, bytes])?;
    Ok(())
}

pub(crate) fn delete(connection: &Connection, id: BlobId) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM blobs WHERE hash = ?1")?.execute(params![id.as_bytes()])?;
    Ok(())
}

/// The bytes, which are those that were put in: a changed byte is an [`Error::DamagedBlob`].
pub(crate) fn read(connection: &Connection, id: BlobId) -> Result<Vec<u8>, Error> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT bytes FROM blobs WHERE hash = ?1")?
        .query_row(params![id.as_bytes()], |row| row.get(0))
        .optional()?;
    let bytes = bytes.ok_or(Error::NoSuchBlob { id })?;
    if BlobId::of(&bytes) == id { Ok(bytes) } else { Err(Error::DamagedBlob { id }) }
}

/// The media type and the number of bytes, without reading the bytes.
pub(crate) fn describe(connection: &Connection, id: BlobId) -> Result<(String, u64), Error> {
    connection
        .prepare_cached("SELECT media_type, size FROM blobs WHERE hash = ?1")?
        .query_row(params![id.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
        .optional()?
        .ok_or(Error::NoSuchBlob { id })
}
