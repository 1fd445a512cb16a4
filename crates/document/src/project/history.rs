//! Branches, milestones, and forgetting parts of the history.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::Project;
use crate::document::Document;
use crate::edit::Edit;
use crate::error::Error;
use crate::history::{Branch, Milestone, Purge, Purged, StepInfo};
use crate::id::{BlobId, StepId};
use crate::store::{blobs, steps};
use crate::validate;

impl Project {
    /// The ends of all branches, the current one first, then the newest first.
    pub fn branches(&self) -> Result<Vec<Branch>, Error> {
        let history = self.history()?;
        let tree = Tree::of(&history, self.head.id);
        let by_id: BTreeMap<StepId, &StepInfo> = history.iter().map(|step| (step.id, step)).collect();
        let current_tip = tree.line.last().copied().unwrap_or(self.head.id);
        let mut branches = Vec::new();
        for tip in history.iter().filter(|step| tree.children.get(&step.id).is_none_or(Vec::is_empty)) {
            let current = tip.id == current_tip;
            let (mut fork, mut steps) = (tip.id, 0);
            let stop = |step: StepId| if current { step == self.head.id } else { tree.on_line(step) };
            while !stop(fork) {
                let Some(parent) = by_id.get(&fork).and_then(|step| step.parent) else { break };
                fork = parent;
                steps += 1;
            }
            branches.push(Branch { tip: tip.clone(), fork, steps, current });
        }
        branches.sort_by_key(|branch| (!branch.current, std::cmp::Reverse(branch.tip.id)));
        Ok(branches)
    }

    /// The names that have been given to steps, in the order of the steps.
    pub fn milestones(&self) -> Result<Vec<Milestone>, Error> {
        let mut query =
            self.connection.prepare_cached("SELECT name, step, time FROM milestones ORDER BY step, name")?;
        let rows = query.query_map([], |row| {
            let step = StepId::from_raw(row.get::<_, i64>(1)? as u64);
            Ok(Milestone { name: row.get(0)?, step, time: steps::time(row.get(2)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gives a name to a step, such as the [current](Self::current_step) one, so that it can be found again. This is not
    /// a change of the document: undo does not concern it.
    ///
    /// [`Error::InvalidEdit`] when the name is empty or taken, or when there is no such step.
    pub fn set_milestone(&mut self, name: &str, step: StepId) -> Result<(), Error> {
        validate::meta_key(name).map_err(Error::invalid)?;
        self.transact(|work, _| {
            refuse_taken(work.connection, name)?;
            if steps::find(work.connection, step)?.is_none() {
                return Err(Error::invalid(format!("there is no step {step} in the history")));
            }
            work.connection
                .prepare_cached("INSERT INTO milestones (name, step, time) VALUES (?1, ?2, ?3)")?
                .execute(params![name, step.get() as i64, steps::now()])?;
            Ok(())
        })
    }

    /// Gives a milestone another name. [`Error::InvalidEdit`] when there is none of the old name, or one of the new.
    pub fn rename_milestone(&mut self, name: &str, new_name: &str) -> Result<(), Error> {
        validate::meta_key(new_name).map_err(Error::invalid)?;
        self.transact(|work, _| {
            if name != new_name {
                refuse_taken(work.connection, new_name)?;
            }
            let changed = work
                .connection
                .prepare_cached("UPDATE milestones SET name = ?2 WHERE name = ?1")?
                .execute(params![name, new_name])?;
            require_milestone(changed, name)
        })
    }

    /// Takes a name away from its step, which stays. [`Error::InvalidEdit`] when there is no milestone of this name.
    pub fn remove_milestone(&mut self, name: &str) -> Result<(), Error> {
        self.transact(|work, _| {
            let changed =
                work.connection.prepare_cached("DELETE FROM milestones WHERE name = ?1")?.execute(params![name])?;
            require_milestone(changed, name)
        })
    }

    /// What [`purge`](Self::purge) would forget, and how much room that would free.
    pub fn preview_purge(&self, what: Purge) -> Result<Purged, Error> {
        // One transaction, so that all is read from one moment.
        let transaction = self.connection.unchecked_transaction()?;
        let plan = self.plan_purge(what)?;
        let purged = self.measure(&plan)?.0;
        transaction.finish()?;
        Ok(purged)
    }

    /// Forgets a part of the history, and the pictures that nothing that remains refers to. The document stays as it is.
    /// This cannot be undone; ask with [`preview_purge`](Self::preview_purge) first.
    ///
    /// [`Error::InvalidEdit`] when the step does not exist or may not be forgotten.
    pub fn purge(&mut self, what: Purge) -> Result<Purged, Error> {
        self.check_writable()?;
        let plan = self.plan_purge(what)?;
        let (purged, orphans) = self.measure(&plan)?;
        if plan.forgotten.is_empty() {
            return Ok(purged);
        }
        // Checking each deleted row against all that could refer to it would take time in proportion to the square of
        // the history; what refers to it is deleted or changed here.
        self.connection.pragma_update(None, "foreign_keys", false)?;
        let result = self.transact(|work, _| {
            forget(work.connection, &plan, &orphans)?;
            let head = steps::get(work.connection, steps::position(work.connection)?.0)?;
            let redo = head.next.map(|next| steps::get(work.connection, next)).transpose()?;
            Ok((head, redo))
        });
        self.connection.pragma_update(None, "foreign_keys", true)?;
        (self.head, self.redo) = result?;
        Ok(purged)
    }

    fn plan_purge(&self, what: Purge) -> Result<Plan, Error> {
        let history = self.history()?;
        let tree = Tree::of(&history, self.head.id);
        let all = || history.iter().map(|step| step.id);
        let known = |step: StepId| match history.iter().find(|found| found.id == step) {
            Some(found) => Ok(found),
            None => Err(Error::invalid(format!("there is no step {step} in the history"))),
        };
        let mut root = None;
        let forgotten: BTreeSet<StepId> = match what {
            Purge::Before(step) => {
                if !known(step)?.applied {
                    return Err(Error::invalid("the current state does not build on that step; go there first"));
                }
                let kept = tree.below(step);
                root = Some(step);
                all().filter(|step| !kept.contains(step)).collect()
            }
            Purge::From(step) => {
                if known(step)?.applied {
                    return Err(Error::invalid("the current state builds on that step; undo it first"));
                }
                tree.below(step)
            }
            Purge::OtherBranches => {
                let mut kept: BTreeSet<StepId> = tree.line.iter().copied().collect();
                let parents: BTreeMap<StepId, StepId> =
                    history.iter().filter_map(|step| Some((step.id, step.parent?))).collect();
                for milestone in self.milestones()? {
                    let mut at = Some(milestone.step);
                    while let Some(step) = at.filter(|step| kept.insert(*step)) {
                        at = parents.get(&step).copied();
                    }
                }
                all().filter(|step| !kept.contains(step)).collect()
            }
        };
        let root = match root {
            Some(root) if !forgotten.is_empty() => Some(self.root_at(root)?),
            _ => None,
        };
        Ok(Plan { forgotten, root })
    }

    /// The step as a root: with edits that make its state out of nothing, and what undoes them.
    fn root_at(&self, step: StepId) -> Result<Root, Error> {
        let mut state = self.document.clone();
        let mut at = self.head.clone();
        while at.id != step {
            let place = format!("step {} cannot be undone", at.id);
            let inverse = steps::inverse(&self.connection, at.id)?;
            state.apply_all(&inverse).map_err(|error| error.in_file(&place))?;
            let parent = at.parent.ok_or_else(|| Error::damaged(format!("step {} has no parent", at.id)))?;
            at = steps::get(&self.connection, parent)?;
        }
        Root::new(step, &state)
    }

    fn measure(&self, plan: &Plan) -> Result<(Purged, Vec<BlobId>), Error> {
        let mut purged = Purged { steps: plan.forgotten.len() as u64, ..Purged::default() };
        let mut candidates = BTreeSet::new();
        for step in &plan.forgotten {
            purged.bytes += steps::size(&self.connection, *step)?;
            candidates.extend(steps::recorded_blobs(&self.connection, *step)?);
        }
        let mut kept = BTreeSet::new();
        if let Some(root) = &plan.root {
            candidates.extend(steps::recorded_blobs(&self.connection, root.step)?);
            kept.clone_from(&root.blobs);
        }
        let mut users = self.connection.prepare_cached("SELECT step FROM step_blobs WHERE hash = ?1")?;
        let mut orphans = Vec::new();
        for blob in candidates.into_iter().filter(|blob| !kept.contains(blob)) {
            let mut rows = users.query(params![blob.as_bytes()])?;
            let mut used = false;
            while let Some(row) = rows.next()? {
                let step = StepId::from_raw(row.get::<_, i64>(0)? as u64);
                // The new root names what its state needs, and no more what its step once brought.
                let is_root = plan.root.as_ref().is_some_and(|root| root.step == step);
                used = used || !(is_root || plan.forgotten.contains(&step));
            }
            if !used {
                purged.bytes += blobs::describe(&self.connection, blob)?.1;
                orphans.push(blob);
            }
        }
        purged.blobs = orphans.len() as u64;
        let milestones = self.milestones()?.into_iter().filter(|found| plan.forgotten.contains(&found.step));
        purged.milestones = milestones.map(|found| found.name).collect();
        Ok((purged, orphans))
    }
}

fn refuse_taken(connection: &Connection, name: &str) -> Result<(), Error> {
    let taken = connection
        .prepare_cached("SELECT step FROM milestones WHERE name = ?1")?
        .query_row(params![name], |row| row.get::<_, i64>(0))
        .optional()?;
    match taken {
        Some(step) => Err(Error::invalid(format!("step {step} is named “{name}” already"))),
        None => Ok(()),
    }
}

fn require_milestone(changed: usize, name: &str) -> Result<(), Error> {
    if changed == 1 { Ok(()) } else { Err(Error::invalid(format!("there is no milestone “{name}”"))) }
}

/// A purge that has been found possible.
struct Plan {
    forgotten: BTreeSet<StepId>,
    /// The step that becomes the root, if another than before.
    root: Option<Root>,
}

/// A step as the root of the history.
pub(crate) struct Root {
    step: StepId,
    edits: Vec<Edit>,
    inverse: Vec<Edit>,
    blobs: BTreeSet<BlobId>,
}

impl Root {
    /// The step that leads from nothing to this state.
    pub(crate) fn new(step: StepId, state: &Document) -> Result<Self, Error> {
        let edits = state.as_edits();
        let inverse = Document::default().apply_all(&edits)?;
        let blobs = steps::blobs_of(&edits, &inverse);
        Ok(Self { step, edits, inverse, blobs })
    }

    /// Makes the step, which is in the table, the root.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), Error> {
        steps::make_root(connection, self.step, &self.edits, &self.inverse)
    }
}

fn forget(connection: &Connection, plan: &Plan, orphans: &[BlobId]) -> Result<(), Error> {
    if let Some(root) = &plan.root {
        root.write(connection)?;
    }
    for step in &plan.forgotten {
        steps::delete(connection, *step)?;
    }
    steps::clear_lost_ways(connection)?;
    for blob in orphans {
        blobs::delete(connection, *blob)?;
    }
    Ok(())
}

/// The shape of the history.
struct Tree {
    children: BTreeMap<StepId, Vec<StepId>>,
    /// From the root over the current step to where redo leads in the end.
    line: Vec<StepId>,
    on_line: BTreeSet<StepId>,
}

impl Tree {
    fn of(history: &[StepInfo], head: StepId) -> Self {
        let mut children: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
        let mut next = BTreeMap::new();
        for step in history {
            if let Some(parent) = step.parent {
                children.entry(parent).or_default().push(step.id);
            }
            if let Some(way) = step.next {
                next.insert(step.id, way);
            }
        }
        let mut line: Vec<_> = history.iter().filter(|step| step.applied).map(|step| step.id).collect();
        let mut at = head;
        while let Some(way) = next.get(&at).filter(|way| **way > at) {
            line.push(*way);
            at = *way;
        }
        let on_line = line.iter().copied().collect();
        Self { children, line, on_line }
    }

    fn on_line(&self, step: StepId) -> bool {
        self.on_line.contains(&step)
    }

    /// The step and all that was made after it.
    fn below(&self, step: StepId) -> BTreeSet<StepId> {
        let mut found = BTreeSet::new();
        let mut ahead = vec![step];
        while let Some(step) = ahead.pop() {
            if found.insert(step) {
                ahead.extend(self.children.get(&step).into_iter().flatten());
            }
        }
        found
    }
}
