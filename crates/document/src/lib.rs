//! What an Outframe project is, and the `.outframe` file that never loses work.
//!
//! - [`Document`] is the project in memory: plain data without pixels. Layers hold patches, patches show a picture of
//!   their own or the chosen take of a generation, frames mark rectangles of the canvas.
//! - [`Edit`] is one change of a document; each has an exact inverse. A [`Step`] groups edits into what the user sees
//!   as one action, such as "Extend right".
//! - [`Project`] is a document together with its file: it applies steps, undoes and redoes them, and has committed each
//!   one to the disk when the call returns.
//!
//! Pictures are stored as the encoded bytes that the caller hands over, by the BLAKE3 hash of those bytes; this crate
//! does not decode them, and reads them only when asked.
//!
//! ```
//! use outframe_document::{Edit, Layer, Project, Step};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("garden.outframe");
//! let mut project = Project::create(&path, "Garden")?;
//! let layer = Layer::new(project.next_layer_id(), "Sky");
//! project.apply(Step::new("Add layer", vec![Edit::AddLayer { index: 0, layer: Box::new(layer) }]))?;
//! project.close()?;
//!
//! let mut project = Project::open(&path)?;
//! assert_eq!(project.document().layers[0].name, "Sky");
//! assert_eq!(project.undo()?.as_deref(), Some("Add layer"));
//! assert!(project.document().layers.is_empty());
//! # Ok(())
//! # }
//! ```

mod check;
mod document;
mod edit;
mod error;
mod geometry;
mod group;
mod history;
mod id;
mod project;
mod repair;
mod shot;
mod store;
mod validate;

pub use check::{Problem, Report};
pub use document::{
    BlendMode, Canvas, Color, Context, ControlUse, Document, Frame, Generation, GenerationKind, GenerationRequest,
    Layer, ModelRef, Note, Origin, Patch, PatchContent, PatchImage, Pixels, Provenance, Take,
};
pub use edit::{Edit, GroupChange, LayerChange, PatchChange, ShotChange, Step};
pub use error::Error;
pub use geometry::Rect;
pub use group::{Group, Mask, Node};
pub use history::{Branch, Milestone, Purge, Purged, StepInfo};
pub use id::{BlobId, FrameId, GenerationId, GroupId, LayerId, NoteId, PatchId, SequenceId, ShotId, StepId, TakeId};
pub use project::{Compacted, Project};
pub use repair::{Repaired, SavedState};
pub use shot::{Easing, FrameRate, Keyframe, Move, MoveKind, Sequence, Shot};
pub use store::schema::{APPLICATION_ID, SCHEMA_VERSION};
pub use validate::{
    MAX_BLOB_BYTES, MAX_COORDINATE, MAX_DEPTH, MAX_GROUP_NESTING, MAX_JSON_BYTES, MAX_JSON_NESTING, MAX_KEYFRAMES,
    MAX_MOVES, MAX_NAME_BYTES, MAX_SEQUENCE_SHOTS, MAX_SHOT_FRAMES, MAX_SIDE, MAX_TEXT_BYTES, MAX_THUMBNAIL_BYTES,
};

/// The extension of project files, without the dot.
pub const FILE_EXTENSION: &str = "outframe";
