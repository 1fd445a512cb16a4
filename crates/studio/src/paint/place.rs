//! Puts what was painted into the project.

use image::{DynamicImage, GrayImage, Luma};
use outframe_document::{
    Document, Edit, Frame, GenerationId, Layer, LayerId, Patch, PatchContent, Project, Rect, Step,
};

use super::{FrameGrowth, Painted, PaintedSheet, Target};
use crate::{
    Pictures, StudioError, controls,
    generate::generation_edit,
    pictures::encode_png,
    surface::{is_locked, is_plain, taken_up, touches},
};

/// What the project has now.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The frame before; `None` where frames stay as they are.
    pub frame_before: Option<Rect>,
    /// The frame now.
    pub frame_after: Option<Rect>,
    /// The painted areas, in the order in which they were painted.
    pub painted: Vec<Rect>,
    /// The new generations; each holds all takes.
    pub generations: Vec<GenerationId>,
    /// The seed of the first take.
    pub seed: u64,
    /// Seconds of computing.
    pub seconds: f64,
}

impl Painted {
    /// Puts the result into the project, as one undoable step that shows the first take.
    ///
    /// The project may have changed since the plan was made: what has been painted there meanwhile is not covered, and
    /// the frame grows from what it is now.
    pub fn place(self, project: &mut Project) -> Result<Placed, StudioError> {
        let result = self.try_place(project);
        if result.is_err() {
            project.discard_pending_blobs();
        }
        result
    }

    fn try_place(self, project: &mut Project) -> Result<Placed, StudioError> {
        let seconds = self.seconds();
        let mut edits = Vec::new();
        let found = self.target.find(project.document());
        let (layer, mut index) = found.unwrap_or_else(|| {
            let mut layer = Layer::new(project.next_layer_id(), "Extension");
            let mut index = project.document().layers.len();
            if let Target::AtDepth(depth, _) = self.target {
                layer.depth = depth;
                // Behind what is nearer.
                index = project.document().layers.iter().take_while(|other| other.depth >= depth).count();
            }
            let id = layer.id;
            edits.push(Edit::AddLayer { index, layer: Box::new(layer) });
            (id, 0)
        });
        let is_changed = project.current_step() != self.made_at && !self.changes_known;
        let mut generations = Vec::new();
        controls::store(project, &self.control_pictures)?;
        for sheet in self.sheets {
            let mask = if is_changed { hide_known(project, &sheet, self.target)? } else { sheet.mask };
            if mask.as_ref().is_some_and(|mask| mask.pixels().all(|pixel| pixel.0[0] == 0)) {
                continue;
            }
            let mask = mask.map(|mask| encode_png(&DynamicImage::ImageLuma8(mask))).transpose()?;
            let (generation, add) =
                generation_edit(project, sheet.rect, sheet.takes, mask.as_deref(), sheet.provenance)?;
            let patch = Patch::new(project.next_patch_id(), sheet.rect, PatchContent::Generation(generation));
            edits.push(add);
            edits.push(Edit::AddPatch { layer, index, patch: Box::new(patch) });
            index += 1;
            generations.push(generation);
        }
        let frame = self.frame.as_ref().and_then(|frame| grow(project, frame));
        let (before, after) = frame.as_ref().map_or((None, None), |(before, _, after)| (Some(*before), Some(*after)));
        edits.extend(frame.map(|(_, edit, _)| edit));
        if generations.is_empty() && after.is_none() {
            return Err(StudioError::InvalidRequest(
                "Everything that was to be painted has been painted meanwhile. Nothing was changed.".into(),
            ));
        }
        project.apply(Step::new(self.step, edits))?;
        Ok(Placed {
            frame_before: before,
            frame_after: after,
            painted: self.areas,
            generations,
            seed: self.seed,
            seconds,
        })
    }
}

/// The frame's rectangle before, the edit that makes it grow, and its rectangle afterwards; nothing where it is gone.
fn grow(project: &mut Project, growth: &FrameGrowth) -> Option<(Rect, Edit, Rect)> {
    let Some(id) = growth.id else {
        let id = project.next_frame_id();
        let frame = Frame { id, name: "Frame 1".into(), rect: growth.after };
        return Some((growth.before, Edit::AddFrame { index: 0, frame }, growth.after));
    };
    let now = project.document().frame(id)?.clone();
    let after = if now.rect == growth.before { growth.after } else { now.rect.union(&growth.after) };
    Some((now.rect, Edit::SetFrame { frame: Frame { rect: after, ..now.clone() } }, after))
}

/// A sheet's mask without what is known by now: on the plane that it is for, or anywhere.
fn hide_known(project: &Project, sheet: &PaintedSheet, target: Target) -> Result<Option<GrayImage>, StudioError> {
    let document = project.document();
    let on_plane = |layer: &Layer| match target {
        Target::AtDepth(depth, _) => layer.depth.total_cmp(&depth).is_eq() && is_plain(document, layer),
        Target::Ground(_) | Target::Topmost(_) => true,
    };
    let now = Pictures::new(project).painted(sheet.rect, &on_plane)?;
    if sheet.mask.is_none() && now.pixels().all(|pixel| pixel.0[3] < 255) {
        return Ok(None);
    }
    let (width, height) = now.dimensions();
    Ok(Some(GrayImage::from_fn(width, height, |x, y| {
        let shown = sheet.mask.as_ref().map_or(255, |mask| mask.get_pixel(x, y).0[0]);
        Luma([if now.get_pixel(x, y).0[3] == 255 { 0 } else { shown }])
    })))
}

impl Target {
    /// The layer, and the place on top of its patches.
    fn find(self, document: &Document) -> Option<(LayerId, usize)> {
        let plain =
            || document.layers.iter().rev().filter(|layer| is_plain(document, layer) && !is_locked(document, layer));
        let layer = match self {
            // Not a small picture that lies on the large one, which would take the new area with it when it is moved.
            Self::Ground(rect) => {
                let most = u64::from(rect.width) * u64::from(rect.height) / 2;
                let carries = |layer: &&Layer| taken_up(std::iter::once(*layer), rect) > most;
                plain().find(carries).or_else(|| plain().find(|layer| touches(layer, rect)))
            }
            Self::Topmost(rect) => plain().find(|layer| touches(layer, rect)),
            Self::AtDepth(depth, rect) =>
            {
                #[allow(clippy::float_cmp, reason = "layers are on one plane when the person gave them the same depth")]
                plain().find(|layer| layer.depth == depth && touches(layer, rect))
            }
        };
        layer.map(|layer| (layer.id, layer.patches.len()))
    }
}
