//! Extending the picture past its frame.

use image::{DynamicImage, RgbaImage, imageops};
use outframe_document::{BlobId, Context, Edit, Frame, GenerationKind, Patch, PatchContent, Project, Rect, Step};
use outframe_engine::FillJob;
use tokio_util::sync::CancellationToken;

use crate::{
    Pictures, Settings, Studio, StudioError,
    engine::Job,
    fill::{Mask, ModelSize, Side, Window, harmonise, plan_extension, prefill},
    generate::{generation_edit, provenance, sampling},
    session::EventSink,
};

/// Most pixels that one side grows by in one request.
const MAX_AMOUNT: u32 = 8192;
/// Longest side of the frame afterwards, in pixels.
const MAX_FRAME: u32 = 32_768;
/// How far from the painted area the known picture is compared with the model's version of it, in model pixels.
const RING: f32 = 24.0;

/// What to extend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtendRequest {
    /// Pixels to add on each side.
    pub left: u32,
    /// Likewise.
    pub right: u32,
    /// Likewise.
    pub up: u32,
    /// Likewise.
    pub down: u32,
    /// What the new area shows; the prompt of the picture's last generation when absent.
    pub prompt: Option<String>,
    /// How.
    pub settings: Settings,
    /// Denoising strength, 0 to 1; the model's recommendation when absent.
    pub strength: Option<f64>,
}

/// What an extension did.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// The frame before.
    pub before: Rect,
    /// The frame now.
    pub after: Rect,
    /// The painted strips, in the order in which they were painted.
    pub painted: Vec<Rect>,
    /// The seed of the first strip.
    pub seed: u64,
    /// Seconds of computing.
    pub seconds: f64,
}

/// A strip that has been painted but is not yet part of the project.
struct Painted {
    rect: Rect,
    image: RgbaImage,
}

impl Studio {
    /// Extends the project's frame on the given sides, as one undoable step; sides are painted in the order left, right,
    /// up, down. Known pixels are never written: each strip is a patch of its own beside them.
    pub async fn extend(
        &self,
        project: &mut Project,
        request: &ExtendRequest,
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Extension, StudioError> {
        let sides = sides(request)?;
        let frame = frame(project)?;
        let after = sides.iter().fold(frame.rect, |rect, (side, amount)| side.grow(rect, *amount));
        if after.width > MAX_FRAME || after.height > MAX_FRAME {
            return Err(StudioError::InvalidRequest(format!(
                "The picture would grow to {}x{} pixels; {MAX_FRAME} a side is the most.",
                after.width, after.height
            )));
        }
        let prompt = request.prompt.clone().unwrap_or_else(|| last_prompt(project, frame.rect));
        request.settings.check(&prompt)?;
        if let Some(strength) = request.strength
            && !(0.0..=1.0).contains(&strength)
        {
            return Err(StudioError::InvalidRequest(format!("Strength {strength}: choose 0 to 1.")));
        }
        let first_seed = request.settings.seed()?;
        let model = self.ready(request.settings.model.as_deref(), events).await?;
        let info = &model.loaded.info;
        let size = ModelSize { native: info.native_size, multiple: info.size_multiple };
        let strength = request.strength.unwrap_or(info.defaults.fill_strength);
        let guidance = info.defaults.fill_guidance;
        let sampling = sampling(&prompt, &request.settings, &model, first_seed, guidance);

        // All windows of all sides, so that progress knows the whole.
        let mut plans = Vec::new();
        let mut grown = frame.rect;
        for (side, amount) in &sides {
            plans.push((side.strip(grown, *amount), plan_extension(grown, *side, *amount, size)));
            grown = side.grow(grown, *amount);
        }
        let count = plans.iter().map(|(_, windows)| windows.len()).sum();

        let mut strips: Vec<Painted> = Vec::new();
        let mut made = Vec::new();
        let mut seconds = 0.0;
        let mut index = 0;
        for (rect, windows) in plans {
            strips.push(Painted { rect, image: RgbaImage::new(rect.width, rect.height) });
            let started = index;
            let mut spent = 0.0;
            let mut context = None;
            for window in windows {
                let scene = scene(project, &strips, window.context)?;
                let seed = first_seed.wrapping_add(index as u64);
                if context.is_none() {
                    let hash = BlobId::of(scene.as_raw());
                    context = Some(Context { rect: window.context, hash: Some(hash) });
                }
                let mut job =
                    FillJob { sampling: sampling.clone(), width: window.width, height: window.height, strength };
                job.sampling.seed = seed;
                let (painted, took) = self.fill(&scene, window, job, (index, count), events, cancel).await?;
                if let Some(strip) = strips.last_mut() {
                    paste(strip, &painted, window);
                }
                spent += took;
                index += 1;
            }
            let seed = first_seed.wrapping_add(started as u64);
            let mut how = provenance(GenerationKind::Extend, &sampling, &model, strength, (size.native, size.native));
            how.request.seed = seed;
            how.context = context;
            made.push((seed, spent, how));
            seconds += spent;
        }

        let painted = strips.iter().map(|strip| strip.rect).collect();
        store(project, &frame, after, strips, made, &step_name(&sides))?;
        Ok(Extension { before: frame.rect, after, painted, seed: first_seed, seconds })
    }

    /// Paints what is not known of one window and returns its picture, of the context's size.
    async fn fill(
        &self,
        scene: &RgbaImage,
        window: Window,
        job: FillJob,
        place: (usize, usize),
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<(RgbaImage, f64), StudioError> {
        let (width, height) = scene.dimensions();
        let region = (
            (window.region.x - window.context.x) as u32..(window.region.right() - window.context.x) as u32,
            (window.region.y - window.context.y) as u32..(window.region.bottom() - window.context.y) as u32,
        );
        let known = Mask::from_fn(width, height, |x, y| {
            scene.get_pixel(x, y).0[3] == 255 && !(region.0.contains(&x) && region.1.contains(&y))
        });
        let original = DynamicImage::ImageRgba8(scene.clone()).into_rgb8();
        let mut guess = original.clone();
        prefill(&mut guess, &known);
        let resize = |image: &image::RgbImage, width: u32, height: u32| {
            if image.dimensions() == (width, height) {
                image.clone()
            } else {
                imageops::resize(image, width, height, imageops::FilterType::Lanczos3)
            }
        };
        let scale = f64::from(width) / f64::from(window.width);
        let job = Job::Fill {
            image: resize(&guess, window.width, window.height),
            mask: known.not().scaled(window.width, window.height).to_gray(),
            job,
        };
        let output = self.run(&job, place, events, cancel).await?;
        let mut painted = resize(&output.image, width, height);
        harmonise(&mut painted, &original, &known, RING * scale.max(1.0) as f32);
        Ok((DynamicImage::ImageRgb8(painted).into_rgba8(), output.seconds))
    }
}

/// The flat picture of a part of the canvas, strips that are not stored yet included.
fn scene(project: &Project, strips: &[Painted], rect: Rect) -> Result<RgbaImage, StudioError> {
    let mut scene = Pictures::new(project).flatten(rect)?;
    for strip in strips {
        let Some(shared) = strip.rect.intersection(&rect) else { continue };
        for y in shared.y..shared.bottom() {
            for x in shared.x..shared.right() {
                let pixel = strip.image.get_pixel((x - strip.rect.x) as u32, (y - strip.rect.y) as u32);
                if pixel.0[3] == 255 {
                    scene.put_pixel((x - rect.x) as u32, (y - rect.y) as u32, *pixel);
                }
            }
        }
    }
    Ok(scene)
}

/// Copies a window's region into its strip.
fn paste(strip: &mut Painted, painted: &RgbaImage, window: Window) {
    let from = ((window.region.x - window.context.x) as u32, (window.region.y - window.context.y) as u32);
    let view = imageops::crop_imm(painted, from.0, from.1, window.region.width, window.region.height).to_image();
    let (x, y) = (window.region.x - strip.rect.x, window.region.y - strip.rect.y);
    imageops::replace(&mut strip.image, &view, x, y);
}

fn sides(request: &ExtendRequest) -> Result<Vec<(Side, u32)>, StudioError> {
    let all =
        [(Side::Left, request.left), (Side::Right, request.right), (Side::Up, request.up), (Side::Down, request.down)];
    let sides: Vec<_> = all.into_iter().filter(|(_, amount)| *amount > 0).collect();
    if sides.is_empty() {
        return Err(StudioError::InvalidRequest(
            "Say on which side to extend and by how many pixels (left, right, up, down).".into(),
        ));
    }
    if let Some((side, amount)) = sides.iter().find(|(_, amount)| *amount > MAX_AMOUNT) {
        return Err(StudioError::InvalidRequest(format!(
            "{amount} pixels to the {}: at most {MAX_AMOUNT} at a time.",
            side.name()
        )));
    }
    Ok(sides)
}

fn step_name(sides: &[(Side, u32)]) -> String {
    let names: Vec<_> = sides.iter().map(|(side, _)| side.name()).collect();
    format!("Extend {}", names.join(", "))
}

/// The frame to extend: the first one; without one, the bounds of what is there.
fn frame(project: &mut Project) -> Result<Frame, StudioError> {
    let document = project.document();
    let bounds = document.bounds().ok_or(StudioError::NoPicture)?;
    match document.frames.first() {
        Some(frame) if frame.rect.intersection(&bounds).is_some() => Ok(frame.clone()),
        Some(_) => Err(StudioError::NoPicture),
        None => Ok(Frame { id: project.next_frame_id(), name: "Frame 1".into(), rect: bounds }),
    }
}

/// The prompt of the topmost generated patch in the frame.
fn last_prompt(project: &Project, frame: Rect) -> String {
    let document = project.document();
    let patches: Vec<_> = document.patches().collect();
    let mut newest_first = patches.into_iter().rev().filter(|patch| patch.rect.intersection(&frame).is_some());
    newest_first
        .find_map(|patch| document.provenance(patch))
        .map(|provenance| provenance.request.prompt.clone())
        .unwrap_or_default()
}

fn store(
    project: &mut Project,
    frame: &Frame,
    after: Rect,
    strips: Vec<Painted>,
    made: Vec<(u64, f64, outframe_document::Provenance)>,
    name: &str,
) -> Result<(), StudioError> {
    // The strips join the topmost layer that lies on the picture plane without any change of its pixels.
    let document = project.document();
    let plain = |layer: &&outframe_document::Layer| {
        layer.visible
            && !layer.locked
            && layer.opacity >= 1.0
            && layer.blend == outframe_document::BlendMode::Normal
            && layer.patches.iter().any(|patch| patch.rect.intersection(&frame.rect).is_some())
    };
    let layer = document.layers.iter().rev().find(plain).map(|layer| (layer.id, layer.patches.len()));
    let mut edits = Vec::new();
    let (layer, mut index) = layer.unwrap_or_else(|| {
        let layer = outframe_document::Layer::new(project.next_layer_id(), "Extension");
        let id = layer.id;
        let index = project.document().layers.len();
        edits.push(Edit::AddLayer { index, layer: Box::new(layer) });
        (id, 0)
    });
    for (strip, (seed, seconds, provenance)) in strips.into_iter().zip(made) {
        // Opaque everywhere, so alpha need not be stored.
        let image = DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(strip.image).into_rgb8());
        let (generation, add) = generation_edit(project, strip.rect, vec![(image, seed, seconds)], provenance)?;
        let patch = Patch::new(project.next_patch_id(), strip.rect, PatchContent::Generation(generation));
        edits.push(add);
        edits.push(Edit::AddPatch { layer, index, patch: Box::new(patch) });
        index += 1;
    }
    let frame = Frame { rect: after, ..frame.clone() };
    edits.push(if project.document().frame(frame.id).is_some() {
        Edit::SetFrame { frame }
    } else {
        Edit::AddFrame { index: 0, frame }
    });
    project.apply(Step::new(name, edits))?;
    Ok(())
}
