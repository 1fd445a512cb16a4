//! A valid project out of the rows that could be saved.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::salvage::Salvaged;
use super::{Repaired, SavedState};
use crate::document::{Document, Layer, Patch, PatchContent, PatchImage};
use crate::edit::{BlobUse, Edit, Step};
use crate::error::Error;
use crate::geometry::Rect;
use crate::id::{BlobId, LayerId, PatchId, StepId};
use crate::project::Root;
use crate::store::{blobs, rows, steps};
use crate::validate;

/// A picture of one transparent pixel, as PNG: what a lost picture is replaced by.
const NOTHING: &[u8] = include_bytes!("nothing.png");
/// A greyscale picture of one white pixel, as PNG: what a lost mask is replaced by.
const WHITE: &[u8] = include_bytes!("white.png");
/// The name of the step that a repair makes where it cannot keep the history.
const STEP_NAME: &str = "Repaired project";

/// A step of the history that can be read.
#[derive(Clone)]
struct Found {
    parent: Option<StepId>,
    edits: Vec<Edit>,
    inverse: Vec<Edit>,
}

type History = BTreeMap<StepId, Found>;

/// Makes the rows in `path` a project that contradicts itself nowhere.
pub(super) fn mend(path: &Path, salvaged: &Salvaged) -> Result<Repaired, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    let transaction = connection.unchecked_transaction()?;
    let repaired = mend_in(&transaction, salvaged)?;
    transaction.commit()?;
    // Without the room of what was dropped.
    connection.execute_batch("VACUUM")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(repaired)
}

fn mend_in(connection: &Connection, salvaged: &Salvaged) -> Result<Repaired, Error> {
    let (found, unreadable) = read_history(connection)?;
    let total = found.len() as u64 + unreadable;
    let notes = RefCell::new(Vec::new());
    let stored = stored_state(connection, salvaged, &notes)?;

    let (position, next_id) = position(connection, &found)?;
    let newest = found.keys().next_back().copied();
    let (head, known) = match (position, &stored) {
        (Some(head), _) if found.contains_key(&head) => (Some(head), true),
        // The head's own step is lost, or steps that may have come after those which are there.
        (Some(_), _) => (newest, false),
        (None, _) if unreadable > 0 || salvaged.broken.contains("steps") => (newest, false),
        (None, Ok(stored) | Err(stored)) => (step_of(&found, stored).or(newest), true),
    };
    let (mut state, saved) = match (stored, head.and_then(|head| replay(&found, head))) {
        // Two states that are each without fault: the one that can be undone step by step is right.
        (Ok(stored), Some(replayed))
            if known && stored != replayed && !leads_to(&found, head, &stored) && leads_to(&found, head, &replayed) =>
        {
            notes.borrow_mut().push("the tables and the history did not agree; the history was followed".into());
            (replayed, SavedState::Replayed)
        }
        // The canvas' colour lay in the row that said where the history stands.
        (Ok(stored), _) if position.is_some() => (stored, SavedState::Whole),
        (_, Some(replayed)) if known => {
            // Whatever was missing in the tables is here.
            notes.borrow_mut().clear();
            (replayed, SavedState::Replayed)
        }
        (Ok(left) | Err(left), Some(replayed)) if replayed.patches().count() > left.patches().count() => {
            (replayed, SavedState::Partial)
        }
        (Ok(left) | Err(left), _) => (left, SavedState::Partial),
    };
    for table in ["milestones", "thumbnail"].iter().filter(|table| salvaged.broken.contains(*table)) {
        notes.borrow_mut().push(format!("the table “{table}” could not be read in full"));
    }
    if position.is_none() {
        notes.borrow_mut().push("it was lost where the history stood".into());
    }

    let mut kept = match head {
        Some(head) => keep_history(&found, head, &state),
        None => None,
    };
    let blobs_lost = replace_lost_blobs(connection, &mut state, &mut kept)?;
    let recovered = match saved {
        SavedState::Partial => recover_pictures(connection, &state, kept.as_ref(), next_id, &notes)?,
        _ => None,
    };
    let steps_kept = kept.as_ref().map_or(0, |kept| kept.steps.len() as u64);
    write(connection, state, kept.as_ref(), recovered, next_id)?;

    let orphans = steps::unnamed_blobs(connection)?;
    orphans.iter().try_for_each(|blob| blobs::delete(connection, *blob))?;
    let blobs_kept: i64 = connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0))?;
    Ok(Repaired {
        state: saved,
        steps_kept,
        steps_lost: total - steps_kept,
        blobs_kept: blobs_kept as u64,
        blobs_lost: blobs_lost.into_iter().collect(),
        notes: notes.into_inner(),
    })
}

/// The steps that can be read, and how many rows there are that cannot.
fn read_history(connection: &Connection) -> Result<(History, u64), Error> {
    let mut query = connection.prepare("SELECT id, parent, edits, inverse FROM steps")?;
    let mut rows = query.query([])?;
    let (mut found, mut unreadable) = (History::new(), 0);
    while let Some(row) = rows.next()? {
        let parse = || -> Result<(StepId, Found), Error> {
            let id: i64 = row.get(0)?;
            let parent: Option<i64> = row.get(1)?;
            if id < 1 || parent.is_some_and(|parent| parent < 1 || parent >= id) {
                return Err(Error::damaged("its number"));
            }
            let text = |column| -> Result<String, Error> { Ok(row.get(column)?) };
            let step = Found {
                parent: parent.map(|parent| StepId::from_raw(parent as u64)),
                edits: rows::from_json(&text(2)?)?,
                inverse: rows::from_json(&text(3)?)?,
            };
            Ok((StepId::from_raw(id as u64), step))
        };
        match parse() {
            Ok((id, step)) => drop(found.insert(id, step)),
            Err(_) => unreadable += 1,
        }
    }
    Ok((found, unreadable))
}

/// The current step as the file tells it, and an id greater than all that were given out.
fn position(connection: &Connection, found: &History) -> Result<(Option<StepId>, u64), Error> {
    let stored = steps::position(connection).ok();
    let greatest = found.values().flat_map(|step| &step.edits).map(Edit::greatest_new_id).max().unwrap_or(0);
    let mut next_id = greatest.saturating_add(1);
    for table in ["layers", "patches", "generations", "takes", "frames", "layer_groups", "shots", "sequences", "notes"]
    {
        let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
        let most: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        next_id = next_id.max(u64::try_from(most).unwrap_or(0).saturating_add(1));
    }
    if let Some((_, stored)) = stored.filter(|(_, stored)| i64::try_from(*stored).is_ok()) {
        next_id = next_id.max(stored);
    }
    // A damaged number at the very end of the range would leave no ids to give out.
    Ok((stored.map(|(head, _)| head), next_id.min(i64::MAX as u64 - (1 << 32))))
}

/// The state in the tables; as an error what is left of it, where something is missing.
fn stored_state(
    connection: &Connection,
    salvaged: &Salvaged,
    notes: &RefCell<Vec<String>>,
) -> Result<Result<Document, Document>, Error> {
    for table in salvaged.broken.iter().filter(|table| !["blobs", "steps", "milestones", "thumbnail"].contains(table)) {
        notes.borrow_mut().push(format!("the table “{table}” could not be read in full"));
    }
    let mut document = rows::load_what_is_left(connection, notes)?;
    drop_what_does_not_fit(&mut document, notes);
    validate::document(&document).map_err(Error::damaged)?;
    Ok(if notes.borrow().is_empty() { Ok(document) } else { Err(document) })
}

/// Leaves a valid document, and notes what went.
fn drop_what_does_not_fit(document: &mut Document, notes: &RefCell<Vec<String>>) {
    let verdict = |what: String, verdict: validate::Verdict| match verdict {
        Ok(()) => true,
        Err(why) => {
            notes.borrow_mut().push(format!("{what} was dropped: {why}"));
            false
        }
    };
    document.meta.retain(|key, value| {
        verdict(format!("the setting “{key}”"), validate::meta_key(key).and_then(|()| validate::json(value)))
    });
    document.models.retain(|hash, model| verdict(format!("the model {hash}"), validate::model(model)));
    document.notes.retain(|id, note| verdict(format!("note {id}"), validate::note(note)));
    document.frames.retain(|frame| verdict(format!("frame {}", frame.id), validate::frame(frame)));

    document.generations.retain(|id, generation| {
        generation.takes.retain(|take| verdict(format!("take {}", take.id), validate::take(take)));
        if let Some(first) = generation.takes.first()
            && generation.chosen_take().is_none()
        {
            notes.borrow_mut().push(format!("generation {id} shows another take, as its own is lost"));
            generation.chosen = first.id;
        }
        verdict(format!("generation {id}"), validate::generation(generation))
    });
    let generations: BTreeSet<_> = document.generations.keys().copied().collect();
    for layer in &mut document.layers {
        layer.patches.retain(|patch| {
            let shown = match &patch.content {
                PatchContent::Generation(id) if !generations.contains(id) => Err(format!("generation {id} is lost")),
                _ => Ok(()),
            };
            verdict(format!("patch {}", patch.id), validate::patch(patch).and(shown))
        });
        if let Err(why) = validate::mask(layer.mask.as_ref()) {
            notes.borrow_mut().push(format!("the mask of layer {} was dropped: {why}", layer.id));
            layer.mask = None;
        }
    }
    document.layers.retain(|layer| verdict(format!("layer {}", layer.id), validate::layer(layer)));

    document.groups.retain(|id, group| verdict(format!("group {id}"), validate::group(group)));
    let groups: BTreeSet<_> = document.groups.keys().copied().collect();
    for (group, what) in document
        .layers
        .iter_mut()
        .map(|layer| (&mut layer.group, format!("layer {}", layer.id)))
        .chain(document.groups.values_mut().map(|group| (&mut group.parent, format!("group {}", group.id))))
    {
        if group.is_some_and(|id| !groups.contains(&id)) {
            notes.borrow_mut().push(format!("{what} is in no group any more, as its own is lost"));
            *group = None;
        }
    }
    if validate::groups(document).is_err() {
        notes.borrow_mut().push("the groups are in no groups any more, as they held each other".into());
        document.groups.values_mut().for_each(|group| group.parent = None);
    }

    let frames: BTreeSet<_> = document.frames.iter().map(|frame| frame.id).collect();
    document.shots.retain(|shot| {
        let known = if frames.contains(&shot.frame) { Ok(()) } else { Err(format!("frame {} is lost", shot.frame)) };
        verdict(format!("shot {}", shot.id), validate::shot(shot).and(known))
    });
    let shots: BTreeSet<_> = document.shots.iter().map(|shot| shot.id).collect();
    for sequence in &mut document.sequences {
        let before = sequence.shots.len();
        sequence.shots.retain(|shot| shots.contains(shot));
        if sequence.shots.len() < before {
            notes.borrow_mut().push(format!("sequence {} lacks shots that are lost", sequence.id));
        }
    }
    document.sequences.retain(|sequence| verdict(format!("sequence {}", sequence.id), validate::sequence(sequence)));
}

/// The state that the history leads to at `head`; `None` when a step on the way is missing or does not fit.
fn replay(found: &History, head: StepId) -> Option<Document> {
    let mut line = Vec::new();
    let mut at = Some(head);
    while let Some(id) = at {
        let step = found.get(&id)?;
        line.push(step);
        at = step.parent;
    }
    let mut document = Document::default();
    for step in line.into_iter().rev() {
        document.apply_all(&step.edits).ok()?;
    }
    Some(document)
}

/// The newest step after which the state was this one, but for the canvas' settings.
fn step_of(found: &History, state: &Document) -> Option<StepId> {
    let root = *found.iter().find(|(_, step)| step.parent.is_none())?.0;
    let mut work = Document::default();
    work.apply_all(&found[&root].edits).ok()?;
    let mut best = None;
    walk(found, root, &mut work, |id, work| {
        let canvas = std::mem::replace(&mut work.canvas, state.canvas);
        if work == state {
            best = best.max(Some(id));
        }
        work.canvas = canvas;
    })?;
    best
}

/// Makes every step after `root` that can be made and undone exactly, on all branches, beginning with the state `work`
/// after the root. Calls `visit` with each, the root included, and the state after it. `None` when undoing fails.
fn walk(
    found: &History,
    root: StepId,
    work: &mut Document,
    mut visit: impl FnMut(StepId, &mut Document),
) -> Option<()> {
    let mut children: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
    for (id, step) in found {
        if let Some(parent) = step.parent {
            children.entry(parent).or_default().push(*id);
        }
    }
    visit(root, work);
    let mut ahead: Vec<(StepId, bool)> = Vec::new();
    ahead.extend(children.remove(&root).into_iter().flatten().map(|child| (child, true)));
    while let Some((id, down)) = ahead.pop() {
        let step = &found[&id];
        if !down {
            work.apply_all(&step.inverse).ok()?;
            continue;
        }
        let Ok(inverse) = work.apply_all(&step.edits) else { continue };
        if inverse != step.inverse {
            work.apply_all(&inverse).ok()?;
            continue;
        }
        visit(id, work);
        ahead.push((id, false));
        ahead.extend(children.remove(&id).into_iter().flatten().map(|child| (child, true)));
    }
    Some(())
}

/// A part of the history that leads to the present state, and undoes and redoes exactly.
struct Kept {
    head: StepId,
    root: StepId,
    /// Whether the root must be made one.
    new_root: bool,
    /// The state after the root.
    base: Document,
    steps: History,
    /// The steps whose rows must be written anew.
    changed: bool,
}

fn leads_to(found: &History, head: Option<StepId>, state: &Document) -> bool {
    head.is_some_and(|head| keep_history(found, head, state).is_some())
}

/// Goes back from the present as far as steps can be undone, and from there along all branches that can be made again.
fn keep_history(found: &History, head: StepId, state: &Document) -> Option<Kept> {
    let mut base = state.clone();
    let mut root = head;
    while let Some(step) = found.get(&root)
        && let Some(parent) = step.parent.filter(|parent| found.contains_key(parent))
    {
        if base.apply_all(&step.inverse).is_err() {
            break;
        }
        root = parent;
    }
    let as_root = found.get(&root)?;
    let mut empty = Document::default();
    let fits = empty.apply_all(&as_root.edits).is_ok_and(|inverse| inverse == as_root.inverse) && empty == base;
    let new_root = as_root.parent.is_some() || !fits;

    let mut steps = History::new();
    let mut reached = false;
    walk(found, root, &mut base.clone(), |id, work| {
        steps.insert(id, found[&id].clone());
        reached |= id == head && work == state;
    })?;
    reached.then_some(Kept { head, root, new_root, base, steps, changed: false })
}

/// Deletes blobs whose bytes have changed, and lets all that names a blob which is not there name an empty picture.
fn replace_lost_blobs(
    connection: &Connection,
    state: &mut Document,
    kept: &mut Option<Kept>,
) -> Result<BTreeSet<BlobId>, Error> {
    let mut there = BTreeSet::new();
    let mut damaged = Vec::new();
    {
        let mut query = connection.prepare("SELECT rowid, hash, bytes FROM blobs")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let whole = match (row.get_ref(1)?.as_blob(), row.get_ref(2)?.as_blob()) {
                (Ok(hash), Ok(bytes)) => Some(BlobId::of(bytes)).filter(|id| id.as_bytes().as_slice() == hash),
                _ => None,
            };
            match whole {
                Some(id) => drop(there.insert(id)),
                None => damaged.push(number),
            }
        }
    }
    for number in damaged {
        connection.execute("DELETE FROM blobs WHERE rowid = ?1", [number])?;
    }
    connection.execute(
        "UPDATE blobs SET size = length(bytes), media_type = CAST(media_type AS TEXT)
         WHERE size IS NOT length(bytes) OR typeof(media_type) <> 'text'",
        [],
    )?;

    let mut lost = BTreeSet::new();
    let mut uses = BTreeSet::new();
    let mut replace = |blob: &mut BlobId, as_what: BlobUse| {
        if !there.contains(blob) {
            lost.insert(*blob);
            uses.insert(as_what);
            *blob = BlobId::of(match as_what {
                BlobUse::Image => NOTHING,
                BlobUse::Mask => WHITE,
            });
        }
    };
    state.for_each_blob_mut(&mut replace);
    if let Some(kept) = kept {
        kept.base.for_each_blob_mut(&mut replace);
        for step in kept.steps.values_mut() {
            for edit in step.edits.iter_mut().chain(&mut step.inverse) {
                edit.for_each_blob_mut(&mut replace);
            }
        }
        kept.changed = !lost.is_empty();
    }
    for bytes in uses.into_iter().map(|as_what| if as_what == BlobUse::Image { NOTHING } else { WHITE }) {
        blobs::insert(connection, BlobId::of(bytes), "image/png", bytes)?;
    }
    Ok(lost)
}

/// A layer with the pictures that nothing shows, side by side: their places are lost.
fn recover_pictures(
    connection: &Connection,
    state: &Document,
    kept: Option<&Kept>,
    next_id: u64,
    notes: &RefCell<Vec<String>>,
) -> Result<Option<Box<Layer>>, Error> {
    let mut shown = BTreeSet::new();
    let edits =
        kept.into_iter().flat_map(|kept| kept.steps.values()).flat_map(|step| step.edits.iter().chain(&step.inverse));
    for edit in edits.chain(&state.as_edits()) {
        edit.for_each_blob(&mut |blob| {
            shown.insert(blob);
        });
    }
    let mut query = connection.prepare("SELECT hash, substr(bytes, 1, 24) FROM blobs ORDER BY rowid")?;
    let rows = query.query_map([], |row| Ok((BlobId::from_bytes(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))?;
    let mut layer = Layer::new(LayerId::from_raw(next_id), "Recovered pictures");
    let mut left = 0;
    for row in rows {
        let (image, start) = row?;
        if shown.contains(&image) {
            continue;
        }
        let (width, height) = png_size(&start).unwrap_or((512, 512));
        let id = PatchId::from_raw(next_id + 1 + layer.patches.len() as u64);
        let origin = crate::document::Origin::Drawn;
        let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin }));
        let patch = Patch::new(id, Rect::new(left, 0, width, height), content);
        left += i64::from(width);
        if validate::patch(&patch).is_ok() {
            layer.patches.push(patch);
        }
    }
    if layer.patches.is_empty() {
        return Ok(None);
    }
    let text = format!("{} pictures whose places are lost were put into a layer of their own", layer.patches.len());
    notes.borrow_mut().push(text);
    Ok(Some(Box::new(layer)))
}

/// The width and height that a PNG's beginning tells.
fn png_size(start: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| Some(u32::from_be_bytes(start.get(at..at + 4)?.try_into().ok()?));
    let size = (side(16)?, side(20)?);
    (start.starts_with(b"\x89PNG") && validate::size(size.0, size.1).is_ok()).then_some(size)
}

/// Writes the state and the history anew, with a last step that adds the layer of recovered pictures.
fn write(
    connection: &Connection,
    mut state: Document,
    kept: Option<&Kept>,
    recovered: Option<Box<Layer>>,
    next_id: u64,
) -> Result<(), Error> {
    let created: (i64, String) = connection
        .query_row("SELECT created, created_by FROM project", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap_or_else(|_| (steps::now(), concat!("outframe ", env!("CARGO_PKG_VERSION")).into()));
    connection.execute_batch(
        "DELETE FROM project; DELETE FROM step_blobs; DELETE FROM meta; DELETE FROM masks; DELETE FROM layers;
         DELETE FROM layer_groups; DELETE FROM generations; DELETE FROM takes; DELETE FROM patches; DELETE FROM frames;
         DELETE FROM shots; DELETE FROM sequences; DELETE FROM sequence_shots; DELETE FROM notes; DELETE FROM models;
         DELETE FROM thumbnail WHERE typeof(png) <> 'blob' OR typeof(time) <> 'integer';",
    )?;
    let mut head = if let Some(kept) = kept {
        write_history(connection, kept)?
    } else {
        connection.execute_batch("DELETE FROM milestones; DELETE FROM steps;")?;
        let edits = state.as_edits();
        let inverse = Document::default().apply_all(&edits)?;
        steps::insert(connection, None, &Step::new(STEP_NAME, edits), &inverse)?.0
    };
    if let Some(layer) = recovered {
        let step = Step::new(layer.name.clone(), vec![Edit::AddLayer { index: state.layers.len(), layer }]);
        let inverse = state.apply_all(&step.edits)?;
        head = steps::insert(connection, Some(head), &step, &inverse)?.0;
    }
    // The row must be there before the canvas' colour is written into it.
    let next_id = next_id.max(state.as_edits().iter().map(Edit::greatest_new_id).max().unwrap_or(0) + 1);
    connection.execute(
        "INSERT INTO project (id, head, next_id, created, created_by) VALUES (1, ?1, ?2, ?3, ?4)",
        params![head.get() as i64, next_id as i64, created.0, created.1],
    )?;
    let mut document = Document::default();
    for edit in state.as_edits() {
        document.apply(&edit)?;
        rows::write(connection, &document, &edit)?;
    }
    Ok(())
}

fn write_history(connection: &Connection, kept: &Kept) -> Result<StepId, Error> {
    let known: BTreeSet<i64> = {
        let mut query = connection.prepare("SELECT id FROM steps")?;
        let rows = query.query_map([], |row| row.get(0))?;
        rows.collect::<Result<_, _>>()?
    };
    for id in known {
        if !u64::try_from(id).is_ok_and(|id| kept.steps.contains_key(&StepId::from_raw(id))) {
            connection.prepare_cached("DELETE FROM steps WHERE id = ?1")?.execute([id])?;
        }
    }
    for (id, step) in &kept.steps {
        if kept.changed {
            connection.prepare_cached("UPDATE steps SET edits = ?2, inverse = ?3 WHERE id = ?1")?.execute(params![
                id.get() as i64,
                rows::to_json(&step.edits)?,
                rows::to_json(&step.inverse)?
            ])?;
        }
        if *id != kept.root || !kept.new_root {
            steps::record_blobs(connection, *id, &step.edits, &step.inverse)?;
        }
    }
    if kept.new_root {
        Root::new(kept.root, &kept.base)?.write(connection)?;
    }
    // Redo can lead only to a child; names and times are for people, and any will do.
    connection.execute_batch(
        "UPDATE steps SET next = NULL WHERE next IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM steps AS child WHERE child.id = steps.next AND child.parent = steps.id);
         UPDATE steps SET name = CAST(name AS TEXT) WHERE typeof(name) <> 'text';
         UPDATE steps SET time = 0 WHERE typeof(time) <> 'integer';
         DELETE FROM milestones WHERE step NOT IN (SELECT id FROM steps)
             OR typeof(name) <> 'text' OR typeof(time) <> 'integer';",
    )?;
    Ok(kept.head)
}
