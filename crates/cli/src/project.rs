//! The commands that look after a project: layers, history, milestones, examination, copies.

use std::{path::Path, time::SystemTime};

use anyhow::{Context as _, bail};
use outframe_document::{
    Edit, Generation, Layer, LayerChange, LayerId, PatchContent, Project, Purge, Rect, Step, StepId, TakeId,
};
use serde::Serialize;

use crate::{
    arguments::{LayerCommand, MilestoneCommand, TakeCommand},
    commands::finish,
    report,
};

#[derive(Debug, Serialize)]
struct LayerRow {
    layer: u64,
    name: String,
    visible: bool,
    locked: bool,
    opacity: f64,
    blend: &'static str,
    depth: f64,
    group: Option<String>,
    patches: usize,
}

/// The topmost first, as in an editor.
fn layer_rows(project: &Project) -> Vec<LayerRow> {
    let document = project.document();
    let row = |layer: &Layer| LayerRow {
        layer: layer.id.get(),
        name: layer.name.clone(),
        visible: layer.visible,
        locked: layer.locked,
        opacity: layer.opacity,
        blend: layer.blend.as_str(),
        depth: layer.depth,
        group: layer.group.and_then(|id| document.group(id)).map(|group| group.name.clone()),
        patches: layer.patches.len(),
    };
    document.layers.iter().rev().map(row).collect()
}

fn layer_table(rows: &[LayerRow]) -> String {
    if rows.is_empty() {
        return "The project has no layers.".into();
    }
    rows.iter()
        .map(|row| {
            let mut text = format!("{:>4}  {}", row.layer, row.name);
            if let Some(group) = &row.group {
                text += &format!(" (in {group})");
            }
            if !row.visible {
                text += ", hidden";
            }
            if row.locked {
                text += ", locked";
            }
            if row.opacity < 1.0 {
                text += &format!(", {:.0} % opaque", row.opacity * 100.0);
            }
            if row.blend != "normal" {
                text += &format!(", {}", row.blend);
            }
            format!("{text}, {} {}\n", row.patches, if row.patches == 1 { "patch" } else { "patches" })
        })
        .collect()
}

pub(crate) fn layer(file: &Path, command: LayerCommand, json: bool) -> anyhow::Result<()> {
    if matches!(command, LayerCommand::List) {
        let project = Project::open_read_only(file)?;
        return report::print(json, layer_rows(&project).as_slice(), layer_table);
    }
    let mut project = Project::open(file)?;
    let step = layer_step(&mut project, command)?;
    project.apply(step)?;
    let rows = layer_rows(&project);
    finish(project)?;
    report::print(json, rows.as_slice(), layer_table)
}

fn layer_step(project: &mut Project, command: LayerCommand) -> anyhow::Result<Step> {
    let existing = |number: u64| -> anyhow::Result<LayerId> {
        let id = LayerId::from_raw(number);
        match project.document().layer(id) {
            Some(_) => Ok(id),
            None => bail!("There is no layer {number}. `outframe layer FILE list` shows their numbers."),
        }
    };
    Ok(match command {
        LayerCommand::List => bail!("Nothing to change."),
        LayerCommand::Add { name } => {
            let layer = Layer::new(project.next_layer_id(), name);
            let index = project.document().layers.len();
            Step::new("Add layer", vec![Edit::AddLayer { index, layer: Box::new(layer) }])
        }
        LayerCommand::Set { layer, name, visible, locked, opacity, blend, depth } => {
            let layer = existing(layer)?;
            let changes = [
                name.map(LayerChange::Name),
                visible.map(LayerChange::Visible),
                locked.map(LayerChange::Locked),
                opacity.map(LayerChange::Opacity),
                blend.map(LayerChange::Blend),
                depth.map(LayerChange::Depth),
            ];
            let edits: Vec<_> = changes.into_iter().flatten().map(|change| Edit::SetLayer { layer, change }).collect();
            if edits.is_empty() {
                bail!("Say what to change, for instance --opacity 0.5. `outframe layer FILE set --help` lists it.");
            }
            Step::new("Change layer", edits)
        }
        LayerCommand::Move { layer, to } => {
            Step::new("Move layer", vec![Edit::MoveLayer { layer: existing(layer)?, index: to }])
        }
        LayerCommand::Remove { layer } => {
            Step::new("Remove layer", vec![Edit::RemoveLayer { layer: existing(layer)? }])
        }
    })
}

#[derive(Debug, Serialize)]
struct GenerationRow {
    generation: u64,
    rect: Rect,
    prompt: String,
    /// Whether a patch shows it.
    shown: bool,
    takes: Vec<TakeRow>,
}

#[derive(Debug, Serialize)]
struct TakeRow {
    take: u64,
    /// What it was asked for.
    prompt: String,
    seed: u64,
    chosen: bool,
}

/// The newest first.
fn generation_rows(project: &Project) -> Vec<GenerationRow> {
    let document = project.document();
    let shown = |id| document.patches().any(|patch| patch.content == PatchContent::Generation(id));
    let row = |generation: &Generation| GenerationRow {
        generation: generation.id.get(),
        rect: generation.rect,
        prompt: generation.provenance.request.prompt.clone(),
        shown: shown(generation.id),
        takes: generation
            .takes
            .iter()
            .map(|take| TakeRow {
                take: take.id.get(),
                prompt: generation.provenance.request.prompt_of(take.id).into(),
                seed: take.seed,
                chosen: take.id == generation.chosen,
            })
            .collect(),
    };
    document.generations.values().rev().map(row).collect()
}

fn generation_table(rows: &[GenerationRow]) -> String {
    if rows.is_empty() {
        return "Nothing has been generated in this project.".into();
    }
    let mut text = String::new();
    for GenerationRow { rect, prompt, shown, takes, .. } in rows {
        let unused = if *shown { "" } else { " (not in the picture)" };
        text += &format!("{}x{} at {},{}  “{prompt}”{unused}\n", rect.width, rect.height, rect.x, rect.y);
        for TakeRow { take, seed, chosen, prompt: own } in takes {
            let own = if own == prompt { String::new() } else { format!("  “{own}”") };
            text += &format!("{} {take:>4}  seed {seed}{own}\n", if *chosen { "*" } else { " " });
        }
    }
    text
}

pub(crate) fn take(file: &Path, command: &TakeCommand, json: bool) -> anyhow::Result<()> {
    let TakeCommand::Choose { take } = *command else {
        let project = Project::open_read_only(file)?;
        return report::print(json, generation_rows(&project).as_slice(), generation_table);
    };
    let mut project = Project::open(file)?;
    let take = TakeId::from_raw(take);
    let found = project.document().generations.values().find(|generation| generation.take(take).is_some());
    let Some(generation) = found else {
        bail!("There is no take {take}. `outframe take FILE list` shows their numbers.");
    };
    let edit = Edit::ChooseTake { generation: generation.id, take };
    project.apply(Step::new("Choose take", vec![edit]))?;
    let rows = generation_rows(&project);
    finish(project)?;
    report::print(json, rows.as_slice(), generation_table)
}

#[derive(Debug, Serialize)]
struct StepRow {
    step: u64,
    parent: Option<u64>,
    name: String,
    /// Seconds since 1970.
    time: u64,
    applied: bool,
    current: bool,
    milestones: Vec<String>,
}

fn step_rows(project: &Project) -> anyhow::Result<Vec<StepRow>> {
    let milestones = project.milestones()?;
    let steps = project.history()?.into_iter().map(|step| StepRow {
        step: step.id.get(),
        parent: step.parent.map(StepId::get),
        time: step.time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        applied: step.applied,
        current: step.current,
        milestones: milestones
            .iter()
            .filter(|milestone| milestone.step == step.id)
            .map(|milestone| milestone.name.clone())
            .collect(),
        name: step.name,
    });
    Ok(steps.collect())
}

fn step_table(rows: &[StepRow]) -> String {
    rows.iter()
        .map(|row| {
            let mark = if row.current { "*" } else { " " };
            let name = if row.parent.is_none() { "New project" } else { row.name.as_str() };
            let after = row.parent.filter(|parent| *parent + 1 != row.step);
            let mut text = format!("{mark}{:>4}  {name}", row.step);
            if let Some(parent) = after {
                text += &format!(" (after {parent})");
            }
            if !row.applied {
                text += ", taken back";
            }
            if !row.milestones.is_empty() {
                text += &format!("  [{}]", row.milestones.join("] ["));
            }
            text + "\n"
        })
        .collect()
}

#[derive(Debug, Serialize)]
struct PurgeRow {
    done: bool,
    steps: u64,
    pictures: u64,
    bytes: u64,
    milestones: Vec<String>,
}

pub(crate) fn history(
    file: &Path,
    go_to: Option<u64>,
    forget: Option<Purge>,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    if let Some(what) = forget {
        let mut project = Project::open(file)?;
        let purged = if dry_run { project.preview_purge(what)? } else { project.purge(what)? };
        finish(project)?;
        let row = PurgeRow {
            done: !dry_run,
            steps: purged.steps,
            pictures: purged.blobs,
            bytes: purged.bytes,
            milestones: purged.milestones,
        };
        return report::print(json, &row, |row| {
            let verb = if row.done { "forgotten" } else { "would be forgotten" };
            let mut text = format!("{} steps and {} pictures {verb}, {} bytes", row.steps, row.pictures, row.bytes);
            if !row.milestones.is_empty() {
                text += &format!(", with the milestones {}", row.milestones.join(", "));
            }
            text + if row.done { ". `outframe compact` returns them to the disk." } else { "." }
        });
    }
    let rows = match go_to {
        Some(step) => {
            let mut project = Project::open(file)?;
            project.go_to(StepId::from_raw(step))?;
            let rows = step_rows(&project)?;
            finish(project)?;
            rows
        }
        None => step_rows(&Project::open_read_only(file)?)?,
    };
    report::print(json, rows.as_slice(), step_table)
}

#[derive(Debug, Serialize)]
struct MilestoneRow {
    name: String,
    step: u64,
}

pub(crate) fn milestone(file: &Path, command: MilestoneCommand, json: bool) -> anyhow::Result<()> {
    let rows = |project: &Project| -> anyhow::Result<Vec<MilestoneRow>> {
        let milestones = project.milestones()?.into_iter();
        Ok(milestones.map(|found| MilestoneRow { name: found.name, step: found.step.get() }).collect())
    };
    let table = |rows: &[MilestoneRow]| -> String {
        if rows.is_empty() {
            return "The project has no milestones.".into();
        }
        rows.iter().map(|row| format!("{} (step {})\n", row.name, row.step)).collect()
    };
    if matches!(command, MilestoneCommand::List) {
        return report::print(json, rows(&Project::open_read_only(file)?)?.as_slice(), table);
    }
    let mut project = Project::open(file)?;
    match command {
        MilestoneCommand::List => {}
        MilestoneCommand::Set { name } => {
            let step = project.current_step();
            project.set_milestone(&name, step)?;
        }
        MilestoneCommand::Remove { name } => project.remove_milestone(&name)?,
        MilestoneCommand::Rename { name, new_name } => project.rename_milestone(&name, &new_name)?,
        MilestoneCommand::GoTo { name } => {
            let milestones = project.milestones()?;
            let found = milestones.iter().find(|milestone| milestone.name == name);
            let step = found.with_context(|| format!("There is no milestone “{name}”."))?.step;
            project.go_to(step)?;
        }
    }
    let rows = rows(&project)?;
    finish(project)?;
    report::print(json, rows.as_slice(), table)
}

#[derive(Debug, Serialize)]
struct Examination {
    clean: bool,
    problems: Vec<String>,
    pictures: u64,
    picture_bytes: u64,
    steps: u64,
}

pub(crate) fn doctor(file: &Path, repair: Option<&Path>, json: bool) -> anyhow::Result<()> {
    if let Some(to) = repair {
        return mend(file, to, json);
    }
    let found = Project::diagnose(file)?;
    let clean = found.is_clean();
    let row = Examination {
        clean,
        problems: found.problems.iter().map(ToString::to_string).collect(),
        pictures: found.blobs,
        picture_bytes: found.blob_bytes,
        steps: found.steps,
    };
    report::print(json, &row, |row| {
        let read = format!("{} pictures ({} bytes) and {} steps were read", row.pictures, row.picture_bytes, row.steps);
        if row.clean {
            return format!("{}: all is well; {read}.", file.display());
        }
        let problems: String = row.problems.iter().map(|problem| format!("  {problem}\n")).collect();
        format!("{}: damaged; {read}.\n{problems}", file.display())
    })?;
    if clean {
        Ok(())
    } else {
        bail!("{} is damaged. `outframe doctor {0} --repair NEW.outframe` saves what can be saved.", file.display())
    }
}

pub(crate) fn copy(file: &Path, to: &Path, json: bool) -> anyhow::Result<()> {
    Project::open_read_only(file)?.save_copy(to)?;
    report::print(json, &serde_json::json!({ "file": to }), |_| format!("{}: copied", to.display()))
}

pub(crate) fn compact(file: &Path, json: bool) -> anyhow::Result<()> {
    let before = std::fs::metadata(file).map_or(0, |found| found.len());
    let mut project = Project::open(file)?;
    project.compact()?;
    project.close()?;
    let after = std::fs::metadata(file).map_or(0, |found| found.len());
    report::print(json, &serde_json::json!({ "bytes_before": before, "bytes": after }), |_| {
        format!("{}: {before} bytes before, {after} now", file.display())
    })
}

#[derive(Debug, Serialize)]
struct Mended {
    file: std::path::PathBuf,
    complete: bool,
    steps_kept: u64,
    steps_lost: u64,
    pictures_kept: u64,
    pictures_lost: usize,
    notes: Vec<String>,
}

fn mend(file: &Path, to: &Path, json: bool) -> anyhow::Result<()> {
    let repaired = Project::repair(file, to)?;
    let row = Mended {
        file: to.into(),
        complete: repaired.is_complete(),
        steps_kept: repaired.steps_kept,
        steps_lost: repaired.steps_lost,
        pictures_kept: repaired.blobs_kept,
        pictures_lost: repaired.blobs_lost.len(),
        notes: repaired.notes,
    };
    report::print(json, &row, |row| {
        let mut text =
            format!("{}: {} pictures and {} steps were saved", row.file.display(), row.pictures_kept, row.steps_kept);
        if row.complete {
            text += "; nothing was lost.\n";
        } else {
            text += &format!("; {} pictures and {} steps were lost.\n", row.pictures_lost, row.steps_lost);
        }
        text + &row.notes.iter().map(|note| format!("  {note}\n")).collect::<String>()
    })
}
