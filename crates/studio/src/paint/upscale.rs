//! The same picture with more pixels. A canvas has no size that could grow, so the result is a picture of its own: a new
//! project's, a file, or a larger layer in place of what was upscaled.

use std::{fs, path::Path};

use image::{DynamicImage, GrayImage, Luma, RgbImage, RgbaImage, imageops};
use outframe_document::{
    BlobId, Edit, Frame, GenerationKind, GenerationRequest, Layer, LayerChange, LayerId, Origin, Patch, PatchContent,
    Project, Provenance, Rect, Step,
};
use outframe_engine::{FillJob, Sampling, UpscaleJob};
use outframe_interchange::{
    Format, Metadata, WriteMetadata, WriteOptions, write_jpeg, write_png, write_tiff, write_webp,
};
use tokio_util::sync::CancellationToken;

use super::{Studio, model_size, scene_prompt};
use crate::{
    Pictures, Settings, StudioError, UpscalerEntry, controls,
    engine::Job,
    export::{describe, format_of, write_whole},
    fill::{Mask, ModelSize, prefill},
    generate::{NewTake, first_frame, generation_edit, provenance, sampling},
    pictures::encode_png,
    session::{Event, EventSink, apart},
    texts::Prompt,
};

/// Denoising strength of a creative upscaling unless another is asked for.
pub const UPSCALE_STRENGTH: f64 = 0.3;
/// Longest side of an upscaled picture, in pixels.
const MAX_UPSCALED_SIDE: u32 = 16_384;

/// What may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpscaleMode {
    /// Nothing but sharpness.
    #[default]
    Subtle,
    /// The diffusion model adds detail afterwards.
    Creative,
}

/// What to upscale.
#[derive(Debug, Clone, PartialEq)]
pub struct UpscaleRequest {
    /// How many times as large along each side: 2, or up to the upscaler's own scale.
    pub factor: u32,
    /// What may change.
    pub mode: UpscaleMode,
    /// The upscaler's name or file; the usual one when absent.
    pub upscaler: Option<String>,
    /// The part of the canvas; the first frame when absent, or all that is there. Of a layer, all of it.
    pub rect: Option<Rect>,
    /// One layer alone, without its opacity, blend mode and mask; the picture as it is seen when absent.
    pub layer: Option<LayerId>,
    /// For [`UpscaleMode::Creative`]: what the picture shows; its own prompt when absent.
    pub prompt: Option<String>,
    /// For [`UpscaleMode::Creative`]: how much may change, above 0 to 1. [`UPSCALE_STRENGTH`] when absent.
    pub strength: Option<f64>,
    /// For [`UpscaleMode::Creative`]: how.
    pub settings: Settings,
}

/// What will be upscaled, with all that is needed: the project is not needed until the result is placed.
#[derive(Debug, Clone)]
pub struct UpscalePlan {
    request: UpscaleRequest,
    prompt: Prompt,
    strength: f64,
    rect: Rect,
    flat: RgbaImage,
    /// What the source says of itself.
    metadata: Metadata,
    /// The source's file name.
    source: String,
}

impl UpscalePlan {
    /// Takes the flat picture from the project, and checks what can be checked without an engine.
    pub fn new(project: &Project, request: &UpscaleRequest) -> Result<Self, StudioError> {
        let document = project.document();
        let frame = || document.frames.first().map(|frame| frame.rect);
        let layer = request.layer.map(|id| {
            let gone = || StudioError::InvalidRequest("The layer is not in the project any more.".into());
            document.layer(id).ok_or_else(gone)
        });
        let layer = layer.transpose()?;
        let own =
            layer.and_then(|layer| layer.patches.iter().map(|patch| patch.rect).reduce(|all, rect| all.union(&rect)));
        let rect = match layer {
            Some(_) => request.rect.or(own),
            None => request.rect.or_else(frame).or_else(|| document.bounds()),
        };
        let rect = rect.ok_or(StudioError::NoPicture)?;
        let prompt = Prompt::of(request.prompt.as_deref(), || known_prompt(project, rect));
        request.settings.check(prompt.given().unwrap_or_default())?;
        controls::refuse(&request.settings.controls, "An upscaling")?;
        let strength = request.strength.unwrap_or(UPSCALE_STRENGTH);
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(StudioError::InvalidRequest(format!(
                "A strength of {strength}: choose more than 0 and at most 1; 0.2 to 0.35 keeps the picture what it is."
            )));
        }
        let factor = request.factor;
        if !(2..=8).contains(&factor) {
            return Err(StudioError::InvalidRequest(format!("Factor {factor}: choose 2 or 4.")));
        }
        let longest = MAX_UPSCALED_SIDE / factor;
        if rect.width.max(rect.height) > longest || rect.width.min(rect.height) == 0 {
            return Err(StudioError::InvalidRequest(format!(
                "{}x{} pixels cannot become {factor} times as large: each side may have at most {longest}, so that the \
                 result has at most {MAX_UPSCALED_SIDE}. Choose a smaller factor or a part of the picture.",
                rect.width, rect.height
            )));
        }
        let mut pictures = Pictures::new(project);
        let flat = match layer {
            Some(layer) => pictures.layer(layer, rect)?,
            None => pictures.flatten(rect)?,
        };
        if flat.pixels().all(|pixel| pixel.0[3] == 0) {
            return Err(StudioError::NoPicture);
        }
        let source = project.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let metadata = describe(document, rect);
        Ok(Self { request: request.clone(), prompt, strength, rect, flat, metadata, source })
    }

    /// The part of the canvas that is upscaled.
    pub fn rect(&self) -> Rect {
        self.rect
    }

    /// Width and height of the result in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.rect.width * self.request.factor, self.rect.height * self.request.factor)
    }
}

/// The scene's prompt, or the one that an imported picture brought along.
fn known_prompt(project: &Project, rect: Rect) -> String {
    let own = scene_prompt(project, rect);
    if !own.is_empty() {
        return own;
    }
    let shown = project.document().patches().filter(|patch| patch.rect.intersection(&rect).is_some());
    let mut brought = shown.filter_map(|patch| match &patch.content {
        PatchContent::Image(own) => match &own.origin {
            Origin::Imported { metadata, .. } => metadata["generation"]["prompt"].as_str(),
            _ => None,
        },
        PatchContent::Generation(_) => None,
    });
    brought.next().unwrap_or_default().to_owned()
}

/// A picture that was upscaled and lies nowhere yet.
#[derive(Debug, Clone)]
pub struct Upscaled {
    /// The colours.
    pub image: RgbImage,
    /// Where it is opaque; everywhere when absent.
    pub alpha: Option<GrayImage>,
    /// Seconds of computing.
    pub seconds: f64,
    /// The upscaler's name.
    pub upscaler: String,
    factor: u32,
    seed: u64,
    provenance: Provenance,
    metadata: Metadata,
    /// Where it was.
    from: Rect,
    layer: Option<LayerId>,
}

impl Studio {
    /// Upscales what was planned. A creative upscaling repaints the enlarged picture window by window, with overlap: each
    /// window sees what was painted before it and takes it over gradually.
    pub async fn upscale(
        &self,
        plan: UpscalePlan,
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Upscaled, StudioError> {
        let UpscalePlan { request, prompt, strength, rect, flat, metadata, source } = plan;
        let factor = request.factor;
        let UpscalerEntry { name, path } = self.models().upscaler(request.upscaler.as_deref())?;
        let mut brush = None;
        let mut seed = 0;
        if request.mode == UpscaleMode::Creative {
            if prompt.text().trim().is_empty() {
                let warning =
                    "The picture has no prompt, so the model adds whatever it likes. Say what the picture shows.";
                events(Event::Warning(warning.into()));
            }
            seed = request.settings.seed()?;
            let wording = self.texts().wording(&prompt, &request.settings, seed, 1)?;
            let model = self.ready(&request.settings, events).await?;
            let guidance = model.loaded.info.defaults.fill_guidance;
            let mut sampling = sampling(&request.settings, &model, seed, guidance);
            wording.put_into(&mut sampling, 0);
            let size = model_size(&model);
            let mut how = provenance(GenerationKind::Upscale, &sampling, &model, strength, (size.native, size.native));
            wording.record(&mut how);
            brush = Some((model, sampling, how, windows((rect.width * factor, rect.height * factor), size)));
        }
        let jobs = 1 + brush.as_ref().map_or(0, |(.., windows)| windows.len());
        events(Event::Loading { model: name.clone() });
        let file = path.clone();
        let (colours, alpha, hash) = apart(move || {
            let hash = fs::read(&file).map_err(StudioError::io("read", &file)).map(|bytes| BlobId::of(&bytes));
            let (colours, alpha) = split(flat, factor);
            hash.map(|hash| (colours, alpha, hash))
        })
        .await??;
        let (width, height) = colours.dimensions();
        let job = Job::Upscale { model: path, job: UpscaleJob { width, height, factor }, image: colours };
        let output = self.run(&job, (0, jobs), events, cancel).await?;
        let (mut image, mut seconds) = (output.image, output.seconds);

        let mut how = Provenance {
            request: GenerationRequest {
                kind: GenerationKind::Upscale,
                prompt: prompt.text().to_owned(),
                model_name: name.clone(),
                model_hash: hash.to_string(),
                strength: 0.0,
                width: rect.width,
                height: rect.height,
                ..GenerationRequest::default()
            },
            engine: format!("outframe-engine {}", env!("CARGO_PKG_VERSION")),
            ..Provenance::default()
        };
        if let Some((model, sampling, record, windows)) = brush {
            how = record;
            for (index, window) in windows.iter().enumerate() {
                let (crop, freedom) = (window.crop(&image), window.freedom());
                let sampling = Sampling { take: index as u64, ..sampling.clone() };
                let (width, height) = crop.dimensions();
                let job = Job::Fill {
                    job: FillJob { sampling, width, height, strength },
                    image: crop,
                    mask: freedom.clone(),
                };
                self.hold(&model).await?;
                let output = self.run(&job, (index + 1, jobs), events, cancel).await?;
                window.blend(&mut image, &output.image, &freedom);
                seconds += output.seconds;
            }
        }
        let from =
            serde_json::json!({ "file": source, "x": rect.x, "y": rect.y, "width": rect.width, "height": rect.height });
        how.request.extra.insert("upscaler".into(), name.clone().into());
        how.request.extra.insert("factor".into(), factor.into());
        how.request.extra.insert("upscaled_from".into(), from);
        let layer = request.layer;
        Ok(Upscaled {
            image,
            alpha,
            seconds,
            upscaler: name,
            factor,
            seed,
            provenance: how,
            metadata,
            from: rect,
            layer,
        })
    }
}

impl Upscaled {
    /// Puts the picture into an empty project, as one undoable step: one patch at 0, 0, and a frame around it. Its
    /// generation tells from which project and rectangle it comes.
    pub fn place(self, project: &mut Project) -> Result<Rect, StudioError> {
        let rect = Rect::new(0, 0, self.image.width(), self.image.height());
        let layer = Layer::new(project.next_layer_id(), "Upscaled");
        let index = project.document().layers.len();
        let frame = if project.document().frames.is_empty() { vec![first_frame(project, rect)] } else { Vec::new() };
        self.put(project, rect, layer, index, frame)
    }

    /// Puts the picture into the project that it was taken from, as one undoable step: a new layer that is `factor` times as
    /// large and hides what it was made of. A layer grows about its centre. The picture as a whole grows from its left top
    /// corner, and the frame with it.
    pub fn place_larger(self, project: &mut Project) -> Result<Rect, StudioError> {
        let (from, factor, id) = (self.from, self.factor, project.next_layer_id());
        let (width, height) = (from.width * factor, from.height * factor);
        let hide = |layer: &Layer| Edit::SetLayer { layer: layer.id, change: LayerChange::Visible(false) };
        let name = |old: &str| format!("{old} {factor}×");
        let document = project.document();
        let top = document.layers.len();
        let new = || Layer::new(id, name("Upscaled"));
        let (rect, index, layer, more) = if let Some(source) = self.layer {
            let (x, y) = (i64::from((width - from.width) / 2), i64::from((height - from.height) / 2));
            let rect = Rect::new(from.x - x, from.y - y, width, height);
            let found = document.layer_index(source).and_then(|index| Some((index, document.layers.get(index)?)));
            if let Some((index, old)) = found {
                // Its mask would have to grow as well: what it hides is left to be hidden anew.
                let kept =
                    Layer { id, name: name(&old.name), visible: true, mask: None, patches: Vec::new(), ..old.clone() };
                (rect, index + 1, kept, vec![hide(old)])
            } else {
                // It was removed meanwhile.
                (rect, top, new(), Vec::new())
            }
        } else {
            let rect = Rect::new(from.x, from.y, width, height);
            let mut more: Vec<Edit> = document.layers.iter().filter(|layer| layer.visible).map(hide).collect();
            if let Some(frame) = document.frames.first().filter(|frame| frame.rect == from) {
                more.push(Edit::SetFrame { frame: Frame { rect, ..frame.clone() } });
            }
            (rect, top, new(), more)
        };
        self.put(project, rect, layer, index, more)
    }

    fn put(
        self,
        project: &mut Project,
        rect: Rect,
        mut layer: Layer,
        index: usize,
        more: Vec<Edit>,
    ) -> Result<Rect, StudioError> {
        let mask = self.alpha.map(|alpha| encode_png(&DynamicImage::ImageLuma8(alpha))).transpose()?;
        let take = NewTake {
            png: encode_png(&DynamicImage::ImageRgb8(self.image))?,
            prompt: self.provenance.request.prompt.clone(),
            seed: self.seed,
            seconds: self.seconds,
        };
        let (generation, add) = generation_edit(project, rect, vec![take], mask.as_deref(), self.provenance)?;
        layer.patches.push(Patch::new(project.next_patch_id(), rect, PatchContent::Generation(generation)));
        let edits = [vec![add, Edit::AddLayer { index, layer: Box::new(layer) }], more].concat();
        let applied = project.apply(Step::new(format!("Upscale {}x", self.factor), edits));
        if applied.is_err() {
            project.discard_pending_blobs();
        }
        applied?;
        Ok(rect)
    }

    /// Writes the picture to a PNG, JPEG, WebP or TIFF file, with what the source says of itself unless `strip` is set.
    pub fn write(&self, out: &Path, strip: bool) -> Result<(), StudioError> {
        let format = Self::check_name(out)?;
        let write = WriteOptions {
            metadata: WriteMetadata { metadata: self.metadata.clone(), strip },
            ..WriteOptions::default()
        };
        let picture = match &self.alpha {
            None => DynamicImage::ImageRgb8(self.image.clone()),
            Some(alpha) => DynamicImage::ImageRgba8(joined(&self.image, alpha)),
        };
        let bytes = match format {
            Format::Jpeg => write_jpeg(&picture, &write),
            Format::WebP => write_webp(&picture, &write),
            Format::Tiff => write_tiff(&picture),
            _ => write_png(&picture, &write),
        };
        let bytes = bytes.map_err(|error| StudioError::Picture { path: out.into(), why: error.to_string() })?;
        write_whole(out, &bytes)
    }

    /// Checks before the work that a file's name says a format that [`Self::write`] can write.
    pub fn check_name(out: &Path) -> Result<Format, StudioError> {
        match format_of(out)? {
            Format::OpenRaster => Err(StudioError::InvalidRequest(
                "An upscaled picture has no layers. End the name with .png, .jpg, .webp or .tif.".into(),
            )),
            format => Ok(format),
        }
    }
}

/// Colours for the network, without what shines through transparent pixels, and the enlarged alpha unless all is opaque.
fn split(flat: RgbaImage, factor: u32) -> (RgbImage, Option<GrayImage>) {
    let (width, height) = flat.dimensions();
    if flat.pixels().all(|pixel| pixel.0[3] == 255) {
        return (DynamicImage::ImageRgba8(flat).into_rgb8(), None);
    }
    let alpha = GrayImage::from_fn(width, height, |x, y| Luma([flat.get_pixel(x, y).0[3]]));
    let alpha = imageops::resize(&alpha, width * factor, height * factor, imageops::FilterType::CatmullRom);
    let known = Mask::from_fn(width, height, |x, y| flat.get_pixel(x, y).0[3] > 0);
    let mut colours = DynamicImage::ImageRgba8(flat).into_rgb8();
    // Edges would take the colour of what is not there.
    prefill(&mut colours, &known);
    (colours, Some(alpha))
}

fn joined(image: &RgbImage, alpha: &GrayImage) -> RgbaImage {
    RgbaImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b] = image.get_pixel(x, y).0;
        image::Rgba([r, g, b, alpha.get_pixel(x, y).0[0]])
    })
}

/// A part of the enlarged picture that the model works on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    /// How many columns and rows at its beginning were painted before.
    painted: (u32, u32),
}

/// Windows of the model's native size, row by row; neighbours share a quarter or more.
fn windows(picture: (u32, u32), model: ModelSize) -> Vec<Window> {
    let spans = |length: u32| {
        let side = model.round_up(model.native).min(model.round_up(length));
        let overlap = side / 4;
        let mut spans = vec![(0, side, 0)];
        let mut end = side;
        while end < length {
            let start = (end - overlap).min(length - side);
            spans.push((start, side, end - start));
            end = start + side;
        }
        spans
    };
    let across = spans(picture.0);
    let row = |(y, height, above): (u32, u32, u32)| {
        let window = move |(x, width, left): (u32, u32, u32)| Window { x, y, width, height, painted: (left, above) };
        across.clone().into_iter().map(window)
    };
    spans(picture.1).into_iter().flat_map(row).collect()
}

impl Window {
    /// What the model gets; beyond the picture its last row and column go on.
    fn crop(&self, picture: &RgbImage) -> RgbImage {
        let (right, bottom) = (picture.width() - 1, picture.height() - 1);
        RgbImage::from_fn(self.width, self.height, |x, y| {
            *picture.get_pixel((self.x + x).min(right), (self.y + y).min(bottom))
        })
    }

    /// How much each pixel may change, and how much of it is taken over: little at what was painted before.
    fn freedom(&self) -> GrayImage {
        let ramp = |at: u32, painted: u32| {
            let t = if at < painted { (at as f32 + 0.5) / painted as f32 } else { 1.0 };
            t * t * (3.0 - 2.0 * t)
        };
        GrayImage::from_fn(self.width, self.height, |x, y| {
            Luma([(255.0 * ramp(x, self.painted.0) * ramp(y, self.painted.1)).round() as u8])
        })
    }

    fn blend(&self, picture: &mut RgbImage, painted: &RgbImage, freedom: &GrayImage) {
        for (x, y, pixel) in painted.enumerate_pixels() {
            let (u, v) = (self.x + x, self.y + y);
            if u >= picture.width() || v >= picture.height() {
                continue;
            }
            let share = f32::from(freedom.get_pixel(x, y).0[0]) / 255.0;
            for (to, from) in picture.get_pixel_mut(u, v).0.iter_mut().zip(pixel.0) {
                *to = (f32::from(*to) + (f32::from(from) - f32::from(*to)) * share).round() as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, Rgba};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_transparent_leaves_no_trace_in_the_colours() {
        let flat =
            RgbaImage::from_fn(20, 10, |x, _| if x < 12 { Rgba([200, 60, 30, 255]) } else { Rgba([0, 0, 0, 0]) });
        let (colours, alpha) = split(flat, 2);
        assert!(colours.pixels().all(|pixel| pixel.0 == [200, 60, 30]));
        let alpha = alpha.unwrap();
        assert_eq!(alpha.dimensions(), (40, 20));
        assert_eq!((alpha.get_pixel(2, 5).0[0], alpha.get_pixel(38, 5).0[0]), (255, 0));
        assert_eq!(joined(&RgbImage::from_pixel(40, 20, Rgb([1, 2, 3])), &alpha).get_pixel(39, 0).0, [1, 2, 3, 0]);
        assert!(split(RgbaImage::from_pixel(4, 4, Rgba([9, 9, 9, 255])), 4).1.is_none());
    }

    #[test]
    fn a_window_takes_over_what_was_painted_before_it() {
        let window = Window { x: 10, y: 0, width: 32, height: 16, painted: (8, 0) };
        let freedom = window.freedom();
        let row: Vec<u8> = (0..10).map(|x| freedom.get_pixel(x, 3).0[0]).collect();
        assert!(row.windows(2).all(|pair| pair[0] <= pair[1]) && row[0] < 10 && row[8] == 255, "{row:?}");
        let mut picture = RgbImage::from_pixel(40, 16, Rgb([100; 3]));
        window.blend(&mut picture, &RgbImage::from_pixel(32, 16, Rgb([200; 3])), &freedom);
        let at = |x| picture.get_pixel(x, 5).0[0];
        assert_eq!((at(9), at(39)), (100, 200));
        assert!(at(10) < 105 && (10..18).all(|x| at(x) <= at(x + 1)), "a step shows");
    }

    fn upscaled(from: Rect, layer: Option<LayerId>) -> Upscaled {
        Upscaled {
            image: RgbImage::from_pixel(from.width * 2, from.height * 2, Rgb([9, 8, 7])),
            alpha: None,
            seconds: 1.0,
            upscaler: "network".into(),
            factor: 2,
            seed: 0,
            provenance: Provenance::default(),
            metadata: Metadata::default(),
            from,
            layer,
        }
    }

    #[test]
    fn the_larger_picture_takes_the_place_of_the_smaller_one_until_it_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let mut project = Project::create(folder.path().join("a.outframe"), "a").unwrap();
        let from = Rect::new(-10, 5, 40, 20);
        upscaled(Rect::new(0, 0, 20, 10), None).place(&mut project).unwrap();
        let frame = project.document().frames[0].clone();
        let moved = Frame { rect: from, ..frame };
        project.apply(Step::new("Move", vec![Edit::SetFrame { frame: moved }])).unwrap();
        let before = project.document().clone();

        let rect = upscaled(from, None).place_larger(&mut project).unwrap();
        assert_eq!(rect, Rect::new(-10, 5, 80, 40));
        let now = project.document();
        assert_eq!((now.frames[0].rect, now.layers.len()), (rect, 2));
        assert_eq!((now.layers[0].visible, now.layers[1].visible), (false, true));
        project.undo().unwrap();
        assert_eq!(project.document().layers, before.layers);
        assert_eq!(project.document().frames, before.frames);

        // A layer grows about its centre, above what it was, and the frame stays.
        let source = before.layers[0].id;
        let change = LayerChange::Opacity(0.5);
        project.apply(Step::new("Fade", vec![Edit::SetLayer { layer: source, change }])).unwrap();
        let rect = upscaled(Rect::new(0, 0, 40, 20), Some(source)).place_larger(&mut project).unwrap();
        assert_eq!(rect, Rect::new(-20, -10, 80, 40));
        let now = project.document();
        assert_eq!((now.frames[0].rect, now.layers[0].visible), (from, false));
        assert_eq!((now.layers[1].opacity, now.layers[1].name.as_str()), (0.5, "Upscaled 2×"));

        // A layer that is gone by then is no reason to lose the work.
        let steps = now.layers.iter().map(|layer| Edit::RemoveLayer { layer: layer.id }).collect();
        project.apply(Step::new("Remove", steps)).unwrap();
        upscaled(Rect::new(0, 0, 4, 4), Some(source)).place_larger(&mut project).unwrap();
        assert_eq!(project.document().layers.len(), 1);
    }

    proptest! {
        #[test]
        fn windows_cover_the_picture(
            width in 1u32..900, height in 1u32..900, native in prop::sample::select(vec![256u32, 512]),
        ) {
            let model = ModelSize { native, multiple: 32 };
            let mut covered = vec![false; (width * height) as usize];
            for Window { x, y, width: wide, height: high, painted } in windows((width, height), model) {
                prop_assert!(wide.is_multiple_of(32) && high.is_multiple_of(32) && wide <= native && high <= native);
                // Only a picture smaller than a window is passed.
                prop_assert!((x == 0 || x + wide <= width) && (y == 0 || y + high <= height));
                prop_assert!(x == 0 || painted.0 >= wide / 4);
                for v in y..(y + high).min(height) {
                    for u in x..(x + wide).min(width) {
                        let seen = &mut covered[(v * width + u) as usize];
                        // What counts as painted before is, and nothing else.
                        prop_assert_eq!(*seen, u < x + painted.0 || v < y + painted.1);
                        *seen = true;
                    }
                }
            }
            prop_assert!(covered.iter().all(|seen| *seen));
        }
    }
}
