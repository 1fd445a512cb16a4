//! The history in the tables `steps`, `step_blobs` and `project`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{from_json, to_json};
use crate::edit::{Edit, Step};
use crate::error::Error;
use crate::id::{BlobId, StepId};

/// The root of the history.
pub(crate) const ROOT: StepId = StepId::from_raw(1);

/// A step without its edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepRow {
    pub id: StepId,
    pub parent: Option<StepId>,
    /// The child to which redo leads.
    pub next: Option<StepId>,
    pub name: String,
    /// Milliseconds since 1970 in UTC.
    pub time: i64,
}

impl StepRow {
    const COLUMNS: &str = "id, parent, next, name, time";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let id = |number: i64| StepId::from_raw(number as u64);
        Ok(Self {
            id: id(row.get(0)?),
            parent: row.get::<_, Option<i64>>(1)?.map(id),
            next: row.get::<_, Option<i64>>(2)?.map(id),
            name: row.get(3)?,
            time: row.get(4)?,
        })
    }

    /// When the step was made. A clock before 1970 reads as 1970.
    pub(crate) fn time(&self) -> SystemTime {
        time(self.time)
    }
}

/// The moment so many milliseconds after 1970 began in UTC; 1970 for negative numbers.
pub(crate) fn time(milliseconds: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// The current step, and the first id not given out yet.
pub(crate) fn position(connection: &Connection) -> Result<(StepId, u64), Error> {
    let position = connection
        .query_row("SELECT head, next_id FROM project", [], |row| {
            Ok((StepId::from_raw(row.get::<_, i64>(0)? as u64), row.get::<_, i64>(1)? as u64))
        })
        .optional()?;
    position.ok_or_else(|| Error::damaged("it has no row that says where its history stands"))
}

pub(crate) fn set_position(connection: &Connection, head: StepId, next_id: u64) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE project SET head = ?1, next_id = ?2")?
        .execute(params![head.get() as i64, next_id as i64])?;
    Ok(())
}

/// Makes the one row of `project`, standing at the root.
pub(crate) fn create_position(connection: &Connection) -> Result<(), Error> {
    connection.execute(
        "INSERT INTO project (id, head, next_id, created, created_by) VALUES (1, ?1, 1, ?2, ?3)",
        params![ROOT.get() as i64, now(), concat!("outframe ", env!("CARGO_PKG_VERSION"))],
    )?;
    Ok(())
}

pub(crate) fn find(connection: &Connection, id: StepId) -> Result<Option<StepRow>, Error> {
    let sql = format!("SELECT {} FROM steps WHERE id = ?1", StepRow::COLUMNS);
    Ok(connection.prepare_cached(&sql)?.query_row(params![id.get() as i64], StepRow::read).optional()?)
}

/// A step that the file itself points to.
pub(crate) fn get(connection: &Connection, id: StepId) -> Result<StepRow, Error> {
    find(connection, id)?.ok_or_else(|| Error::damaged(format!("step {id} of the history is missing")))
}

/// Every step in the order of their making; a parent comes before its children.
pub(crate) fn all(connection: &Connection) -> Result<Vec<StepRow>, Error> {
    let mut query = connection.prepare(&format!("SELECT {} FROM steps ORDER BY id", StepRow::COLUMNS))?;
    let rows = query.query_map([], StepRow::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What the step did.
pub(crate) fn edits(connection: &Connection, id: StepId) -> Result<Vec<Edit>, Error> {
    read_edits(connection, "SELECT edits FROM steps WHERE id = ?1", id)
}

/// What undoes the step, in the order to apply it.
pub(crate) fn inverse(connection: &Connection, id: StepId) -> Result<Vec<Edit>, Error> {
    read_edits(connection, "SELECT inverse FROM steps WHERE id = ?1", id)
}

fn read_edits(connection: &Connection, sql: &str, id: StepId) -> Result<Vec<Edit>, Error> {
    let text: Option<String> =
        connection.prepare_cached(sql)?.query_row(params![id.get() as i64], |row| row.get(0)).optional()?;
    from_json(&text.ok_or_else(|| Error::damaged(format!("step {id} of the history is missing")))?)
}

/// Records a step as the newest child of `parent`, and gives its id and its time in milliseconds since 1970. The blobs
/// that it names must be in the file.
pub(crate) fn insert(
    connection: &Connection,
    parent: Option<StepId>,
    step: &Step,
    inverse: &[Edit],
) -> Result<(StepId, i64), Error> {
    let edits = to_json(&step.edits)?;
    // What cannot be read back must not be acknowledged.
    serde_json::from_str::<Vec<Edit>>(&edits)
        .map_err(|error| Error::invalid(format!("it could not be read back from the file ({error})")))?;
    let time = now();
    connection
        .prepare_cached("INSERT INTO steps (parent, name, time, edits, inverse) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![parent.map(|id| id.get() as i64), step.name, time, edits, to_json(&inverse)?])?;
    let id = StepId::from_raw(connection.last_insert_rowid() as u64);
    if let Some(parent) = parent {
        set_next(connection, parent, id)?;
    }
    record_blobs(connection, id, &step.edits, inverse)?;
    Ok((id, time))
}

pub(crate) fn record_blobs(connection: &Connection, id: StepId, edits: &[Edit], inverse: &[Edit]) -> Result<(), Error> {
    let mut add = connection.prepare_cached("INSERT INTO step_blobs (step, hash) VALUES (?1, ?2)")?;
    for blob in blobs_of(edits, inverse) {
        add.execute(params![id.get() as i64, blob.as_bytes()])?;
    }
    Ok(())
}

/// Makes `child` the step to which redo leads from `parent`.
pub(crate) fn set_next(connection: &Connection, parent: StepId, child: StepId) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE steps SET next = ?2 WHERE id = ?1")?
        .execute(params![parent.get() as i64, child.get() as i64])?;
    Ok(())
}

/// The blobs that must stay in the file as long as the step does.
pub(crate) fn blobs_of(edits: &[Edit], inverse: &[Edit]) -> BTreeSet<BlobId> {
    let mut blobs = BTreeSet::new();
    for edit in edits.iter().chain(inverse) {
        edit.for_each_blob(&mut |blob| {
            blobs.insert(blob);
        });
    }
    blobs
}

/// The blobs recorded for a step.
pub(crate) fn recorded_blobs(connection: &Connection, id: StepId) -> Result<BTreeSet<BlobId>, Error> {
    let mut query = connection.prepare_cached("SELECT hash FROM step_blobs WHERE step = ?1")?;
    let rows = query.query_map(params![id.get() as i64], |row| Ok(BlobId::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many bytes a step's edits and their inverses take.
pub(crate) fn size(connection: &Connection, id: StepId) -> Result<u64, Error> {
    let sql = "SELECT length(CAST(edits AS BLOB)) + length(CAST(inverse AS BLOB)) FROM steps WHERE id = ?1";
    let size: i64 = connection.prepare_cached(sql)?.query_row(params![id.get() as i64], |row| row.get(0))?;
    Ok(size as u64)
}

/// Makes a step the root: it then leads from nothing to its state by `edits`.
pub(crate) fn make_root(connection: &Connection, id: StepId, edits: &[Edit], inverse: &[Edit]) -> Result<(), Error> {
    let number = id.get() as i64;
    connection
        .prepare_cached("UPDATE steps SET parent = NULL, edits = ?2, inverse = ?3 WHERE id = ?1")?
        .execute(params![number, to_json(&edits)?, to_json(&inverse)?])?;
    connection.prepare_cached("DELETE FROM step_blobs WHERE step = ?1")?.execute(params![number])?;
    record_blobs(connection, id, edits, inverse)
}

/// Deletes a step and the names that it has. What refers to it is the caller's concern.
pub(crate) fn delete(connection: &Connection, id: StepId) -> Result<(), Error> {
    for sql in [
        "DELETE FROM step_blobs WHERE step = ?1",
        "DELETE FROM milestones WHERE step = ?1",
        "DELETE FROM steps WHERE id = ?1",
    ] {
        connection.prepare_cached(sql)?.execute(params![id.get() as i64])?;
    }
    Ok(())
}

/// Where redo led to a step that has been deleted, it leads nowhere.
pub(crate) fn clear_lost_ways(connection: &Connection) -> Result<(), Error> {
    connection.execute("UPDATE steps SET next = NULL WHERE next NOT IN (SELECT id FROM steps)", [])?;
    Ok(())
}

/// Blobs that no step names. The present state is what the steps have made: it names no others.
pub(crate) fn unnamed_blobs(connection: &Connection) -> Result<Vec<BlobId>, Error> {
    let mut query = connection.prepare("SELECT hash FROM blobs WHERE hash NOT IN (SELECT hash FROM step_blobs)")?;
    let rows = query.query_map([], |row| Ok(BlobId::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Milliseconds since 1970 in UTC.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
