//! `ControlNet` (Zhang, Rao, Agrawala: "Adding conditional control to text-to-image diffusion models", ICCV 2023): a copy
//! of the UNet's way down that also sees a picture (edges, depth, a pose, a scribble) and adds to the UNet's hidden states.

mod layout;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use tch::{Kind, Tensor};

use self::layout::Parts;
use super::{Added, AddedConfig, Conditioning, UNet, UNetConfig, repeated};
use crate::Error;
use crate::layers::Conv;
use crate::weights::Weights;

/// More networks at once are refused.
pub const MAX_CONTROLS: usize = 6;

/// Scales beyond this are a slip of the keyboard; pictures fall apart before.
const MAX_SCALE: f64 = 10.0;

/// Longer sides of a control picture are refused.
const MAX_SIDE: u32 = 16_384;

/// A control network with the picture that it follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// A folder in the diffusers layout, or one `SafeTensors` file in that or in the original layout.
    pub path: PathBuf,
    /// What the network was trained to see: white edges on black, a depth map, a drawn skeleton. It is stretched to the
    /// size of the painted picture.
    pub image: RgbImage,
    /// How strongly it counts: 1 as it was trained, 0 not at all; 0 to 10.
    pub scale: f64,
    /// From which part of the steps on it counts, 0 to 1.
    pub start: f64,
    /// Up to which part of the steps it counts; above `start`, at most 1. As in Python diffusers
    /// (`control_guidance_start`, `control_guidance_end`) a step counts when it lies within as a whole.
    pub end: f64,
}

impl Control {
    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Request(format!("{what} (ControlNet {})", self.path.display())));
        if !(0.0..=MAX_SCALE).contains(&self.scale) {
            return refuse(format!("a control scale of {} is impossible; 0 to {MAX_SCALE} are", self.scale));
        }
        if !(self.start >= 0.0 && self.start < self.end && self.end <= 1.0) {
            let (start, end) = (self.start, self.end);
            return refuse(format!(
                "a control from {start} to {end} of the steps is impossible; the start must be at least 0 and below the \
                 end, and the end at most 1"
            ));
        }
        let (width, height) = self.image.dimensions();
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return refuse(format!(
                "a control picture of {width}x{height} pixels is impossible; each side may have 1 to {MAX_SIDE}"
            ));
        }
        Ok(())
    }
}

/// What tells that a loaded network is still the one in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_path_buf(), source };
        let mut found = std::fs::metadata(path).map_err(read)?;
        if found.is_dir() {
            // What changes when a folder's weights are replaced.
            let files = Parts::files(path)?;
            found = std::fs::metadata(files.first().map_or(path, PathBuf::as_path)).map_err(read)?;
        }
        Ok(Self { path: path.to_path_buf(), bytes: found.len(), modified: found.modified().ok() })
    }
}

/// What a network must fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    /// The model's UNet.
    pub(crate) unet: &'a UNet,
    /// Channels of the latents.
    pub(crate) latent_channels: i64,
    /// Pixels along the side of one latent.
    pub(crate) vae_factor: i64,
}

/// The loaded control networks, and which of them count.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    nets: Vec<(Stamp, ControlNet)>,
    /// With the place in `nets`.
    active: Vec<(usize, Control)>,
}

impl Controls {
    /// Puts exactly these in force. Networks that are not among them are released before others are loaded, unless there
    /// is none at all: then those from before wait for the next job. After an error none is in force.
    pub(crate) fn set(&mut self, controls: &[Control], base: Base<'_>) -> Result<(), Error> {
        self.active.clear();
        if controls.len() > MAX_CONTROLS {
            let count = controls.len();
            return Err(Error::Request(format!(
                "{count} ControlNets at once are too many; {MAX_CONTROLS} are the most"
            )));
        }
        controls.iter().try_for_each(Control::check)?;
        let stamps = controls.iter().map(|control| Stamp::of(&control.path)).collect::<Result<Vec<_>, _>>()?;
        if !stamps.is_empty() {
            self.nets.retain(|(loaded, _)| stamps.contains(loaded));
        }
        let mut active = Vec::new();
        for (control, stamp) in controls.iter().zip(stamps) {
            let found = self.nets.iter().position(|(loaded, _)| *loaded == stamp);
            let place = if let Some(place) = found {
                place
            } else {
                self.nets.push((stamp, ControlNet::load(&control.path, base)?));
                self.nets.len() - 1
            };
            active.push((place, control.clone()));
        }
        self.active = active;
        Ok(())
    }

    fn active(&self) -> impl Iterator<Item = (&ControlNet, &Control)> {
        self.active.iter().filter_map(|(place, control)| self.nets.get(*place).map(|(_, net)| (net, control)))
    }

    /// What the prompt contributes to each network in force, as [`UNet::condition`].
    pub(crate) fn condition(&self, context: &Tensor, added: Option<&Added<'_>>) -> Result<Vec<Conditioning>, Error> {
        self.active().map(|(net, _)| net.half.condition(context, added)).collect()
    }

    /// Encodes the pictures for a job of this size in pixels.
    pub(crate) fn begin(&self, width: u32, height: u32) -> Result<Steering<'_>, Error> {
        let ready = |(net, control): (&'_ ControlNet, &Control)| {
            Ok((net.hint(&control.image, width, height)?, control.scale, (control.start, control.end)))
        };
        let hints = self.active().map(ready).collect::<Result<Vec<_>, Error>>()?;
        Ok(Steering { nets: self.active().map(|(net, _)| net).collect(), hints, step: (0, 1) })
    }
}

/// The networks in force during one job.
#[derive(Debug)]
pub(crate) struct Steering<'a> {
    nets: Vec<&'a ControlNet>,
    /// The encoded picture, the scale, and the part of the steps.
    hints: Vec<(Tensor, f64, (f64, f64))>,
    step: (usize, usize),
}

impl Steering<'_> {
    /// Goes to a step, counted from 0, of all.
    pub(crate) fn go_to(&mut self, step: usize, steps: usize) {
        self.step = (step, steps);
    }

    /// What all networks add at this step; nothing when none counts. `input` is the UNet's; its first channels are the
    /// latents. `with` holds a conditioning for each network.
    pub(crate) fn residuals(
        &self,
        input: &Tensor,
        timestep: f64,
        with: &[Conditioning],
    ) -> Result<Option<Residuals>, Error> {
        let (step, steps) = self.step;
        let mut sum: Option<Residuals> = None;
        for ((net, (hint, scale, part)), with) in self.nets.iter().zip(&self.hints).zip(with) {
            if *scale <= 0.0 || !counts(*part, step, steps) {
                continue;
            }
            let latents = input.f_narrow(1, 0, net.half.config.in_channels)?;
            let more = net.forward(&latents, timestep, with, hint, *scale)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(&more)?,
                None => more,
            });
        }
        Ok(sum)
    }
}

/// Whether a step lies as a whole within a part of the steps.
fn counts((start, end): (f64, f64), step: usize, steps: usize) -> bool {
    let steps = steps.max(1) as f64;
    step as f64 / steps >= start && (step + 1) as f64 / steps <= end
}

/// What control networks add to a UNet's hidden states.
#[derive(Debug)]
pub(crate) struct Residuals {
    /// One for each skip.
    skips: Vec<Tensor>,
    mid: Tensor,
}

impl Residuals {
    fn plus(&self, other: &Self) -> Result<Self, Error> {
        let skips = self.skips.iter().zip(&other.skips).map(|(a, b)| Ok(a.f_add(b)?)).collect::<Result<_, Error>>()?;
        Ok(Self { skips, mid: self.mid.f_add(&other.mid)? })
    }

    /// Adds them to the hidden state below the way up and to the skips.
    pub(super) fn add_to(&self, x: &mut Tensor, skips: &mut [Tensor]) -> Result<(), Error> {
        if skips.len() != self.skips.len() {
            return Err(Error::Internal {
                doing: "steering the network".to_owned(),
                message: format!("{} skips got {} additions", skips.len(), self.skips.len()),
            });
        }
        for (skip, more) in skips.iter_mut().zip(&self.skips) {
            *skip = skip.f_add(more)?;
        }
        *x = x.f_add(&self.mid)?;
        Ok(())
    }

    /// In f32: one for each skip, then that of the middle.
    pub(crate) fn tensors(&self) -> Result<Vec<Tensor>, Error> {
        self.skips.iter().chain([&self.mid]).map(|tensor| Ok(tensor.f_to_kind(Kind::Float)?)).collect()
    }
}

/// A control network.
#[derive(Debug)]
pub(crate) struct ControlNet {
    first: Conv,
    /// Every second one halves the size.
    blocks: Vec<Conv>,
    last: Conv,
    out_skips: Vec<Conv>,
    out_mid: Conv,
    /// Whether it expects blue before red.
    reversed: bool,
    /// Whether it sees the picture's style and not its places: its additions are averaged over the picture, and steer
    /// only what the prompt leads to.
    pooled: bool,
    /// Last, because it keeps the map that the tensors above may lie in.
    half: UNet,
}

impl ControlNet {
    /// Loads a network that fits a model, to where that computes.
    pub(crate) fn load(path: &Path, base: Base<'_>) -> Result<Self, Error> {
        let parts = Parts::read(path, &base.unet.config)?;
        parts.check(path, base)?;
        let Parts { config, hints, reversed, pooled, source, derived } = parts;
        let load = || {
            let (device, kind) = (base.unet.device, base.unet.kind);
            let weights = Weights::open_source(&source, device, kind)?.with_channels_last();
            let at = weights.root();
            let first_width = config.channels[0];
            let (in_skips, in_mid) = (skip_widths(&config), *config.channels.last().unwrap_or(&first_width));
            let mut half = UNet::build(config, &weights, (device, kind), false)?;

            let seen = at.at("controlnet_cond_embedding");
            let first = Conv::load(&seen.at("conv_in"), 3, hints[0], 3, 1)?;
            let mut blocks = Vec::new();
            for (i, pair) in hints.windows(2).enumerate() {
                blocks.push(Conv::load(&seen.at("blocks").at(2 * i), pair[0], pair[0], 3, 1)?);
                blocks.push(Conv::load(&seen.at("blocks").at(2 * i + 1), pair[0], pair[1], 3, 2)?);
            }
            let last = Conv::load(&seen.at("conv_out"), hints[hints.len() - 1], first_width, 3, 1)?;
            let out = at.at("controlnet_down_blocks");
            let out_skips = in_skips.iter().enumerate().map(|(i, &width)| Conv::load(&out.at(i), width, width, 1, 1));
            let out_skips = out_skips.collect::<Result<Vec<_>, Error>>()?;
            let out_mid = Conv::load(&at.at("controlnet_mid_block"), in_mid, in_mid, 1, 1)?;
            half.keep = weights.finish(|name| name.ends_with(".position_ids"))?;
            Ok(Self { first, blocks, last, out_skips, out_mid, reversed, pooled, half })
        };
        load().map_err(|error| if derived { crate::upscale::plain(error) } else { error })
    }

    /// Encodes a picture for a job of this size in pixels: `[1, channels, h, w]`, the same at every step.
    pub(crate) fn hint(&self, image: &RgbImage, width: u32, height: u32) -> Result<Tensor, Error> {
        let image = stretch(image, width, height)?;
        let pixels = Tensor::f_from_slice(image.as_raw())?.f_view([1, i64::from(height), i64::from(width), 3])?;
        let pixels = pixels.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?;
        self.embed(&pixels)
    }

    /// The same for pixels `[1, 3, H, W]` in 0..=1.
    pub(crate) fn embed(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let pixels = if self.reversed { pixels.f_flip([1])? } else { pixels.shallow_clone() };
        let pixels = pixels.f_contiguous()?.f_to_device(self.half.device)?.f_to_kind(self.half.kind)?;
        let mut x = self.first.forward(&pixels)?.f_silu()?;
        for block in &self.blocks {
            x = block.forward(&x)?.f_silu()?;
        }
        self.last.forward(&x)
    }

    /// What it adds for `latents` `[N, channels, h, w]`, or `[1, ...]` when they are the same for all N prompts, at one
    /// time step. With guidance both halves are steered.
    pub(crate) fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        with: &Conditioning,
        hint: &Tensor,
        scale: f64,
    ) -> Result<Residuals, Error> {
        let time = self.half.embed_time(timestep, with)?;
        let x = self.half.enter(latents)?.f_add(hint)?;
        let (mid, skips) = self.half.descend(x, &time, with)?;
        let finish = |conv: &Conv, x: &Tensor| -> Result<Tensor, Error> {
            let out = conv.forward(x)?.f_mul_scalar(scale)?;
            if !self.pooled {
                return Ok(out);
            }
            let mean = out.f_mean_dim([2, 3].as_slice(), true, None::<Kind>)?;
            if with.batch == 2 {
                let both = repeated(&mean, 2)?;
                return Ok(Tensor::f_cat(&[both.f_narrow(0, 0, 1)?.f_zeros_like()?, both.f_narrow(0, 1, 1)?], 0)?);
            }
            Ok(if with.away { mean.f_zeros_like()? } else { mean })
        };
        let skips = self.out_skips.iter().zip(&skips).map(|(conv, x)| finish(conv, x)).collect::<Result<_, _>>()?;
        Ok(Residuals { skips, mid: finish(&self.out_mid, &mid)? })
    }

    /// As [`UNet::condition`].
    pub(crate) fn condition(&self, context: &Tensor, added: Option<&Added<'_>>) -> Result<Conditioning, Error> {
        self.half.condition(context, added)
    }
}

/// The channels of each skip, from the top.
fn skip_widths(config: &UNetConfig) -> Vec<i64> {
    let mut widths = vec![config.channels[0]];
    for (i, (&width, &layers)) in config.channels.iter().zip(&config.layers).enumerate() {
        let last = i + 1 == config.channels.len();
        widths.extend(std::iter::repeat_n(width, layers as usize + usize::from(!last)));
    }
    widths
}

impl Parts {
    /// Refuses a network that was made for other models.
    fn check(&self, path: &Path, base: Base<'_>) -> Result<(), Error> {
        let (own, model) = (&self.config, &base.unet.config);
        let refuse = |problem: String| Err(Error::Adapter { path: path.to_path_buf(), problem });
        if own.cross_attention_dim != model.cross_attention_dim || own.added.is_some() != model.added.is_some() {
            return refuse(format!(
                "it is a ControlNet made for {}, and this model is {}; choose a ControlNet of the model's own family",
                family(own),
                family(model)
            ));
        }
        if own.added.as_ref().map(AddedConfig::pooled) != model.added.as_ref().map(AddedConfig::pooled) {
            return refuse("it expects another pooled prompt than this model's text encoders give".to_owned());
        }
        if own.in_channels != base.latent_channels {
            return refuse(format!(
                "it sees {} channels of latents, and this model's autoencoder has {}",
                own.in_channels, base.latent_channels
            ));
        }
        if skip_widths(own) != skip_widths(model) {
            return refuse(format!(
                "its levels have {:?} channels with {:?} layers, those of this model {:?} with {:?}; it was made for \
                 another model",
                own.channels, own.layers, model.channels, model.layers
            ));
        }
        let factor = 1_i64 << (self.hints.len() - 1);
        if factor != base.vae_factor {
            return refuse(format!(
                "it reduces its picture {factor} times, and this model's autoencoder {} times",
                base.vae_factor
            ));
        }
        Ok(())
    }
}

/// The family of models by what a network is told of the prompt.
fn family(config: &UNetConfig) -> String {
    let name = match (config.cross_attention_dim, config.added.is_some()) {
        (768, false) => "SD 1.x",
        (1024, false) => "SD 2.x",
        (_, true) => "SDXL",
        _ => "no known family",
    };
    format!("{name} (prompts of {} numbers a word)", config.cross_attention_dim)
}

/// Stretches a picture as Python's Pillow does with its Lanczos filter.
pub(crate) fn stretch(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage, Error> {
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    let how = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    let pass = |image: &RgbImage, width, height| {
        let mut out = RgbImage::new(width, height);
        let failed = |error| Error::Request(format!("the control picture cannot be stretched: {error}"));
        Resizer::new().resize(image, &mut out, &how).map_err(failed)?;
        Ok::<_, Error>(out)
    };
    // Pillow rounds to eight bits between the two directions, and goes along the rows first.
    pass(&pass(image, width, image.height())?, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_steps_counts_as_in_diffusers() {
        let counted = |start, end| (0..10).filter(|&step| counts((start, end), step, 10)).collect::<Vec<_>>();
        assert_eq!(counted(0.0, 1.0), (0..10).collect::<Vec<_>>());
        assert_eq!(counted(0.2, 0.5), [2, 3, 4]);
        // A step that is only partly within does not count.
        assert_eq!(counted(0.25, 0.55), [3, 4]);
        assert_eq!(counted(0.96, 1.0), [0_usize; 0]);
    }

    #[test]
    fn impossible_controls_are_refused_before_anything_is_read() {
        let good = Control { path: "x".into(), image: RgbImage::new(4, 4), scale: 1.0, start: 0.0, end: 1.0 };
        assert!(good.check().is_ok());
        for (scale, start, end, word) in [
            (-0.1, 0.0, 1.0, "scale"),
            (f64::NAN, 0.0, 1.0, "scale"),
            (10.5, 0.0, 1.0, "scale"),
            (1.0, 0.5, 0.5, "start"),
            (1.0, -0.1, 0.5, "start"),
            (1.0, 0.1, 1.1, "end"),
            (1.0, f64::NAN, 1.0, "start"),
        ] {
            let error = Control { scale, start, end, ..good.clone() }.check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        for (width, height) in [(0, 4), (4, 0), (MAX_SIDE + 1, 1)] {
            let image = RgbImage::new(width, height);
            assert!(Control { image, ..good.clone() }.check().is_err());
        }
    }
}
