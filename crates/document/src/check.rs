//! The examination of a whole project file.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use rusqlite::Connection;

use crate::document::Document;
use crate::edit::Edit;
use crate::error::Error;
use crate::id::{BlobId, StepId};
use crate::store::{blobs, rows, steps};

/// What an examination of a project file found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is wrong; empty when all is well.
    pub problems: Vec<Problem>,
    /// How many blobs were read and compared with their hashes.
    pub blobs: u64,
    /// How many bytes these have together.
    pub blob_bytes: u64,
    /// How many steps of the history, on all branches, were replayed and undone.
    pub steps: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something wrong with a project file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The database contradicts itself.
    Structure(String),
    /// A blob's bytes are not those that were put in.
    Blob(BlobId),
    /// A step of the history cannot be replayed or undone exactly.
    History(StepId, String),
    /// The state in the tables is not what the history leads to, or not what is in memory.
    State(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(what) => write!(f, "database: {what}"),
            Self::Blob(id) => write!(f, "picture {id}: its bytes have changed"),
            Self::History(step, what) => write!(f, "step {step} of the history: {what}"),
            Self::State(what) => write!(f, "present state: {what}"),
        }
    }
}

/// How many complaints of the database about itself are reported.
const MOST_STRUCTURE_PROBLEMS: u32 = 100;

pub(crate) fn examine(connection: &Connection, document: &Document, head: StepId) -> Result<Report, Error> {
    // One transaction, so that all is read from one moment.
    let transaction = connection.unchecked_transaction()?;
    let mut report = Report::default();
    // Damage found in one part does not keep the others from being examined.
    let result = structure(&transaction, &mut report);
    note_damage(result, &mut report)?;
    let result = all_blobs(&transaction, &mut report);
    note_damage(result, &mut report)?;
    let result = state(&transaction, document, head, &mut report);
    note_damage(result, &mut report)?;
    let result = history(&transaction, document, head, &mut report);
    note_damage(result, &mut report)?;
    Ok(report)
}

fn note_damage(result: Result<(), Error>, report: &mut Report) -> Result<(), Error> {
    if let Err(Error::Damaged { what }) = result {
        report.problems.push(Problem::Structure(what));
        return Ok(());
    }
    result
}

fn structure(connection: &Connection, report: &mut Report) -> Result<(), Error> {
    let mut query = connection.prepare(&format!("PRAGMA integrity_check({MOST_STRUCTURE_PROBLEMS})"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            report.problems.push(Problem::Structure(line));
        }
    }
    let mut query = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (table, target): (String, String) = (row.get(0)?, row.get(2)?);
        report.problems.push(Problem::Structure(format!("a row of {table} refers to one that {target} lacks")));
    }
    Ok(())
}

fn all_blobs(connection: &Connection, report: &mut Report) -> Result<(), Error> {
    let mut query = connection.prepare("SELECT hash FROM blobs ORDER BY hash")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = BlobId::from_bytes(row.get(0)?);
        match blobs::read(connection, id) {
            Ok(bytes) => report.blob_bytes += bytes.len() as u64,
            Err(Error::DamagedBlob { .. } | Error::Damaged { .. }) => report.problems.push(Problem::Blob(id)),
            Err(error) => return Err(error),
        }
        report.blobs += 1;
    }
    Ok(())
}

fn state(connection: &Connection, document: &Document, head: StepId, report: &mut Report) -> Result<(), Error> {
    // A reader keeps the state of when it opened the file; only at the same step must the two agree.
    if steps::position(connection)?.0 == head && rows::load(connection)? != *document {
        report.problems.push(Problem::State("the file and the open document differ".into()));
    }
    Ok(())
}

/// Walks the whole tree from the root, making each step on the way down and undoing it on the way back.
fn history(connection: &Connection, document: &Document, head: StepId, report: &mut Report) -> Result<(), Error> {
    let next_id = steps::position(connection)?.1;
    let mut children: HashMap<StepId, Vec<StepId>> = HashMap::new();
    let mut known = BTreeSet::new();
    let mut root = None;
    for step in steps::all(connection)? {
        match step.parent {
            Some(parent) if known.contains(&parent) => children.entry(parent).or_default().push(step.id),
            None if root.is_none() => root = Some(step.id),
            _ => report.problems.push(Problem::History(step.id, "it is not part of the tree".into())),
        }
        known.insert(step.id);
    }

    let mut replayed = Document::default();
    let Some(root) = root else {
        report.problems.push(Problem::Structure("the history has no root".into()));
        return Ok(());
    };
    let mut ahead = vec![(root, true)];
    while let Some((step, down)) = ahead.pop() {
        let edits = if down { steps::edits(connection, step)? } else { steps::inverse(connection, step)? };
        let inverse = match replayed.apply_all(&edits) {
            Ok(inverse) => inverse,
            Err(error) => {
                let what = if down { "cannot be made" } else { "cannot be undone" };
                report.problems.push(Problem::History(step, format!("it {what}: {error}")));
                if down {
                    continue;
                }
                // Nothing beyond this point would be told from consequences of this.
                return Ok(());
            }
        };
        if !down {
            continue;
        }
        report.steps += 1;
        examine_step(connection, step, &edits, &inverse, next_id, report)?;
        if step == head && replayed != *document {
            report.problems.push(Problem::State("it is not what the history leads to".into()));
        }
        ahead.push((step, false));
        ahead.extend(children.remove(&step).into_iter().flatten().rev().map(|child| (child, true)));
    }
    if replayed != Document::default() {
        report.problems.push(Problem::History(root, "undoing everything leaves something behind".into()));
    }
    Ok(())
}

fn examine_step(
    connection: &Connection,
    step: StepId,
    edits: &[Edit],
    inverse: &[Edit],
    next_id: u64,
    report: &mut Report,
) -> Result<(), Error> {
    let mut problem = |what: &str| report.problems.push(Problem::History(step, what.into()));
    if steps::inverse(connection, step)? != inverse {
        problem("its stored inverse does not undo it");
    }
    if steps::recorded_blobs(connection, step)? != steps::blobs_of(edits, inverse) {
        problem("its list of pictures is wrong");
    }
    if edits.iter().map(Edit::greatest_new_id).max().unwrap_or(0) >= next_id {
        problem("it uses an id that was not given out yet");
    }
    Ok(())
}
