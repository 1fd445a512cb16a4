//! From a damaged file into a fresh one: every row that can be read, as it is.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, params, params_from_iter};

use super::pages::{self, Kind, Value};
use crate::error::Error;
use crate::id::BlobId;
use crate::store::file;
use crate::store::schema::{self, APPLICATION_ID, SCHEMA_VERSION};

/// The tables, and by what their rows are in order. `step_blobs` is made anew.
const TABLES: [(&str, &str); 18] = [
    ("blobs", "rowid"),
    ("steps", "rowid"),
    ("project", "rowid"),
    ("milestones", "name"),
    ("thumbnail", "rowid"),
    ("meta", "key"),
    ("layer_groups", "rowid"),
    ("layers", "rowid"),
    ("masks", "rowid"),
    ("generations", "rowid"),
    ("takes", "rowid"),
    ("patches", "rowid"),
    ("frames", "rowid"),
    ("shots", "rowid"),
    ("sequences", "rowid"),
    ("sequence_shots", "sequence"),
    ("notes", "rowid"),
    ("models", "hash"),
];
/// What a version 1 file does not have.
const SINCE_VERSION_2: [&str; 9] =
    ["milestones", "thumbnail", "layer_groups", "masks", "shots", "sequences", "sequence_shots", "notes", "models"];

/// What could be read.
pub(super) struct Salvaged {
    /// Tables that could not be read in full.
    pub broken: BTreeSet<&'static str>,
}

/// Reads the damaged file at `copy`, which may be changed by that, into the empty file at `fresh`. `original` is its name
/// for messages.
pub(super) fn salvage(copy: &Path, fresh: &Path, original: &Path) -> Result<Salvaged, Error> {
    let mut out =
        Connection::open_with_flags(fresh, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // If this process ends early the file is thrown away.
    out.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    out.pragma_update(None, "synchronous", "OFF")?;
    out.pragma_update(None, "application_id", APPLICATION_ID)?;
    schema::migrate(&mut out, 0)?;
    out.pragma_update(None, "foreign_keys", false)?;
    out.pragma_update(None, "ignore_check_constraints", true)?;
    let length = file::size_on_disk(copy)?;

    let mut broken: BTreeSet<&'static str> = TABLES.iter().map(|(name, _)| *name).collect();
    if let Some((source, version)) = open(copy, original)? {
        for (table, order) in TABLES {
            if version < 2 && SINCE_VERSION_2.contains(&table) {
                broken.remove(table);
                continue;
            }
            let transaction = out.unchecked_transaction()?;
            if copy_table(&source, &transaction, table, order, length)? {
                broken.remove(table);
            }
            transaction.commit()?;
        }
    }
    if ["blobs", "steps", "project"].iter().any(|table| broken.contains(table)) {
        let transaction = out.unchecked_transaction()?;
        scan_pages(copy, &transaction)?;
        transaction.commit()?;
    }
    let found: i64 =
        out.query_row("SELECT (SELECT count(*) FROM steps) + (SELECT count(*) FROM blobs)", [], |row| row.get(0))?;
    if found == 0 && broken.contains("steps") {
        return Err(Error::damaged("nothing of it can be read"));
    }
    out.close().map_err(|(_, error)| error)?;
    Ok(Salvaged { broken })
}

/// The damaged database and its version, if it can be opened at all. Another program's file, and a newer one, are refused.
fn open(copy: &Path, original: &Path) -> Result<Option<(Connection, i64)>, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(source) = Connection::open_with_flags(copy, flags) else { return Ok(None) };
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let number = |name: &str| source.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (Ok(application), Ok(version)) = (number("application_id"), number("user_version")) else { return Ok(None) };
    // Four damaged bytes do not make it another's file if it has our tables.
    let ours = || {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('blobs', 'steps', 'project')";
        source.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 3)
    };
    if application != i64::from(APPLICATION_ID) && !ours() {
        return Err(Error::NotAProject { path: original.into() });
    }
    // Likewise a version that no Outframe will have for long is damage.
    if version > SCHEMA_VERSION && version < 1000 {
        return Err(Error::Newer { path: original.into(), found: version, supported: SCHEMA_VERSION });
    }
    Ok(Some((source, version)))
}

/// Copies what can be read of a table from its beginning and from its end. Gives whether that was all. `length` is the
/// size of the file and of its log in bytes.
fn copy_table(source: &Connection, out: &Connection, table: &str, order: &str, length: u64) -> Result<bool, Error> {
    // Not a view or a virtual table of that name, which could be anything.
    let sql =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1 AND sql NOT LIKE 'CREATE VIRTUAL%'";
    if !source.query_row(sql, [table], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 1) {
        return Ok(false);
    }
    let mut names: Vec<String> = {
        let statement = out.prepare(&format!("SELECT * FROM {table}"))?;
        statement.column_names().map(str::to_owned).collect()
    };
    // The damaged file is asked for its columns by our names: its own may be no text at all.
    let readable = |names: &[String]| source.prepare(&format!("SELECT {} FROM {table}", names.join(", "))).is_ok();
    if !readable(&names) {
        // What version 2 has added to a table of version 1.
        names.retain(|name| name != "group_id");
        if !readable(&names) {
            return Ok(false);
        }
    }
    let columns = names.join(", ");
    let mut whole = true;
    for direction in ["ASC", "DESC"] {
        // Not by an index, which may be damaged where the table is not.
        let sql = format!("SELECT {columns} FROM {table} NOT INDEXED ORDER BY {order} {direction}");
        let Ok(mut query) = source.prepare(&sql) else { return Ok(false) };
        let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({})", places.join(", "));
        let mut insert = out.prepare(&sql)?;
        whole = true;
        let Ok(mut rows) = query.query([]) else { return Ok(false) };
        // A table that leads back into itself gives more than the file can hold.
        let mut bytes = 0_u64;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) if bytes <= length => row,
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    whole = false;
                    break;
                }
            };
            // No row takes less.
            bytes += 4;
            let values = (0..names.len()).map(|column| row.get_ref(column)).collect::<Result<Vec<_>, _>>();
            let Ok(values) = values else {
                whole = false;
                continue;
            };
            bytes += values.iter().map(|value| stored_bytes(*value)).sum::<u64>();
            insert.execute(params_from_iter(values.into_iter().map(Borrowed)))?;
        }
        if whole {
            break;
        }
    }
    Ok(whole)
}

fn stored_bytes(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

/// A value on its way from one database to the other.
struct Borrowed<'a>(ValueRef<'a>);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// Adds the blobs, the steps and the row of `project` that lie somewhere in the file.
fn scan_pages(copy: &Path, out: &Connection) -> Result<(), Error> {
    let integer_or_null = |kind: &Kind| matches!(kind, Kind::Integer | Kind::Null);
    let wanted = |kinds: &[Kind]| match kinds {
        [Kind::Blob(32), Kind::Text, Kind::Integer, Kind::Blob(_)] => true,
        [Kind::Null, parent, next, Kind::Text, Kind::Integer, Kind::Text, Kind::Text] => {
            integer_or_null(parent) && integer_or_null(next)
        }
        [Kind::Null, Kind::Integer, Kind::Integer, Kind::Integer, Kind::Text, background] => {
            integer_or_null(background)
        }
        _ => false,
    };
    let mut result = Ok(());
    let read = pages::scan(copy, wanted, |row, values| {
        if result.is_ok() {
            result = keep(out, row, &values);
        }
    });
    result?;
    // A disk that cannot be read any further is damage like any other.
    drop(read);
    Ok(())
}

fn keep(out: &Connection, row: i64, values: &[Value]) -> Result<(), Error> {
    let number = |value: &Value| match value {
        Value::Integer(number) => Some(*number),
        _ => None,
    };
    match values {
        [Value::Blob(hash), Value::Text(media_type), _, Value::Blob(bytes)] => {
            let id = BlobId::of(bytes);
            if id.as_bytes() == hash.as_slice() {
                // What lies under this name already may be the damaged one.
                let known = crate::store::blobs::read(out, id);
                if matches!(known, Err(Error::DamagedBlob { .. })) {
                    crate::store::blobs::delete(out, id)?;
                }
                crate::store::blobs::insert(out, id, media_type, bytes)?;
            }
        }
        [_, parent, next, Value::Text(name), Value::Integer(time), Value::Text(edits), Value::Text(inverse)] => {
            out.prepare_cached("INSERT OR IGNORE INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
                row,
                number(parent),
                number(next),
                name,
                time,
                edits,
                inverse
            ])?;
        }
        [_, Value::Integer(head), Value::Integer(next_id), Value::Integer(created), Value::Text(by), background] => {
            out.prepare_cached("INSERT OR IGNORE INTO project VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
                1,
                head,
                next_id,
                created,
                by,
                number(background)
            ])?;
        }
        _ => {}
    }
    Ok(())
}
