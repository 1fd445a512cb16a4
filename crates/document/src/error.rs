//! What can go wrong with a document or its file.

use std::path::PathBuf;

use crate::BlobId;

/// Why an operation on a project failed. Messages say what happened, what it means and what to do.
///
/// After any error from [`Project`](crate::Project) the file and the document are as they were before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is something else: a picture, a text, another program's database, or empty.
    #[error("{} is not an Outframe project. Choose a file that Outframe has made, or import it as a picture.", path.display())]
    NotAProject {
        /// The file that was to be opened.
        path: PathBuf,
    },
    /// A newer Outframe has written the file. It was not touched.
    #[error(
        "{} was made by a newer Outframe (file version {found}; this one reads up to {supported}). It was left untouched; \
         update Outframe to open it.", path.display()
    )]
    Newer {
        /// The file that was to be opened.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version that this program reads.
        supported: i64,
    },
    /// The file contradicts itself or cannot be read in full.
    #[error("The project file is damaged: {what}. Work on a copy, and open the latest backup if the copy fails too.")]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
    /// The bytes stored for a picture are not those that were put in.
    #[error(
        "A picture in the project file is damaged (blob {id}): its bytes have changed. The other pictures are not affected."
    )]
    DamagedBlob {
        /// The blob whose bytes no longer match their hash.
        id: BlobId,
    },
    /// The project holds no blob of this name.
    #[error("The project holds no picture {id}.")]
    NoSuchBlob {
        /// The blob that was asked for.
        id: BlobId,
    },
    /// Another window or program is editing the project.
    #[error("{} is being edited by {}. Close it there, or open it read-only here.", path.display(), by.as_deref().unwrap_or("another program"))]
    Locked {
        /// The project file.
        path: PathBuf,
        /// Who edits it, such as "process 4711", where known.
        by: Option<String>,
    },
    /// The project, its file or its folder cannot be written.
    #[error("The project cannot be changed: {why}. Save a copy where you may write, and continue there.")]
    ReadOnly {
        /// What cannot be written.
        why: String,
    },
    /// There is no room left where the project lies. What was tried was not done; nothing else is lost.
    #[error(
        "The disk is full. What was just tried was not done; everything before it is safe. Free some space and try again."
    )]
    DiskFull,
    /// What was tried needs more room for a while than there is. Nothing was changed.
    #[error(
        "There is not enough room in {} for this: it takes {} MB for a while, and {} MB are free. Free some space and try again.",
        folder.display(), needed.div_ceil(1_000_000), available / 1_000_000
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// How many bytes it takes.
        needed: u64,
        /// How many bytes are free there.
        available: u64,
    },
    /// There is no such file.
    #[error("{} does not exist. It may have been moved or renamed.", path.display())]
    NotFound {
        /// The file that was to be opened.
        path: PathBuf,
    },
    /// There is such a file already, and it is not overwritten.
    #[error("{} exists already. Choose another name, or move that file away first.", path.display())]
    AlreadyExists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The edit does not fit the document, or holds values out of range. Nothing was changed.
    #[error("This change cannot be made: {why}.")]
    InvalidEdit {
        /// What does not fit.
        why: String,
    },
    /// The operating system refused to read or write.
    #[error("Could not {what} {}: {source}", path.display())]
    Io {
        /// What was tried, such as "create".
        what: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database refused, for a reason without a variant of its own.
    #[error("The project file could not be read or written: {0}. The last change was not made; try it again.")]
    Sqlite(#[source] rusqlite::Error),
}

impl Error {
    /// An [`Error::InvalidEdit`].
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::InvalidEdit { why: why.into() }
    }

    /// An [`Error::Damaged`].
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// What the operating system said, as the variant that tells the user what to do.
    pub(crate) fn io(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.to_path_buf();
        match source.kind() {
            ErrorKind::NotFound => Self::NotFound { path },
            ErrorKind::AlreadyExists => Self::AlreadyExists { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { why: format!("could not {what} {}: {source}", path.display()) }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io { what, path, source },
        }
    }

    /// The same error where it came up while reading what the file holds: there, an edit that does not fit means damage.
    pub(crate) fn in_file(self, place: &str) -> Self {
        match self {
            Self::InvalidEdit { why } => Self::damaged(format!("{place}: {why}")),
            other => other,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        use rusqlite::ffi;
        match &error {
            rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
                // The shared-memory index is the one file that SQLite grows without saying "full" when it cannot.
                ErrorCode::DiskFull => Self::DiskFull,
                _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::DiskFull,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    Self::damaged(message.clone().unwrap_or_else(|| failure.to_string()))
                }
                ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                    Self::ReadOnly { why: "the file or its folder is write-protected".into() }
                }
                // Only reading the state has a limit, which no sound file reaches.
                ErrorCode::OperationInterrupted => Self::damaged("its tables lead back into themselves"),
                ErrorCode::TooBig => Self::invalid("it is too large to be stored"),
                _ => Self::Sqlite(error),
            },
            // A column of another type than documented: the file was not written by this program.
            rusqlite::Error::InvalidColumnType(_, column, found) => {
                Self::damaged(format!("column {column} holds a value of type {found}"))
            }
            // Only rows that every project has are asked for in this way.
            rusqlite::Error::QueryReturnedNoRows => Self::damaged("a row that every project has is missing"),
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}
