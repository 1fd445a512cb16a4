//! Pictures out of a project.

use std::{
    fs::{self, File},
    io::{BufWriter, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use image::{DynamicImage, RgbaImage, imageops};
use outframe_compositor::AdapterChoice;
use outframe_document::{Document, GenerationKind, Node, Origin, Patch, PatchContent, Project, Provenance, Rect};
use outframe_interchange::{
    DigitalSourceType, Effort, Format, GenerationMetadata, Metadata, StreamSize, WriteMetadata, WriteOptions, ora,
    stream_png, stream_tiff, write_jpeg, write_webp,
};
use tokio_util::sync::CancellationToken;

use crate::{EventSink, Pictures, StudioError, engine::EngineError, layers::op_of};

mod strips;

use strips::Strips;

/// Longest side of an exported picture, in pixels.
pub(crate) const MAX_EXPORT_SIDE: u32 = 32_768;
/// The most pixels of a picture that is held as a whole: 805 MB.
const MOST_WHOLE_PIXELS: u64 = 1 << 28;

/// How to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// The part of the canvas; the first frame when absent, or all that is there.
    pub rect: Option<Rect>,
    /// The picture's width and height, 1 to 32,768 each; those of the part of the canvas when absent. Not for OpenRaster, whose
    /// layers keep their size.
    pub size: Option<(u32, u32)>,
    /// 16 bits a channel instead of 8; for PNG and TIFF.
    pub deep: bool,
    /// Write nothing but pixels and their colour tag.
    pub strip_metadata: bool,
    /// For JPEG, 1 to 100.
    pub quality: u8,
    /// The graphics adapter that composes.
    pub adapter: AdapterChoice,
}

impl Default for ExportOptions {
    fn default() -> Self {
        let adapter = AdapterChoice::Auto;
        Self { rect: None, size: None, deep: false, strip_metadata: false, quality: 92, adapter }
    }
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The part of the canvas.
    pub rect: Rect,
    /// The picture's width and height, in pixels.
    pub size: (u32, u32),
    /// The name of the adapter that composed; `None` if it was the processor, because there is no adapter.
    pub adapter: Option<String>,
}

/// As [`export_with`], without telling anything. Returns the part of the canvas that was exported.
pub fn export(project: &Project, out: &Path, options: &ExportOptions) -> Result<Rect, StudioError> {
    export_with(project, out, options, &mut |_| {}, &CancellationToken::new()).map(|done| done.rect)
}

/// Exports a part of the canvas: PNG, JPEG, WebP, TIFF or OpenRaster, as the file's name says. Blocks until it is done; not
/// for async workers.
///
/// Unless stripped, the file says how it was generated (as A1111's `parameters` and in our own words) and, in IPTC's terms, whether
/// a model made all or part of it. It appears whole or not at all: it is written beside its place and renamed.
///
/// The compositor draws strips from the top. PNG and TIFF are written as they come, so that memory does not grow with the
/// picture's height; the encoders of JPEG and WebP take the whole picture (three bytes a pixel), for which reason these are
/// bounded, and so does OpenRaster. Without any adapter the processor composes what is one to one in 8 bits, which is all
/// that it can do exactly.
pub fn export_with(
    project: &Project,
    out: &Path,
    options: &ExportOptions,
    events: EventSink<'_>,
    cancel: &CancellationToken,
) -> Result<Export, StudioError> {
    let format = format_of(out)?;
    let document = project.document();
    let frame = || document.frames.first().map(|frame| frame.rect);
    let Some(rect) = options.rect.or_else(frame).or_else(|| document.bounds()) else {
        return Err(StudioError::NoPicture);
    };
    let size = options.size.filter(|_| format != Format::OpenRaster).unwrap_or((rect.width, rect.height));
    for (width, height) in [size, (rect.width, rect.height)] {
        if ![width, height].iter().all(|side| (1..=MAX_EXPORT_SIDE).contains(side)) {
            return Err(StudioError::InvalidRequest(format!(
                "A picture of {width}x{height} pixels cannot be exported: each side must have 1 to {MAX_EXPORT_SIDE} pixels."
            )));
        }
    }
    check_format(format, size, options.deep)?;
    // Before the work, so that a place where nothing can be written is told at once.
    let mut file = Beside::create(out)?;
    let mut strips = Strips::new(project, rect, size, options, events, cancel)?;
    let failed = |error: outframe_interchange::Error| match error {
        outframe_interchange::Error::Write(error) => StudioError::io("write", out)(plain(error)),
        error => StudioError::Picture { path: out.into(), why: error.to_string() },
    };
    let write = WriteOptions {
        metadata: WriteMetadata { metadata: describe(document, rect), strip: options.strip_metadata },
        effort: Effort::Balanced,
        quality: options.quality.clamp(1, 100),
        ..WriteOptions::default()
    };
    match format {
        Format::Tiff => {
            let size = StreamSize { width: size.0, height: size.1, deep: options.deep, alpha: true };
            let rows = strips.rows;
            stream_tiff(BufWriter::new(file.file()), size, rows, &mut || strips.next().map_err(Stop::from))
                .map_err(|stop| stop.error(failed))?;
        }
        Format::Jpeg | Format::WebP | Format::OpenRaster => {
            let bytes = if format == Format::OpenRaster {
                let flat = strips.whole()?;
                let layers = ora_layers(&mut Pictures::new(project), &document.tree(), rect)?;
                let stack = ora::Stack { width: rect.width, height: rect.height, layers, ..ora::Stack::default() };
                ora::write_ora(&stack, &flat, None)
            } else if format == Format::Jpeg {
                write_jpeg(&DynamicImage::ImageRgb8(strips.over(write.background)?), &write)
            } else {
                write_webp(&DynamicImage::ImageRgba8(strips.whole()?), &write)
            };
            let written = file.file().write_all(&bytes.map_err(failed)?);
            written.map_err(StudioError::io("write", out))?;
        }
        _ => png(&mut file, &mut strips, size, &write, options.deep).map_err(|stop| stop.error(failed))?,
    }
    let adapter = strips.adapter();
    if cancel.is_cancelled() {
        return Err(EngineError::Cancelled.into());
    }
    file.keep()?;
    Ok(Export { rect, size, adapter })
}

/// A PNG without alpha if all of it is opaque. That shows only at the end, so it is begun as if it were, and begun anew when
/// a strip is met that is not.
fn png(
    file: &mut Beside,
    strips: &mut Strips<'_>,
    size: (u32, u32),
    write: &WriteOptions,
    deep: bool,
) -> Result<(), Stop> {
    for alpha in [false, true] {
        let size = StreamSize { width: size.0, height: size.1, deep, alpha };
        file.rewind()?;
        strips.rewind();
        let mut out = BufWriter::new(file.file());
        let done = stream_png(&mut out, size, write, &mut || {
            let strip = strips.next()?;
            if alpha || strip.is_opaque() { Ok(strip) } else { Err(Stop::Transparent) }
        });
        // What the buffer still holds of a file that is begun anew must not get into it.
        drop(out.into_parts());
        match done {
            Err(Stop::Transparent) => {}
            done => return done,
        }
    }
    Ok(())
}

/// Why a writer of rows stopped.
enum Stop {
    /// A picture that was begun without alpha needs it.
    Transparent,
    Studio(StudioError),
    Writer(outframe_interchange::Error),
}

impl Stop {
    fn error(self, failed: impl Fn(outframe_interchange::Error) -> StudioError) -> StudioError {
        match self {
            Self::Transparent => StudioError::Internal("a transparent picture was begun without alpha".into()),
            Self::Studio(error) => error,
            Self::Writer(error) => failed(error),
        }
    }
}

impl From<StudioError> for Stop {
    fn from(error: StudioError) -> Self {
        Self::Studio(error)
    }
}

impl From<outframe_interchange::Error> for Stop {
    fn from(error: outframe_interchange::Error) -> Self {
        Self::Writer(error)
    }
}

/// Refuses what the format cannot hold before anything is drawn.
fn check_format(format: Format, (width, height): (u32, u32), deep: bool) -> Result<(), StudioError> {
    if deep && !matches!(format, Format::Png | Format::Tiff) {
        return Err(StudioError::InvalidRequest(format!(
            "{format} holds 8 bits a channel. End the name with .png or .tif for 16."
        )));
    }
    let whole = matches!(format, Format::Jpeg | Format::WebP | Format::OpenRaster);
    if whole && u64::from(width) * u64::from(height) > MOST_WHOLE_PIXELS {
        return Err(StudioError::InvalidRequest(format!(
            "A {format} file of {width}x{height} pixels cannot be exported: its writer needs the whole picture in memory, and \
             {MOST_WHOLE_PIXELS} pixels are the most. PNG and TIFF are written in strips; end the name with .png or .tif."
        )));
    }
    Ok(())
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
    let made: Vec<(&Provenance, &str)> =
        patches.iter().filter_map(|patch| document.provenance(patch).zip(document.prompt(patch))).collect();
    // The picture's own prompt rather than that of its latest extension.
    let main = made
        .iter()
        .rev()
        .find(|(how, _)| how.request.kind == GenerationKind::TextToImage)
        .or_else(|| made.last())
        .map(|(how, prompt)| generation_metadata(how, prompt));
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
pub(crate) fn generation_metadata(how: &Provenance, prompt: &str) -> GenerationMetadata {
    let request = &how.request;
    GenerationMetadata {
        prompt: prompt.to_owned(),
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
    let mut file = Beside::create(path)?;
    file.file().write_all(bytes).map_err(StudioError::io("write", path))?;
    file.keep()
}

/// A file that is written beside its place, and gone unless it is kept.
struct Beside {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Beside {
    fn create(path: &Path) -> Result<Self, StudioError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".outframe-").tempfile_in(folder);
        let file = file.map_err(plain).map_err(StudioError::io("write", path))?;
        Ok(Self { path: path.into(), file })
    }

    fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Begins the file anew.
    fn rewind(&mut self) -> Result<(), StudioError> {
        let file = self.file.as_file_mut();
        file.rewind().and_then(|()| file.set_len(0)).map_err(StudioError::io("write", &self.path))
    }

    /// Puts the file in its place.
    fn keep(self) -> Result<(), StudioError> {
        let Self { path, file } = self;
        let keep = || -> std::io::Result<()> {
            file.as_file().sync_all()?;
            // Temporary files are private; the finished one shall be as readable as any new file.
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = fs::metadata(&path).map_or(0o644, |old| old.permissions().mode());
                file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
            }
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        keep().map_err(plain).map_err(StudioError::io("write", path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgba};
    use outframe_document::{Edit, Layer, Origin, PatchImage, Step};

    use super::*;

    /// A project whose one layer shows a picture at (-5, 7).
    fn project(folder: &Path, image: &DynamicImage) -> Project {
        let mut project = Project::create(folder.join("p.outframe"), "").unwrap();
        let id = project.put_blob(&crate::encode_png(image).unwrap(), crate::pictures::PNG).unwrap();
        let own = PatchImage { image: id, mask: None, origin: Origin::Drawn };
        let rect = Rect::new(-5, 7, image.width(), image.height());
        let mut layer = Layer::new(project.next_layer_id(), "");
        layer.patches.push(Patch::new(project.next_patch_id(), rect, PatchContent::Image(Box::new(own))));
        project.apply(Step::new("Add", vec![Edit::AddLayer { index: 0, layer: Box::new(layer) }])).unwrap();
        project
    }

    /// Files that were begun and not taken away.
    fn left_beside(folder: &Path) -> usize {
        let begun = |name: std::ffi::OsString| name.to_string_lossy().starts_with(".outframe-");
        fs::read_dir(folder).unwrap().filter(|entry| begun(entry.as_ref().unwrap().file_name())).count()
    }

    fn noise(width: u32, height: u32) -> RgbaImage {
        RgbaImage::from_fn(width, height, |x, y| {
            let bits = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761);
            Rgba([(bits >> 24) as u8, (bits >> 16) as u8, (bits >> 8) as u8, 255])
        })
    }

    fn options() -> ExportOptions {
        ExportOptions { adapter: AdapterChoice::Software, ..ExportOptions::default() }
    }

    #[test]
    fn strips_keep_every_code_and_tell_how_far_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let image = noise(40, 5000);
        let project = project(folder.path(), &image.clone().into());
        for name in ["a.png", "a.tif", "a.webp"] {
            let (out, mut told) = (folder.path().join(name), Vec::new());
            let mut events = |event| {
                if let crate::Event::Export { done, count } = event {
                    told.push((done, count));
                }
            };
            let done = export_with(&project, &out, &options(), &mut events, &CancellationToken::new()).unwrap();
            assert_eq!((done.rect, done.size), (Rect::new(-5, 7, 40, 5000), (40, 5000)));
            assert!(done.adapter.is_some());
            assert_eq!(told, [(2048, 5000), (4096, 5000), (5000, 5000)], "{name}");
            assert_eq!(image::open(&out).unwrap().into_rgba8(), image, "{name}");
        }
        // Opaque: no alpha.
        let png = image::open(folder.path().join("a.png")).unwrap();
        assert_eq!(png.color(), image::ColorType::Rgb8);
    }

    #[test]
    fn what_is_transparent_only_at_the_end_has_straight_alpha() {
        let folder = tempfile::tempdir().unwrap();
        let mut image = noise(30, 2500);
        image.put_pixel(3, 2499, Rgba([200, 100, 50, 128]));
        let project = project(folder.path(), &image.clone().into());
        let out = folder.path().join("a.png");
        export(&project, &out, &options()).unwrap();
        let found = image::open(&out).unwrap();
        assert_eq!(found.color(), image::ColorType::Rgba8);
        let found = found.into_rgba8();
        let apart = found.as_raw().iter().zip(image.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(apart <= Some(1), "{apart:?}");
        assert_eq!(found.get_pixel(3, 2499).0[3], 128);
        assert_eq!(left_beside(folder.path()), 0);
    }

    #[test]
    fn sixteen_bits_and_scales() {
        let folder = tempfile::tempdir().unwrap();
        let ramp = ImageBuffer::<Rgba<u16>, _>::from_fn(600, 40, |x, _| {
            let code = 20_000 + 32 * x as u16;
            Rgba([code, code, code, u16::MAX])
        });
        let project = project(folder.path(), &ramp.clone().into());
        for name in ["a.png", "a.tif"] {
            let out = folder.path().join(name);
            export(&project, &out, &ExportOptions { deep: true, ..options() }).unwrap();
            let found = image::open(&out).unwrap();
            assert_eq!(found.color().bytes_per_pixel() / found.color().channel_count(), 2);
            let found = found.into_rgba16();
            let apart = found.as_raw().iter().zip(ramp.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart <= Some(40), "{apart:?}");
        }
        let refused = export(&project, &folder.path().join("a.jpg"), &ExportOptions { deep: true, ..options() });
        assert!(refused.unwrap_err().to_string().contains("8 bits"));
        // One colour, whatever the scale; a scale that makes several strips has no joins.
        let small = ExportOptions { size: Some((100, 3000)), ..options() };
        let out = folder.path().join("scaled.png");
        export(&project, &out, &small).unwrap();
        let found = image::open(&out).unwrap().into_rgb8();
        assert_eq!(found.dimensions(), (100, 3000));
        for (x, _, pixel) in found.enumerate_pixels() {
            let code = (20_000.0 + 32.0 * (f64::from(x) * 6.0 + 2.5)) / 257.0;
            assert!((f64::from(pixel.0[0]) - code).abs() <= 1.5, "{pixel:?} at {x}");
        }
    }

    /// `VmHWM`: the most memory that this process has held, in bytes.
    #[cfg(target_os = "linux")]
    fn peak() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_does_not_grow_with_the_height_of_the_widest_picture() {
        let folder = tempfile::tempdir().unwrap();
        let image = RgbaImage::from_fn(2048, 160, |x, y| Rgba([(x >> 3) as u8, y as u8, 90, 255]));
        let project = project(folder.path(), &image.into());
        let out = folder.path().join("wide.png");
        let export = |rows: u32| {
            let rect = Some(Rect::new(-5, 7, 2048, rows / 16));
            let options = ExportOptions { rect, size: Some((MAX_EXPORT_SIDE, rows)), ..options() };
            let done = export_with(&project, &out, &options, &mut |_| {}, &CancellationToken::new()).unwrap();
            assert_eq!(done.size, (MAX_EXPORT_SIDE, rows));
            peak()
        };
        // One strip, then five: 268 MB more pixels.
        let (one, five) = (export(512), export(2560));
        println!("peak memory: {} MB, then {} MB", one >> 20, five >> 20);
        assert!(five < one + (64 << 20), "{one} bytes for one strip, {five} for five");
        assert!(five < 1 << 30, "{five} bytes");
        let (width, height) = image::image_dimensions(&out).unwrap();
        assert_eq!((width, height), (MAX_EXPORT_SIDE, 2560));
    }

    #[test]
    fn a_jpeg_is_put_over_white_and_too_large_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), &RgbaImage::from_pixel(64, 64, Rgba([0, 0, 0, 128])).into());
        let out = folder.path().join("a.jpg");
        export(&project, &out, &options()).unwrap();
        let found = image::open(&out).unwrap().into_rgb8();
        assert!(found.pixels().all(|pixel| pixel.0[0].abs_diff(127) <= 2));
        let large = ExportOptions { size: Some((20_000, 20_000)), ..options() };
        let refused = export(&project, &out, &large).unwrap_err().to_string();
        assert!(refused.contains("in strips"), "{refused}");
    }

    #[test]
    fn a_cancelled_export_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), &noise(40, 5000).into());
        let out = folder.path().join("a.png");
        fs::write(&out, "old").unwrap();
        let cancel = CancellationToken::new();
        let stopper = cancel.clone();
        let stopped = export_with(&project, &out, &options(), &mut |_| stopper.cancel(), &cancel);
        assert!(stopped.unwrap_err().is_cancelled());
        assert_eq!(fs::read(&out).unwrap(), b"old");
        assert_eq!(left_beside(folder.path()), 0);
    }
}
