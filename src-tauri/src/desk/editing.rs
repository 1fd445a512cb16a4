//! Changes of the open project that need no model.

use std::path::{Path, PathBuf};

use image::{ImageDecoder as _, ImageReader};
use outframe_document::{
    Edit, Frame, GenerationId, Layer, LayerId, Origin, Patch, PatchChange, PatchContent, PatchImage, Project, Rect,
    Step, StepId, TakeId,
};
use outframe_studio::{ImportOptions, Imported, import_pictures};
use serde_json::Value;

use super::Desk;
use crate::{
    api::{self, CommandError, HistoryStep, ImportedView, ProjectView},
    error::Answer,
    views::{self, id},
};

impl Desk {
    pub(crate) fn rename_project(&self, title: &str) -> Answer<ProjectView> {
        let title = title.trim().to_owned();
        let view = self.change(|project| {
            if project.document().title() != Some(&title) {
                let edit = Edit::SetMeta { key: "title".into(), value: Some(Value::String(title)) };
                project.apply(Step::new("Rename project", vec![edit]))?;
            }
            Ok(())
        })?;
        self.inner.recent.touch(Path::new(&view.path), &view.title);
        Ok(view)
    }

    pub(crate) fn undo(&self) -> Answer<ProjectView> {
        self.change(|project| Ok(project.undo().map(drop)?))
    }

    pub(crate) fn redo(&self) -> Answer<ProjectView> {
        self.change(|project| Ok(project.redo().map(drop)?))
    }

    pub(crate) fn history(&self) -> Answer<Vec<HistoryStep>> {
        let open = self.open()?;
        let state = open.state();
        views::history(state.project.as_ref().ok_or_else(super::closed)?)
    }

    pub(crate) fn go_to_step(&self, step: &str) -> Answer<ProjectView> {
        let step: StepId = id(step, "step")?;
        self.change(|project| Ok(project.go_to(step)?))
    }

    pub(crate) fn choose_take(&self, generation: &str, take: &str) -> Answer<ProjectView> {
        let (generation, take): (GenerationId, TakeId) = (id(generation, "generation")?, id(take, "take")?);
        self.change(|project| {
            if project.document().generation(generation).is_some_and(|found| found.chosen == take) {
                return Ok(());
            }
            Ok(project.apply(Step::new("Choose take", vec![Edit::ChooseTake { generation, take }]))?)
        })
    }

    /// Puts a take on a layer of its own, centred at a point.
    pub(crate) fn place_take(&self, generation: &str, take: &str, x: f64, y: f64) -> Answer<ProjectView> {
        let (generation, take): (GenerationId, TakeId) = (id(generation, "generation")?, id(take, "take")?);
        self.change(|project| {
            let missing = || CommandError::not_found("This take is not in the project any more.");
            let found = project.document().generation(generation).ok_or_else(missing)?;
            let shown = found.take(take).ok_or_else(missing)?.clone();
            let mut provenance = found.provenance.clone();
            provenance.request.seed = shown.seed;
            let rect = centred(x, y, found.rect.width, found.rect.height);
            let origin = Origin::Generated { provenance: Box::new(provenance), seconds: shown.seconds };
            let content = PatchContent::Image(Box::new(PatchImage { image: shown.image, mask: shown.mask, origin }));
            let name = found.provenance.request.prompt.lines().next().unwrap_or_default().chars().take(48).collect();
            let name: String = if String::is_empty(&name) { "Take".into() } else { name };
            let mut layer = Layer::new(project.next_layer_id(), name);
            layer.patches.push(Patch::new(project.next_patch_id(), rect, content));
            let index = project.document().layers.len();
            let mut edits = vec![Edit::AddLayer { index, layer: Box::new(layer) }];
            if project.document().frames.is_empty() {
                let frame = Frame { id: project.next_frame_id(), name: "Frame 1".into(), rect };
                edits.push(Edit::AddFrame { index: 0, frame });
            }
            Ok(project.apply(Step::new("Place take", edits))?)
        })
    }

    pub(crate) fn set_layer(&self, layer: &str, change: api::LayerChange) -> Answer<ProjectView> {
        let layer: LayerId = id(layer, "layer")?;
        let (name, change) = views::layer_change(change)?;
        self.change(|project| {
            let before = project.document().layer(layer).cloned();
            let edit = Edit::SetLayer { layer, change };
            let mut after = project.document().clone();
            after.apply(&edit)?;
            if after.layer(layer) == before.as_ref() {
                return Ok(());
            }
            Ok(project.apply(Step::new(name, vec![edit]))?)
        })
    }

    pub(crate) fn move_layer(&self, layer: &str, index: usize) -> Answer<ProjectView> {
        let layer: LayerId = id(layer, "layer")?;
        self.change(|project| {
            if project.document().layer_index(layer) == Some(index) {
                return Ok(());
            }
            Ok(project.apply(Step::new("Reorder layers", vec![Edit::MoveLayer { layer, index }]))?)
        })
    }

    pub(crate) fn offset_layer(&self, layer: &str, dx: i64, dy: i64) -> Answer<ProjectView> {
        let layer: LayerId = id(layer, "layer")?;
        self.change(|project| {
            let moved = |rect: Rect| Rect { x: rect.x.saturating_add(dx), y: rect.y.saturating_add(dy), ..rect };
            let found = unlocked(project, layer)?;
            if (dx, dy) == (0, 0) || found.patches.is_empty() {
                return Ok(());
            }
            let mut edits: Vec<Edit> = found
                .patches
                .iter()
                .map(|patch| Edit::SetPatch { patch: patch.id, change: PatchChange::Rect(moved(patch.rect)) })
                .collect();
            if let Some(mask) = &found.mask {
                let mask = outframe_document::Mask { rect: moved(mask.rect), ..mask.clone() };
                edits.push(Edit::SetLayer { layer, change: outframe_document::LayerChange::Mask(Some(mask)) });
            }
            Ok(project.apply(Step::new("Move layer", edits))?)
        })
    }

    pub(crate) fn remove_layer(&self, layer: &str) -> Answer<ProjectView> {
        let layer: LayerId = id(layer, "layer")?;
        self.change(|project| {
            unlocked(project, layer)?;
            Ok(project.apply(Step::new("Remove layer", vec![Edit::RemoveLayer { layer }]))?)
        })
    }

    pub(crate) fn set_frame(&self, frame: &str, rect: Rect) -> Answer<ProjectView> {
        let frame = id(frame, "frame")?;
        self.change(|project| {
            let found = project.document().frame(frame);
            let found = found.ok_or_else(|| CommandError::not_found("This frame is not in the project any more."))?;
            if found.rect == rect {
                return Ok(());
            }
            let frame = Frame { rect, ..found.clone() };
            Ok(project.apply(Step::new("Change frame", vec![Edit::SetFrame { frame }]))?)
        })
    }

    /// Imports picture files, each as a layer, centred at a point or at the frame's corner.
    pub(crate) fn import_files(&self, paths: &[PathBuf], at: Option<(f64, f64)>) -> Answer<Vec<ImportedView>> {
        let open = self.open()?;
        let corner = at.map(|(x, y)| {
            // What cannot be measured without reading it all is put with its corner there.
            let (width, height) = paths.first().and_then(|path| upright_size(path)).unwrap_or_default();
            let rect = centred(x, y, width, height);
            (rect.x, rect.y)
        });
        let how = ImportOptions { at: corner, each_as_layer: true };
        let (imported, _) = self.change_in(&open, |project| {
            let before = project.document().layers.len();
            let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            let imported = import_pictures(project, &paths, how)?;
            // New layers are on top, in the order of the files.
            let mut new = project.document().layers[before..].iter();
            let views = imported.iter().map(|one| {
                let topmost = new.by_ref().take(one.layers.len()).last();
                imported_view(one, topmost)
            });
            Ok(views.collect())
        })?;
        Ok(imported)
    }

    /// Imports a picture that came as bytes, from the clipboard for instance.
    pub(crate) fn import_bytes(&self, bytes: &[u8], name: &str, at: Option<(f64, f64)>) -> Answer<Vec<ImportedView>> {
        let failed = |error: std::io::Error| CommandError::failed(format!("The picture cannot be put aside: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let name = Path::new(name).file_name().filter(|name| !name.is_empty()).unwrap_or("pasted.png".as_ref());
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).map_err(failed)?;
        self.import_files(&[path], at)
    }
}

/// The layer, unless the user has protected it.
fn unlocked(project: &Project, layer: LayerId) -> Answer<&Layer> {
    let found = project.document().layer(layer);
    let found = found.ok_or_else(|| CommandError::not_found("This layer is not in the project any more."))?;
    if found.locked {
        return Err(CommandError::invalid(format!("The layer “{}” is locked. Unlock it first.", found.name)));
    }
    Ok(found)
}

fn centred(x: f64, y: f64, width: u32, height: u32) -> Rect {
    let corner = |centre: f64, side: u32| (centre - f64::from(side) / 2.0).round() as i64;
    Rect::new(corner(x, width), corner(y, height), width, height)
}

/// A picture file's size as it is shown, read from its head.
fn upright_size(path: &Path) -> Option<(u32, u32)> {
    use image::metadata::Orientation;
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        decoder.orientation().ok()?,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    Some(if turned { (height, width) } else { (width, height) })
}

fn imported_view(one: &Imported, layer: Option<&Layer>) -> ImportedView {
    let generation = one.generation.as_ref();
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut words: Vec<String> = Vec::new();
    if let Some(found) = generation {
        let mut say = |what: &str, value: Option<String>| words.extend(value.map(|value| format!("{what} {value}")));
        say("model", found.model.clone());
        say("seed", found.seed.map(|seed| seed.to_string()));
        say("steps", found.steps.map(|steps| steps.to_string()));
        say("guidance", found.cfg.map(|cfg| cfg.to_string()));
        say("sampler", found.sampler.clone());
        say("size", found.size.map(|(width, height)| format!("{width} × {height}")));
        say("strength", found.denoising_strength.map(|strength| strength.to_string()));
    }
    words.extend(one.warnings.iter().cloned());
    ImportedView {
        layer: layer.map(|layer| layer.id.to_string()).unwrap_or_default(),
        prompt: generation.and_then(|found| some(&found.prompt)),
        negative: generation.and_then(|found| some(&found.negative)),
        metadata: (!words.is_empty()).then(|| words.join(" · ")),
    }
}
