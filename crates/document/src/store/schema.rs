//! The tables, their versions, and the check that a file has exactly them.

use rusqlite::Connection;

use crate::error::Error;

/// The database's `application_id`: "OFM1" in ASCII. With it, `file(1)` and others tell a project from other databases.
pub const APPLICATION_ID: i32 = 0x4f46_4d31;

/// The newest version of the tables that this program reads, and the one it writes (`user_version`).
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The statements that lead from version n to n + 1. Entries are never changed once released: a new project runs them
/// all, so that new and migrated files are the same.
const MIGRATIONS: &[&str] = &[include_str!("schema_v1.sql"), include_str!("schema_v2.sql")];

/// The statements that let a file of version n be read as one of [`SCHEMA_VERSION`] without changing it, from n = 1 on.
const VIEWS: [&str; MIGRATIONS.len() - 1] = [include_str!("view_v1.sql")];

/// Brings the tables from the file's version to [`SCHEMA_VERSION`], all or nothing.
pub(crate) fn migrate(connection: &mut Connection, from: i64) -> Result<(), Error> {
    let pending = usize::try_from(from).ok().and_then(|from| MIGRATIONS.get(from..)).unwrap_or_default();
    if pending.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for statements in pending {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Makes a file of an older version, opened for reading, look like one of [`SCHEMA_VERSION`] to this connection.
pub(crate) fn view(connection: &Connection, version: i64) -> Result<(), Error> {
    let index = usize::try_from(version - 1).ok();
    match index.and_then(|index| VIEWS.get(index)) {
        Some(statements) => Ok(connection.execute_batch(statements)?),
        None => Ok(()),
    }
}

/// Refuses a file whose tables are not exactly those of `version`: with triggers, views or altered constraints of
/// another's making, writing to it would do things that this program does not expect.
pub(crate) fn verify(connection: &Connection, version: i64) -> Result<(), Error> {
    let blank = Connection::open_in_memory()?;
    let known = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(..version)).unwrap_or_default();
    for statements in known {
        blank.execute_batch(statements)?;
    }
    if definitions(connection)? == definitions(&blank)? {
        Ok(())
    } else {
        Err(Error::damaged("its tables are not those of an Outframe project"))
    }
}

fn definitions(connection: &Connection) -> Result<Vec<(String, String, Option<String>)>, Error> {
    // `sqlite_stat*` come from ANALYZE, which any tool may run without harm.
    let mut query = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' ORDER BY type, name",
    )?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_tables_are_noticed() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0).unwrap();
        verify(&connection, SCHEMA_VERSION).unwrap();
        connection.execute_batch("ANALYZE").unwrap();
        verify(&connection, SCHEMA_VERSION).unwrap();
        connection.execute_batch("CREATE TRIGGER sly AFTER INSERT ON steps BEGIN DELETE FROM layers; END").unwrap();
        assert!(matches!(verify(&connection, SCHEMA_VERSION), Err(Error::Damaged { .. })));
    }
}
