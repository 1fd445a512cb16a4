//! Text to image: takes from a prompt, and their place in a project.

use image::{DynamicImage, RgbImage, imageops};
use outframe_document::{
    Edit, Frame, Generation, GenerationId, GenerationKind, GenerationRequest, Layer, Patch, PatchContent, Project,
    Provenance, Rect, Step, Take,
};
use outframe_engine::{GenerateJob, Sampling};
use tokio_util::sync::CancellationToken;

use crate::{
    SAMPLERS, Studio, StudioError, Tuning,
    controls::{self, Control, Steering},
    engine::Job,
    pictures::{PNG, encode_png},
    prompts,
    session::{EventSink, ReadyModel, apart},
    texts::{Prompt, Wording},
};

/// Shortest side of a picture to generate, in pixels.
pub const MIN_SIDE: u32 = 16;
/// Longest side of a picture to generate in one piece, in pixels.
pub const MAX_SIDE: u32 = 4096;
/// Most takes of one request.
pub const MAX_TAKES: u32 = 64;
/// Longest prompt, in bytes.
const MAX_PROMPT: usize = 16_384;

/// How to sample; what is left open is the model's recommendation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// What not to show.
    pub negative: String,
    /// A [`Style`](crate::Style) around the prompt and the negative, by its name; a prompt that the project knows already
    /// stays as it is.
    pub style: Option<String>,
    /// Model name or folder; the starter when absent.
    pub model: Option<String>,
    /// Denoising steps, 1 to 999.
    pub steps: Option<u32>,
    /// Classifier-free guidance scale, 0 to 100; 1 switches it off.
    pub guidance: Option<f64>,
    /// Sampler name.
    pub sampler: Option<String>,
    /// Seed; a random one when absent.
    pub seed: Option<u64>,
    /// What changes the model.
    pub tuning: Tuning,
    /// What steers the picture beside the prompt, at most [`MAX_CONTROLS`](crate::controls::MAX_CONTROLS).
    pub controls: Vec<Control>,
}

impl Settings {
    pub(crate) fn check(&self, prompt: &str) -> Result<(), StudioError> {
        let invalid = |what: String| Err(StudioError::InvalidRequest(what));
        if prompt.len() > MAX_PROMPT || self.negative.len() > MAX_PROMPT {
            return invalid(format!("A prompt may have at most {MAX_PROMPT} bytes."));
        }
        prompts::permutations(prompt)?;
        if let Some(steps) = self.steps
            && !(1..=999).contains(&steps)
        {
            return invalid(format!("{steps} steps: choose 1 to 999."));
        }
        if let Some(guidance) = self.guidance
            && !(0.0..=100.0).contains(&guidance)
        {
            return invalid(format!("Guidance {guidance}: choose 0 to 100."));
        }
        if let Some(sampler) = self.sampler.as_deref().filter(|sampler| !SAMPLERS.contains(sampler)) {
            return invalid(format!("There is no sampler “{sampler}”. Choose one of {}.", SAMPLERS.join(", ")));
        }
        controls::check(&self.controls)?;
        self.tuning.check()
    }

    /// The seed asked for, or a random one that is short enough to be copied by hand.
    pub(crate) fn seed(&self) -> Result<u64, StudioError> {
        match self.seed {
            Some(seed) => Ok(seed),
            None => getrandom::u32().map(u64::from).map_err(|error| {
                StudioError::InvalidRequest(format!("No random seed could be drawn ({error}); give one."))
            }),
        }
    }
}

/// What to generate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerateRequest {
    /// What to show. `{a,b}` stands for several prompts and `__name__` for a line of a list ([`prompts`]).
    pub prompt: String,
    /// How.
    pub settings: Settings,
    /// Width and height in pixels, [`MIN_SIDE`] to [`MAX_SIDE`]; the model's native square when absent.
    pub size: Option<(u32, u32)>,
    /// Number of takes, 1 to [`MAX_TAKES`]. Take `i` has the seed `seed + i` and the prompt's alternative `i`, beginning again
    /// after the last, so each can be made again alone.
    pub takes: u32,
}

/// One generated picture.
#[derive(Debug, Clone)]
pub struct TakeImage {
    /// The picture.
    pub image: RgbImage,
    /// What it was asked for.
    pub prompt: String,
    /// The seed that makes it again.
    pub seed: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// The takes of one request, and how they were made.
#[derive(Debug, Clone)]
pub struct Painting {
    /// At least one.
    pub takes: Vec<TakeImage>,
    /// How they were made.
    pub provenance: Provenance,
    /// The pictures of the controls that the provenance names, as PNG.
    pub control_pictures: Vec<Vec<u8>>,
}

impl Studio {
    /// Makes pictures from a prompt.
    pub async fn generate(
        &self,
        request: &GenerateRequest,
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Painting, StudioError> {
        request.settings.check(&request.prompt)?;
        if !(1..=MAX_TAKES).contains(&request.takes) {
            return Err(StudioError::InvalidRequest(format!("{} takes: choose 1 to {MAX_TAKES}.", request.takes)));
        }
        if let Some((width, height)) = request.size {
            check_size(width, height)?;
        }
        let seed = request.settings.seed()?;
        let prompt = Prompt::Given(request.prompt.clone());
        let wording = self.texts().wording(&prompt, &request.settings, seed, request.takes)?;
        let model = self.ready(&request.settings, events).await?;
        let info = &model.loaded.info;
        let (width, height) = request.size.unwrap_or((info.native_size, info.native_size));
        // The model works in multiples of a few pixels; what is beyond the asked-for size is cut off evenly.
        let round = |side: u32| side.div_ceil(info.size_multiple) * info.size_multiple;
        let (work_width, work_height) = (round(width), round(height));
        let mut sampling = sampling(&request.settings, &model, seed, info.defaults.guidance);
        wording.put_into(&mut sampling, 0);
        let (left, top) = ((work_width - width) / 2, (work_height - height) / 2);
        let wanted = request.settings.controls.clone();
        let steering = apart(move || Steering::new(&wanted, Rect::new(0, 0, width, height))).await??;
        let seen = Rect::new(-i64::from(left), -i64::from(top), work_width, work_height);
        let (controls, pictures) = steering.for_window(seen, (work_width, work_height))?;
        sampling.controls = controls;

        let mut takes = Vec::new();
        for (index, prompt) in (0..request.takes).zip(wording.prompts.iter().cloned()) {
            let seed = seed.wrapping_add(u64::from(index));
            let job = Job::Generate(GenerateJob {
                sampling: Sampling { seed, prompt: prompt.clone(), ..sampling.clone() },
                width: work_width,
                height: work_height,
            })
            .controlled(pictures.clone());
            let output = self.run(&job, (index as usize, request.takes as usize), events, cancel).await?;
            let image = imageops::crop_imm(&output.image, left, top, width, height).to_image();
            takes.push(TakeImage { image, prompt, seed, seconds: output.seconds });
        }
        let mut provenance = provenance(GenerationKind::TextToImage, &sampling, &model, 1.0, (work_width, work_height));
        wording.record(&mut provenance);
        let control_pictures = steering.record(&mut provenance);
        Ok(Painting { takes, provenance, control_pictures })
    }
}

fn check_size(width: u32, height: u32) -> Result<(), StudioError> {
    if [width, height].iter().all(|side| (MIN_SIDE..=MAX_SIDE).contains(side)) {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!(
        "A picture of {width}x{height} pixels cannot be generated in one piece: each side must have {MIN_SIDE} to {MAX_SIDE} \
         pixels. For more, generate a smaller one and extend it."
    )))
}

/// How to sample; the prompt is put in later.
pub(crate) fn sampling(settings: &Settings, model: &ReadyModel, seed: u64, default_guidance: f64) -> Sampling {
    let defaults = &model.loaded.info.defaults;
    Sampling {
        prompt: String::new(),
        negative: settings.negative.clone(),
        steps: settings.steps.unwrap_or(defaults.steps),
        guidance: settings.guidance.unwrap_or(default_guidance),
        sampler: settings.sampler.clone().unwrap_or_else(|| defaults.sampler.clone()),
        seed,
        take: 0,
        preview: true,
        clip_skip: model.tuning.clip_skip,
        guidance_rescale: model.tuning.guidance_rescale,
        loras: model.tuning.loras(),
        embeddings: model.tuning.embeddings(),
        controls: Vec::new(),
    }
}

pub(crate) fn provenance(
    kind: GenerationKind,
    sampling: &Sampling,
    model: &ReadyModel,
    strength: f64,
    size: (u32, u32),
) -> Provenance {
    let mut request = GenerationRequest {
        kind,
        prompt: sampling.prompt.clone(),
        negative: sampling.negative.clone(),
        model_name: model.name.clone(),
        model_hash: model.loaded.hash.clone(),
        seed: sampling.seed,
        steps: sampling.steps,
        guidance: sampling.guidance,
        sampler: sampling.sampler.clone(),
        strength,
        width: size.0,
        height: size.1,
        ..GenerationRequest::default()
    };
    model.tuning.record(&mut request.extra);
    let engine = format!("outframe-engine {}", env!("CARGO_PKG_VERSION"));
    Provenance { request, engine, device: model.loaded.device.clone(), context: None }
}

impl Wording {
    /// Asks for what a take is asked for.
    pub(crate) fn put_into(&self, sampling: &mut Sampling, take: usize) {
        sampling.prompt = self.prompts.get(take).cloned().unwrap_or_default();
        sampling.negative.clone_from(&self.negative);
    }

    /// Notes what was typed.
    pub(crate) fn record(&self, provenance: &mut Provenance) {
        let extra = &mut provenance.request.extra;
        extra.extend(self.typed.as_ref().map(|typed| ("typed_prompt".into(), typed.as_str().into())));
        extra.extend(self.style.as_ref().map(|style| ("style".into(), style.as_str().into())));
    }
}

/// A take that is not part of a project yet.
#[derive(Debug)]
pub(crate) struct NewTake {
    pub(crate) png: Vec<u8>,
    /// What it was asked for.
    pub(crate) prompt: String,
    pub(crate) seed: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Stores the takes as pictures of the project and returns the edit that adds their generation. The mask, if any, is that of
/// all.
pub(crate) fn generation_edit(
    project: &mut Project,
    rect: Rect,
    takes: Vec<NewTake>,
    mask: Option<&[u8]>,
    mut provenance: Provenance,
) -> Result<(GenerationId, Edit), StudioError> {
    let mask = mask.map(|mask| project.put_blob(mask, PNG)).transpose()?;
    let mut stored = Vec::new();
    for NewTake { png, prompt, seed, seconds } in takes {
        let image = project.put_blob(&png, PNG)?;
        let id = project.next_take_id();
        provenance.request.set_prompt_of(id, &prompt);
        stored.push(Take { id, seed, image, mask, seconds });
    }
    let Some(chosen) = stored.first().map(|take| take.id) else {
        return Err(StudioError::InvalidRequest("A generation needs a take.".into()));
    };
    let id = project.next_generation_id();
    let generation = Generation { id, rect, provenance, takes: stored, chosen };
    Ok((id, Edit::AddGeneration { generation: Box::new(generation) }))
}

impl Painting {
    /// Adds the takes to a project as one undoable step: a new layer whose patch shows the first take, at the top left corner
    /// of the project's frame. The first picture of a project makes its frame.
    pub fn place(mut self, project: &mut Project) -> Result<Rect, StudioError> {
        let Some(size) = self.takes.first().map(|take| take.image.dimensions()) else {
            return Err(StudioError::InvalidRequest("There is no take to place.".into()));
        };
        let frame = project.document().frames.first().cloned();
        let (x, y) = frame.as_ref().map_or((0, 0), |frame| (frame.rect.x, frame.rect.y));
        let rect = Rect::new(x, y, size.0, size.1);
        let name = layer_name(&self.provenance.request.prompt);
        controls::store(project, &self.control_pictures)?;
        for control in &mut self.provenance.request.controls {
            control.rect = Rect { x: control.rect.x + x, y: control.rect.y + y, ..control.rect };
        }
        let mut takes = Vec::new();
        for take in self.takes {
            let TakeImage { image, prompt, seed, seconds } = take;
            takes.push(NewTake { png: encode_png(&DynamicImage::ImageRgb8(image))?, prompt, seed, seconds });
        }
        let (generation, add_generation) = generation_edit(project, rect, takes, None, self.provenance)?;
        let mut layer = Layer::new(project.next_layer_id(), name);
        layer.patches.push(Patch::new(project.next_patch_id(), rect, PatchContent::Generation(generation)));
        let index = project.document().layers.len();
        let mut edits = vec![add_generation, Edit::AddLayer { index, layer: Box::new(layer) }];
        if frame.is_none() {
            edits.push(first_frame(project, rect));
        }
        project.apply(Step::new("Generate", edits))?;
        Ok(rect)
    }
}

pub(crate) fn first_frame(project: &mut Project, rect: Rect) -> Edit {
    Edit::AddFrame { index: 0, frame: Frame { id: project.next_frame_id(), name: "Frame 1".into(), rect } }
}

/// A layer's name from its prompt: the first words.
fn layer_name(prompt: &str) -> String {
    let line = prompt.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return "Generated".into();
    }
    let mut name: String = line.chars().take(48).collect();
    if name.len() < line.len() {
        name.push('…');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_clear_bounds() {
        assert!(check_size(256, 256).is_ok());
        for (width, height) in [(0, 256), (256, 0), (100_000, 100_000), (15, 256), (256, 4097)] {
            let error = check_size(width, height).unwrap_err().to_string();
            assert!(error.contains(&format!("{width}x{height}")) && error.contains("4096"), "{error}");
        }
    }

    #[test]
    fn layer_names_are_short() {
        assert_eq!(layer_name("  a castle \nby night"), "a castle");
        assert_eq!(layer_name(""), "Generated");
        assert_eq!(layer_name(&"ü".repeat(60)).chars().count(), 49);
    }
}
