//! Pictures out of a project.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use image::{DynamicImage, RgbaImage, imageops};
use outframe_document::{Document, GenerationKind, Node, Origin, Patch, PatchContent, Project, Provenance, Rect};
use outframe_interchange::{
    DigitalSourceType, Effort, Format, GenerationMetadata, Metadata, WriteMetadata, WriteOptions, ora, write_jpeg,
    write_png, write_tiff, write_webp,
};

use crate::{Pictures, StudioError, layers::op_of};

/// Longest side of an exported picture, in pixels.
const MAX_EXPORT_SIDE: u32 = 32_768;

/// How to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// The part of the canvas; the first frame when absent, or all that is there.
    pub rect: Option<Rect>,
    /// The picture's width and height, 1 to 32,768 each; those of the part of the canvas when absent. Not for OpenRaster, whose
    /// layers keep their size.
    pub size: Option<(u32, u32)>,
    /// Write nothing but pixels and their colour tag.
    pub strip_metadata: bool,
    /// For JPEG, 1 to 100.
    pub quality: u8,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { rect: None, size: None, strip_metadata: false, quality: 92 }
    }
}

/// Exports a part of the canvas: PNG, JPEG, WebP, TIFF or OpenRaster, as the file's name says. Returns what was exported.
///
/// Unless stripped, the file says how it was generated (as A1111's `parameters` and in our own words) and, in IPTC's terms, whether
/// a model made all or part of it. It appears whole or not at all: it is written beside its place and renamed.
pub fn export(project: &Project, out: &Path, options: &ExportOptions) -> Result<Rect, StudioError> {
    let format = format_of(out)?;
    let document = project.document();
    let frame = || document.frames.first().map(|frame| frame.rect);
    let Some(rect) = options.rect.or_else(frame).or_else(|| document.bounds()) else {
        return Err(StudioError::NoPicture);
    };
    for (width, height) in options.size.into_iter().chain([(rect.width, rect.height)]) {
        if ![width, height].iter().all(|side| (1..=MAX_EXPORT_SIDE).contains(side)) {
            return Err(StudioError::InvalidRequest(format!(
                "A picture of {width}x{height} pixels cannot be exported: each side must have 1 to {MAX_EXPORT_SIDE} pixels."
            )));
        }
    }
    let mut pictures = Pictures::new(project);
    let flat = pictures.flatten(rect)?;
    let failed = |error: outframe_interchange::Error| StudioError::Picture { path: out.into(), why: error.to_string() };
    let bytes = if format == Format::OpenRaster {
        let layers = ora_layers(&mut pictures, &document.tree(), rect)?;
        let stack = ora::Stack { width: rect.width, height: rect.height, layers, ..ora::Stack::default() };
        ora::write_ora(&stack, &flat, None).map_err(failed)?
    } else {
        let write = WriteOptions {
            metadata: WriteMetadata { metadata: describe(document, rect), strip: options.strip_metadata },
            effort: Effort::Balanced,
            quality: options.quality.clamp(1, 100),
            ..WriteOptions::default()
        };
        let mut flat = DynamicImage::ImageRgba8(flat);
        if let Some((width, height)) = options.size.filter(|size| *size != (flat.width(), flat.height())) {
            flat = flat.resize_exact(width, height, imageops::FilterType::Lanczos3);
        }
        match format {
            Format::Jpeg => write_jpeg(&flat, &write),
            Format::WebP => write_webp(&flat, &write),
            Format::Tiff => write_tiff(&flat),
            _ => write_png(&flat, &write),
        }
        .map_err(failed)?
    };
    write_whole(out, &bytes)?;
    Ok(rect)
}

pub(crate) fn format_of(out: &Path) -> Result<Format, StudioError> {
    let extension = out.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "png" => Ok(Format::Png),
        "jpg" | "jpeg" => Ok(Format::Jpeg),
        "webp" => Ok(Format::WebP),
        "tif" | "tiff" => Ok(Format::Tiff),
        "ora" => Ok(Format::OpenRaster),
        _ => Err(StudioError::InvalidRequest(format!(
            "{} does not say in which format to export. End the name with .png, .jpg, .webp, .tif or .ora.",
            out.display()
        ))),
    }
}

/// What a file says about the picture in `rect`.
pub(crate) fn describe(document: &Document, rect: Rect) -> Metadata {
    let shown = |patch: &&Patch| patch.rect.intersection(&rect).is_some();
    let patches: Vec<&Patch> = document
        .layers
        .iter()
        .filter(|layer| document.is_visible(layer))
        .flat_map(|layer| &layer.patches)
        .filter(shown)
        .collect();
    let made: Vec<&Provenance> = patches.iter().filter_map(|patch| document.provenance(patch)).collect();
    // The picture's own prompt rather than that of its latest extension.
    let main = made
        .iter()
        .rev()
        .find(|how| how.request.kind == GenerationKind::TextToImage)
        .or_else(|| made.last())
        .map(|how| generation_metadata(how));
    let imported = |patch: &&&Patch| matches!(&patch.content, PatchContent::Image(own) if !matches!(own.origin, Origin::Generated { .. }));
    let digital_source_type = match (made.is_empty(), patches.iter().any(|patch| imported(&patch))) {
        (true, _) => None,
        (false, true) => Some(DigitalSourceType::CompositeWithTrainedAlgorithmicMedia),
        (false, false) => Some(DigitalSourceType::TrainedAlgorithmicMedia),
    };
    Metadata {
        generation: main,
        title: document.title().map(Into::into),
        software: Some(format!("Outframe {}", env!("CARGO_PKG_VERSION"))),
        digital_source_type,
        ..Metadata::default()
    }
}

/// A generation's record in the words that other programs read.
pub(crate) fn generation_metadata(how: &Provenance) -> GenerationMetadata {
    let request = &how.request;
    GenerationMetadata {
        prompt: request.prompt.clone(),
        negative: request.negative.clone(),
        seed: Some(request.seed),
        steps: Some(request.steps),
        cfg: Some(request.guidance),
        sampler: Some(request.sampler.clone()),
        model: Some(request.model_name.clone()),
        model_hash: Some(request.model_hash.chars().take(10).collect()),
        size: Some((request.width, request.height)),
        denoising_strength: (request.strength < 1.0).then_some(request.strength),
        source: "outframe".into(),
        ..GenerationMetadata::default()
    }
}

/// The layers as OpenRaster has them: topmost first, each cut to what it shows in `rect`, masks applied.
fn ora_layers(pictures: &mut Pictures<'_>, nodes: &[Node<'_>], rect: Rect) -> Result<Vec<ora::Layer>, StudioError> {
    let mut layers = Vec::new();
    for node in nodes.iter().rev() {
        layers.push(match node {
            Node::Layer(layer) => {
                let bounds = layer.patches.iter().filter_map(|patch| patch.rect.intersection(&rect));
                let cut = bounds.reduce(|all, next| all.union(&next)).unwrap_or(Rect::new(rect.x, rect.y, 1, 1));
                let mut pixels = pictures.layer(layer, cut)?;
                if let Some(mask) = &layer.mask {
                    apply_mask(pictures, &mut pixels, mask, cut)?;
                }
                let (x, y) = ((cut.x - rect.x) as i32, (cut.y - rect.y) as i32);
                ora::Layer {
                    opacity: layer.opacity as f32,
                    visible: layer.visible,
                    locked: layer.locked,
                    composite_op: op_of(layer.blend),
                    ..ora::Layer::picture(layer.name.clone(), x, y, DynamicImage::ImageRgba8(pixels))
                }
            }
            Node::Group(group, inner) => ora::Layer {
                opacity: group.opacity as f32,
                visible: group.visible,
                locked: group.locked,
                composite_op: op_of(group.blend),
                ..ora::Layer::group(group.name.clone(), ora_layers(pictures, inner, rect)?)
            },
        });
    }
    Ok(layers)
}

fn apply_mask(
    pictures: &mut Pictures<'_>,
    pixels: &mut RgbaImage,
    mask: &outframe_document::Mask,
    rect: Rect,
) -> Result<(), StudioError> {
    if let Some(values) = pictures.mask(mask, rect)? {
        for (pixel, value) in pixels.pixels_mut().zip(values) {
            pixel.0[3] = (u16::from(pixel.0[3]) * u16::from(value) / 255) as u8;
        }
    }
    Ok(())
}

/// A small PNG of the first frame for file managers, its longer side 256 pixels at most; none for an empty project.
pub fn thumbnail(project: &Project) -> Result<Option<Vec<u8>>, StudioError> {
    const SIDE: u32 = 256;
    let document = project.document();
    let Some(rect) = document.frames.first().map(|frame| frame.rect).or_else(|| document.bounds()) else {
        return Ok(None);
    };
    let flat = Pictures::new(project).flatten(rect)?;
    let longest = rect.width.max(rect.height);
    let side = |length: u32| (u64::from(length) * u64::from(SIDE) / u64::from(longest.max(SIDE))).max(1) as u32;
    let small = imageops::thumbnail(&flat, side(rect.width), side(rect.height));
    Ok(Some(crate::pictures::encode_png(&DynamicImage::ImageRgba8(small))?))
}

/// Whether new files can be made in a folder, found out by making one.
pub fn can_write(folder: &Path) -> Result<(), StudioError> {
    match tempfile::NamedTempFile::with_prefix_in(".outframe-", folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(StudioError::io("write in", folder)(plain(error))),
    }
}

/// An error of the temporary file without that file's name, which says nothing to anybody.
fn plain(error: std::io::Error) -> std::io::Error {
    match error.to_string().split_once(" at path ") {
        Some((said, _)) => std::io::Error::new(error.kind(), said.to_owned()),
        None => error,
    }
}

/// Writes a file so that it is there whole or not at all, also when the disk fills up or the process is killed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StudioError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".outframe-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        // Temporary files are private; the finished one shall be as readable as any new file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode());
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(plain).map_err(StudioError::io("write", PathBuf::from(path)))
}
