//! Samplers: how the network's outputs lead from noise to a picture.
//!
//! All coefficients are computed in f64; only the latents are f32. The schedules are those of Python diffusers, so that
//! a model looks here as it looks elsewhere. Latents always preserve the variance, `signal * picture + spread * noise`
//! with `signal^2 + spread^2 = 1`: samplers that are elsewhere written for latents `picture + sigma * noise` and scale
//! the network's input compute the same here without any scaling, because `spread / signal = sigma`.

mod consistency;
mod ddim;
mod dpmpp;
mod euler;
mod heun;
mod schedule;
mod spacing;
#[cfg(test)]
mod tests;
mod unipc;

use tch::Tensor;

use crate::Error;

pub use schedule::Schedule;

/// The names of the samplers that exist.
///
/// - `dpmpp-2m`: DPM-Solver++ of second order, multistep (Lu et al., "DPM-Solver++", 2022)
/// - `dpmpp-2m-karras`: the same on the noise levels of Karras et al. ("Elucidating the design space of
///   diffusion-based generative models", 2022)
/// - `dpmpp-2m-sde`, `dpmpp-2m-sde-karras`: its stochastic form, which draws fresh noise in every step
/// - `euler`, `euler-karras`: Euler's method (Karras et al. 2022, algorithm 2 without churn)
/// - `euler-a`: Euler's method with ancestral noise (Crowson, k-diffusion, 2022)
/// - `heun`: Heun's method, which asks the network twice a step (Karras et al. 2022, algorithm 1)
/// - `unipc`: the predictor-corrector `UniPC` of second order (Zhao et al., "`UniPC`: a unified predictor-corrector
///   framework for fast sampling of diffusion models", 2023)
/// - `ddim`: without added noise (Song, Meng, Ermon: "Denoising diffusion implicit models", 2021)
/// - `lcm`: for models distilled for it, at most 50 steps (Luo et al., "Latent consistency models", 2023)
/// - `tcd`: likewise (Zheng et al., "Trajectory consistency distillation", 2024), with gamma 0.3
pub const SAMPLERS: [&str; 12] = [
    "dpmpp-2m",
    "dpmpp-2m-karras",
    "dpmpp-2m-sde",
    "dpmpp-2m-sde-karras",
    "euler",
    "euler-karras",
    "euler-a",
    "heun",
    "unipc",
    "ddim",
    "lcm",
    "tcd",
];

/// [`SAMPLERS`] in one text.
const KNOWN: &str = "dpmpp-2m, dpmpp-2m-karras, dpmpp-2m-sde, dpmpp-2m-sde-karras, euler, euler-karras, euler-a, heun, \
                     unipc, ddim, lcm, tcd";

/// What the network was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity, `signal * noise - spread * picture` (Salimans, Ho: "Progressive distillation for fast sampling of
    /// diffusion models", 2022).
    Velocity,
    /// The clean picture.
    Sample,
}

impl Prediction {
    /// The name in scheduler configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
            Self::Sample => "sample",
        }
    }

    /// The clean picture that an output at this level means.
    fn clean(self, output: &Tensor, sample: &Tensor, level: Level) -> Result<Tensor, Error> {
        let Level { signal, spread } = level;
        Ok(match self {
            Self::Epsilon => sample.f_sub(&output.f_mul_scalar(spread)?)?.f_div_scalar(signal)?,
            Self::Velocity => sample.f_mul_scalar(signal)?.f_sub(&output.f_mul_scalar(spread)?)?,
            Self::Sample => output.shallow_clone(),
        })
    }

    /// The noise that an output at this level means.
    fn noise(self, output: &Tensor, sample: &Tensor, level: Level) -> Result<Tensor, Error> {
        let Level { signal, spread } = level;
        Ok(match self {
            Self::Epsilon => output.shallow_clone(),
            Self::Velocity => output.f_mul_scalar(signal)?.f_add(&sample.f_mul_scalar(spread)?)?,
            Self::Sample => sample.f_sub(&output.f_mul_scalar(signal)?)?.f_div_scalar(spread)?,
        })
    }
}

/// How much picture and how much noise latents hold: `latents = signal * picture + spread * noise`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The factor of the picture.
    pub signal: f64,
    /// The factor of the noise.
    pub spread: f64,
}

impl Level {
    /// Only picture.
    pub const CLEAN: Self = Self { signal: 1.0, spread: 0.0 };

    fn from_alpha(alpha: f64) -> Self {
        Self { signal: alpha.sqrt(), spread: (1.0 - alpha).max(0.0).sqrt() }
    }

    fn from_sigma(sigma: f64) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, spread: sigma * signal }
    }

    /// The noise in the variance-exploding form: `sigma = spread / signal`.
    fn sigma(self) -> f64 {
        self.spread / self.signal
    }

    /// Half the logarithm of the signal-to-noise ratio.
    fn lambda(self) -> f64 {
        self.signal.ln() - self.spread.ln()
    }

    /// `picture` at this level.
    pub(crate) fn mix(self, picture: &Tensor, noise: &Tensor) -> Result<Tensor, Error> {
        Ok(picture.f_mul_scalar(self.signal)?.f_add(&noise.f_mul_scalar(self.spread)?)?)
    }
}

/// One step's result.
#[derive(Debug)]
pub struct Stepped {
    /// The latents after the step.
    pub latents: Tensor,
    /// The clean picture that the network aims at now.
    pub clean: Tensor,
}

/// What a step may ask for while it is taken.
#[allow(missing_debug_implementations, reason = "two borrowed closures have nothing to show")]
pub struct Ask<'a> {
    /// The network's output for latents at a time.
    pub network: &'a mut dyn FnMut(&Tensor, f64) -> Result<Tensor, Error>,
    /// Standard normal numbers in the latents' shape and on their device, fresh for this step; asked once at most.
    pub noise: &'a mut dyn FnMut() -> Result<Tensor, Error>,
}

/// A sampler over a fixed number of steps.
///
/// Steps are taken in order, from [`Scheduler::steps`] - n for the last n of them: starting late begins at the level
/// of the step that comes first then. Between steps the latents may be changed, as a fill does: what a sampler
/// remembers of earlier steps are clean pictures and corrections, never latents that would undo the change.
pub trait Scheduler: std::fmt::Debug {
    /// How many steps the whole way has.
    fn steps(&self) -> usize;
    /// The network's time at the start of a step, descending; between two trained times where the method has such.
    fn timestep(&self, step: usize) -> f64;
    /// The level that a step starts from.
    fn before(&self, step: usize) -> Level;
    /// The level that a step ends at.
    fn after(&self, step: usize) -> Level;
    /// The factor of the noise that the whole way starts from: 1, or a little less where Python diffusers counts on
    /// some picture being left at the last trained time.
    fn start(&self) -> f64 {
        1.0
    }
    /// Takes a step from `latents`. It asks the network as often as the method needs: once, or twice with `heun`.
    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error>;
}
