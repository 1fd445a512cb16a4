//! Pictures into a project and out of it.

use std::{fs, io::Cursor, io::Write as _, path::Path};

use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits};
use outframe_document::{BlobId, Edit, Layer, Origin, Patch, PatchContent, PatchImage, Project, Rect, Step};
use serde_json::json;

use crate::{
    Pictures, StudioError,
    generate::first_frame,
    pictures::{PNG, encode_png, media_type},
};

/// Longest side of a picture to import, in pixels.
const MAX_IMPORT_SIDE: u32 = 32_768;
/// Most bytes that a picture may take when decoded: a 16384 x 16384 RGBA picture fits.
const MAX_IMPORT_ALLOC: u64 = 1 << 30;
/// Largest picture file, in bytes.
const MAX_IMPORT_FILE: u64 = 1 << 30;

/// Bounds for every decoder, so that a hostile file cannot take all memory.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_IMPORT_SIDE);
    limits.max_image_height = Some(MAX_IMPORT_SIDE);
    limits.max_alloc = Some(MAX_IMPORT_ALLOC);
    limits
}

/// A picture that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The new layer's name.
    pub layer: String,
    /// Where it lies.
    pub rect: Rect,
}

/// Reads a picture file and turns it upright by its EXIF orientation.
///
/// Returns the picture, the media type and bytes to store, and the hash of the file. The file's own bytes are stored where they
/// say the same as the upright picture, a PNG otherwise.
pub fn decode_picture(path: &Path) -> Result<(DynamicImage, &'static str, Vec<u8>, BlobId), StudioError> {
    let broken = |why: String| StudioError::Picture { path: path.into(), why };
    let size = fs::metadata(path).map_err(StudioError::io("read", path))?.len();
    if size > MAX_IMPORT_FILE {
        return Err(broken(format!("it has {} MB; {} MB is the most", size >> 20, MAX_IMPORT_FILE >> 20)));
    }
    let bytes = fs::read(path).map_err(StudioError::io("read", path))?;
    let hash = BlobId::of(&bytes);
    let mut reader =
        ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(|error| broken(error.to_string()))?;
    let format = reader.format().ok_or_else(|| {
        broken("it is none of the formats that Outframe reads (PNG, JPEG, WebP, TIFF, BMP, GIF)".into())
    })?;
    reader.limits(limits());
    let why = |error: image::ImageError| broken(error.to_string());
    let mut decoder = reader.into_decoder().map_err(why)?;
    let orientation = decoder.orientation().map_err(why)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(why)?;
    picture.apply_orientation(orientation);
    let eight_bits = DynamicImage::ImageRgba8(picture.to_rgba8());
    // Stored pictures are read again as 8-bit sRGB; a file that needs no turning and has 8 bits says the same as it is.
    let as_is = orientation == image::metadata::Orientation::NoTransforms
        && matches!(
            picture.color(),
            image::ColorType::L8 | image::ColorType::La8 | image::ColorType::Rgb8 | image::ColorType::Rgba8
        );
    let (media_type, bytes) = if as_is { (media_type(format), bytes) } else { (PNG, encode_png(&eight_bits)?) };
    Ok((eight_bits, media_type, bytes, hash))
}

/// Imports pictures as one undoable step, each as a layer of its own on top, their top left corners at `at`.
///
/// Either all are imported or none. The first picture of an empty project makes its frame.
pub fn import_pictures(
    project: &mut Project,
    paths: &[&Path],
    at: Option<(i64, i64)>,
) -> Result<Vec<Imported>, StudioError> {
    let result = try_import(project, paths, at);
    if result.is_err() {
        project.discard_pending_blobs();
    }
    result
}

fn try_import(project: &mut Project, paths: &[&Path], at: Option<(i64, i64)>) -> Result<Vec<Imported>, StudioError> {
    let frame = project.document().frames.first().map(|frame| frame.rect);
    let (x, y) = at.unwrap_or_else(|| frame.map_or((0, 0), |rect| (rect.x, rect.y)));
    let mut edits = Vec::new();
    let mut imported = Vec::new();
    let above = project.document().layers.len();
    for (index, path) in (above..).zip(paths) {
        let (picture, media_type, bytes, hash) = decode_picture(path)?;
        let image = project.put_blob(&bytes, media_type)?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rect = Rect::new(x, y, picture.width(), picture.height());
        let origin = Origin::Imported { file_name: file_name.clone(), hash, metadata: json!({}) };
        let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin }));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut layer = Layer::new(project.next_layer_id(), name.clone());
        layer.patches.push(Patch::new(project.next_patch_id(), rect, content));
        edits.push(Edit::AddLayer { index, layer: Box::new(layer) });
        imported.push(Imported { layer: name, rect });
    }
    let Some(first) = imported.first() else {
        return Err(StudioError::InvalidRequest("Name at least one picture to import.".into()));
    };
    if frame.is_none() {
        edits.push(first_frame(project, first.rect));
    }
    let name =
        if paths.len() == 1 { format!("Import {}", first.layer) } else { format!("Import {} pictures", paths.len()) };
    project.apply(Step::new(name, edits))?;
    Ok(imported)
}

/// Exports a part of the canvas as PNG: `rect`, or the first frame, or all that is there. Returns what was exported.
///
/// The file appears whole or not at all: it is written beside its place and renamed.
pub fn export_png(project: &Project, out: &Path, rect: Option<Rect>) -> Result<Rect, StudioError> {
    let document = project.document();
    let frame = || document.frames.first().map(|frame| frame.rect);
    let Some(rect) = rect.or_else(frame).or_else(|| document.bounds()) else {
        return Err(StudioError::NoPicture);
    };
    if rect.is_empty() || rect.width > MAX_IMPORT_SIDE || rect.height > MAX_IMPORT_SIDE {
        return Err(StudioError::InvalidRequest(format!(
            "A picture of {}x{} pixels cannot be exported: each side must have 1 to {MAX_IMPORT_SIDE} pixels.",
            rect.width, rect.height
        )));
    }
    let flat = Pictures::new(project).flatten(rect)?;
    let opaque = flat.pixels().all(|pixel| pixel.0[3] == 255);
    let flat = DynamicImage::ImageRgba8(flat);
    let flat = if opaque { DynamicImage::ImageRgb8(flat.into_rgb8()) } else { flat };
    write_whole(out, &encode_png(&flat)?)?;
    Ok(rect)
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
    write().map_err(StudioError::io("write", path))
}
