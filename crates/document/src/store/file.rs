//! Making, opening and closing the database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempPath;

use super::schema::{self, APPLICATION_ID, SCHEMA_VERSION};
use crate::error::Error;

/// How long to wait for another connection that is in the middle of writing or recovering.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// After a checkpoint the write-ahead log is cut to this size, in bytes.
const LOG_LIMIT: i64 = 16 << 20;

/// `picture.outframe` and `-wal` give `picture.outframe-wal`: files beside the project are named as SQLite does.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The folder that holds `path`.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The size of a database and of its log, in bytes.
pub(crate) fn size_on_disk(path: &Path) -> Result<u64, Error> {
    let size = |path: &Path| path.metadata().map(|found| found.len());
    let main = size(path).map_err(|error| Error::io("read the size of", path, error))?;
    Ok(main + size(&sibling(path, "-wal")).unwrap_or(0))
}

/// Refuses to put a new file where one is, or where the log of a vanished one lies: SQLite would play that log into
/// the new file.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Error> {
    for taken in [path.to_path_buf(), sibling(path, "-wal"), sibling(path, "-journal")] {
        // Unlike `exists`, this sees a link that leads nowhere.
        if taken.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists { path: taken });
        }
    }
    Ok(())
}

/// An empty file beside `path`, to be filled and then moved there by [`put_in_place`].
pub(crate) fn temporary_for(path: &Path) -> Result<TempPath, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".outframe-").suffix(".tmp");
    // Readable for whom the user's other new files are, not only for the user.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder(path)).map_err(|error| Error::io("create", path, error))?;
    Ok(file.into_temp_path())
}

/// Writes the finished temporary file through to the disk and gives it its name, unless that has been taken.
pub(crate) fn put_in_place(temporary: TempPath, path: &Path) -> Result<(), Error> {
    let sync = |what: &Path| std::fs::OpenOptions::new().write(true).open(what).and_then(|file| file.sync_all());
    sync(&temporary).map_err(|error| Error::io("write", path, error))?;
    temporary.persist_noclobber(path).map_err(|error| Error::io("create", path, error.error))?;
    // The name, too, must survive a power loss. Not every system lets a folder be opened for that.
    if let Ok(folder) = std::fs::File::open(folder(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Makes the tables in an empty file, fills them by `fill`, and closes it.
pub(crate) fn initialise(
    path: &Path,
    fill: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    schema::migrate(&mut connection, 0)?;
    let transaction = connection.transaction()?;
    fill(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Opens a project for writing. The writer's lock must be held.
pub(crate) fn open_writable(path: &Path) -> Result<Connection, Error> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = identify(&connection, path)?;
    // SQLite opens what it may not write as read-only, without a word.
    if connection.is_readonly("main")? {
        return Err(Error::ReadOnly { why: format!("{} is write-protected", path.display()) });
    }
    schema::verify(&connection, version)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    schema::migrate(&mut connection, version)?;
    Ok(connection)
}

/// Opens a project for reading only, also beside a writer.
pub(crate) fn open_readable(path: &Path) -> Result<Connection, Error> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let version = identify(&connection, path)?;
    schema::verify(&connection, version)?;
    schema::view(&connection, version)?;
    Ok(connection)
}

/// Ends reading the state with an error when it takes more work than the rows that such a file can hold: tables that have
/// been damaged, or made, to lead back into themselves would be read for ever.
pub(crate) fn limit_work(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    /// So many of the database's instructions are between two looks at the limit.
    const SOME: i32 = 100_000;
    let length = size_on_disk(path)?;
    // A row takes some ten bytes at least, and some fifty instructions; and the limit is of no concern to small files.
    let mut left = 500 + length.saturating_mul(5) / SOME as u64;
    let stop = move || {
        left = left.saturating_sub(1);
        left == 0
    };
    Ok(connection.progress_handler(SOME, Some(stop))?)
}

/// Undoes [`limit_work`].
pub(crate) fn lift_limit(connection: &mut Connection) -> Result<(), Error> {
    Ok(connection.progress_handler(0, None::<fn() -> bool>)?)
}

/// Leaves a lone file behind: the log is played into it and removed. A reader elsewhere keeps the log alive; then that
/// is left to the next one who closes.
pub(crate) fn tidy(connection: &Connection) -> Result<(), Error> {
    let busy = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
    connection.busy_timeout(Duration::from_millis(100))?;
    match connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())) {
        Err(error) if !busy(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let kind = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
    if !kind.is_file() {
        return Err(Error::NotAProject { path: path.into() });
    }
    let connection = match Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            let source = std::io::Error::other("the system does not let this program read it");
            return Err(Error::Io { what: "open", path: path.into(), source });
        }
        other => other?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Whether this is a project at all, and of which version.
fn identify(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = match number("application_id") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(Error::NotAProject { path: path.into() });
        }
        // Reading a log takes an index beside it, which SQLite must be able to write.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && sibling(path, "-wal").exists() => {
            let why = format!(
                "{} was not closed the last time, and its folder is write-protected; copy it with its -wal file elsewhere",
                path.display()
            );
            return Err(Error::ReadOnly { why });
        }
        other => other?,
    };
    if application != i64::from(APPLICATION_ID) {
        return Err(Error::NotAProject { path: path.into() });
    }
    let version = number("user_version")?;
    if version > SCHEMA_VERSION {
        return Err(Error::Newer { path: path.into(), found: version, supported: SCHEMA_VERSION });
    }
    if version < 1 {
        return Err(Error::damaged(format!("its version, {version}, is none")));
    }
    Ok(version)
}

/// Writes a compact copy of the whole database, as it is at this moment, into an empty file.
pub(crate) fn copy_into(connection: &Connection, empty: &Path) -> Result<(), Error> {
    let name = empty
        .to_str()
        .ok_or_else(|| Error::ReadOnly { why: format!("the name {} is not valid Unicode", empty.display()) })?;
    connection.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_without_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        limit_work(&mut connection, &path).unwrap();
        let endless = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
        let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(matches!(Error::from(error), Error::Damaged { .. }));
        lift_limit(&mut connection).unwrap();
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    }
}
