//! Samplers: how the network's outputs lead from noise to a picture.
//!
//! All coefficients are computed in f64; only the latents are f32. The schedules are those of Python diffusers, so that
//! a model looks here as it looks elsewhere.

use std::path::Path;

use serde_json::json;
use tch::Tensor;

use crate::Error;
use crate::config::Config;

/// The names of the samplers that exist.
pub const SAMPLERS: [&str; 3] = ["dpmpp-2m", "dpmpp-2m-karras", "ddim"];

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

/// A sampler over a fixed number of steps.
///
/// Steps are taken in order, from [`Scheduler::steps`] - n for the last n of them: starting late begins at the level
/// of the step that comes first then.
pub trait Scheduler: std::fmt::Debug {
    /// How many steps the whole way has.
    fn steps(&self) -> usize;
    /// The network's time at a step, descending.
    fn timestep(&self, step: usize) -> f64;
    /// The level that a step starts from.
    fn before(&self, step: usize) -> Level;
    /// The level that a step ends at.
    fn after(&self, step: usize) -> Level;
    /// Takes a step with the network's output for `latents`.
    fn step(&mut self, step: usize, output: &Tensor, latents: &Tensor) -> Result<Stepped, Error>;
}

/// Where in the training's times the steps lie (Lin et al., "Common diffusion noise schedules and sample steps are
/// flawed", 2023, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// What `scheduler_config.json` says: the noise levels of the training and the conventions around them.
#[allow(clippy::struct_excessive_bools, reason = "each is a key of the file, with no state among them")]
#[derive(Debug, Clone)]
pub struct Schedule {
    alphas: Vec<f64>,
    prediction: Prediction,
    /// `None`: each sampler has a default of its own.
    spacing: Option<Spacing>,
    offset: i64,
    set_alpha_to_one: bool,
    clip: Option<f64>,
    lower_order_final: bool,
    euler_at_final: bool,
    final_sigma_zero: bool,
    solver_order: i64,
    zero_snr: bool,
    karras: bool,
    cosine: bool,
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
            ("use_exponential_sigmas", json!(false)),
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
            karras: config.flag("use_karras_sigmas", false)?,
            cosine: config.text("beta_schedule")? == Some("squaredcos_cap_v2"),
        })
    }

    /// What the network predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The most steps that a sampler can take.
    pub fn max_steps(&self) -> usize {
        self.alphas.len() - 1
    }

    /// A sampler by its name, over `steps` steps from pure noise to the picture.
    pub fn sampler(&self, name: &str, steps: usize) -> Result<Box<dyn Scheduler>, Error> {
        if !(1..=self.max_steps()).contains(&steps) {
            return Err(Error::Request(format!("{steps} steps are impossible; 1 to {} are", self.max_steps())));
        }
        match name {
            "ddim" => Ok(Box::new(Ddim::new(self, steps))),
            "dpmpp-2m" => Ok(Box::new(DpmPp2M::new(self, steps, self.karras))),
            "dpmpp-2m-karras" => Ok(Box::new(DpmPp2M::new(self, steps, true))),
            _ => Err(Error::Unknown {
                what: "sampler",
                given: name.to_owned(),
                known: "dpmpp-2m, dpmpp-2m-karras, ddim",
            }),
        }
    }

    fn alpha(&self, time: i64) -> f64 {
        let last = self.alphas.len() - 1;
        self.alphas[usize::try_from(time).unwrap_or(0).min(last)]
    }

    /// The training's noise in the variance-exploding form, at a whole time.
    fn sigma(&self, time: i64) -> f64 {
        let last = self.alphas.len() as i64 - 1;
        // Without any signal left this would be infinite; Python diffusers takes the smallest half-precision number.
        let alpha = if self.zero_snr && time >= last { 2_f64.powi(-24) } else { self.alpha(time) };
        ((1.0 - alpha) / alpha).sqrt()
    }
}

/// `count` numbers from `start` to `end`, both included.
fn spread(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
    (0..count).map(|i| start + step * i as f64).collect()
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

/// `n` whole times by a rule of [`Spacing`]; `points` is how many the way is divided into (the last may be left out).
fn times(spacing: Spacing, train: usize, n: usize, points: usize, offset: i64) -> Vec<i64> {
    let train_f = train as f64;
    match spacing {
        // Python rounds halves to even, and so does this.
        Spacing::Linspace => {
            let mut all: Vec<i64> =
                spread(0.0, train_f - 1.0, points).iter().map(|t| t.round_ties_even() as i64).collect();
            if points == 1 {
                all = vec![0];
            }
            all.into_iter().rev().take(n).collect()
        }
        Spacing::Leading => {
            let ratio = (train / points) as i64;
            (0..points as i64).rev().take(n).map(|i| i * ratio + offset).collect()
        }
        Spacing::Trailing => {
            let ratio = train_f / n as f64;
            (0..n).map(|i| (train_f - i as f64 * ratio).round_ties_even() as i64 - 1).collect()
        }
    }
}

/// Times and noise levels that are denser towards the end (Karras et al., "Elucidating the design space of
/// diffusion-based generative models", 2022, equation 5, with their rho of 7).
fn karras_steps(schedule: &Schedule, steps: usize) -> (Vec<i64>, Vec<f64>) {
    const RHO: f64 = 7.0;
    let trained: Vec<f64> = (0..schedule.alphas.len() as i64).map(|time| schedule.sigma(time).ln()).collect();
    let root = |log: Option<&f64>| (log.copied().unwrap_or(0.0) / RHO).exp();
    let (most, least) = (root(trained.last()), root(trained.first()));
    let sigmas: Vec<f64> = spread(most, least, steps).into_iter().map(|root| root.powf(RHO)).collect();
    let times = sigmas.iter().map(|sigma| {
        // Between the two trained levels around this one, by the logarithm.
        let log = sigma.max(1e-10).ln();
        let low = trained.partition_point(|&level| level <= log).saturating_sub(1).min(trained.len() - 2);
        let part = ((trained[low] - log) / (trained[low] - trained[low + 1])).clamp(0.0, 1.0);
        let time = low as f64 + part;
        // Python diffusers rounds, but for the cosine schedule cuts off.
        if schedule.cosine { time.trunc() as i64 } else { time.round_ties_even() as i64 }
    });
    (times.collect(), sigmas)
}

/// Denoising diffusion implicit models without added noise (Song, Meng, Ermon: "Denoising diffusion implicit models",
/// ICLR 2021).
#[derive(Debug)]
struct Ddim {
    times: Vec<i64>,
    levels: Vec<(Level, Level)>,
    prediction: Prediction,
    clip: Option<f64>,
}

impl Ddim {
    fn new(schedule: &Schedule, steps: usize) -> Self {
        let train = schedule.alphas.len();
        let spacing = schedule.spacing.unwrap_or(Spacing::Leading);
        let times = times(spacing, train, steps, steps, schedule.offset);
        let stride = (train / steps) as i64;
        let final_alpha = if schedule.set_alpha_to_one { 1.0 } else { schedule.alpha(0) };
        let levels = times
            .iter()
            .map(|&time| {
                let previous = time - stride;
                let after = if previous >= 0 { schedule.alpha(previous) } else { final_alpha };
                (Level::from_alpha(schedule.alpha(time)), Level::from_alpha(after))
            })
            .collect();
        Self { times, levels, prediction: schedule.prediction, clip: schedule.clip }
    }
}

impl Scheduler for Ddim {
    fn steps(&self) -> usize {
        self.times.len()
    }

    fn timestep(&self, step: usize) -> f64 {
        self.times[step] as f64
    }

    fn before(&self, step: usize) -> Level {
        self.levels[step].0
    }

    fn after(&self, step: usize) -> Level {
        self.levels[step].1
    }

    fn step(&mut self, step: usize, output: &Tensor, latents: &Tensor) -> Result<Stepped, Error> {
        let (before, after) = self.levels[step];
        let noise = self.prediction.noise(output, latents, before)?;
        let mut clean = self.prediction.clean(output, latents, before)?;
        if let Some(range) = self.clip {
            clean = clean.f_clamp(-range, range)?;
        }
        Ok(Stepped { latents: after.mix(&clean, &noise)?, clean })
    }
}

/// DPM-Solver++ of second order, multistep, in the midpoint form (Lu et al., "DPM-Solver++: Fast solver for guided
/// sampling of diffusion probabilistic models", 2022).
#[derive(Debug)]
struct DpmPp2M {
    times: Vec<i64>,
    /// One more than there are steps.
    levels: Vec<Level>,
    prediction: Prediction,
    first_order_end: bool,
    first_order: bool,
    /// The step before and the clean picture that it aimed at.
    history: Option<(usize, Tensor)>,
}

impl DpmPp2M {
    fn new(schedule: &Schedule, steps: usize, karras: bool) -> Self {
        let (times, sigmas) = if karras {
            karras_steps(schedule, steps)
        } else {
            let spacing = schedule.spacing.unwrap_or(Spacing::Linspace);
            let times = times(spacing, schedule.alphas.len(), steps, steps + 1, schedule.offset);
            let sigmas = times.iter().map(|&time| schedule.sigma(time)).collect();
            (times, sigmas)
        };
        let mut levels: Vec<Level> = sigmas.into_iter().map(Level::from_sigma).collect();
        levels.push(Level::from_sigma(if schedule.final_sigma_zero { 0.0 } else { schedule.sigma(0) }));
        let few = schedule.lower_order_final && steps < 15;
        Self {
            times,
            levels,
            prediction: schedule.prediction,
            first_order_end: schedule.euler_at_final || few || schedule.final_sigma_zero,
            first_order: schedule.solver_order == 1,
            history: None,
        }
    }
}

impl Scheduler for DpmPp2M {
    fn steps(&self) -> usize {
        self.times.len()
    }

    fn timestep(&self, step: usize) -> f64 {
        self.times[step] as f64
    }

    fn before(&self, step: usize) -> Level {
        self.levels[step]
    }

    fn after(&self, step: usize) -> Level {
        self.levels[step + 1]
    }

    fn step(&mut self, step: usize, output: &Tensor, latents: &Tensor) -> Result<Stepped, Error> {
        let (before, after) = (self.levels[step], self.levels[step + 1]);
        let clean = self.prediction.clean(output, latents, before)?;
        let h = after.lambda() - before.lambda();
        let last = step + 1 == self.times.len();
        let aim = match self.history.take() {
            Some((earlier, old)) if earlier + 1 == step && !self.first_order && !(last && self.first_order_end) => {
                let ratio = (before.lambda() - self.levels[earlier].lambda()) / h;
                let slope = clean.f_sub(&old)?.f_mul_scalar(0.5 / ratio)?;
                clean.f_add(&slope)?
            }
            _ => clean.shallow_clone(),
        };
        let latents = latents
            .f_mul_scalar(after.spread / before.spread)?
            .f_sub(&aim.f_mul_scalar(after.signal * (-h).exp_m1())?)?;
        self.history = Some((step, clean.shallow_clone()));
        Ok(Stepped { latents, clean })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;

    fn schedule(json: &str) -> Result<Schedule, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scheduler_config.json");
        std::fs::write(&path, json).unwrap();
        Schedule::read(&path)
    }

    fn stable_diffusion(more: &str) -> Schedule {
        schedule(&format!(
            r#"{{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"{more}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (json, key) in [
            (r#"{"beta_schedule": "sigmoid"}"#, "beta_schedule"),
            (r#"{"prediction_type": "flow"}"#, "prediction_type"),
            (r#"{"timestep_spacing": "random"}"#, "timestep_spacing"),
            (r#"{"beta_end": 7}"#, "beta_end"),
            (r#"{"num_train_timesteps": 1}"#, "num_train_timesteps"),
            (r#"{"use_beta_sigmas": true}"#, "use_beta_sigmas"),
            (r#"{"trained_betas": [0.1]}"#, "trained_betas"),
        ] {
            let error = schedule(json).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let schedule = stable_diffusion("");
        assert!(schedule.sampler("euler", 10).unwrap_err().to_string().contains("dpmpp-2m"));
        assert!(schedule.sampler("ddim", 0).is_err());
        assert!(schedule.sampler("ddim", 1000).is_err());
    }

    #[test]
    fn no_signal_is_left_at_the_end_when_asked() {
        let schedule = stable_diffusion(r#", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing""#);
        assert!(schedule.alphas.last().unwrap().abs() < 1e-12);
        for name in SAMPLERS {
            let sampler = schedule.sampler(name, 10).unwrap();
            assert!(sampler.before(0).signal < 3e-4 && sampler.after(0).signal > 0.0);
        }
    }

    proptest! {
        #[test]
        fn levels_rise_and_times_fall(
            steps in 1_usize..=999,
            name in prop::sample::select(&SAMPLERS[..]),
            spacing in prop::sample::select(&["linspace", "leading", "trailing"][..]),
            betas in prop::sample::select(&["linear", "scaled_linear", "squaredcos_cap_v2"][..]),
            prediction in prop::sample::select(&["epsilon", "v_prediction", "sample"][..]),
            offset in 0_i64..=1,
        ) {
            let schedule = schedule(&format!(
                r#"{{"beta_schedule": "{betas}", "timestep_spacing": "{spacing}", "steps_offset": {offset},
                    "prediction_type": "{prediction}"}}"#
            )).unwrap();
            prop_assert!(schedule.alphas.windows(2).all(|w| w[0] > w[1]));
            prop_assert!(schedule.alphas.iter().all(|&a| a > 0.0 && a < 1.0));
            let sampler = schedule.sampler(name, steps).unwrap();
            prop_assert_eq!(sampler.steps(), steps);
            for step in 0..steps {
                let (before, after) = (sampler.before(step), sampler.after(step));
                prop_assert!((before.signal.powi(2) + before.spread.powi(2) - 1.0).abs() < 1e-9);
                // DDIM's stride is a whole number, so with other spacings it may overshoot the next time; it never
                // goes back.
                prop_assert!(after.signal > before.signal, "{} {} {:?} {:?}", name, step, before, after);
                if step > 0 {
                    // Karras levels lie so dense at the end that whole times repeat.
                    let (time, earlier) = (sampler.timestep(step), sampler.timestep(step - 1));
                    prop_assert!(time < earlier || (name.ends_with("karras") && time <= earlier));
                }
            }
        }

        /// A network that knows the answer leads to it, whatever it predicts, from any level.
        #[test]
        fn a_perfect_network_leads_to_the_picture(
            steps in 1_usize..30,
            start in 0_usize..30,
            name in prop::sample::select(&SAMPLERS[..]),
            prediction in prop::sample::select(&["epsilon", "v_prediction", "sample"][..]),
        ) {
            let schedule = stable_diffusion(&format!(r#", "prediction_type": "{prediction}", "steps_offset": 1"#));
            let mut sampler = schedule.sampler(name, steps).unwrap();
            let picture = Tensor::from_slice(&[0.5_f64, -1.0, 2.0]);
            let noise = Tensor::from_slice(&[1.0_f64, 0.3, -0.7]);
            let start = start % steps;
            let mut latents = sampler.before(start).mix(&picture, &noise).unwrap();
            for step in start..steps {
                let level = sampler.before(step);
                // What the latents say about the noise at the level where the network is asked.
                let eps = (&latents - &picture * level.signal) / level.spread;
                let output = match schedule.prediction() {
                    Prediction::Epsilon => eps,
                    Prediction::Velocity => eps * level.signal - &picture * level.spread,
                    Prediction::Sample => picture.shallow_clone(),
                };
                let stepped = sampler.step(step, &output, &latents).unwrap();
                prop_assert!(f64::try_from((&stepped.clean - &picture).abs().max()).unwrap() < 1e-6);
                latents = stepped.latents;
            }
            prop_assert_eq!(latents.kind(), Kind::Double);
            prop_assert!(f64::try_from((latents - picture).abs().max()).unwrap() < 1e-6);
        }
    }
}
