//! Changes of a document, each with its exact inverse.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{
    BlendMode, Canvas, Document, Frame, Generation, GenerationRequest, Layer, ModelRef, Note, Origin, Patch,
    PatchContent, Take,
};
use crate::error::Error;
use crate::geometry::Rect;
use crate::group::{Group, Mask};
use crate::id::{BlobId, FrameId, GenerationId, GroupId, LayerId, NoteId, PatchId, SequenceId, ShotId, TakeId};
use crate::shot::{FrameRate, Keyframe, Move, Sequence, Shot};
use crate::validate::{self, Verdict};

mod film;
mod groups;
mod notes;

/// What the user sees as one action, and undoes as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the history shows, such as "Extend right". At most [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES).
    pub name: String,
    /// Applied in this order, all or none.
    pub edits: Vec<Edit>,
}

impl Step {
    /// A step of these edits.
    pub fn new(name: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { name: name.into(), edits }
    }
}

/// One change of a document.
///
/// An index counts from the bottom (layers, patches) or the front (takes, frames); for an insertion it may equal the
/// number of items, which appends. When something moves, the index is its place afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// Replaces the canvas' settings.
    SetCanvas {
        /// The new settings.
        canvas: Canvas,
    },
    /// Sets or removes an entry of the project's notes.
    SetMeta {
        /// The entry's name, not empty.
        key: String,
        /// The new value; `None` removes the entry. JSON's `null` is written as the same, so it removes it too.
        value: Option<Value>,
    },
    /// Inserts a layer with all that it holds.
    AddLayer {
        /// Where.
        index: usize,
        /// The layer, its patches included.
        layer: Box<Layer>,
    },
    /// Removes a layer with all that it holds.
    RemoveLayer {
        /// Which.
        layer: LayerId,
    },
    /// Moves a layer up or down.
    MoveLayer {
        /// Which.
        layer: LayerId,
        /// Its place afterwards.
        index: usize,
    },
    /// Changes one property of a layer.
    SetLayer {
        /// Which.
        layer: LayerId,
        /// The property and its new value.
        change: LayerChange,
    },
    /// Inserts a patch.
    AddPatch {
        /// Into which layer.
        layer: LayerId,
        /// Where in it.
        index: usize,
        /// The patch.
        patch: Box<Patch>,
    },
    /// Removes a patch. A generation that it showed stays.
    RemovePatch {
        /// Which.
        patch: PatchId,
    },
    /// Moves a patch up or down, or to another layer.
    MovePatch {
        /// Which.
        patch: PatchId,
        /// Its layer afterwards.
        layer: LayerId,
        /// Its place in that layer afterwards.
        index: usize,
    },
    /// Changes one property of a patch.
    SetPatch {
        /// Which.
        patch: PatchId,
        /// The property and its new value.
        change: PatchChange,
    },
    /// Adds a generation with its takes.
    AddGeneration {
        /// The generation, with at least one take.
        generation: Box<Generation>,
    },
    /// Removes a generation that no patch shows.
    RemoveGeneration {
        /// Which.
        generation: GenerationId,
    },
    /// Adds a take to a generation. It is not chosen thereby.
    AddTake {
        /// To which generation.
        generation: GenerationId,
        /// Where among its takes.
        index: usize,
        /// The take.
        take: Take,
    },
    /// Removes a take that is not the chosen one.
    RemoveTake {
        /// From which generation.
        generation: GenerationId,
        /// Which take.
        take: TakeId,
    },
    /// Chooses the take that patches of this generation show.
    ChooseTake {
        /// In which generation.
        generation: GenerationId,
        /// Which take.
        take: TakeId,
    },
    /// Inserts a frame.
    AddFrame {
        /// Where.
        index: usize,
        /// The frame.
        frame: Frame,
    },
    /// Removes a frame that no shot starts from. The pictures in it stay.
    RemoveFrame {
        /// Which.
        frame: FrameId,
    },
    /// Moves a frame in the order of frames.
    MoveFrame {
        /// Which.
        frame: FrameId,
        /// Its place afterwards.
        index: usize,
    },
    /// Replaces the name and rectangle of the frame with the same id.
    SetFrame {
        /// The frame as it shall be.
        frame: Frame,
    },
    /// Adds a group. Layers and groups get into it by [`LayerChange::Group`] and [`GroupChange::Parent`].
    AddGroup {
        /// The group.
        group: Box<Group>,
    },
    /// Removes a group that holds neither layers nor groups.
    RemoveGroup {
        /// Which.
        group: GroupId,
    },
    /// Changes one property of a group.
    SetGroup {
        /// Which.
        group: GroupId,
        /// The property and its new value.
        change: GroupChange,
    },
    /// Inserts a shot.
    AddShot {
        /// Where.
        index: usize,
        /// The shot.
        shot: Box<Shot>,
    },
    /// Removes a shot that no sequence shows.
    RemoveShot {
        /// Which.
        shot: ShotId,
    },
    /// Moves a shot in the order of shots.
    MoveShot {
        /// Which.
        shot: ShotId,
        /// Its place afterwards.
        index: usize,
    },
    /// Changes one property of a shot.
    SetShot {
        /// Which.
        shot: ShotId,
        /// The property and its new value.
        change: ShotChange,
    },
    /// Inserts a sequence.
    AddSequence {
        /// Where.
        index: usize,
        /// The sequence.
        sequence: Sequence,
    },
    /// Removes a sequence. Its shots stay.
    RemoveSequence {
        /// Which.
        sequence: SequenceId,
    },
    /// Moves a sequence in the order of sequences.
    MoveSequence {
        /// Which.
        sequence: SequenceId,
        /// Its place afterwards.
        index: usize,
    },
    /// Replaces the name and the shots of the sequence with the same id.
    SetSequence {
        /// The sequence as it shall be.
        sequence: Sequence,
    },
    /// Adds a note.
    AddNote {
        /// The note.
        note: Note,
    },
    /// Removes a note.
    RemoveNote {
        /// Which.
        note: NoteId,
    },
    /// Replaces the words and the place of the note with the same id.
    SetNote {
        /// The note as it shall be.
        note: Note,
    },
    /// Records, changes or forgets that the project has used a model.
    SetModel {
        /// The BLAKE3 hash of the model's weights.
        hash: BlobId,
        /// What is known of it; `None` forgets it.
        model: Option<ModelRef>,
    },
}

/// A property of a layer and its new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerChange {
    /// The name.
    Name(String),
    /// Whether it is drawn.
    Visible(bool),
    /// Whether it is protected from changes.
    Locked(bool),
    /// The opacity, 0..=1.
    Opacity(f64),
    /// The blend mode.
    Blend(BlendMode),
    /// The depth, above 0 and at most [`MAX_DEPTH`](crate::MAX_DEPTH).
    Depth(f64),
    /// The group that holds it; `None` for none.
    Group(Option<GroupId>),
    /// What hides parts of it; `None` for nothing.
    Mask(Option<Mask>),
}

/// A property of a group and its new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupChange {
    /// The name.
    Name(String),
    /// Whether it is drawn.
    Visible(bool),
    /// Whether it is protected from changes.
    Locked(bool),
    /// The opacity, 0..=1.
    Opacity(f64),
    /// The blend mode.
    Blend(BlendMode),
    /// What hides parts of it; `None` for nothing.
    Mask(Option<Mask>),
    /// The group that holds it; `None` for none. Groups nest at most [`MAX_GROUP_NESTING`](crate::MAX_GROUP_NESTING)
    /// deep, and none holds itself.
    Parent(Option<GroupId>),
}

/// A property of a shot and its new value; the ranges are those of [`Shot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShotChange {
    /// The name.
    Name(String),
    /// The frame that the camera sees at rest.
    Frame(FrameId),
    /// The film's width and height, in pixels.
    Size(u32, u32),
    /// Pictures per second.
    Rate(FrameRate),
    /// How many pictures.
    Frames(u32),
    /// What the camera does.
    Moves(Vec<Move>),
    /// Values of single channels at single times.
    Keyframes(Vec<Keyframe>),
    /// Sets or, by `None`, removes a setting. JSON's `null` removes it too.
    Setting(String, Option<Value>),
}

/// A property of a patch and its new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchChange {
    /// The name.
    Name(String),
    /// The place on the canvas.
    Rect(Rect),
    /// What it shows.
    Content(PatchContent),
}

impl Document {
    /// Makes one change and returns the edit that undoes it exactly.
    ///
    /// [`Error::InvalidEdit`] when the edit does not fit; then nothing has changed. Blobs are not looked up: only the
    /// [`Project`](crate::Project) knows them.
    pub fn apply(&mut self, edit: &Edit) -> Result<Edit, Error> {
        self.try_apply(edit).map_err(Error::invalid)
    }

    /// Makes these changes in order, and returns the edits that undo them, in the order to apply them.
    ///
    /// [`Error::InvalidEdit`] when one does not fit; then nothing has changed.
    pub fn apply_all(&mut self, edits: &[Edit]) -> Result<Vec<Edit>, Error> {
        let mut inverse = Vec::with_capacity(edits.len());
        for edit in edits {
            match self.apply(edit) {
                Ok(undo) => inverse.push(undo),
                Err(error) => {
                    self.revert(&inverse)?;
                    return Err(error);
                }
            }
        }
        inverse.reverse();
        Ok(inverse)
    }

    /// Undoes edits, given their inverses in the order in which the edits were made.
    pub(crate) fn revert(&mut self, inverses: &[Edit]) -> Result<(), Error> {
        inverses.iter().rev().try_for_each(|edit| self.apply(edit).map(drop))
    }

    // Every arm checks all that can fail before it changes anything.
    fn try_apply(&mut self, edit: &Edit) -> Result<Edit, String> {
        match edit {
            Edit::SetCanvas { canvas } => Ok(Edit::SetCanvas { canvas: std::mem::replace(&mut self.canvas, *canvas) }),
            Edit::SetMeta { key, value } => self.set_meta(key, value.as_ref()),
            Edit::AddLayer { index, layer } => self.add_layer(*index, layer),
            Edit::RemoveLayer { layer } => {
                let index = self.find_layer(*layer)?;
                Ok(Edit::AddLayer { index, layer: Box::new(self.layers.remove(index)) })
            }
            Edit::MoveLayer { layer, index } => {
                let from = self.find_layer(*layer)?;
                move_item(&mut self.layers, from, *index)?;
                Ok(Edit::MoveLayer { layer: *layer, index: from })
            }
            Edit::SetLayer { layer, change } => {
                let index = self.find_layer(*layer)?;
                if let LayerChange::Group(group) = change {
                    self.check_group(*group)?;
                }
                Ok(Edit::SetLayer { layer: *layer, change: self.layers[index].change(change)? })
            }
            Edit::AddPatch { layer, index, patch } => {
                let at = self.find_layer(*layer)?;
                validate::patch(patch)?;
                if self.patch(patch.id).is_some() {
                    return Err(format!("there is a patch {} already", patch.id));
                }
                self.check_content(&patch.content)?;
                insert(&mut self.layers[at].patches, *index, (**patch).clone())?;
                Ok(Edit::RemovePatch { patch: patch.id })
            }
            Edit::RemovePatch { patch } => {
                let (layer, index) = self.find_patch(*patch)?;
                let layer = &mut self.layers[layer];
                Ok(Edit::AddPatch { layer: layer.id, index, patch: Box::new(layer.patches.remove(index)) })
            }
            Edit::MovePatch { patch, layer, index } => self.move_patch(*patch, *layer, *index),
            Edit::SetPatch { patch, change } => self.set_patch(*patch, change),
            Edit::AddGeneration { generation } => self.add_generation(generation),
            Edit::RemoveGeneration { generation } => {
                let shown = PatchContent::Generation(*generation);
                if let Some(patch) = self.patches().find(|patch| patch.content == shown) {
                    return Err(format!("patch {} shows generation {generation}", patch.id));
                }
                let removed = self.generations.remove(generation).ok_or_else(|| unknown("generation", *generation))?;
                Ok(Edit::AddGeneration { generation: Box::new(removed) })
            }
            Edit::AddTake { generation, index, take } => {
                validate::take(take)?;
                self.check_new_takes(std::slice::from_ref(take))?;
                insert(&mut self.find_generation(*generation)?.takes, *index, take.clone())?;
                Ok(Edit::RemoveTake { generation: *generation, take: take.id })
            }
            Edit::RemoveTake { generation, take } => {
                let owner = self.find_generation(*generation)?;
                let index = owner.take_index(*take)?;
                if owner.chosen == *take {
                    return Err(format!("take {take} is the chosen one"));
                }
                Ok(Edit::AddTake { generation: *generation, index, take: owner.takes.remove(index) })
            }
            Edit::ChooseTake { generation, take } => {
                let owner = self.find_generation(*generation)?;
                owner.take_index(*take)?;
                Ok(Edit::ChooseTake { generation: *generation, take: std::mem::replace(&mut owner.chosen, *take) })
            }
            Edit::AddFrame { .. } | Edit::RemoveFrame { .. } | Edit::MoveFrame { .. } | Edit::SetFrame { .. } => {
                self.apply_to_frames(edit)
            }
            Edit::AddGroup { .. } | Edit::RemoveGroup { .. } | Edit::SetGroup { .. } => self.apply_to_groups(edit),
            Edit::AddShot { .. }
            | Edit::RemoveShot { .. }
            | Edit::MoveShot { .. }
            | Edit::SetShot { .. }
            | Edit::AddSequence { .. }
            | Edit::RemoveSequence { .. }
            | Edit::MoveSequence { .. }
            | Edit::SetSequence { .. } => self.apply_to_film(edit),
            Edit::AddNote { .. } | Edit::RemoveNote { .. } | Edit::SetNote { .. } | Edit::SetModel { .. } => {
                self.apply_to_notes(edit)
            }
        }
    }

    fn set_meta(&mut self, key: &str, value: Option<&Value>) -> Result<Edit, String> {
        validate::meta_key(key)?;
        // JSON cannot tell `Some(null)` from `None`: were null kept, the inverse read back from the file would differ.
        let value = value.filter(|value| !value.is_null());
        let old = match value {
            Some(value) => {
                validate::json(value)?;
                self.meta.insert(key.to_owned(), value.clone())
            }
            None => self.meta.remove(key),
        };
        Ok(Edit::SetMeta { key: key.to_owned(), value: old })
    }

    fn add_layer(&mut self, index: usize, layer: &Layer) -> Result<Edit, String> {
        validate::layer(layer)?;
        if self.layer(layer.id).is_some() {
            return Err(format!("there is a layer {} already", layer.id));
        }
        self.check_group(layer.group)?;
        if !layer.patches.is_empty() {
            let mut known: HashSet<PatchId> = self.patches().map(|patch| patch.id).collect();
            for patch in &layer.patches {
                if !known.insert(patch.id) {
                    return Err(format!("there is a patch {} already", patch.id));
                }
                self.check_content(&patch.content)?;
            }
        }
        insert(&mut self.layers, index, layer.clone())?;
        Ok(Edit::RemoveLayer { layer: layer.id })
    }

    fn move_patch(&mut self, patch: PatchId, layer: LayerId, index: usize) -> Result<Edit, String> {
        let (from_layer, from) = self.find_patch(patch)?;
        let to_layer = self.find_layer(layer)?;
        let inverse = Edit::MovePatch { patch, layer: self.layers[from_layer].id, index: from };
        if from_layer == to_layer {
            move_item(&mut self.layers[to_layer].patches, from, index)?;
        } else {
            check_index(index, self.layers[to_layer].patches.len())?;
            let moved = self.layers[from_layer].patches.remove(from);
            self.layers[to_layer].patches.insert(index, moved);
        }
        Ok(inverse)
    }

    fn set_patch(&mut self, id: PatchId, change: &PatchChange) -> Result<Edit, String> {
        let (layer, index) = self.find_patch(id)?;
        match change {
            PatchChange::Name(name) => validate::name(name)?,
            PatchChange::Rect(rect) => validate::rect(rect)?,
            PatchChange::Content(content) => {
                validate::content(content)?;
                self.check_content(content)?;
            }
        }
        let patch = &mut self.layers[layer].patches[index];
        let change = match change {
            PatchChange::Name(name) => PatchChange::Name(std::mem::replace(&mut patch.name, name.clone())),
            PatchChange::Rect(rect) => PatchChange::Rect(std::mem::replace(&mut patch.rect, *rect)),
            PatchChange::Content(content) => {
                PatchChange::Content(std::mem::replace(&mut patch.content, content.clone()))
            }
        };
        Ok(Edit::SetPatch { patch: id, change })
    }

    fn add_generation(&mut self, generation: &Generation) -> Result<Edit, String> {
        validate::generation(generation)?;
        if self.generations.contains_key(&generation.id) {
            return Err(format!("there is a generation {} already", generation.id));
        }
        self.check_new_takes(&generation.takes)?;
        self.generations.insert(generation.id, generation.clone());
        Ok(Edit::RemoveGeneration { generation: generation.id })
    }

    fn check_new_takes(&self, takes: &[Take]) -> Verdict {
        let mut known: HashSet<TakeId> =
            self.generations.values().flat_map(|generation| &generation.takes).map(|take| take.id).collect();
        match takes.iter().find(|take| !known.insert(take.id)) {
            Some(take) => Err(format!("there is a take {} already", take.id)),
            None => Ok(()),
        }
    }

    fn check_content(&self, content: &PatchContent) -> Verdict {
        match content {
            PatchContent::Generation(id) if !self.generations.contains_key(id) => Err(unknown("generation", *id)),
            PatchContent::Generation(_) | PatchContent::Image(_) => Ok(()),
        }
    }

    fn find_layer(&self, id: LayerId) -> Result<usize, String> {
        self.layer_index(id).ok_or_else(|| unknown("layer", id))
    }

    fn find_patch(&self, id: PatchId) -> Result<(usize, usize), String> {
        self.patch_place(id).ok_or_else(|| unknown("patch", id))
    }

    fn find_generation(&mut self, id: GenerationId) -> Result<&mut Generation, String> {
        self.generations.get_mut(&id).ok_or_else(|| unknown("generation", id))
    }
}

impl Layer {
    /// Changes one property and returns its old value.
    fn change(&mut self, change: &LayerChange) -> Result<LayerChange, String> {
        use std::mem::replace;
        Ok(match change {
            LayerChange::Name(name) => {
                validate::name(name)?;
                LayerChange::Name(replace(&mut self.name, name.clone()))
            }
            LayerChange::Visible(visible) => LayerChange::Visible(replace(&mut self.visible, *visible)),
            LayerChange::Locked(locked) => LayerChange::Locked(replace(&mut self.locked, *locked)),
            LayerChange::Opacity(opacity) => {
                validate::opacity(*opacity)?;
                LayerChange::Opacity(replace(&mut self.opacity, *opacity))
            }
            LayerChange::Blend(blend) => LayerChange::Blend(replace(&mut self.blend, *blend)),
            LayerChange::Depth(depth) => {
                validate::depth(*depth)?;
                LayerChange::Depth(replace(&mut self.depth, *depth))
            }
            LayerChange::Group(group) => LayerChange::Group(replace(&mut self.group, *group)),
            LayerChange::Mask(mask) => {
                validate::mask(mask.as_ref())?;
                LayerChange::Mask(replace(&mut self.mask, mask.clone()))
            }
        })
    }
}

impl Generation {
    fn take_index(&self, id: TakeId) -> Result<usize, String> {
        self.takes.iter().position(|take| take.id == id).ok_or_else(|| unknown("take", id))
    }
}

impl Edit {
    /// Calls `visit` with every blob that the edit needs to be in the file.
    pub(crate) fn for_each_blob(&self, visit: &mut impl FnMut(BlobId)) {
        // One list of the places where blobs are named serves for reading and for replacing.
        self.clone().for_each_blob_mut(&mut |blob, _| visit(*blob));
    }

    /// Calls `visit` with every blob that the edit needs to be in the file, and its use.
    ///
    /// The hash of an imported file, of a context and of a model are records, not references: those bytes need not be
    /// kept.
    pub(crate) fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        match self {
            Self::AddLayer { layer, .. } => {
                visit_mask(&mut layer.mask, visit);
                layer.patches.iter_mut().for_each(|patch| patch.content.for_each_blob_mut(visit));
            }
            Self::AddPatch { patch, .. } => patch.content.for_each_blob_mut(visit),
            Self::SetPatch { change: PatchChange::Content(content), .. } => content.for_each_blob_mut(visit),
            Self::AddGeneration { generation } => generation.for_each_blob_mut(visit),
            Self::AddTake { take, .. } => take.for_each_blob_mut(visit),
            Self::AddGroup { group } => visit_mask(&mut group.mask, visit),
            Self::SetLayer { change: LayerChange::Mask(mask), .. }
            | Self::SetGroup { change: GroupChange::Mask(mask), .. } => visit_mask(mask, visit),
            _ => {}
        }
    }

    /// The greatest number among the ids that the edit brings into the document; 0 for none.
    pub(crate) fn greatest_new_id(&self) -> u64 {
        let of_takes = |takes: &[Take]| takes.iter().map(|take| take.id.get()).max().unwrap_or(0);
        match self {
            Self::AddLayer { layer, .. } => {
                layer.patches.iter().map(|patch| patch.id.get()).fold(layer.id.get(), u64::max)
            }
            Self::AddPatch { patch, .. } => patch.id.get(),
            Self::AddGeneration { generation } => generation.id.get().max(of_takes(&generation.takes)),
            Self::AddTake { take, .. } => take.id.get(),
            Self::AddFrame { frame, .. } => frame.id.get(),
            Self::AddGroup { group } => group.id.get(),
            Self::AddShot { shot, .. } => shot.id.get(),
            Self::AddSequence { sequence, .. } => sequence.id.get(),
            Self::AddNote { note } => note.id.get(),
            _ => 0,
        }
    }
}

/// What a blob is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BlobUse {
    /// A picture in colour.
    Image,
    /// A greyscale picture: white shows.
    Mask,
}

fn visit_mask(mask: &mut Option<Mask>, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
    if let Some(mask) = mask {
        visit(&mut mask.image, BlobUse::Mask);
    }
}

impl PatchContent {
    fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        if let Self::Image(own) = self {
            visit(&mut own.image, BlobUse::Image);
            own.mask.iter_mut().for_each(|mask| visit(mask, BlobUse::Mask));
            // Spelled out so that an origin which refers to a blob cannot be forgotten here.
            match &mut own.origin {
                Origin::Generated { provenance, .. } => provenance.request.for_each_blob_mut(visit),
                Origin::Imported { .. } | Origin::Drawn => {}
            }
        }
    }
}

impl Take {
    fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        visit(&mut self.image, BlobUse::Image);
        self.mask.iter_mut().for_each(|mask| visit(mask, BlobUse::Mask));
    }
}

impl Generation {
    fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        self.provenance.request.for_each_blob_mut(visit);
        self.takes.iter_mut().for_each(|take| take.for_each_blob_mut(visit));
    }
}

impl GenerationRequest {
    fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        self.controls.iter_mut().for_each(|control| visit(&mut control.picture, BlobUse::Image));
    }
}

impl Document {
    /// Calls `visit` with every blob that the document shows or can show, and its use.
    pub(crate) fn for_each_blob_mut(&mut self, visit: &mut impl FnMut(&mut BlobId, BlobUse)) {
        for layer in &mut self.layers {
            visit_mask(&mut layer.mask, visit);
            layer.patches.iter_mut().for_each(|patch| patch.content.for_each_blob_mut(visit));
        }
        self.groups.values_mut().for_each(|group| visit_mask(&mut group.mask, visit));
        self.generations.values_mut().for_each(|generation| generation.for_each_blob_mut(visit));
    }

    /// The edits that make this document out of an empty one.
    pub(crate) fn as_edits(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        if self.canvas != Canvas::default() {
            edits.push(Edit::SetCanvas { canvas: self.canvas });
        }
        for (key, value) in &self.meta {
            edits.push(Edit::SetMeta { key: key.clone(), value: Some(value.clone()) });
        }
        for (hash, model) in &self.models {
            edits.push(Edit::SetModel { hash: *hash, model: Some(model.clone()) });
        }
        // A group must be there before what it holds.
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by_key(|group| self.groups_around(group.parent).count());
        edits.extend(groups.into_iter().map(|group| Edit::AddGroup { group: Box::new(group.clone()) }));
        let generations = self.generations.values().cloned();
        edits.extend(generations.map(|generation| Edit::AddGeneration { generation: Box::new(generation) }));
        let layers = self.layers.iter().cloned().map(Box::new).enumerate();
        edits.extend(layers.map(|(index, layer)| Edit::AddLayer { index, layer }));
        let frames = self.frames.iter().cloned().enumerate();
        edits.extend(frames.map(|(index, frame)| Edit::AddFrame { index, frame }));
        let shots = self.shots.iter().cloned().map(Box::new).enumerate();
        edits.extend(shots.map(|(index, shot)| Edit::AddShot { index, shot }));
        let sequences = self.sequences.iter().cloned().enumerate();
        edits.extend(sequences.map(|(index, sequence)| Edit::AddSequence { index, sequence }));
        edits.extend(self.notes.values().cloned().map(|note| Edit::AddNote { note }));
        edits
    }
}

fn unknown(kind: &str, id: impl std::fmt::Display) -> String {
    format!("there is no {kind} {id}")
}

fn check_index(index: usize, most: usize) -> Verdict {
    if index > most { Err(format!("the place {index} is beyond the end, {most}")) } else { Ok(()) }
}

fn insert<T>(items: &mut Vec<T>, index: usize, item: T) -> Verdict {
    check_index(index, items.len())?;
    items.insert(index, item);
    Ok(())
}

fn move_item<T>(items: &mut Vec<T>, from: usize, to: usize) -> Verdict {
    check_index(to, items.len().saturating_sub(1))?;
    let item = items.remove(from);
    items.insert(to, item);
    Ok(())
}
