//! The project in memory: plain data, no pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::geometry::Rect;
use crate::group::{Group, Mask};
use crate::id::{BlobId, FrameId, GenerationId, GroupId, LayerId, NoteId, PatchId, TakeId};
use crate::shot::{Sequence, Shot};

/// Everything that a project holds at one point of its history, except the pictures' bytes.
///
/// Changes go through [`Edit`](crate::Edit)s, so that each can be undone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Settings of the canvas.
    pub canvas: Canvas,
    /// From the bottom to the top, whether in a group or not.
    pub layers: Vec<Layer>,
    /// Groups of layers. [`tree`](Self::tree) shows them with what they hold.
    pub groups: BTreeMap<GroupId, Group>,
    /// What has been generated, whether a patch shows it or not.
    pub generations: BTreeMap<GenerationId, Generation>,
    /// Named rectangles of the canvas, in the user's order.
    pub frames: Vec<Frame>,
    /// What the camera does, in the user's order.
    pub shots: Vec<Shot>,
    /// Shots put together, in the user's order.
    pub sequences: Vec<Sequence>,
    /// What people have written about the picture.
    pub notes: BTreeMap<NoteId, Note>,
    /// The models that the project has used, by the BLAKE3 hash of their weights.
    pub models: BTreeMap<BlobId, ModelRef>,
    /// Settings that belong to the project: the title under `title`, and what other parts of the program keep.
    pub meta: BTreeMap<String, Value>,
}

/// Settings of the canvas. The canvas itself has no bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canvas {
    /// What lies below all layers; `None` is transparent.
    pub background: Option<Color>,
}

/// A colour in sRGB, its alpha not multiplied in; each 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Color {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
    /// Opacity; 255 is opaque.
    pub a: u8,
}

/// One plane of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Its stable name for programs.
    pub id: LayerId,
    /// Its name for people.
    pub name: String,
    /// Whether it is drawn.
    pub visible: bool,
    /// Whether the user has protected it from changes. The document keeps the wish; the editor's tools honour it.
    pub locked: bool,
    /// 0 (invisible) to 1 (opaque).
    pub opacity: f64,
    /// How it mixes with what lies below.
    pub blend: BlendMode,
    /// Distance from the camera: 1 is the picture plane, more is farther. Above 0, at most
    /// [`MAX_DEPTH`](crate::MAX_DEPTH).
    pub depth: f64,
    /// The group that holds it; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// What hides parts of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// From the bottom to the top.
    pub patches: Vec<Patch>,
}

impl Layer {
    /// An empty layer: visible, unlocked, opaque, normal, on the picture plane.
    pub fn new(id: LayerId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            visible: true,
            locked: false,
            opacity: 1.0,
            blend: BlendMode::Normal,
            depth: 1.0,
            group: None,
            mask: None,
            patches: Vec::new(),
        }
    }
}

/// How a layer mixes with what lies below. The formulas are those of W3C's Compositing and Blending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlendMode {
    /// Covers.
    #[default]
    Normal,
    /// Multiplies: darker.
    Multiply,
    /// Multiplies the inverses: lighter.
    Screen,
    /// Multiply in the shadows, screen in the lights, as the lower picture says.
    Overlay,
    /// A mild overlay.
    SoftLight,
    /// Adds the light of both.
    Add,
    /// The darker of both.
    Darken,
    /// The lighter of both.
    Lighten,
    /// Hue and saturation from above, luminosity from below.
    Color,
    /// Luminosity from above, hue and saturation from below.
    Luminosity,
}

impl BlendMode {
    /// Every mode, in the order of a menu.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::Multiply,
        Self::Screen,
        Self::Overlay,
        Self::SoftLight,
        Self::Add,
        Self::Darken,
        Self::Lighten,
        Self::Color,
        Self::Luminosity,
    ];

    /// The name in the file, such as "soft-light".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Multiply => "multiply",
            Self::Screen => "screen",
            Self::Overlay => "overlay",
            Self::SoftLight => "soft-light",
            Self::Add => "add",
            Self::Darken => "darken",
            Self::Lighten => "lighten",
            Self::Color => "color",
            Self::Luminosity => "luminosity",
        }
    }

    /// The mode of this name, as [`as_str`](Self::as_str) gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// A picture at a place on the canvas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Its stable name for programs.
    pub id: PatchId,
    /// Its name for people; may be empty.
    pub name: String,
    /// Where it lies; the picture is scaled to it if its size differs.
    pub rect: Rect,
    /// What it shows.
    pub content: PatchContent,
}

impl Patch {
    /// An unnamed patch.
    pub fn new(id: PatchId, rect: Rect, content: PatchContent) -> Self {
        Self { id, name: String::new(), rect, content }
    }
}

/// What a patch shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchContent {
    /// A picture of its own.
    Image(Box<PatchImage>),
    /// The chosen take of a generation: choosing another take changes what the patch shows.
    Generation(GenerationId),
}

/// A patch's own picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchImage {
    /// The encoded picture.
    pub image: BlobId,
    /// A greyscale picture of the same size: white shows, black hides. `None` shows all.
    pub mask: Option<BlobId>,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a patch's own picture came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// A file that the user brought in.
    Imported {
        /// The file's name without its folder.
        file_name: String,
        /// The hash of the file as it was.
        hash: BlobId,
        /// What the file said of itself (EXIF, prompts of other programs), as far as it was understood.
        metadata: Value,
    },
    /// A model made it, and its generation is not kept beside it.
    Generated {
        /// How it was made.
        provenance: Box<Provenance>,
        /// How long that took, in seconds.
        seconds: f64,
    },
    /// Drawn by hand, or pasted from elsewhere.
    Drawn,
}

/// How a picture was made, complete enough to explain it, repeat it and vary it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// What was asked for.
    pub request: GenerationRequest,
    /// The program and version that made it, such as "outframe-engine 0.1.0".
    pub engine: String,
    /// The device it ran on, such as "cpu" or "cuda:0".
    pub device: String,
    /// The part of the picture that it was made to fit; `None` when it was made from nothing.
    pub context: Option<Context>,
}

/// The part of the picture that a generation was made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Which part of the canvas.
    pub rect: Rect,
    /// The hash of its pixels as the model saw them; `None` where that was not recorded.
    pub hash: Option<BlobId>,
}

/// What was asked of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    /// The task.
    pub kind: GenerationKind,
    /// What to show.
    pub prompt: String,
    /// What to avoid.
    pub negative: String,
    /// The model's name for people.
    pub model_name: String,
    /// The hash of its weights; empty where unknown.
    pub model_hash: String,
    /// The seed of the first take.
    pub seed: u64,
    /// How many denoising steps.
    pub steps: u32,
    /// How strictly the prompt is followed (classifier-free guidance).
    pub guidance: f64,
    /// The sampler's name.
    pub sampler: String,
    /// How much of what was there may change, 0..=1.
    pub strength: f64,
    /// The width that the model worked at, in pixels.
    pub width: u32,
    /// The height that the model worked at, in pixels.
    pub height: u32,
    /// The control networks that steered it, in the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlUse>,
    /// Settings that this version does not know or that only one task has; they are kept as they are. A key may not be
    /// one of the names above.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The setting of a request that holds the prompts of single takes, by their ids.
const TAKE_PROMPTS: &str = "take_prompts";

impl GenerationRequest {
    /// What a take was asked for: [`prompt`](Self::prompt) unless it has words of its own.
    pub fn prompt_of(&self, take: TakeId) -> &str {
        let own = self.extra.get(TAKE_PROMPTS).and_then(|all| all.get(take.to_string())).and_then(Value::as_str);
        own.unwrap_or(&self.prompt)
    }

    /// Notes what a take was asked for.
    pub fn set_prompt_of(&mut self, take: TakeId, prompt: &str) {
        if prompt == self.prompt_of(take) {
            return;
        }
        let all = self.extra.entry(TAKE_PROMPTS.into()).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(all) = all.as_object_mut() {
            all.insert(take.to_string(), prompt.into());
        }
    }
}

impl Default for GenerationRequest {
    /// Text to image with nothing asked: empty texts, zero numbers, full strength.
    fn default() -> Self {
        Self {
            kind: GenerationKind::TextToImage,
            prompt: String::new(),
            negative: String::new(),
            model_name: String::new(),
            model_hash: String::new(),
            seed: 0,
            steps: 0,
            guidance: 0.0,
            sampler: String::new(),
            strength: 1.0,
            width: 0,
            height: 0,
            controls: Vec::new(),
            extra: BTreeMap::new(),
        }
    }
}

/// A control network (`ControlNet`) that steered a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlUse {
    /// The network's name for people.
    pub network: String,
    /// The encoded picture that was given.
    pub picture: BlobId,
    /// The part of the canvas that the picture was stretched over.
    pub rect: Rect,
    /// How strongly it counted; 1 as trained.
    pub scale: f64,
    /// From which part of the denoising steps on, 0..=1.
    pub start: f64,
    /// Up to which part of them, 0..=1.
    pub end: f64,
    /// The lower and upper threshold, where not the picture but its edges were given to the network (Canny's detector).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canny: Option<[u32; 2]>,
}

/// What a generation was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GenerationKind {
    /// From words alone.
    TextToImage,
    /// The picture, continued beyond an edge.
    Extend,
    /// The picture, continued beyond all edges.
    ZoomOut,
    /// A region, made anew to fit what surrounds it.
    Fill,
    /// A picture or a region, made a little or much different.
    Vary,
    /// The same picture with more pixels.
    Upscale,
}

/// One request to the model and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Its stable name for programs.
    pub id: GenerationId,
    /// Where on the canvas it was made for.
    pub rect: Rect,
    /// How it was made.
    pub provenance: Provenance,
    /// At least one.
    pub takes: Vec<Take>,
    /// The take that patches show; one of `takes`.
    pub chosen: TakeId,
}

impl Generation {
    /// The take of this id.
    pub fn take(&self, id: TakeId) -> Option<&Take> {
        self.takes.iter().find(|take| take.id == id)
    }

    /// The take that patches show. `None` only for a value that no project would accept.
    pub fn chosen_take(&self) -> Option<&Take> {
        self.take(self.chosen)
    }
}

/// One result of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Its stable name for programs.
    pub id: TakeId,
    /// The seed that gave it.
    pub seed: u64,
    /// The encoded picture.
    pub image: BlobId,
    /// A greyscale picture of the same size: white shows, black hides. `None` shows all.
    pub mask: Option<BlobId>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A named rectangle of the canvas: an artboard, the picture to export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Its stable name for programs.
    pub id: FrameId,
    /// Its name for people.
    pub name: String,
    /// Which part of the canvas.
    pub rect: Rect,
}

/// What somebody has written about the picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Its stable name for programs.
    pub id: NoteId,
    /// The words. At most [`MAX_TEXT_BYTES`](crate::MAX_TEXT_BYTES).
    pub text: String,
    /// The part of the canvas that it is about; `None` for all of it.
    pub place: Option<Rect>,
}

/// A model that the project has used: enough to find it again, not the model itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// Its name for people.
    pub name: String,
    /// What it is built like, such as "sd-1.5" or "sdxl"; may be empty.
    pub family: String,
}

/// The blobs that make up what a patch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pixels {
    /// The encoded picture.
    pub image: BlobId,
    /// A greyscale picture of the same size: white shows, black hides. `None` shows all.
    pub mask: Option<BlobId>,
}

impl Document {
    /// The layer of this id.
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.id == id)
    }

    /// The place of the layer in [`layers`](Self::layers), from the bottom.
    pub fn layer_index(&self, id: LayerId) -> Option<usize> {
        self.layers.iter().position(|layer| layer.id == id)
    }

    /// The patch of this id.
    pub fn patch(&self, id: PatchId) -> Option<&Patch> {
        self.patch_place(id).map(|(layer, patch)| &self.layers[layer].patches[patch])
    }

    /// The layer that holds this patch.
    pub fn layer_of(&self, id: PatchId) -> Option<&Layer> {
        self.patch_place(id).map(|(layer, _)| &self.layers[layer])
    }

    /// The index of the patch's layer, and the index of the patch in it.
    pub fn patch_place(&self, id: PatchId) -> Option<(usize, usize)> {
        self.layers.iter().enumerate().find_map(|(layer, found)| {
            found.patches.iter().position(|patch| patch.id == id).map(|patch| (layer, patch))
        })
    }

    /// Every patch, from the bottom to the top.
    pub fn patches(&self) -> impl Iterator<Item = &Patch> {
        self.layers.iter().flat_map(|layer| &layer.patches)
    }

    /// The generation of this id.
    pub fn generation(&self, id: GenerationId) -> Option<&Generation> {
        self.generations.get(&id)
    }

    /// The frame of this id.
    pub fn frame(&self, id: FrameId) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.id == id)
    }

    /// What the patch shows now: its own picture, or the chosen take of its generation. `None` only when its generation
    /// is not part of this document.
    pub fn pixels(&self, patch: &Patch) -> Option<Pixels> {
        match &patch.content {
            PatchContent::Image(own) => Some(Pixels { image: own.image, mask: own.mask }),
            PatchContent::Generation(id) => {
                let take = self.generation(*id)?.chosen_take()?;
                Some(Pixels { image: take.image, mask: take.mask })
            }
        }
    }

    /// How what the patch shows was made, if a model made it.
    pub fn provenance<'a>(&'a self, patch: &'a Patch) -> Option<&'a Provenance> {
        match &patch.content {
            PatchContent::Image(own) => match &own.origin {
                Origin::Generated { provenance, .. } => Some(provenance),
                Origin::Imported { .. } | Origin::Drawn => None,
            },
            PatchContent::Generation(id) => self.generation(*id).map(|generation| &generation.provenance),
        }
    }

    /// What was asked for to make what the patch shows, if a model made it.
    pub fn prompt<'a>(&'a self, patch: &'a Patch) -> Option<&'a str> {
        match &patch.content {
            PatchContent::Generation(id) => {
                let generation = self.generation(*id)?;
                Some(generation.provenance.request.prompt_of(generation.chosen))
            }
            PatchContent::Image(_) => self.provenance(patch).map(|how| how.request.prompt.as_str()),
        }
    }

    /// The smallest rectangle around the patches of all visible layers; `None` when there are none.
    pub fn bounds(&self) -> Option<Rect> {
        self.layers
            .iter()
            .filter(|layer| self.is_visible(layer))
            .flat_map(|layer| &layer.patches)
            .map(|patch| patch.rect)
            .reduce(|all, rect| all.union(&rect))
    }

    /// The project's title: the text under `title` in [`meta`](Self::meta).
    pub fn title(&self) -> Option<&str> {
        self.meta.get("title").and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blend_modes_have_one_name() {
        for mode in BlendMode::ALL {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
            assert_eq!(BlendMode::from_name(mode.as_str()), Some(mode));
        }
        assert_eq!(BlendMode::from_name("dissolve"), None);
    }

    #[test]
    fn takes_may_have_prompts_of_their_own() {
        let mut request = GenerationRequest { prompt: "a red barn".into(), ..GenerationRequest::default() };
        let [one, two] = [3, 4].map(TakeId::from_raw);
        request.set_prompt_of(one, "a red barn");
        assert!(request.extra.is_empty(), "nothing is noted that is said already");
        request.set_prompt_of(two, "a blue barn");
        assert_eq!((request.prompt_of(one), request.prompt_of(two)), ("a red barn", "a blue barn"));
        let read: GenerationRequest = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        assert_eq!(read.prompt_of(two), "a blue barn");
        // What another program has written there is no reason to fail.
        request.extra.insert(TAKE_PROMPTS.into(), 3.into());
        request.set_prompt_of(two, "x");
        assert_eq!(request.prompt_of(two), "a red barn");
    }

    #[test]
    fn unknown_settings_of_a_request_survive() {
        let mut value = serde_json::to_value(GenerationRequest::default()).unwrap();
        value["tiling"] = serde_json::json!({ "x": true });
        let request: GenerationRequest = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(request.extra["tiling"]["x"], true);
        assert_eq!(serde_json::to_value(&request).unwrap(), value);
    }
}
