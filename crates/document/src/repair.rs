//! Examination and repair of project files that may be damaged.
//!
//! A project holds its present state twice: in the tables, and as what its history leads to. And a picture proves by its
//! hash that it is whole, wherever in the file it is found. So most damage can be undone, and all of it can be named.

mod mend;
mod pages;
mod salvage;

use std::path::Path;

use crate::check::{Problem, Report};
use crate::error::Error;
use crate::id::BlobId;
use crate::project::Project;
use crate::store::file;
use crate::store::lock::WriterLock;

/// How much of the picture's present state a repair could save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SavedState {
    /// All of it, from where it lay.
    Whole,
    /// All of it, made anew out of the history.
    Replayed,
    /// What was left of it. Pictures whose place was lost are in a layer "Recovered pictures".
    Partial,
}

/// What a repair saved, and what it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// How much of the present state is there.
    pub state: SavedState,
    /// How many steps of the history are there, on all branches.
    pub steps_kept: u64,
    /// How many steps of the history were found but could not be kept. Steps that left no trace are not counted.
    pub steps_lost: u64,
    /// How many pictures are there.
    pub blobs_kept: u64,
    /// Pictures that were lost. What showed them shows nothing, but has kept its place and how it was made.
    pub blobs_lost: Vec<BlobId>,
    /// What else was lost or is different, for a person to read.
    pub notes: Vec<String>,
}

impl Repaired {
    /// Whether nothing was lost: neither of the picture nor of the history.
    pub fn is_complete(&self) -> bool {
        self.state < SavedState::Partial && self.steps_lost == 0 && self.blobs_lost.is_empty() && self.notes.is_empty()
    }
}

impl Project {
    /// Examines a project file as [`check`](Self::check) does, also when it is too damaged to be opened: that, then, is
    /// what the report says. Changes nothing.
    ///
    /// An `Err` means that there is nothing to examine: no such file, another program's, or a newer version's.
    pub fn diagnose(path: impl AsRef<Path>) -> Result<Report, Error> {
        match Self::open_read_only(path).and_then(|project| project.check()) {
            Err(Error::Damaged { what }) => {
                Ok(Report { problems: vec![Problem::Structure(what)], ..Report::default() })
            }
            other => other,
        }
    }

    /// Makes a new project at `to` out of all that can be read of the one at `damaged`, which is not changed. The new one
    /// passes [`check`](Self::check). It appears complete or not at all.
    ///
    /// [`Error::Damaged`] when nothing can be read, [`Error::Locked`] while the damaged one is being edited,
    /// [`Error::AlreadyExists`] when there is a file at `to`. Takes time in proportion to the size of the file, and for
    /// a while room for two copies of it beside `to`.
    pub fn repair(damaged: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Repaired, Error> {
        let (damaged, to) = (damaged.as_ref(), to.as_ref());
        if !damaged.metadata().map_err(|error| Error::io("open", damaged, error))?.is_file() {
            return Err(Error::NotAProject { path: damaged.into() });
        }
        file::refuse_existing(to)?;
        // In a write-protected folder no lock can be made; there, nobody edits either.
        let _lock = match WriterLock::acquire(damaged) {
            Err(error @ Error::Locked { .. }) => return Err(error),
            other => other.ok(),
        };
        let copies = tempfile::Builder::new()
            .prefix(".outframe-")
            .tempdir_in(file::folder(to))
            .map_err(|error| Error::io("create", to, error))?;
        let copy = copies.path().join("damaged");
        for suffix in ["", "-wal"] {
            let from = file::sibling(damaged, suffix);
            if suffix.is_empty() || from.exists() {
                std::fs::copy(&from, file::sibling(&copy, suffix))
                    .map_err(|error| Error::io("copy", damaged, error))?;
            }
        }
        let temporary = file::temporary_for(to)?;
        let found = salvage::salvage(&copy, &temporary, damaged)?;
        let repaired = mend::mend(&temporary, &found)?;
        let report = Self::open_read_only(&temporary)?.check()?;
        if let Some(problem) = report.problems.first() {
            return Err(Error::damaged(format!(
                "it could not be repaired; what remains is not right either: {problem}"
            )));
        }
        file::put_in_place(temporary, to)?;
        Ok(repaired)
    }
}
