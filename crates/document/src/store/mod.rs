//! The `.outframe` file: one SQLite database. `docs/file-format.md` describes it for other programs.

pub(crate) mod blobs;
pub(crate) mod file;
pub(crate) mod lock;
pub(crate) mod rank;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod steps;
