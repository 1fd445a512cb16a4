//! A document together with its file.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::check::Report;
use crate::document::Document;
use crate::edit::{Edit, Step};
use crate::error::Error;
use crate::history::StepInfo;
use crate::id::{BlobId, FrameId, GenerationId, GroupId, LayerId, NoteId, PatchId, SequenceId, ShotId, StepId, TakeId};
use crate::store::lock::WriterLock;
use crate::store::steps::StepRow;
use crate::store::{blobs, file, rows, steps};
use crate::validate;

mod history;
mod upkeep;

pub(crate) use history::Root;
pub use upkeep::Compacted;

/// An open project: a [`Document`], its history, and the `.outframe` file that holds both.
///
/// Each change is on the disk when the call that makes it returns; there is nothing to save. A killed process or a power
/// failure costs at most the change whose call had not returned. When a call fails, neither the file nor the document
/// has changed.
///
/// Calls block while the disk works: an application makes them from a thread that may wait.
#[derive(Debug)]
pub struct Project {
    path: PathBuf,
    document: Document,
    /// The current step.
    head: StepRow,
    /// The step that redo would make the current one.
    redo: Option<StepRow>,
    /// The first id not given out yet.
    next_id: u64,
    /// Blobs that no step has named so far; they reach the file together with the step that does.
    pending: BTreeMap<BlobId, PendingBlob>,
    closed: bool,
    // Fields drop in order: the database must be closed before the lock is let go.
    connection: Connection,
    /// `None` when read-only.
    lock: Option<WriterLock>,
}

#[derive(Debug)]
struct PendingBlob {
    media_type: String,
    bytes: Vec<u8>,
}

impl Project {
    /// Makes a new project and opens it for writing. `title` goes into the project's notes; it may be empty.
    ///
    /// The file appears complete or not at all. [`Error::AlreadyExists`] when there is one of that name, or the leftover
    /// log of one.
    pub fn create(path: impl AsRef<Path>, title: &str) -> Result<Self, Error> {
        let path = path.as_ref();
        file::refuse_existing(path)?;
        let mut root = Step::new("New project", Vec::new());
        if !title.is_empty() {
            root.edits.push(Edit::SetMeta { key: "title".into(), value: Some(title.into()) });
        }
        let temporary = file::temporary_for(path)?;
        file::initialise(&temporary, |transaction| {
            let mut document = Document::default();
            let inverse = document.apply_all(&root.edits)?;
            let (id, _) = steps::insert(transaction, None, &root, &inverse)?;
            debug_assert_eq!(id, steps::ROOT, "the first row of an empty table");
            steps::create_position(transaction)?;
            root.edits.iter().try_for_each(|edit| rows::write(transaction, &document, edit))
        })?;
        file::put_in_place(temporary, path)?;
        Self::open(path)
    }

    /// Opens a project for writing.
    ///
    /// [`Error::Locked`] while another process, or another `Project` of this one, has it open for writing;
    /// [`Error::ReadOnly`] where the file or its folder cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if !path.metadata().map_err(|error| Error::io("open", path, error))?.is_file() {
            return Err(Error::NotAProject { path: path.into() });
        }
        let lock = WriterLock::acquire(path)?;
        let connection = file::open_writable(path)?;
        Self::load(path, connection, Some(lock))
    }

    /// Opens a project for reading, also while another process writes it. The document stays as it was at that moment.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let connection = file::open_readable(path)?;
        Self::load(path, connection, None)
    }

    fn load(path: &Path, mut connection: Connection, lock: Option<WriterLock>) -> Result<Self, Error> {
        file::limit_work(&mut connection, path)?;
        // One transaction, so that all is read from one moment.
        let transaction = connection.unchecked_transaction()?;
        let document = rows::load(&transaction)?;
        let (head, next_id) = steps::position(&transaction)?;
        let head = steps::get(&transaction, head)?;
        let redo = head.next.map(|next| steps::get(&transaction, next)).transpose()?;
        transaction.finish()?;
        file::lift_limit(&mut connection)?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let pending = BTreeMap::new();
        Ok(Self { path, document, head, redo, next_id, pending, closed: false, connection, lock })
    }

    /// Where the file lies, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The project's present state.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Whether changes are refused because the project was opened by [`open_read_only`](Self::open_read_only).
    pub fn is_read_only(&self) -> bool {
        self.lock.is_none()
    }

    /// An id for a new layer. Ids are not given out twice, except that those which no step has used are forgotten when
    /// the project closes.
    pub fn next_layer_id(&mut self) -> LayerId {
        LayerId::from_raw(self.next_id())
    }

    /// An id for a new patch.
    pub fn next_patch_id(&mut self) -> PatchId {
        PatchId::from_raw(self.next_id())
    }

    /// An id for a new generation.
    pub fn next_generation_id(&mut self) -> GenerationId {
        GenerationId::from_raw(self.next_id())
    }

    /// An id for a new take.
    pub fn next_take_id(&mut self) -> TakeId {
        TakeId::from_raw(self.next_id())
    }

    /// An id for a new frame.
    pub fn next_frame_id(&mut self) -> FrameId {
        FrameId::from_raw(self.next_id())
    }

    /// An id for a new group.
    pub fn next_group_id(&mut self) -> GroupId {
        GroupId::from_raw(self.next_id())
    }

    /// An id for a new shot.
    pub fn next_shot_id(&mut self) -> ShotId {
        ShotId::from_raw(self.next_id())
    }

    /// An id for a new sequence.
    pub fn next_sequence_id(&mut self) -> SequenceId {
        SequenceId::from_raw(self.next_id())
    }

    /// An id for a new note.
    pub fn next_note_id(&mut self) -> NoteId {
        NoteId::from_raw(self.next_id())
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        id
    }

    /// Hands over a picture's encoded bytes, or any others, for a later [`apply`](Self::apply) to refer to. The same
    /// bytes are kept once.
    ///
    /// They are held in memory until a step refers to them, and committed together with it: bytes that no step wants
    /// never reach the file. At most [`MAX_BLOB_BYTES`](crate::MAX_BLOB_BYTES).
    pub fn put_blob(&mut self, bytes: &[u8], media_type: &str) -> Result<BlobId, Error> {
        self.check_writable()?;
        validate::name(media_type).map_err(Error::invalid)?;
        if bytes.len() > validate::MAX_BLOB_BYTES {
            let why = format!("a picture has {} bytes; at most {} are allowed", bytes.len(), validate::MAX_BLOB_BYTES);
            return Err(Error::invalid(why));
        }
        let id = BlobId::of(bytes);
        if !self.pending.contains_key(&id) && !blobs::exists(&self.connection, id)? {
            self.pending.insert(id, PendingBlob { media_type: media_type.into(), bytes: bytes.into() });
        }
        Ok(id)
    }

    /// Frees the memory of blobs that were put in and that no step has referred to, such as those of a cancelled job.
    pub fn discard_pending_blobs(&mut self) {
        self.pending.clear();
    }

    /// A blob's bytes, exactly as they were put in: [`Error::DamagedBlob`] when the file has changed them,
    /// [`Error::NoSuchBlob`] when there is none.
    pub fn blob(&self, id: &BlobId) -> Result<Vec<u8>, Error> {
        match self.pending.get(id) {
            Some(pending) => Ok(pending.bytes.clone()),
            None => blobs::read(&self.connection, *id),
        }
    }

    /// How many bytes a blob has, without reading them.
    pub fn blob_size(&self, id: &BlobId) -> Result<u64, Error> {
        match self.pending.get(id) {
            Some(pending) => Ok(pending.bytes.len() as u64),
            None => Ok(blobs::describe(&self.connection, *id)?.1),
        }
    }

    /// A blob's media type as it was put in, such as "image/png".
    pub fn blob_media_type(&self, id: &BlobId) -> Result<String, Error> {
        match self.pending.get(id) {
            Some(pending) => Ok(pending.media_type.clone()),
            None => Ok(blobs::describe(&self.connection, *id)?.0),
        }
    }

    /// Makes the step's edits in order, all or none, and commits them with the blobs they refer to. The step becomes the
    /// current one. What had been undone before stays in the history as another branch.
    ///
    /// [`Error::InvalidEdit`] when an edit does not fit, has no edits at all, or refers to a blob that was not
    /// [put in](Self::put_blob) or an id that was not given out; [`Error::DiskFull`] when there is no room.
    pub fn apply(&mut self, step: Step) -> Result<(), Error> {
        validate::name(&step.name).map_err(Error::invalid)?;
        if step.edits.is_empty() {
            return Err(Error::invalid("it changes nothing"));
        }
        let greatest = step.edits.iter().map(Edit::greatest_new_id).max().unwrap_or(0);
        if greatest >= self.next_id {
            return Err(Error::invalid(format!("the id {greatest} was not given out by this project")));
        }
        let (parent, next_id) = (self.head.id, self.next_id);
        let named = steps::blobs_of(&step.edits, &[]);
        let (id, time) = self.transact(|work, pending| {
            for id in &named {
                if let Some(blob) = pending.get(id) {
                    blobs::insert(work.connection, *id, &blob.media_type, &blob.bytes)?;
                } else if !blobs::exists(work.connection, *id)? {
                    return Err(Error::invalid(format!("it refers to the picture {id}, which the project lacks")));
                }
            }
            work.apply(&step.edits)?;
            let inverse: Vec<Edit> = work.inverses.iter().rev().cloned().collect();
            let (id, time) = steps::insert(work.connection, Some(parent), &step, &inverse)?;
            steps::set_position(work.connection, id, next_id)?;
            Ok((id, time))
        })?;
        for id in named {
            self.pending.remove(&id);
        }
        self.head = StepRow { id, parent: Some(parent), next: None, name: step.name, time };
        self.redo = None;
        Ok(())
    }

    /// Takes the current step back. Gives its name; `None` when there is nothing to undo.
    pub fn undo(&mut self) -> Result<Option<String>, Error> {
        self.check_writable()?;
        let Some(parent) = self.head.parent else { return Ok(None) };
        let name = self.head.name.clone();
        self.go_to(parent)?;
        Ok(Some(name))
    }

    /// Makes the step again that was undone last. Gives its name; `None` when there is nothing to redo.
    pub fn redo(&mut self) -> Result<Option<String>, Error> {
        self.check_writable()?;
        let Some(next) = self.redo.clone() else { return Ok(None) };
        self.go_to(next.id)?;
        Ok(Some(next.name))
    }

    /// The name of the step that [`undo`](Self::undo) would take back.
    pub fn can_undo(&self) -> Option<&str> {
        self.head.parent.map(|_| self.head.name.as_str())
    }

    /// The name of the step that [`redo`](Self::redo) would make again.
    pub fn can_redo(&self) -> Option<&str> {
        self.redo.as_ref().map(|step| step.name.as_str())
    }

    /// The current step; the root in a new project.
    pub fn current_step(&self) -> StepId {
        self.head.id
    }

    /// Brings the document to the state after any step of the history, on whatever branch: undoes to where the branches
    /// part, and redoes from there. Redo then leads along the way that was left or taken last.
    ///
    /// [`Error::InvalidEdit`] when there is no such step. Costs in proportion to the steps in between.
    pub fn go_to(&mut self, target: StepId) -> Result<(), Error> {
        self.check_writable()?;
        if target == self.head.id {
            return Ok(());
        }
        let start = self.head.clone();
        let next_id = self.next_id;
        let (head, redo) = self.transact(|work, _| {
            let Some(goal) = steps::find(work.connection, target)? else {
                return Err(Error::invalid(format!("there is no step {target} in the history")));
            };
            let parent_of = |step: &StepRow| match step.parent {
                Some(parent) if parent < step.id => steps::get(work.connection, parent),
                _ => Err(Error::damaged(format!("step {} has no valid parent", step.id))),
            };
            // A step's number exceeds its parent's: going up from the greater one meets at the nearest shared step.
            let (mut up, mut down) = (Vec::new(), Vec::new());
            let (mut a, mut b) = (start, goal.clone());
            while a.id != b.id {
                if a.id > b.id {
                    let parent = parent_of(&a)?;
                    up.push((std::mem::replace(&mut a, parent).id, a.id));
                } else {
                    let parent = parent_of(&b)?;
                    down.push((std::mem::replace(&mut b, parent).id, b.id));
                }
            }
            for (step, parent) in up {
                let edits = steps::inverse(work.connection, step)?;
                work.apply(&edits).map_err(|error| error.in_file(&format!("step {step} cannot be undone")))?;
                steps::set_next(work.connection, parent, step)?;
            }
            for (step, parent) in down.into_iter().rev() {
                let edits = steps::edits(work.connection, step)?;
                work.apply(&edits).map_err(|error| error.in_file(&format!("step {step} cannot be redone")))?;
                steps::set_next(work.connection, parent, step)?;
            }
            steps::set_position(work.connection, target, next_id)?;
            // Read anew: its way forward may just have changed.
            let head = steps::get(work.connection, target)?;
            let redo = head.next.map(|next| steps::get(work.connection, next)).transpose()?;
            Ok((head, redo))
        })?;
        self.head = head;
        self.redo = redo;
        Ok(())
    }

    /// Every step of every branch, in the order in which they were made.
    pub fn history(&self) -> Result<Vec<StepInfo>, Error> {
        let all = steps::all(&self.connection)?;
        let mut applied = HashSet::new();
        let mut at = Some(self.head.id);
        // From the newest to the oldest: a step's parent comes after it in this direction.
        for step in all.iter().rev() {
            if Some(step.id) == at {
                applied.insert(step.id);
                at = step.parent;
            }
        }
        let info = |step: StepRow| StepInfo {
            time: step.time(),
            applied: applied.contains(&step.id),
            current: step.id == self.head.id,
            next: step.next,
            id: step.id,
            parent: step.parent,
            name: step.name,
        };
        Ok(all.into_iter().map(info).collect())
    }

    /// Examines the whole file: the database's structure, every blob's bytes, and that replaying each branch of the
    /// history gives the present state. Reads everything, one blob at a time.
    ///
    /// What is found wrong is in the report; an `Err` means that the examination itself failed.
    pub fn check(&self) -> Result<Report, Error> {
        crate::check::examine(&self.connection, &self.document, self.head.id)
    }

    /// Writes a copy of the project as it is now, tidy and without waste, while this one stays in use. The file appears
    /// complete or not at all.
    ///
    /// [`Error::AlreadyExists`] when there is a file of that name.
    pub fn save_copy(&self, to: impl AsRef<Path>) -> Result<(), Error> {
        let to = to.as_ref();
        file::refuse_existing(to)?;
        let temporary = file::temporary_for(to)?;
        file::copy_into(&self.connection, &temporary)?;
        file::put_in_place(temporary, to)
    }

    /// Closes the project, leaving a single tidy file. Dropping the project does the same but cannot report errors;
    /// either way no work is lost.
    pub fn close(mut self) -> Result<(), Error> {
        self.tidy()
    }

    fn tidy(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.closed, true) || self.is_read_only() {
            return Ok(());
        }
        self.connection.flush_prepared_statement_cache();
        file::tidy(&self.connection)
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { why: "it was opened for reading only".into() });
        }
        Ok(())
    }

    /// Runs `work` in one transaction. On any failure, that of the commit included, the file and the document are as
    /// before.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Work<'_>, &BTreeMap<BlobId, PendingBlob>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_writable()?;
        let mut inverses = Vec::new();
        let document = &mut self.document;
        let result = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Error::from);
        let result = result.and_then(|transaction| {
            let mut work_in = Work { connection: &transaction, document, inverses: Vec::new() };
            let result = work(&mut work_in, &self.pending);
            inverses = work_in.inverses;
            let value = result?;
            transaction.commit()?;
            Ok(value)
        });
        if result.is_err() {
            // The transaction has rolled itself back when it was dropped.
            if self.document.revert(&inverses).is_err() {
                self.document = rows::load(&self.connection)?;
            }
        }
        result
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Nothing depends on it: an untidied file is whole, and the next one to open it goes on from there.
        let _ = self.tidy();
    }
}

/// A transaction in progress, and what it has done to the document so far.
struct Work<'a> {
    connection: &'a Connection,
    document: &'a mut Document,
    /// The inverses of the edits made, in the order of the edits.
    inverses: Vec<Edit>,
}

impl Work<'_> {
    /// Makes the edits in memory and in the tables, one after the other.
    fn apply(&mut self, edits: &[Edit]) -> Result<(), Error> {
        for edit in edits {
            self.inverses.push(self.document.apply(edit)?);
            rows::write(self.connection, self.document, edit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Layer;

    fn add_layer(project: &mut Project, name: &str) -> Result<(), Error> {
        let layer = Box::new(Layer::new(project.next_layer_id(), name));
        project.apply(Step::new(name, vec![Edit::AddLayer { index: 0, layer }]))
    }

    #[test]
    fn projects_can_be_handed_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Project>();
    }

    #[test]
    fn a_full_database_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.outframe");
        let mut project = Project::create(&path, "").unwrap();
        let pages: i64 = project.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = |project: &Project, pages: i64| {
            project.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&project, pages + 2);
        let mut made = 0;
        let before = loop {
            let before = project.document().clone();
            match add_layer(&mut project, &"name".repeat(200)) {
                Ok(()) => made += 1,
                Err(Error::DiskFull) => break before,
                Err(other) => panic!("{other}"),
            }
        };
        assert!(made > 0);
        assert_eq!(project.document(), &before);
        assert!(project.check().unwrap().is_clean());
        limit(&project, 1_000_000);
        add_layer(&mut project, "room again").unwrap();
        let after = project.document().clone();
        drop(project);
        assert_eq!(Project::open(&path).unwrap().document(), &after);
    }

    #[test]
    fn a_failed_commit_leaves_file_and_memory_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut project = Project::create(folder.path().join("p.outframe"), "").unwrap();
        add_layer(&mut project, "kept").unwrap();
        let before = project.document().clone();
        // The hook turns the commit into a rollback.
        project.connection.commit_hook(Some(|| true)).unwrap();
        assert!(add_layer(&mut project, "lost").is_err());
        assert!(project.undo().is_err());
        assert_eq!((project.document(), project.can_undo()), (&before, Some("kept")));
        project.connection.commit_hook(None::<fn() -> bool>).unwrap();
        assert!(project.check().unwrap().is_clean());
        assert_eq!(project.undo().unwrap().as_deref(), Some("kept"));
    }
}
