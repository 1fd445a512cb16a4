//! How much memory a job will take, known from sizes alone, and what to do when that much is not free.
//!
//! The numbers are upper bounds rather than means: a job that is refused can be asked for again in a smaller size, but one
//! that runs out of memory takes its process along. docs/performance.md compares them with measured peaks.

use std::fmt;

use tch::{Device, Kind};

use crate::Error;
use crate::model::Description;
use crate::tiling::{Mode, Way};
use crate::unet::UNetConfig;
use crate::vae::Vae;
use crate::weights::{Source, Weights};

/// What a job takes beside what is counted: prompts, previews, the picture itself, libtorch's own.
const SLACK: u64 = 192 << 20;

/// What the size of a job depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSize {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether guidance is used, which asks the network about two pictures at a time.
    pub guided: bool,
    /// Whether a picture is encoded first.
    pub fill: bool,
}

/// How a job is carried out when memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Economies {
    /// The autoencoder works in tiles.
    pub tiles: bool,
    /// The text encoder is let go once it has read the prompts, and loaded again for the next job.
    pub text_released: bool,
    /// The network is asked about the prompt and the negative prompt one after the other.
    pub one_by_one: bool,
}

impl Economies {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Economies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.tiles, "decoding in tiles"),
            (self.text_released, "without keeping the text encoder"),
            (self.one_by_one, "one prompt after the other"),
        ];
        let named: Vec<&str> = parts.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        out.write_str(&named.join(", "))
    }
}

/// Bytes that a job takes, by what takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    /// All weights in the format that they are computed in.
    pub weights: u64,
    /// The layers of the denoising network.
    pub denoising: u64,
    /// The layers of the autoencoder.
    pub picture: u64,
    /// The highest that the process will need at once beside what it holds already.
    pub peak: u64,
    /// How the job can be carried out within it.
    pub economies: Economies,
}

/// The bytes of a network's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Used where they lie in the file: the system reads them when they are needed and may drop them at any time.
    pub(crate) mapped: u64,
    /// Converted to another format, or on another device.
    pub(crate) copied: u64,
}

impl Weight {
    fn of(source: &Source, device: Device, kind: Kind) -> Result<Self, Error> {
        let (mapped, copied) = Weights::open_source(source, device, kind)?.bytes();
        Ok(Self { mapped, copied })
    }
}

/// How it is with the text encoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    /// It is in memory now.
    pub(crate) loaded: bool,
    /// It can be let go: nothing was patched into it.
    pub(crate) can_go: bool,
}

/// What of a loaded model an estimate depends on.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    unet: UNetConfig,
    kind: Kind,
    unet_weight: Weight,
    vae_weight: Weight,
    text_weight: Weight,
}

impl Sizes {
    /// From a model's configurations and the headers of its weights.
    pub(crate) fn read(model: &Description, device: Device, kind: Kind) -> Result<Self, Error> {
        let mut text_weight = Weight::default();
        for part in &model.parts.text {
            let one = Weight::of(&part.source, device, kind)?;
            text_weight.mapped += one.mapped;
            text_weight.copied += one.copied;
        }
        Ok(Self {
            unet: model.unet.clone(),
            kind,
            unet_weight: Weight::of(&model.parts.unet.1, device, kind)?,
            vae_weight: Weight::of(&model.parts.vae.1, device, Kind::Float)?,
            text_weight,
        })
    }

    /// Bytes that loading takes at once.
    pub(crate) fn loading(&self) -> u64 {
        self.unet_weight.copied + self.vae_weight.copied + self.text_weight.copied
    }

    fn weights(&self) -> u64 {
        let mapped = self.unet_weight.mapped + self.vae_weight.mapped + self.text_weight.mapped;
        self.loading() + mapped
    }

    /// Decides how a job is carried out with `free` bytes beside what the process holds already; and within how many bytes the
    /// autoencoder must stay.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when no economy is enough.
    pub(crate) fn plan(&self, vae: &Vae, job: JobSize, text: Text, free: u64) -> Result<(Estimate, u64), Error> {
        let (plan, limit) = self.best(vae, job, text, free);
        if plan.peak <= free {
            return Ok((plan, limit));
        }
        // The largest picture of the same shape that would do, in steps of 64 pixels.
        let step = 64;
        let long = job.width.max(job.height);
        let scaled =
            |side: u32, to: u32| ((u64::from(side) * u64::from(to) / u64::from(long)) as u32 / step).max(1) * step;
        let smaller =
            (1..long.div_ceil(step)).rev().map(|i| (scaled(job.width, i * step), scaled(job.height, i * step)));
        let fits = smaller
            .filter(|&(width, height)| width < job.width || height < job.height)
            .find(|&(width, height)| self.best(vae, JobSize { width, height, ..job }, text, free).0.peak <= free);
        Err(Error::TooLarge {
            what: format!("a picture of {} x {} pixels with this model", job.width, job.height),
            needed: plan.peak,
            free,
            advice: match fits {
                Some((width, height)) => format!("{width} x {height} pixels would fit; or close other programs"),
                None => "close other programs, or use a smaller model".to_owned(),
            },
        })
    }

    /// The most comfortable way that fits, or else the most frugal one.
    fn best(&self, vae: &Vae, job: JobSize, text: Text, free: u64) -> (Estimate, u64) {
        let size = (i64::from(job.height), i64::from(job.width));
        let factor = vae.config().factor();
        // The inverse of what `with_gaps` adds.
        let left = free.saturating_sub(SLACK + self.vae_weight.mapped) / 5 * 4;
        let ways: &[Way] = if job.fill { &[Way::Encode, Way::Decode] } else { &[Way::Decode] };
        let modes: Vec<(Way, Mode)> = ways.iter().map(|&way| (way, vae.mode(way, size, left))).collect();
        let picture = modes.iter().map(|(way, mode)| mode.bytes(vae.config(), *way, size)).max().unwrap_or(0);
        let mut economies =
            Economies { tiles: modes.iter().any(|(_, mode)| matches!(mode, Mode::Tiles(_))), ..Economies::default() };
        let latents = (size.0 / factor, size.1 / factor);
        let bytes = self.kind.elt_size_in_bytes() as u64;
        let denoise = |batch: u64| (batch * numbers(&self.unet, latents) + scratch(&self.unet)) * bytes;
        let mut denoising = denoise(if job.guided { 2 } else { 1 });
        let (unet, weight, loaded) = (self.unet_weight.mapped, self.text_weight, text.loaded);
        // Mapped weights that are not in use can be dropped by the system, so each part of a job counts its own; kept are the
        // text encoder's until they are let go.
        let peak = |denoising: u64, economies: Economies| {
            let (new, held) = if loaded { (0, weight.copied) } else { (weight.copied, 0) };
            let kept = if economies.text_released { 0 } else { weight.mapped + new };
            let freed = if economies.text_released { held } else { 0 };
            let steps = (unet + kept + with_gaps(denoising)).saturating_sub(freed);
            let ends = (self.vae_weight.mapped + with_gaps(picture)).saturating_sub(freed);
            steps.max(ends).max(weight.mapped + new) + SLACK
        };
        if peak(denoising, economies) > free && text.can_go {
            economies.text_released = true;
        }
        if peak(denoising, economies) > free && job.guided {
            economies.one_by_one = true;
            denoising = denoise(1);
        }
        let peak = peak(denoising, economies);
        (Estimate { weights: self.weights(), denoising, picture, peak, economies }, left)
    }
}

/// Numbers that the denoising network's layers hold at the peak, for one picture of `high` x `wide` latents.
pub(crate) fn numbers(unet: &UNetConfig, (high, wide): (i64, i64)) -> u64 {
    let cells = |i: usize| ((high as u64).div_ceil(1 << i)) * ((wide as u64).div_ceil(1 << i));
    let scales = unet.scales();
    let widest = |i: usize| scales.get(i).map_or(0, |scale| scale.channels as u64);
    let mut skips = widest(0) * cells(0);
    let mut peak = 0;
    for (i, scale) in scales.iter().enumerate() {
        let channels = scale.channels as u64;
        skips += scale.layers as u64 * channels * cells(i);
        if i + 1 < scales.len() {
            skips += channels * cells(i + 1);
        }
        // On the way up a block takes what comes from below beside the skip: the two apart and joined, normalised,
        // activated, and in the order that the convolution computes in; and its output twice.
        let joined = widest(i + 1).max(channels) + channels;
        let convolution = 5 * joined + 2 * channels;
        // The feed-forward layer's inner width is 8 times the outer before its gate and 4 times after it, in three copies.
        let attention = if scale.attends { 23 * channels } else { 0 };
        peak = peak.max(convolution.max(attention) * cells(i));
    }
    skips + peak
}

/// What layers take when the heap has gaps between them: up to a fifth more was measured, from one run to the next.
fn with_gaps(layers: u64) -> u64 {
    layers + layers / 4
}

/// Numbers that the convolutions take for their own copies of the largest weights, whatever the picture's size is. The factor
/// is measured.
pub(crate) fn scratch(unet: &UNetConfig) -> u64 {
    let scales = unet.scales();
    let channels = |i: usize| scales.get(i).map_or(0, |scale| scale.channels as u64);
    let largest = (0..scales.len()).map(|i| (channels(i + 1).max(channels(i)) + channels(i)) * channels(i) * 9).max();
    largest.unwrap_or(0) * 3 / 2
}

/// Bytes for people: `6.0 GB`.
pub(crate) fn gigabytes(bytes: u64) -> String {
    let gigabytes = bytes as f64 / 1e9;
    if gigabytes < 0.95 { format!("{:.0} MB", bytes as f64 / 1e6) } else { format!("{gigabytes:.1} GB") }
}
