//! Pictures into a project.

use std::{fs, path::Path};

use image::DynamicImage;
use outframe_document::{
    BlobId, Edit, Group, GroupChange, GroupId, Layer, LayerChange, Origin, Patch, PatchContent, PatchImage, Project,
    Rect, Step,
};
use outframe_interchange::{Format, GenerationMetadata, Limits, ora, read_picture, sniff};

use crate::{
    StudioError,
    generate::first_frame,
    layers::blend_of,
    pictures::{PNG, encode_png},
};

/// What was imported from one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The file's name.
    pub file: String,
    /// The layers that it became, the topmost first.
    pub layers: Vec<String>,
    /// Where it lies.
    pub rect: Rect,
    /// How the picture was generated, where the file says so.
    pub generation: Option<GenerationMetadata>,
    /// What was left out or replaced, in sentences.
    pub warnings: Vec<String>,
}

/// How to import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Where the top left corners go; the frame's when absent.
    pub at: Option<(i64, i64)>,
    /// Whether each picture becomes a layer of its own. Otherwise the pictures are patches of one layer, the last on top.
    pub each_as_layer: bool,
}

/// Imports picture files and OpenRaster files as one undoable step, on top of what is there: all or none.
///
/// Pictures are turned upright and into sRGB. Of an .ora file every layer and group is taken over. The first picture of an
/// empty project makes its frame.
pub fn import_pictures(
    project: &mut Project,
    paths: &[&Path],
    options: ImportOptions,
) -> Result<Vec<Imported>, StudioError> {
    let result = try_import(project, paths, options);
    if result.is_err() {
        project.discard_pending_blobs();
    }
    result
}

fn try_import(project: &mut Project, paths: &[&Path], options: ImportOptions) -> Result<Vec<Imported>, StudioError> {
    let frame = project.document().frames.first().map(|frame| frame.rect);
    let at = options.at.unwrap_or_else(|| frame.map_or((0, 0), |rect| (rect.x, rect.y)));
    let mut incoming = Incoming { index: project.document().layers.len(), edits: Vec::new(), shared: None };
    let mut imported = Vec::new();
    for path in paths {
        imported.push(incoming.file(project, path, at, options.each_as_layer)?);
    }
    let Some(first) = imported.first() else {
        return Err(StudioError::InvalidRequest("Name at least one picture to import.".into()));
    };
    let name = match imported.as_slice() {
        [one] => format!("Import {}", one.file),
        many => format!("Import {} pictures", many.len()),
    };
    let mut edits = incoming.finish();
    if frame.is_none() {
        edits.push(first_frame(project, first.rect));
    }
    project.apply(Step::new(name, edits))?;
    Ok(imported)
}

/// The step that an import becomes.
struct Incoming {
    /// Where the next layer goes.
    index: usize,
    edits: Vec<Edit>,
    /// The one layer of several pictures.
    shared: Option<Layer>,
}

impl Incoming {
    fn finish(mut self) -> Vec<Edit> {
        if let Some(layer) = self.shared {
            self.edits.push(Edit::AddLayer { index: self.index, layer: Box::new(layer) });
        }
        self.edits
    }

    fn add(&mut self, layer: Layer) {
        self.edits.push(Edit::AddLayer { index: self.index, layer: Box::new(layer) });
        self.index += 1;
    }

    fn file(
        &mut self,
        project: &mut Project,
        path: &Path,
        at: (i64, i64),
        each_as_layer: bool,
    ) -> Result<Imported, StudioError> {
        let broken =
            |error: outframe_interchange::Error| StudioError::Picture { path: path.into(), why: error.to_string() };
        let limits = Limits::default();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = fs::metadata(path).map_err(StudioError::io("read", path))?.len();
        if size > limits.max_file_bytes {
            let why = format!("it has {} MB; {} MB is the most", size >> 20, limits.max_file_bytes >> 20);
            return Err(StudioError::Picture { path: path.into(), why });
        }
        let bytes = fs::read(path).map_err(StudioError::io("read", path))?;
        let hash = BlobId::of(&bytes);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if sniff(&bytes) == Some(Format::OpenRaster) {
            let read = ora::read_ora(&bytes, &limits).map_err(broken)?;
            let rect = Rect::new(at.0, at.1, read.stack.width, read.stack.height);
            let origin = Origin::Imported { file_name: file.clone(), hash, metadata: serde_json::json!({}) };
            let mut layers = Vec::new();
            let mut stack = OraStack { project, incoming: self, at, origin, names: &mut layers };
            stack.add(&read.stack.layers, None)?;
            return Ok(Imported { file, layers, rect, generation: None, warnings: read.warnings });
        }

        let picture = read_picture(&bytes, Some(&file), &limits).map_err(broken)?;
        let (width, height) = picture.size();
        let rect = Rect::new(at.0, at.1, width, height);
        let image = if picture.lossless_as_is {
            project.put_blob(&bytes, picture.format.media_type())?
        } else {
            project.put_blob(&encode_png(&picture.pixels)?, PNG)?
        };
        let metadata = serde_json::to_value(&picture.metadata).unwrap_or_default();
        let origin = Origin::Imported { file_name: file.clone(), hash, metadata };
        let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin }));
        let patch = Patch::new(project.next_patch_id(), rect, content);
        let mut layer = match self.shared.take() {
            Some(layer) if !each_as_layer => layer,
            _ => Layer::new(project.next_layer_id(), stem),
        };
        layer.patches.push(patch);
        let layers = vec![layer.name.clone()];
        if each_as_layer {
            self.add(layer);
        } else {
            self.shared = Some(layer);
        }
        let generation = picture.metadata.generation;
        Ok(Imported { file, layers, rect, generation, warnings: picture.warnings })
    }
}

/// Takes over the layers of an OpenRaster file.
struct OraStack<'a> {
    project: &'a mut Project,
    incoming: &'a mut Incoming,
    at: (i64, i64),
    origin: Origin,
    names: &'a mut Vec<String>,
}

impl OraStack<'_> {
    /// `layers` is topmost first, a document's layers are bottommost first.
    fn add(&mut self, layers: &[ora::Layer], group: Option<GroupId>) -> Result<(), StudioError> {
        for from in layers.iter().rev() {
            match &from.content {
                ora::Content::Group { layers, .. } => {
                    let mut made = Group::new(self.project.next_group_id(), from.name.clone());
                    made.visible = from.visible;
                    made.locked = from.locked;
                    made.opacity = f64::from(from.opacity);
                    made.blend = blend_of(from.composite_op);
                    let id = made.id;
                    self.incoming.edits.push(Edit::AddGroup { group: Box::new(made) });
                    if group.is_some() {
                        self.incoming.edits.push(Edit::SetGroup { group: id, change: GroupChange::Parent(group) });
                    }
                    self.add(layers, Some(id))?;
                }
                ora::Content::Pixels(pixels) => self.layer(from, pixels, group)?,
            }
        }
        Ok(())
    }

    fn layer(&mut self, from: &ora::Layer, pixels: &DynamicImage, group: Option<GroupId>) -> Result<(), StudioError> {
        let mut layer = Layer::new(self.project.next_layer_id(), from.name.clone());
        layer.visible = from.visible;
        layer.locked = from.locked;
        layer.opacity = f64::from(from.opacity);
        layer.blend = blend_of(from.composite_op);
        if pixels.width() > 0 && pixels.height() > 0 {
            let image = self.project.put_blob(&encode_png(pixels)?, PNG)?;
            let (x, y) = (self.at.0 + i64::from(from.x), self.at.1 + i64::from(from.y));
            let rect = Rect::new(x, y, pixels.width(), pixels.height());
            let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: self.origin.clone() }));
            layer.patches.push(Patch::new(self.project.next_patch_id(), rect, content));
        }
        self.names.insert(0, layer.name.clone());
        let id = layer.id;
        self.incoming.add(layer);
        if group.is_some() {
            self.incoming.edits.push(Edit::SetLayer { layer: id, change: LayerChange::Group(group) });
        }
        Ok(())
    }
}
