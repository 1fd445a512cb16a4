//! A loaded model and the two things it does: paint a new picture, and fill a part of one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::adapters::embedding::{Embedding, Words};
use crate::adapters::lora::{Applied, Lora};
use crate::allocator::give_back_freed_memory;
use crate::device::{DeviceChoice, Precision, device_name};
use crate::encoder::Encoder;
use crate::error::{Error, guard};
use crate::estimate::{Economies, Estimate, JobSize, Sizes, Text};
use crate::model::{Description, ModelInfo};
use crate::noise::{Purpose, normal};
use crate::picture::{Preview, mask_to_tensor, to_image, to_small_image, to_tensor};
use crate::scheduler::{Ask, Level, Schedule};
use crate::text::{Encoded, TextEncoder, prompt, tokens};
use crate::tiling::Tiling;
use crate::tiny::{self, Tiny};
use crate::unet::control::{Base, Control, Controls, Steering};
use crate::unet::{Added, Conditioning, UNet};
use crate::vae::Vae;

/// Longer sides are refused before anything is allocated.
const MAX_SIDE: u32 = 8192;

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// In which number format.
    pub precision: Precision,
    /// Processor threads for the whole process; `None` leaves it to libtorch, which takes one for each physical core.
    ///
    /// Beside other busy programs, start the process with `OMP_WAIT_POLICY=PASSIVE` in its environment: otherwise the
    /// threads wait for each other by spinning, and painting takes many times longer.
    pub threads: Option<usize>,
    /// Another autoencoder than the model's own: a folder in the diffusers layout, or one `SafeTensors` file. A file does
    /// not tell how its latents are scaled; that must be as in the model's own.
    pub vae: Option<PathBuf>,
    /// When the autoencoder cuts pictures into tiles.
    pub tiling: Tiling,
    /// Bytes of memory that are free on the processor's side, where that is known: a model that cannot fit is then refused
    /// before anything of it is read.
    pub free_memory: Option<u64>,
}

/// What both kinds of request have in common.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// What the picture shall show, with weights and changes over the steps as in the AUTOMATIC1111 web UI:
    /// `(words:1.2)`, `[a|b]`, `[a:b:0.5]`, `BREAK`.
    pub prompt: String,
    /// What it shall not show; guidance leads away from it.
    pub negative: String,
    /// Denoising steps, at least 1 and fewer than the training had times (usually 1000).
    pub steps: u32,
    /// How strongly to follow the prompt (Ho, Salimans: "Classifier-free diffusion guidance", 2022). 1 takes the network
    /// at its word and halves the time; 0 to 100.
    pub guidance: f64,
    /// The sampler's name, one of [`crate::SAMPLERS`].
    pub sampler: String,
    /// The seed of the noise.
    pub seed: u64,
    /// Whether to make a small preview at each step.
    pub preview: bool,
    /// How many layers of the text encoder to leave out at its end, fewer than it has; 0 is none. One less than in the
    /// AUTOMATIC1111 web UI. It holds for both prompts; Python diffusers skips for the positive one only.
    #[serde(default)]
    pub clip_skip: u32,
    /// How far to bring the contrast of the guided output back to that of the unguided, 0 to 1 (Lin et al., "Common
    /// diffusion noise schedules and sample steps are flawed", 2023, section 3.4); 0 is not at all.
    #[serde(default)]
    pub guidance_rescale: f64,
}

/// Asks for a new picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// Prompt and sampler.
    pub sampling: Sampling,
    /// Pixels, a multiple of [`Pipeline::size_multiple`], at most 8192.
    pub width: u32,
    /// Pixels, a multiple of [`Pipeline::size_multiple`], at most 8192.
    pub height: u32,
    /// Which picture of the seed: take `i` does not depend on how many takes are made.
    pub take: u64,
}

/// Asks for a part of a picture to be painted anew.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Prompt and sampler.
    pub sampling: Sampling,
    /// The picture, with the part to be painted already filled with a guess. Sides as in [`Generate`].
    pub image: RgbImage,
    /// Of the same size: 255 = paint, 0 = keep. Values between are painted in the last part of the steps only, the
    /// darker the later (Levin, Fried: "Differential diffusion: giving each pixel its strength", 2023).
    pub mask: GrayImage,
    /// How far to go from the guess, 0 to 1: at 1 the guess does not matter, at 0 nothing changes.
    pub strength: f64,
    /// What the strength means for the steps. A whole picture (a white mask) with [`Walk::Shorter`] is what Python
    /// diffusers' `StableDiffusionImg2ImgPipeline` makes from the mean of the encoded picture.
    pub walk: Walk,
    /// Which picture of the seed. When a picture is extended, take another seed or take than its own: the same noise in
    /// the same place paints the same things again.
    pub take: u64,
}

/// Which steps of a sampler's way a strength below 1 takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Walk {
    /// All the steps that were asked for: with half the strength the way is divided twice as finely and its second half
    /// is walked. The quality does not depend on the strength. Where a sampler has a largest number of steps, the way
    /// is divided no finer than that.
    #[default]
    Finer,
    /// As Python diffusers' img2img pipelines: the way is divided into the steps that were asked for, and the last
    /// `floor(steps * strength)` of them are taken, none when that is 0. At strength 1 the guess still shows through as
    /// much as the first noise level lets it.
    Shorter,
}

/// A finished picture.
#[derive(Debug, Clone)]
pub struct Output {
    /// The picture. A fill is the whole picture through the autoencoder: composite it inside the mask only.
    pub image: RgbImage,
    /// How long it took.
    pub seconds: f64,
    /// What a person should know, such as words of the prompt that the model could not read.
    pub warnings: Vec<String>,
}

/// Where a painting stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Steps done; 0 before the first.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// How the picture looks now, small, when asked for; none before the first step.
    pub preview: Option<&'a RgbImage>,
}

/// What is called between steps; [`ControlFlow::Break`] cancels.
pub type Observer<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// A loaded model.
#[derive(Debug)]
pub struct Pipeline {
    info: ModelInfo,
    schedule: Schedule,
    unet: UNet,
    vae: Vae,
    text: Encoder,
    sizes: Sizes,
    economies: Economies,
    device: Device,
    precision: Precision,
    /// Decodes previews, where there is one for this model; else why it could not be loaded.
    tiny: Option<Tiny>,
    tiny_problem: Option<String>,
    preview: OnceLock<Preview>,
    /// The latents of an empty picture by height and width, for painting with a model made for filling.
    empty: Mutex<Vec<((i64, i64), Tensor)>>,
    loras: Applied,
    words: Words,
    controls: Controls,
}

/// What the prompt contributes to each network.
#[derive(Debug)]
struct Conditioned {
    unet: Conditioning,
    /// One for each control network in force.
    controls: Vec<Conditioning>,
}

impl Conditioned {
    /// That of one of the prompts.
    fn one(&self, index: i64) -> Result<Self, Error> {
        let controls = self.controls.iter().map(|control| control.one(index));
        Ok(Self { unet: self.unet.one(index)?, controls: controls.collect::<Result<_, _>>()? })
    }
}

/// The known part of a picture, while the rest is painted. Everything has latent size.
#[derive(Debug)]
struct Known {
    /// `[1, 1, h, w]`: 1 = paint, 0 = keep, between = keep for a while.
    mask: Tensor,
    /// The picture's latents, with the guess where it is to be painted.
    latents: Tensor,
    /// How far to go, 0 to 1.
    strength: f64,
    walk: Walk,
}

impl Pipeline {
    /// Loads a model from a folder in the diffusers layout, or from one `SafeTensors` file in the original layout of Stable
    /// Diffusion 1.x, 2.x or SDXL.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing, damaged or not supported, or the device that does not exist.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        guard("loading a model", || {
            let device = options.device.resolve()?;
            if let Some(threads) = options.threads {
                tch::set_num_threads(i32::try_from(threads.clamp(1, 1024)).unwrap_or(1));
            }
            let model = Description::read(path, options.vae.as_deref())?;
            let precision = options.precision.resolve_for(device, model.parameters);
            let sizes = Sizes::read(&model, device, precision.kind())?;
            if let Some(free) = options.free_memory.filter(|&free| device == Device::Cpu && sizes.loading() > free) {
                let what = format!("loading {} as {precision}", model.info.name);
                let advice = "close other programs, or use a smaller model".to_owned();
                return Err(Error::TooLarge { what, needed: sizes.loading(), free, advice });
            }
            let Description { info, unet, vae, text, schedule, parts, .. } = model;
            let (unet, mut vae, text) = tch::no_grad(|| {
                Ok::<_, Error>((
                    UNet::load(unet, &parts.unet.1, device, precision.kind())?,
                    Vae::load(vae, &parts.vae.1, device)?,
                    Encoder::load(text, parts.text, device, precision.kind())?,
                ))
            })?;
            vae.set_tiling(options.tiling);
            let economies = Economies::default();
            // SDXL's latents are others than those of 1.x and 2.x, and other families have decoders of their own only.
            let name = if info.family.starts_with("SDXL") { "taesdxl" } else { "taesd" };
            let found = tiny::find(path, name, info.family.starts_with("SD"));
            let tiny = found.map(|path| tch::no_grad(|| Tiny::load(&path, info.latent_channels, device)));
            let (tiny, tiny_problem) = match tiny {
                Some(Ok(tiny)) => (Some(tiny), None),
                Some(Err(error)) => (None, Some(format!("Previews are rougher than they could be: {error}"))),
                None => (None, None),
            };
            let (preview, empty) = (OnceLock::new(), Mutex::new(Vec::new()));
            let (loras, words, controls) = (Applied::default(), Words::default(), Controls::default());
            Ok(Self {
                info,
                schedule,
                unet,
                vae,
                text,
                sizes,
                economies,
                device,
                precision,
                tiny,
                tiny_problem,
                preview,
                empty,
                loras,
                words,
                controls,
            })
        })
    }

    /// What is known about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The device that it computes on, such as `cpu` or `cuda:0`.
    pub fn device(&self) -> String {
        device_name(self.device)
    }

    /// The number format that it computes in; never `Auto`.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Widths and heights must be multiples of this, in pixels.
    pub fn size_multiple(&self) -> u32 {
        self.info.vae_factor as u32
    }

    /// Puts exactly these `LoRA`s in force, in place of those from before; none gives back the model as it was, bit for
    /// bit. The base is not loaded again: the weights that change are computed once and held beside it, in the model's
    /// precision. Returns what a person should know, such as layers that this model does not have.
    ///
    /// Asking again for those in force costs nothing.
    ///
    /// # Errors
    /// Names the file and the layer that is damaged, not supported, or made for another model; then the `LoRA`s from
    /// before stay in force.
    pub fn set_loras(&mut self, loras: &[Lora]) -> Result<Vec<String>, Error> {
        guard("applying LoRAs", || {
            let (unet, applied) = (self.unet.slots(), &mut self.loras);
            self.text.with(|text| tch::no_grad(|| applied.set(loras, unet, &text.slots())))
        })
    }

    /// Teaches the text encoder exactly these words (textual inversion), in place of those from before; none gives back
    /// the model as it was. Asking again for those in force costs nothing.
    ///
    /// # Errors
    /// Names the file that is damaged or made for another model, or the word that cannot be one; then the words from
    /// before stay.
    pub fn set_embeddings(&mut self, embeddings: &[Embedding]) -> Result<(), Error> {
        guard("teaching words", || {
            let words = &mut self.words;
            self.text.with(|text| tch::no_grad(|| words.set(embeddings, text.clips())))
        })
    }

    /// Decides how the next jobs are carried out when so many bytes are free beside what this process holds already, up to
    /// the size of this one. On GPUs nothing is decided: they answer themselves when their memory is full, and the
    /// autoencoder then goes on in tiles.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the job does not fit.
    pub fn plan(&mut self, job: JobSize, free: u64) -> Result<Estimate, Error> {
        // Adapters live in the encoder and would be gone with it.
        let text = Text { loaded: self.text.is_loaded(), can_go: self.loras.none() && self.words.none() };
        let free = if self.device == Device::Cpu { free } else { u64::MAX };
        let (estimate, limit) = self.sizes.plan(&self.vae, job, text, free)?;
        self.economies = estimate.economies;
        self.vae.set_limit(limit);
        Ok(estimate)
    }

    /// Carries the next jobs out with these economies, up to the next [`Pipeline::plan`]; tiles are as small as they get.
    #[doc(hidden)]
    pub fn set_economies(&mut self, economies: Economies) {
        self.economies = economies;
        self.vae.set_limit(if economies.tiles { 0 } else { u64::MAX });
    }

    /// Whether the text encoder is in memory.
    #[doc(hidden)]
    pub fn holds_text_encoder(&self) -> bool {
        self.text.is_loaded()
    }

    /// Puts exactly these control networks in force for what is painted next, in place of those from before. Networks
    /// that stay, or that the last call with any named, are not loaded again.
    ///
    /// # Errors
    /// Names the file that is missing, damaged or made for another family of models; then none is in force.
    pub fn set_controls(&mut self, controls: &[Control]) -> Result<(), Error> {
        let (latent_channels, vae_factor) = (self.info.latent_channels, self.info.vae_factor);
        guard("loading a ControlNet", || {
            let base = Base { unet: &self.unet, latent_channels, vae_factor };
            tch::no_grad(|| self.controls.set(controls, base))
        })
    }

    /// Paints a new picture.
    ///
    /// `observe` is called once before the first step and after each; when it breaks, [`Error::Cancelled`] comes back
    /// at once.
    pub fn generate(&self, request: &Generate, observe: &mut Observer<'_>) -> Result<Output, Error> {
        guard("painting a picture", || {
            self.check_size(request.width, request.height)?;
            let noise = self.noise(&request.sampling, request.take, request.width, request.height)?;
            self.generate_with(request, &noise, observe)
        })
    }

    /// Paints a part of a picture anew. The rest is put back at the noise level of the moment after every step
    /// (Lugmayr et al., "RePaint", CVPR 2022), which keeps both parts of one piece.
    ///
    /// `observe` is called as in [`Pipeline::generate`].
    pub fn fill(&self, request: &Fill, observe: &mut Observer<'_>) -> Result<Output, Error> {
        guard("filling a picture", || {
            let (width, height) = request.image.dimensions();
            self.check_size(width, height)?;
            let noise = self.noise(&request.sampling, request.take, width, height)?;
            self.fill_with(request, &noise, observe)
        })
    }

    /// [`Pipeline::generate`] from given noise `[1, latent_channels, h, w]`, for comparisons with other engines.
    #[doc(hidden)]
    pub fn generate_from_noise(&self, request: &Generate, noise: &Tensor) -> Result<(Tensor, RgbImage), Error> {
        guard("painting a picture", || {
            let mut latents = None;
            let output = self.generate_traced(request, noise, &mut |_| ControlFlow::Continue(()), &mut latents)?;
            Ok((latents.unwrap_or_else(Tensor::new), output.image))
        })
    }

    /// [`Pipeline::fill`] from given noise `[1, latent_channels, h, w]`, for comparisons with other engines.
    #[doc(hidden)]
    pub fn fill_from_noise(&self, request: &Fill, noise: &Tensor) -> Result<(Tensor, RgbImage), Error> {
        guard("filling a picture", || {
            let mut latents = None;
            let output = self.fill_traced(request, noise, &mut |_| ControlFlow::Continue(()), &mut latents)?;
            Ok((latents.unwrap_or_else(Tensor::new), output.image))
        })
    }

    fn generate_with(&self, request: &Generate, noise: &Tensor, observe: &mut Observer<'_>) -> Result<Output, Error> {
        self.generate_traced(request, noise, observe, &mut None)
    }

    fn fill_with(&self, request: &Fill, noise: &Tensor, observe: &mut Observer<'_>) -> Result<Output, Error> {
        self.fill_traced(request, noise, observe, &mut None)
    }

    fn generate_traced(
        &self,
        request: &Generate,
        noise: &Tensor,
        observe: &mut Observer<'_>,
        trace: &mut Option<Tensor>,
    ) -> Result<Output, Error> {
        let started = Instant::now();
        let extra = if self.fills() {
            let (high, wide) =
                (i64::from(request.height) / self.info.vae_factor, i64::from(request.width) / self.info.vae_factor);
            let mask = Tensor::f_ones([1, 1, high, wide], (Kind::Float, self.device))?;
            Some(Tensor::f_cat(&[mask, self.empty_latents(high, wide)?], 1)?)
        } else {
            None
        };
        let (latents, warnings) =
            tch::no_grad(|| self.sample(&request.sampling, request.take, noise, None, extra.as_ref(), observe))?;
        self.finish(latents, warnings, started, trace)
    }

    fn fill_traced(
        &self,
        request: &Fill,
        noise: &Tensor,
        observe: &mut Observer<'_>,
        trace: &mut Option<Tensor>,
    ) -> Result<Output, Error> {
        let started = Instant::now();
        if request.mask.dimensions() != request.image.dimensions() {
            let (a, b) = (request.mask.dimensions(), request.image.dimensions());
            return Err(Error::Request(format!("the mask has {}x{} pixels, the picture {}x{}", a.0, a.1, b.0, b.1)));
        }
        if !(0.0..=1.0).contains(&request.strength) {
            return Err(Error::Request(format!("a strength of {} is impossible; 0 to 1 are", request.strength)));
        }
        let (known, extra) =
            tch::no_grad(|| self.known(request).map_err(|error| error.while_doing("encoding the picture")))?;
        let (latents, warnings) = tch::no_grad(|| {
            self.sample(&request.sampling, request.take, noise, Some(&known), extra.as_ref(), observe)
        })?;
        self.finish(latents, warnings, started, trace)
    }

    /// Encodes what a fill starts from.
    fn known(&self, request: &Fill) -> Result<(Known, Option<Tensor>), Error> {
        let pixels = to_tensor(&request.image)?.f_to_device(self.device)?;
        let mask = mask_to_tensor(&request.mask)?.f_to_device(self.device)?;
        let factor = self.info.vae_factor;
        // A latent with any pixel to be painted is painted: otherwise these pixels would stay.
        let small = mask.f_max_pool2d([factor, factor], [factor, factor], [0, 0], [1, 1], false)?;
        let latents = self.vae.encode(&pixels)?;
        let extra = if self.fills() {
            // Models made for filling see the mask and the picture with a grey hole, as in their training.
            let hole = mask.f_lt(0.5)?.f_to_kind(Kind::Float)?;
            let masked = self.vae.encode(&pixels.f_mul(&hole)?)?;
            let binary = small.f_ge(0.5)?.f_to_kind(Kind::Float)?;
            Some(Tensor::f_cat(&[binary, masked], 1)?)
        } else {
            None
        };
        Ok((Known { mask: small, latents, strength: request.strength, walk: request.walk }, extra))
    }

    /// Denoises. `extra` are the input channels after the latents for models made for filling.
    fn sample(
        &self,
        sampling: &Sampling,
        take: u64,
        noise: &Tensor,
        known: Option<&Known>,
        extra: Option<&Tensor>,
        observe: &mut Observer<'_>,
    ) -> Result<(Tensor, Vec<String>), Error> {
        if !(0.0..=100.0).contains(&sampling.guidance) {
            return Err(Error::Request(format!("a guidance of {} is impossible; 0 to 100 are", sampling.guidance)));
        }
        if !(0.0..=1.0).contains(&sampling.guidance_rescale) {
            let given = sampling.guidance_rescale;
            return Err(Error::Request(format!("a guidance rescale of {given} is impossible; 0 to 1 are")));
        }
        let most = self.schedule.max_steps_of(&sampling.sampler);
        if !(1..=most).contains(&(sampling.steps as usize)) {
            let (steps, name) = (sampling.steps, &sampling.sampler);
            return Err(Error::Request(format!("{steps} steps are impossible with {name}; 1 to {most} are")));
        }
        let (all, first) = walk(sampling.steps as usize, known, most);
        let mut sampler = self.schedule.sampler(&sampling.sampler, all)?;
        let steps = (all - first) as u32;

        let begin = |step: u32, preview: Option<&RgbImage>, observe: &mut Observer<'_>| match observe(Progress {
            step,
            steps,
            preview,
        }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
        begin(0, None, observe)?;

        // A network that is told the guidance needs no second run for it.
        let guided = !self.unet.knows_guidance() && (sampling.guidance - 1.0).abs() > 1e-9;
        // SDXL is told the picture's size, as if it had been trained on it uncropped.
        let (_, _, high, wide) = noise.size4()?;
        let (height, width) = ((high * self.info.vae_factor) as f64, (wide * self.info.vae_factor) as f64);
        let mut prompts = Prompts::new(self, sampling, guided, [height, width, 0.0, 0.0, height, width])?;
        let mut warnings = BTreeSet::new();
        warnings.extend(self.tiny_problem.iter().filter(|_| sampling.preview).cloned());
        let mut steering = self.controls.begin(width as u32, height as u32)?;

        let noise = noise.f_to_device(self.device)?;
        let mut latents = match known {
            Some(known) if first == all => known.latents.shallow_clone(),
            Some(known) if first > 0 || known.walk == Walk::Shorter => {
                sampler.before(first).mix(&known.latents, &noise)?
            }
            _ => noise.f_mul_scalar(sampler.start())?,
        };
        for step in first..all {
            let conditioning = prompts.at((step - first, steps as usize), &mut warnings)?;
            steering.go_to(step - first, steps as usize);
            let mut network = |latents: &Tensor, time: f64| {
                let input = match extra {
                    Some(extra) => Tensor::f_cat(&[latents, extra], 1)?,
                    None => latents.shallow_clone(),
                };
                self.predict(&input, time, guided.then_some(sampling), (conditioning, &steering))
                    .map_err(|error| error.while_doing("denoising"))
            };
            let mut fresh = || {
                let numbers = normal(sampling.seed, take, Purpose::Step(step as u32), noise.numel());
                Ok(Tensor::f_from_slice(&numbers)?.f_view_as(&noise)?.f_to_device(self.device)?)
            };
            let stepped = sampler.step(step, &latents, &mut Ask { network: &mut network, noise: &mut fresh })?;
            latents = stepped.latents;
            if let Some(known) = known {
                let done = (step + 1 - first) as f64 / f64::from(steps);
                // At the very end the known part is put back clean, whatever the sampler's last level is.
                let level = if step + 1 == all { Level::CLEAN } else { sampler.after(step) };
                latents = put_back(&latents, known, &noise, level, done)?;
            }
            let small = if sampling.preview { Some(self.look(&stepped.clean, known)?) } else { None };
            begin((step + 1 - first) as u32, small.as_ref(), observe)?;
        }
        Ok((latents, warnings.into_iter().collect()))
    }

    /// The network's output for one picture, guided or not.
    fn predict(
        &self,
        input: &Tensor,
        timestep: f64,
        guided: Option<&Sampling>,
        (conditioning, steering): (&Conditioned, &Steering<'_>),
    ) -> Result<Tensor, Error> {
        let ask = |input: &Tensor, conditioning: &Conditioned| {
            let control = steering.residuals(input, timestep, &conditioning.controls)?;
            self.unet.forward_controlled(input, timestep, &conditioning.unet, control.as_ref())
        };
        let Some(sampling) = guided else { return ask(input, conditioning) };
        let (away, toward) = if self.economies.one_by_one {
            (ask(input, &conditioning.one(0)?)?, ask(input, &conditioning.one(1)?)?)
        } else {
            let both = ask(input, conditioning)?;
            (both.f_narrow(0, 0, 1)?, both.f_narrow(0, 1, 1)?)
        };
        let led = away.f_add(&toward.f_sub(&away)?.f_mul_scalar(sampling.guidance)?)?;
        if sampling.guidance_rescale <= 0.0 {
            return Ok(led);
        }
        let contrast = toward.f_std(true)?.f_div(&led.f_std(true)?)?;
        let phi = sampling.guidance_rescale;
        Ok(led.f_mul(&contrast.f_mul_scalar(phi)?.f_add_scalar(1.0 - phi)?)?)
    }

    /// Decodes latents into the finished picture.
    fn finish(
        &self,
        latents: Tensor,
        warnings: Vec<String>,
        started: Instant,
        trace: &mut Option<Tensor>,
    ) -> Result<Output, Error> {
        // The steps' tensors do not fit the decoder's: their memory would lie beside it.
        give_back_freed_memory();
        let pixels = tch::no_grad(|| guard("decoding the picture", || self.vae.decode(&latents)))?;
        let finite = pixels.f_isfinite()?.f_all()?;
        if i64::try_from(finite)? == 0 {
            return Err(Error::Torch {
                doing: "decoding the picture".to_owned(),
                message: format!(
                    "the result holds numbers that are none; with the precision {} try f32, and less guidance",
                    self.precision
                ),
            });
        }
        let image = to_image(&pixels)?;
        *trace = Some(latents);
        Ok(Output { image, seconds: started.elapsed().as_secs_f64(), warnings })
    }

    /// A small picture of the latents that the network aims at.
    fn look(&self, clean: &Tensor, known: Option<&Known>) -> Result<RgbImage, Error> {
        if let Some(tiny) = &self.tiny {
            let put_back = |known: &Known| put_back(clean, known, clean, Level::CLEAN, 1.0);
            let whole = known.map_or_else(|| Ok(clean.shallow_clone()), put_back)?;
            return to_small_image(&tiny.look(&whole)?);
        }
        let preview = if let Some(preview) = self.preview.get() {
            preview
        } else {
            {
                let fitted = Preview::fit(&self.vae, self.info.vae_factor, self.info.latent_channels)?;
                self.preview.get_or_init(|| fitted)
            }
        };
        match known {
            Some(known) => preview.look(&put_back(clean, known, clean, Level::CLEAN, 1.0)?),
            None => preview.look(clean),
        }
    }

    /// Whether the UNet sees the mask and the masked picture.
    fn fills(&self) -> bool {
        self.info.in_channels != self.info.latent_channels
    }

    /// The latents of a picture that is one grey hole.
    fn empty_latents(&self, high: i64, wide: i64) -> Result<Tensor, Error> {
        let mut cache = self.empty.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, latents)) = cache.iter().find(|(size, _)| *size == (high, wide)) {
            return Ok(latents.shallow_clone());
        }
        let factor = self.info.vae_factor;
        let pixels = Tensor::f_zeros([1, 3, high * factor, wide * factor], (Kind::Float, self.device))?;
        let latents = tch::no_grad(|| self.vae.encode(&pixels))?;
        cache.truncate(3);
        cache.insert(0, ((high, wide), latents.shallow_clone()));
        Ok(latents)
    }

    fn noise(&self, sampling: &Sampling, take: u64, width: u32, height: u32) -> Result<Tensor, Error> {
        let factor = self.info.vae_factor;
        let shape = [1, self.info.latent_channels, i64::from(height) / factor, i64::from(width) / factor];
        let len = shape.iter().product::<i64>() as usize;
        Ok(Tensor::f_from_slice(&normal(sampling.seed, take, Purpose::Start, len))?.f_view(shape)?)
    }

    fn check_size(&self, width: u32, height: u32) -> Result<(), Error> {
        let multiple = self.size_multiple();
        for (name, side) in [("width", width), ("height", height)] {
            if side == 0 || side > MAX_SIDE || !side.is_multiple_of(multiple) {
                return Err(Error::Request(format!(
                    "the {name} is {side} pixels; multiples of {multiple} up to {MAX_SIDE} are possible"
                )));
            }
        }
        Ok(())
    }
}

/// The conditioning of each step: prompts may change over the steps.
struct Prompts<'a> {
    pipeline: &'a Pipeline,
    skip: usize,
    prompt: prompt::Prompt,
    /// None without guidance.
    negative: Option<prompt::Prompt>,
    /// As in [`Added`].
    sizes: [f64; 6],
    guidance: f64,
    /// What was encoded for earlier steps, the latest last: few, because alternatives alternate.
    cache: Vec<([Vec<prompt::Span>; 2], Conditioned)>,
}

impl<'a> Prompts<'a> {
    /// So many different prompts are kept; more would fill the memory.
    const KEPT: usize = 4;

    fn new(pipeline: &'a Pipeline, sampling: &Sampling, guided: bool, sizes: [f64; 6]) -> Result<Self, Error> {
        tokens::check_length(&sampling.prompt)?;
        tokens::check_length(&sampling.negative)?;
        Ok(Self {
            pipeline,
            skip: sampling.clip_skip as usize,
            prompt: prompt::Prompt::parse(&sampling.prompt),
            negative: guided.then(|| prompt::Prompt::parse(&sampling.negative)),
            sizes,
            guidance: sampling.guidance,
            cache: Vec::new(),
        })
    }

    fn at(&mut self, (step, steps): (usize, usize), warnings: &mut BTreeSet<String>) -> Result<&Conditioned, Error> {
        let negative = self.negative.as_ref().map(|negative| negative.at(step, steps));
        let spans = [self.prompt.at(step, steps), negative.unwrap_or_default()];
        let found = self.cache.iter().position(|(kept, _)| *kept == spans);
        let place = if let Some(place) = found {
            place
        } else {
            let made = self.encode(&spans, warnings)?;
            if self.cache.len() >= Self::KEPT {
                self.cache.remove(0);
            }
            self.cache.push((spans, made));
            self.cache.len() - 1
        };
        Ok(&self.cache[place].1)
    }

    fn encode(
        &self,
        [prompt, negative]: &[Vec<prompt::Span>; 2],
        warnings: &mut BTreeSet<String>,
    ) -> Result<Conditioned, Error> {
        let pipeline = self.pipeline;
        let made = pipeline.text.with(|text| self.encode_with(text, [prompt, negative], warnings))?;
        if pipeline.economies.text_released {
            pipeline.text.release();
        }
        Ok(made)
    }

    fn encode_with(
        &self,
        text: &dyn TextEncoder,
        [prompt, negative]: [&[prompt::Span]; 2],
        warnings: &mut BTreeSet<String>,
    ) -> Result<Conditioned, Error> {
        let encode = |spans: &[prompt::Span], least, what| {
            prompt::encode(text, spans, self.skip, least).map_err(|error| error.while_doing(what))
        };
        let (mut positive, chunks) = encode(prompt, 1, "reading the prompt")?;
        warnings.extend(positive.warnings.iter().cloned());
        if self.negative.is_none() {
            return self.condition(&positive);
        }
        // Both must have the same length; what is missing is filled with the empty prompt.
        let (mut away, longest) = encode(negative, chunks, "reading the negative prompt")?;
        warnings.extend(away.warnings.iter().map(|warning| format!("Negative prompt: {warning}")));
        if text.zeros_when_empty() && negative.iter().all(|span| span.text.trim().is_empty()) {
            away.context = away.context.f_zeros_like()?;
            away.pooled = away.pooled.map(|pooled| pooled.f_zeros_like()).transpose()?;
        }
        if longest > chunks {
            positive = encode(prompt, longest, "reading the prompt")?.0;
        }
        let pooled = match (away.pooled, positive.pooled) {
            (Some(away), Some(toward)) => Some(Tensor::f_cat(&[away, toward], 0)?),
            _ => None,
        };
        let context = Tensor::f_cat(&[away.context, positive.context], 0)?;
        self.condition(&Encoded { context, pooled, warnings: Vec::new() })
    }

    fn condition(&self, encoded: &Encoded) -> Result<Conditioned, Error> {
        let added = encoded.pooled.as_ref().map(|pooled| Added { pooled, sizes: self.sizes });
        let mut unet = self.pipeline.unet.condition(&encoded.context, added.as_ref())?;
        self.pipeline.unet.tell_guidance(self.guidance, &mut unet)?;
        Ok(Conditioned { unet, controls: self.pipeline.controls.condition(&encoded.context, added.as_ref())? })
    }
}

/// How many steps the whole way has, and the first of them that is taken; at most `most` steps are possible.
fn walk(asked: usize, known: Option<&Known>, most: usize) -> (usize, usize) {
    let Some(known) = known else { return (asked, 0) };
    let strength = known.strength;
    match known.walk {
        // No strength at all is no step.
        Walk::Finer if strength <= 0.0 => (1, 1),
        Walk::Finer => {
            let all = ((asked as f64 / strength).round() as usize).clamp(1, most);
            (all, all - asked.min(all))
        }
        Walk::Shorter => (asked, asked - ((asked as f64 * strength) as usize).min(asked)),
    }
}

/// Puts the known part, noised to `level`, back into latents. `done` is the part of the steps that is behind, above 0.
fn put_back(latents: &Tensor, known: &Known, noise: &Tensor, level: Level, done: f64) -> Result<Tensor, Error> {
    let free = known.mask.f_gt(1.0 - done)?;
    Ok(latents.f_where_self(&free, &level.mix(&known.latents, noise)?)?)
}

#[cfg(test)]
mod tests {
    /// The worker hands a loaded model from one thread to another.
    #[test]
    fn a_pipeline_can_move_between_threads() {
        fn sendable<T: Send>() {}
        sendable::<super::Pipeline>();
    }
}
