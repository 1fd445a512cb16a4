//! The noise levels of a model's training, and the samplers over them.

use std::path::Path;

use serde_json::json;

use super::consistency::{Lcm, Tcd};
use super::ddim::Ddim;
use super::dpmpp::DpmPp2M;
use super::euler::{Euler, EulerAncestral};
use super::heun::Heun;
use super::spacing::{Ramp, Spacing, spread};
use super::unipc::UniPc;
use super::{KNOWN, Prediction, Scheduler};
use crate::Error;
use crate::config::Config;

/// What `scheduler_config.json` says: the noise levels of the training and the conventions around them.
#[allow(clippy::struct_excessive_bools, reason = "each is a key of the file, with no state among them")]
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(super) alphas: Vec<f64>,
    pub(super) prediction: Prediction,
    /// `None`: each sampler has a default of its own.
    pub(super) spacing: Option<Spacing>,
    pub(super) offset: i64,
    pub(super) set_alpha_to_one: bool,
    pub(super) clip: Option<f64>,
    pub(super) lower_order_final: bool,
    pub(super) euler_at_final: bool,
    pub(super) final_sigma_zero: bool,
    pub(super) solver_order: i64,
    zero_snr: bool,
    pub(super) ramp: Ramp,
    /// Steps of the way that a consistency model was distilled from.
    pub(super) original_steps: usize,
    pub(super) timestep_scaling: f64,
    pub(super) cosine: bool,
}

impl Schedule {
    /// Reads and checks `scheduler/scheduler_config.json`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_config(&Config::read(path)?)
    }

    /// Checks `scheduler/scheduler_config.json`, or what was derived in its place.
    pub(crate) fn from_config(config: &Config) -> Result<Self, Error> {
        for (key, value) in [
            ("thresholding", json!(false)),
            ("use_beta_sigmas", json!(false)),
            ("use_lu_lambdas", json!(false)),
            ("use_flow_sigmas", json!(false)),
        ] {
            config.only(key, &value)?;
        }
        let count = config.count("num_train_timesteps", Some(1000))?;
        if !(2..=100_000).contains(&count) {
            return Err(config.refuse("num_train_timesteps", "2 to 100000 are expected"));
        }
        let count = count as usize;
        let (start, end) = (config.number("beta_start", 0.0001)?, config.number("beta_end", 0.02)?);
        let mut betas = match config.get("trained_betas") {
            Some(list) => list
                .as_array()
                .and_then(|list| list.iter().map(serde_json::Value::as_f64).collect::<Option<Vec<f64>>>())
                .filter(|list| list.len() == count)
                .ok_or_else(|| config.refuse("trained_betas", format!("{count} numbers are expected")))?,
            None => match config.text("beta_schedule")?.unwrap_or("linear") {
                "linear" => spread(start, end, count),
                "scaled_linear" if start >= 0.0 && end >= 0.0 => {
                    spread(start.sqrt(), end.sqrt(), count).into_iter().map(|b| b * b).collect()
                }
                "squaredcos_cap_v2" => cosine_betas(count),
                _ => {
                    let why = "linear, scaled_linear and squaredcos_cap_v2 are supported";
                    return Err(config.refuse("beta_schedule", why));
                }
            },
        };
        let zero_snr = config.flag("rescale_betas_zero_snr", false)?;
        if zero_snr {
            betas = without_signal_at_the_end(&betas);
        }
        if betas.iter().any(|beta| !(0.0..=1.0).contains(beta)) {
            return Err(config.refuse("beta_end", "all betas must lie within 0 to 1"));
        }
        let mut alphas = Vec::with_capacity(count);
        let mut product = 1.0;
        for beta in betas {
            product *= 1.0 - beta;
            alphas.push(product);
        }
        let prediction = match config.text("prediction_type")? {
            None | Some("epsilon") => Prediction::Epsilon,
            Some("v_prediction") => Prediction::Velocity,
            Some("sample") => Prediction::Sample,
            _ => return Err(config.refuse("prediction_type", "epsilon, v_prediction and sample are supported")),
        };
        let spacing = match config.text("timestep_spacing")? {
            None => None,
            Some("linspace") => Some(Spacing::Linspace),
            Some("leading") => Some(Spacing::Leading),
            Some("trailing") => Some(Spacing::Trailing),
            _ => return Err(config.refuse("timestep_spacing", "linspace, leading and trailing are supported")),
        };
        // A key that the file leaves out has the default of the class that the file is for. Where two classes have
        // different defaults, each sampler takes its own, as Python diffusers does when a scheduler is exchanged.
        let clips_by_default = config.text("_class_name")? == Some("DDIMScheduler");
        let clip = if config.flag("clip_sample", clips_by_default)? {
            Some(config.number("clip_sample_range", 1.0)?)
        } else {
            None
        };
        Ok(Self {
            alphas,
            prediction,
            spacing,
            offset: config.integer("steps_offset", 0)?,
            set_alpha_to_one: config.flag("set_alpha_to_one", true)?,
            clip,
            lower_order_final: config.flag("lower_order_final", true)?,
            euler_at_final: config.flag("euler_at_final", false)?,
            final_sigma_zero: match config.text("final_sigmas_type")? {
                None | Some("zero") => true,
                Some("sigma_min") => false,
                _ => return Err(config.refuse("final_sigmas_type", "zero and sigma_min are supported")),
            },
            solver_order: config.count("solver_order", Some(2))?,
            zero_snr,
            ramp: match (config.flag("use_karras_sigmas", false)?, config.flag("use_exponential_sigmas", false)?) {
                (false, false) => Ramp::Trained,
                (true, false) => Ramp::Karras,
                (false, true) => Ramp::Exponential,
                (true, true) => {
                    return Err(config.refuse("use_exponential_sigmas", "it excludes use_karras_sigmas"));
                }
            },
            original_steps: match config.count("original_inference_steps", Some(50))? as usize {
                original if original < count => original,
                _ => return Err(config.refuse("original_inference_steps", format!("fewer than {count} are possible"))),
            },
            timestep_scaling: config.number("timestep_scaling", 10.0)?,
            cosine: config.text("beta_schedule")? == Some("squaredcos_cap_v2"),
        })
    }

    /// What the network predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The most steps that any sampler can take.
    pub fn max_steps(&self) -> usize {
        self.alphas.len() - 1
    }

    /// The most steps that a sampler can take: those made for few steps know only the times of their distillation.
    pub fn max_steps_of(&self, name: &str) -> usize {
        if matches!(name, "lcm" | "tcd") { self.original_steps } else { self.max_steps() }
    }

    /// A sampler by its name, over `steps` steps from pure noise to the picture.
    pub fn sampler(&self, name: &str, steps: usize) -> Result<Box<dyn Scheduler>, Error> {
        let most = self.max_steps_of(name);
        if !(1..=most).contains(&steps) {
            return Err(Error::Request(format!("{steps} steps are impossible with {name}; 1 to {most} are")));
        }
        Ok(match name {
            "ddim" => Box::new(Ddim::new(self, steps)),
            "dpmpp-2m" => Box::new(DpmPp2M::new(self, steps, self.ramp, false)),
            "dpmpp-2m-karras" => Box::new(DpmPp2M::new(self, steps, Ramp::Karras, false)),
            "dpmpp-2m-sde" => Box::new(DpmPp2M::new(self, steps, self.ramp, true)),
            "dpmpp-2m-sde-karras" => Box::new(DpmPp2M::new(self, steps, Ramp::Karras, true)),
            "euler" => Box::new(Euler::new(self, steps, self.ramp)),
            "euler-karras" => Box::new(Euler::new(self, steps, Ramp::Karras)),
            "euler-a" => Box::new(EulerAncestral::new(self, steps)),
            "heun" => Box::new(Heun::new(self, steps)),
            "unipc" => Box::new(UniPc::new(self, steps)),
            "lcm" => Box::new(Lcm::new(self, steps)),
            "tcd" => Box::new(Tcd::new(self, steps)),
            _ => return Err(Error::Unknown { what: "sampler", given: name.to_owned(), known: KNOWN }),
        })
    }

    pub(super) fn alpha(&self, time: i64) -> f64 {
        let last = self.alphas.len() - 1;
        self.alphas[usize::try_from(time).unwrap_or(0).min(last)]
    }

    /// The training's noise in the variance-exploding form, at a whole time.
    pub(super) fn sigma(&self, time: i64) -> f64 {
        let last = self.alphas.len() as i64 - 1;
        // Without any signal left this would be infinite; Python diffusers takes the smallest half-precision number.
        let alpha = if self.zero_snr && time >= last { 2_f64.powi(-24) } else { self.alpha(time) };
        ((1.0 - alpha) / alpha).sqrt()
    }
}

/// Nichol, Dhariwal: "Improved denoising diffusion probabilistic models", 2021.
fn cosine_betas(count: usize) -> Vec<f64> {
    let level = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let n = count as f64;
    (0..count).map(|i| (1.0 - level((i + 1) as f64 / n) / level(i as f64 / n)).min(0.999)).collect()
}

/// Shifts the levels so that the last one holds no picture (Lin et al. 2023, algorithm 1).
fn without_signal_at_the_end(betas: &[f64]) -> Vec<f64> {
    let mut product = 1.0;
    let roots: Vec<f64> = betas
        .iter()
        .map(|beta| {
            product *= 1.0 - beta;
            f64::sqrt(product)
        })
        .collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return Vec::new() };
    let levels: Vec<f64> = roots.iter().map(|root| ((root - last) * first / (first - last)).powi(2)).collect();
    let mut before = 1.0;
    levels
        .iter()
        .map(|&level| {
            let beta = 1.0 - level / before;
            before = level;
            beta
        })
        .collect()
}
