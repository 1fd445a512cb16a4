//! Denoising diffusion implicit models.

use tch::Tensor;

use super::schedule::Schedule;
use super::spacing::{Spacing, times};
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// Denoising diffusion implicit models without added noise (Song, Meng, Ermon: "Denoising diffusion implicit models",
/// ICLR 2021).
#[derive(Debug)]
pub(super) struct Ddim {
    times: Vec<i64>,
    levels: Vec<(Level, Level)>,
    prediction: Prediction,
    clip: Option<f64>,
}

impl Ddim {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
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

    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error> {
        let (before, after) = self.levels[step];
        let output = (ask.network)(latents, self.timestep(step))?;
        let noise = self.prediction.noise(&output, latents, before)?;
        let mut clean = self.prediction.clean(&output, latents, before)?;
        if let Some(range) = self.clip {
            clean = clean.f_clamp(-range, range)?;
        }
        Ok(Stepped { latents: after.mix(&clean, &noise)?, clean })
    }
}
