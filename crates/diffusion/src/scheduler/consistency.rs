//! Samplers for models that were distilled to need few steps.

use tch::Tensor;

use super::schedule::Schedule;
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// `steps` of the times of the distillation, evenly.
fn distilled_times(schedule: &Schedule, steps: usize) -> Vec<i64> {
    let original = schedule.original_steps;
    let stride = schedule.alphas.len() / original;
    // In floating point, as Python does, where a quotient may lie a little below a whole number.
    let every = original as f64 / steps as f64;
    (0..steps).map(|i| ((original - (i as f64 * every) as usize) * stride) as i64 - 1).collect()
}

/// The sampler of latent consistency models (Luo et al., "Latent consistency models: synthesizing high-resolution images
/// with few-step inference", 2023, algorithm 3): the network jumps to the picture, which is noised to the next level.
#[derive(Debug)]
pub(super) struct Lcm {
    times: Vec<i64>,
    /// One more than there are steps.
    levels: Vec<Level>,
    prediction: Prediction,
    clip: Option<f64>,
    scaling: f64,
}

impl Lcm {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        let times = distilled_times(schedule, steps);
        let levels = times.iter().map(|&time| Level::from_alpha(schedule.alpha(time))).chain([Level::CLEAN]).collect();
        Self { times, levels, prediction: schedule.prediction, clip: schedule.clip, scaling: schedule.timestep_scaling }
    }
}

impl Scheduler for Lcm {
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

    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error> {
        /// The spread of the data that the boundary condition of consistency models counts on.
        const DATA: f64 = 0.5;
        let output = (ask.network)(latents, self.timestep(step))?;
        let mut clean = self.prediction.clean(&output, latents, self.before(step))?;
        if let Some(range) = self.clip {
            clean = clean.f_clamp(-range, range)?;
        }
        let time = self.timestep(step) * self.scaling;
        let size = time * time + DATA * DATA;
        let clean = clean.f_mul_scalar(time / size.sqrt())?.f_add(&latents.f_mul_scalar(DATA * DATA / size)?)?;
        let latents = if step + 1 == self.steps() {
            clean.shallow_clone()
        } else {
            self.after(step).mix(&clean, &(ask.noise)()?)?
        };
        Ok(Stepped { latents, clean })
    }
}

/// The sampler of trajectory consistency distillation (Zheng et al., "Trajectory consistency distillation", 2024,
/// algorithm 4): the network jumps past the next level, and fresh noise leads back to it.
#[derive(Debug)]
pub(super) struct Tcd {
    times: Vec<i64>,
    /// Before, where the network jumps to, and after each step.
    levels: Vec<[Level; 3]>,
    prediction: Prediction,
}

impl Tcd {
    /// How far past the next level the network jumps: 0 is no fresh noise, 1 is all.
    const GAMMA: f64 = 0.3;

    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        let times = distilled_times(schedule, steps);
        let level = |time: i64| Level::from_alpha(schedule.alpha(time));
        let levels = times
            .iter()
            .enumerate()
            .map(|(i, &time)| {
                let next = times.get(i + 1).copied().unwrap_or(0);
                // In f32, as Python does.
                let jump = ((1.0 - Self::GAMMA) as f32 * next as f32).floor() as i64;
                [level(time), level(jump), level(next)]
            })
            .collect();
        Self { times, levels, prediction: schedule.prediction }
    }
}

impl Scheduler for Tcd {
    fn steps(&self) -> usize {
        self.times.len()
    }

    fn timestep(&self, step: usize) -> f64 {
        self.times[step] as f64
    }

    fn before(&self, step: usize) -> Level {
        self.levels[step][0]
    }

    fn after(&self, step: usize) -> Level {
        self.levels[step][2]
    }

    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error> {
        let [before, jump, after] = self.levels[step];
        let output = (ask.network)(latents, self.timestep(step))?;
        let clean = self.prediction.clean(&output, latents, before)?;
        let noise = self.prediction.noise(&output, latents, before)?;
        let mut latents = jump.mix(&clean, &noise)?;
        if step + 1 < self.steps() {
            let part = after.signal / jump.signal;
            let fresh = (1.0 - part * part).max(0.0).sqrt();
            latents = latents.f_mul_scalar(part)?.f_add(&(ask.noise)()?.f_mul_scalar(fresh)?)?;
        }
        Ok(Stepped { latents, clean })
    }
}
