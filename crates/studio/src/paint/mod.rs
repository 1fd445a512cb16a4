//! Painting on the canvas in three parts, so that the project stays free while the worker computes.
//!
//! 1. A [`FillPlan`] is made from the project, at once: it takes along the known picture that it needs.
//! 2. [`Studio::paint`] runs it without the project, which may be edited meanwhile.
//! 3. [`Painted::place`] puts the result into the project as one undoable step.

mod cover;
mod grow;
mod place;
mod upscale;
mod vary;

use std::sync::Arc;

use image::{DynamicImage, GrayImage, Luma, RgbImage, RgbaImage, imageops};
use outframe_document::{BlobId, Context, FrameId, GenerationKind, Project, Provenance, Rect, StepId};
use outframe_engine::{FillJob, Sampling};
use tokio_util::sync::CancellationToken;

use crate::{
    Settings, Studio, StudioError,
    controls::Steering,
    engine::Job,
    fill::{Mask, ModelSize, harmonise, prefill},
    generate::{NewTake, provenance, sampling},
    pictures::encode_png,
    session::{Event, EventSink, ReadyModel, apart},
    texts::Prompt,
};

pub use cover::CoverRequest;
pub use grow::{ExtendRequest, Outline, ReframeRequest, ZoomOutRequest};
pub use place::Placed;
pub use upscale::{UPSCALE_STRENGTH, UpscaleMode, UpscalePlan, UpscaleRequest, Upscaled};
pub use vary::{VARY_STRENGTH, VaryRequest};

/// Most takes of one request that paints on the canvas.
pub const MAX_FILL_TAKES: u32 = 8;
/// How far from the painted area the known picture is compared with the model's version of it, in model pixels.
const RING: f32 = 24.0;
/// How far into what a mask hides the known colours are kept, in pixels, so that a filter that reaches across the edge finds
/// nothing foreign there.
const HIDDEN_RING: i64 = 16;
/// Most pixels of one painted picture: a decoder's bounds end there.
const MAX_SHEET_PIXELS: u64 = 1 << 28;

/// What will be painted, with all that the worker needs to know: the project is not needed until the result is
/// [placed](Painted::place).
#[derive(Debug, Clone)]
pub struct FillPlan {
    kind: GenerationKind,
    /// The step's name in the history.
    step: String,
    model: ReadyModel,
    prompt: Prompt,
    settings: Settings,
    /// Without the prompt.
    sampling: Sampling,
    steering: Steering,
    strength: f64,
    takes: u32,
    sheets: Vec<SheetPlan>,
    painted: Vec<Rect>,
    frame: Option<FrameGrowth>,
    target: Target,
    /// The project's step that was current when the plan was made.
    made_at: StepId,
}

/// A picture to be painted: it becomes one patch and one generation.
#[derive(Debug, Clone)]
struct SheetPlan {
    rect: Rect,
    windows: Vec<WindowPlan>,
}

/// One run of the model.
#[derive(Debug, Clone)]
struct WindowPlan {
    /// What the model sees.
    context: Rect,
    /// The size at which it works on that.
    size: (u32, u32),
    /// What is painted in `context` before the work; transparent where nothing is.
    scene: RgbaImage,
    task: Task,
}

/// What a window paints.
#[derive(Debug, Clone)]
enum Task {
    /// What is not known of these rectangles.
    Unknown(Vec<Rect>),
    /// A region anew, known or not.
    Change {
        /// For each pixel of the context how much of it may change: where it is above 0.
        region: GrayImage,
        /// For each pixel of the sheet how much of the result is shown.
        shown: GrayImage,
    },
}

/// How the frame grows.
#[derive(Debug, Clone)]
struct FrameGrowth {
    /// None where the project has no frame yet.
    id: Option<FrameId>,
    before: Rect,
    after: Rect,
}

/// Which layer takes the result.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// The one that carries the picture in this rectangle.
    Ground(Rect),
    /// The topmost one that shows something of this rectangle.
    Topmost(Rect),
    /// The topmost one at this depth that shows something of this rectangle.
    AtDepth(f64, Rect),
}

/// What every request says besides what it is about.
struct Common<'a> {
    kind: GenerationKind,
    step: String,
    prompt: Prompt,
    settings: &'a Settings,
    strength: f64,
    takes: u32,
    model: &'a ReadyModel,
}

impl FillPlan {
    fn new(project: &Project, common: Common<'_>, target: Target) -> Result<Self, StudioError> {
        let Common { kind, step, prompt, settings, strength, takes, model } = common;
        settings.check(prompt.given().unwrap_or_default())?;
        if !(0.0..=1.0).contains(&strength) {
            return Err(StudioError::InvalidRequest(format!("Strength {strength}: choose 0 to 1.")));
        }
        check_takes(takes)?;
        let guidance = model.loaded.info.defaults.fill_guidance;
        let sampling = sampling(settings, model, settings.seed()?, guidance);
        Ok(Self {
            kind,
            step,
            model: model.clone(),
            prompt,
            settings: settings.clone(),
            sampling,
            steering: Steering::default(),
            strength,
            takes,
            sheets: Vec::new(),
            painted: Vec::new(),
            frame: None,
            target,
            made_at: project.current_step(),
        })
    }

    /// Lets the request's controls steer the work, their pictures stretched over a part of the canvas.
    fn steer(&mut self, settings: &Settings, rect: Rect) -> Result<(), StudioError> {
        self.steering = Steering::new(&settings.controls, rect)?;
        Ok(())
    }

    /// The areas of the canvas that will be painted, in the order of the work.
    pub fn painted_rects(&self) -> Vec<Rect> {
        self.painted.clone()
    }

    /// The project's frame afterwards; `None` where it stays as it is.
    pub fn frame_after(&self) -> Option<Rect> {
        self.frame.as_ref().map(|frame| frame.after)
    }

    /// How many runs of the model it takes: the windows of one take times the takes. Those of one take follow each other.
    pub fn jobs(&self) -> usize {
        self.windows() * self.takes as usize
    }

    /// How many takes there will be.
    pub fn takes(&self) -> u32 {
        self.takes
    }

    /// The seed of the first take; take i has the seed that is i greater.
    pub fn seed(&self) -> u64 {
        self.sampling.seed
    }

    /// The step's name in the history.
    pub fn step_name(&self) -> &str {
        &self.step
    }

    fn windows(&self) -> usize {
        self.sheets.iter().map(|sheet| sheet.windows.len()).sum()
    }

    fn model_size(&self) -> ModelSize {
        model_size(&self.model)
    }

    fn add_sheet(&mut self, rect: Rect, windows: Vec<WindowPlan>) -> Result<(), StudioError> {
        check_sheet(rect)?;
        self.sheets.push(SheetPlan { rect, windows });
        Ok(())
    }
}

fn model_size(model: &ReadyModel) -> ModelSize {
    ModelSize { native: model.loaded.info.native_size, multiple: model.loaded.info.size_multiple }
}

fn check_takes(takes: u32) -> Result<(), StudioError> {
    if (1..=MAX_FILL_TAKES).contains(&takes) {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!("{takes} takes: choose 1 to {MAX_FILL_TAKES}.")))
}

fn check_sheet(rect: Rect) -> Result<(), StudioError> {
    if u64::from(rect.width) * u64::from(rect.height) <= MAX_SHEET_PIXELS {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!(
        "That would paint a picture of {}x{} pixels in one piece, more than {} million. Extend one side at a time.",
        rect.width,
        rect.height,
        MAX_SHEET_PIXELS / 1_000_000
    )))
}

/// What has been painted and is not yet part of a project.
#[derive(Debug)]
pub struct Painted {
    step: String,
    sheets: Vec<PaintedSheet>,
    areas: Vec<Rect>,
    frame: Option<FrameGrowth>,
    target: Target,
    made_at: StepId,
    seed: u64,
    /// The pictures of the controls that the provenances name, as PNG.
    control_pictures: Vec<Vec<u8>>,
    /// Whether known pixels may be covered.
    changes_known: bool,
}

#[derive(Debug)]
struct PaintedSheet {
    rect: Rect,
    takes: Vec<NewTake>,
    /// Where it is shown; everywhere when absent.
    mask: Option<GrayImage>,
    provenance: Provenance,
}

impl Painted {
    /// Seconds of computing.
    pub fn seconds(&self) -> f64 {
        self.sheets.iter().flat_map(|sheet| &sheet.takes).map(|take| take.seconds).sum()
    }

    /// The areas that were painted, in the order of the work.
    pub fn painted_rects(&self) -> &[Rect] {
        &self.areas
    }
}

/// The sheets of one take as far as they are painted: alpha is 255 where a pixel is, else 0.
#[derive(Debug, Default)]
struct Desk {
    sheets: Vec<(Rect, RgbaImage)>,
}

/// A window ready for the model.
struct Prepared {
    original: RgbImage,
    /// What stays as it is and is compared with the model's version.
    known: Mask,
    /// Which pixels are kept of the result.
    kept: Mask,
    /// Whether the picture is known as a whole before: then only a part of the noise is needed.
    strength: f64,
    image: RgbImage,
    mask: GrayImage,
    hash: BlobId,
}

impl Studio {
    /// Paints what was planned. Take i has the seed S + i, so that each can be made again alone; the windows of a take
    /// have noise of their own.
    pub async fn paint(
        &self,
        mut plan: FillPlan,
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Painted, StudioError> {
        let wording = self.texts().wording(&plan.prompt, &plan.settings, plan.sampling.seed, plan.takes)?;
        wording.put_into(&mut plan.sampling, 0);
        let (count, strength) = (plan.jobs(), plan.strength);
        let native = plan.model_size().native;
        let mut how = provenance(plan.kind, &plan.sampling, &plan.model, strength, (native, native));
        wording.record(&mut how);
        let control_pictures = plan.steering.record(&mut how);
        let sheets = Arc::new(plan.sheets);
        let mut done: Vec<PaintedSheet> = sheets
            .iter()
            .map(|sheet| PaintedSheet { rect: sheet.rect, takes: Vec::new(), mask: None, provenance: how.clone() })
            .collect();
        let mut index = 0;
        for take in 0..plan.takes {
            let seed = plan.sampling.seed.wrapping_add(u64::from(take));
            wording.put_into(&mut plan.sampling, take as usize);
            let mut desk = Desk::default();
            let mut noise = 0;
            for (place, sheet) in sheets.iter().enumerate() {
                desk.sheets.push((sheet.rect, RgbaImage::new(sheet.rect.width, sheet.rect.height)));
                let mut seconds = 0.0;
                for number in 0..sheet.windows.len() {
                    let shared = Arc::clone(&sheets);
                    let (back, prepared) = apart(move || {
                        let prepared = desk.prepare(&shared[place].windows[number], strength);
                        (desk, prepared)
                    })
                    .await?;
                    desk = back;
                    let Some(prepared) = prepared else {
                        index += 1;
                        continue;
                    };
                    let window = &sheet.windows[number];
                    if done[place].provenance.context.is_none() {
                        done[place].provenance.context =
                            Some(Context { rect: window.context, hash: Some(prepared.hash) });
                    }
                    let (controls, pictures) = plan.steering.for_window(window.context, window.size)?;
                    let sampling = Sampling { seed, take: noise, controls, ..plan.sampling.clone() };
                    let (width, height) = window.size;
                    let job = FillJob { sampling, width, height, strength: prepared.strength };
                    let job = Job::Fill { job, image: prepared.image.clone(), mask: prepared.mask.clone() }
                        .controlled(pictures);
                    self.hold(&plan.model).await?;
                    events(Event::Place { index, rect: window.context });
                    let output = self.run(&job, (index, count), events, cancel).await?;
                    let shared = Arc::clone(&sheets);
                    desk = apart(move || {
                        desk.keep(&shared[place].windows[number], &prepared, &output.image);
                        desk
                    })
                    .await?;
                    seconds += output.seconds;
                    index += 1;
                    noise += 1;
                }
                let shared = Arc::clone(&sheets);
                let (back, encoded) = apart(move || {
                    let encoded = desk.finish(&shared[place]);
                    (desk, encoded)
                })
                .await?;
                desk = back;
                let (png, mask) = encoded?;
                done[place].takes.push(NewTake { png, prompt: plan.sampling.prompt.clone(), seed, seconds });
                done[place].mask = mask;
            }
        }
        let changes_known =
            sheets.iter().flat_map(|sheet| &sheet.windows).any(|w| matches!(w.task, Task::Change { .. }));
        Ok(Painted {
            step: plan.step,
            sheets: done,
            areas: plan.painted,
            frame: plan.frame,
            target: plan.target,
            made_at: plan.made_at,
            seed: plan.sampling.seed,
            control_pictures,
            changes_known,
        })
    }
}

impl Desk {
    /// What is known of a window now: what was there and what has been painted since.
    fn scene(&self, window: &WindowPlan) -> RgbaImage {
        let (context, mut scene) = (window.context, window.scene.clone());
        for (rect, image) in &self.sheets {
            let Some(shared) = rect.intersection(&context) else { continue };
            for y in shared.y..shared.bottom() {
                for x in shared.x..shared.right() {
                    let pixel = image.get_pixel((x - rect.x) as u32, (y - rect.y) as u32);
                    if pixel.0[3] == 255 {
                        scene.put_pixel((x - context.x) as u32, (y - context.y) as u32, *pixel);
                    }
                }
            }
        }
        scene
    }

    /// What the model needs for a window; `None` where nothing is left to paint.
    fn prepare(&self, window: &WindowPlan, strength: f64) -> Option<Prepared> {
        let scene = self.scene(window);
        let (width, height) = scene.dimensions();
        let opaque = Mask::from_fn(width, height, |x, y| scene.get_pixel(x, y).0[3] == 255);
        let kept = window.kept(&opaque);
        if !kept.any() {
            return None;
        }
        let original = DynamicImage::ImageRgba8(scene.clone()).into_rgb8();
        let mut guess = original.clone();
        prefill(&mut guess, &opaque);
        let image = resize(&guess, window.size);
        let (known, mask) = match &window.task {
            Task::Unknown(_) => (opaque.clone(), opaque.not().scaled(window.size.0, window.size.1).to_gray()),
            Task::Change { region, .. } => {
                let known = Mask::from_fn(width, height, |x, y| opaque.get(x, y) && region.get_pixel(x, y).0[0] == 0);
                // What is not known must be painted wholly, in the region and beside it.
                let freed = GrayImage::from_fn(width, height, |x, y| {
                    if opaque.get(x, y) { *region.get_pixel(x, y) } else { Luma([255]) }
                });
                let (w, h) = window.size;
                let mask = if (w, h) == (width, height) {
                    freed
                } else {
                    imageops::resize(&freed, w, h, imageops::FilterType::Triangle)
                };
                (known, mask)
            }
        };
        // Where nothing is known there is nothing to start from.
        let strength = if opaque.any() { strength } else { 1.0 };
        Some(Prepared { original, known, kept, strength, image, mask, hash: BlobId::of(scene.as_raw()) })
    }

    /// Takes a window's result over into the last sheet.
    fn keep(&mut self, window: &WindowPlan, prepared: &Prepared, output: &RgbImage) {
        let (width, height) = prepared.original.dimensions();
        let mut painted = resize(output, (width, height));
        let scale = f64::from(width) / f64::from(window.size.0);
        harmonise(&mut painted, &prepared.original, &prepared.known, RING * scale.max(1.0) as f32);
        let Some((rect, sheet)) = self.sheets.last_mut() else { return };
        let Some(shared) = rect.intersection(&window.context) else { return };
        for y in shared.y..shared.bottom() {
            for x in shared.x..shared.right() {
                let (u, v) = ((x - window.context.x) as u32, (y - window.context.y) as u32);
                let to = sheet.get_pixel_mut((x - rect.x) as u32, (y - rect.y) as u32);
                let [r, g, b] = painted.get_pixel(u, v).0;
                if prepared.kept.get(u, v) {
                    to.0 = [r, g, b, 255];
                } else if to.0[3] == 0 && prepared.known.get(u, v) && window.is_near(x, y) {
                    to.0 = [r, g, b, 0];
                }
            }
        }
    }

    /// The last sheet as PNG, and where it is shown unless everywhere.
    fn finish(&self, plan: &SheetPlan) -> Result<(Vec<u8>, Option<GrayImage>), StudioError> {
        let Some((_, sheet)) = self.sheets.last() else {
            return Err(StudioError::Internal("nothing was painted".into()));
        };
        let png = encode_png(&DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(sheet.clone()).into_rgb8()))?;
        let changed = plan.windows.iter().find_map(|window| match &window.task {
            Task::Change { shown, .. } => Some(shown.clone()),
            Task::Unknown(_) => None,
        });
        let mask = changed.unwrap_or_else(|| {
            GrayImage::from_fn(sheet.width(), sheet.height(), |x, y| Luma([sheet.get_pixel(x, y).0[3]]))
        });
        let whole = mask.pixels().all(|pixel| pixel.0[0] == 255);
        Ok((png, (!whole).then_some(mask)))
    }
}

impl WindowPlan {
    /// Which pixels of the context are kept of the result.
    fn kept(&self, opaque: &Mask) -> Mask {
        match &self.task {
            Task::Unknown(rects) => Mask::from_fn(opaque.width(), opaque.height(), |x, y| {
                let (u, v) = (self.context.x + i64::from(x), self.context.y + i64::from(y));
                !opaque.get(x, y) && rects.iter().any(|rect| rect.contains_point(u, v))
            }),
            Task::Change { region, .. } => {
                Mask::from_fn(opaque.width(), opaque.height(), |x, y| region.get_pixel(x, y).0[0] > 0)
            }
        }
    }

    /// Whether a pixel lies in or near what is painted.
    fn is_near(&self, x: i64, y: i64) -> bool {
        match &self.task {
            Task::Unknown(rects) => rects.iter().any(|rect| {
                x >= rect.x - HIDDEN_RING
                    && y >= rect.y - HIDDEN_RING
                    && x < rect.right() + HIDDEN_RING
                    && y < rect.bottom() + HIDDEN_RING
            }),
            Task::Change { .. } => true,
        }
    }
}

fn resize(image: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    if image.dimensions() == (width, height) {
        image.clone()
    } else {
        imageops::resize(image, width, height, imageops::FilterType::Lanczos3)
    }
}

/// The prompt of the topmost generated patch in a rectangle.
fn last_prompt(project: &Project, rect: Rect) -> String {
    prompt_of(project, rect, |_| true).unwrap_or_default()
}

/// The prompt of the scene in a rectangle: not that of a mere detail in it, unless there is no other.
fn scene_prompt(project: &Project, rect: Rect) -> String {
    let whole = |kind| matches!(kind, GenerationKind::TextToImage | GenerationKind::Extend | GenerationKind::ZoomOut);
    prompt_of(project, rect, whole).unwrap_or_else(|| last_prompt(project, rect))
}

fn prompt_of(project: &Project, rect: Rect, counts: impl Fn(GenerationKind) -> bool) -> Option<String> {
    let document = project.document();
    let patches: Vec<_> = document.patches().collect();
    let newest_first = patches.into_iter().rev().filter(|patch| patch.rect.intersection(&rect).is_some());
    let mut made = newest_first.filter(|patch| document.provenance(patch).is_some_and(|how| counts(how.request.kind)));
    made.find_map(|patch| document.prompt(patch)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell spawns the work on its runtime.
    #[allow(dead_code, reason = "that it compiles is the test")]
    fn painting_can_be_spawned<'a>(
        studio: &'a Studio,
        plan: FillPlan,
        events: EventSink<'a>,
        cancel: &'a CancellationToken,
    ) -> impl Future<Output = Result<Painted, StudioError>> + Send + 'a {
        fn shared<T: Send + Sync>() {}
        shared::<(FillPlan, Painted, Studio)>();
        studio.paint(plan, events, cancel)
    }

    #[test]
    fn a_sheet_is_shown_where_it_was_painted() {
        let scene =
            RgbaImage::from_fn(40, 20, |x, _| image::Rgba(if x < 24 { [(x * 9) as u8, 80, 30, 255] } else { [0; 4] }));
        let context = Rect::new(100, -7, 40, 20);
        let area = Rect::new(116, -7, 24, 20);
        let window = WindowPlan { context, size: (40, 20), scene: scene.clone(), task: Task::Unknown(vec![area]) };
        let mut desk = Desk { sheets: vec![(area, RgbaImage::new(24, 20))] };
        let prepared = desk.prepare(&window, 0.7).unwrap();
        assert_eq!(prepared.kept.flags().iter().filter(|flag| **flag).count(), 16 * 20, "known pixels are not kept");
        assert!((prepared.strength - 0.7).abs() < 1e-9);
        desk.keep(&window, &prepared, &RgbImage::from_pixel(40, 20, image::Rgb([90, 90, 90])));
        let sheet = SheetPlan { rect: area, windows: vec![window] };
        let (png, mask) = desk.finish(&sheet).unwrap();
        let (mask, picture) = (mask.unwrap(), image::load_from_memory(&png).unwrap().into_rgb8());
        for (x, y, shown) in mask.enumerate_pixels() {
            assert_eq!(shown.0[0], if x < 8 { 0 } else { 255 });
            // Under the mask lies the known picture, for filters that reach across its edge.
            let [r, g, b, _] = scene.get_pixel(x + 16, y).0;
            assert!(x >= 8 || picture.get_pixel(x, y).0 == [r, g, b]);
        }
        // Now all is known.
        assert!(desk.prepare(&sheet.windows[0], 0.7).is_none());
    }

    #[test]
    fn without_any_known_picture_all_of_the_noise_is_used() {
        let context = Rect::new(0, 0, 16, 16);
        let window =
            WindowPlan { context, size: (16, 16), scene: RgbaImage::new(16, 16), task: Task::Unknown(vec![context]) };
        let prepared = Desk::default().prepare(&window, 0.6).unwrap();
        assert!((prepared.strength - 1.0).abs() < 1e-9);
    }
}
