//! Heun's method.

use tch::Tensor;

use super::schedule::Schedule;
use super::spacing::Grid;
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// Heun's method of second order (Karras et al. 2022, algorithm 1 without churn): an Euler step, then the same step
/// again along the mean of the directions at its two ends. The last step, to no noise at all, is an Euler step.
#[derive(Debug)]
pub(super) struct Heun {
    grid: Grid,
    prediction: Prediction,
    clip: Option<f64>,
}

impl Heun {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        let grid = Grid::continuous(schedule, steps, schedule.ramp, true);
        Self { grid, prediction: schedule.prediction, clip: schedule.clip }
    }

    /// The clean picture and the direction, which is the noise, at a level.
    fn look(&self, output: &Tensor, latents: &Tensor, level: Level) -> Result<(Tensor, Tensor), Error> {
        let clean = self.prediction.clean(output, latents, level)?;
        let Some(range) = self.clip else {
            return Ok((clean, self.prediction.noise(output, latents, level)?));
        };
        let clean = clean.f_clamp(-range, range)?;
        let noise = latents.f_sub(&clean.f_mul_scalar(level.signal)?)?.f_div_scalar(level.spread)?;
        Ok((clean, noise))
    }
}

impl Scheduler for Heun {
    fn steps(&self) -> usize {
        self.grid.times.len()
    }

    fn timestep(&self, step: usize) -> f64 {
        self.grid.times[step]
    }

    fn before(&self, step: usize) -> Level {
        self.grid.before(step)
    }

    fn after(&self, step: usize) -> Level {
        self.grid.after(step)
    }

    fn start(&self) -> f64 {
        self.grid.start
    }

    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error> {
        let (before, after) = (self.before(step), self.after(step));
        let output = (ask.network)(latents, self.timestep(step))?;
        let (clean, here) = self.look(&output, latents, before)?;
        let guess = after.mix(&clean, &here)?;
        if step + 1 == self.steps() {
            return Ok(Stepped { latents: guess, clean });
        }
        let output = (ask.network)(&guess, self.timestep(step + 1))?;
        let (clean, there) = self.look(&output, &guess, after)?;
        // In the variance-exploding form: x' = x + (sigma' - sigma) (here + there) / 2.
        let way = here.f_add(&there)?.f_mul_scalar(0.5 * (after.sigma() - before.sigma()))?;
        let latents = latents.f_div_scalar(before.signal)?.f_add(&way)?.f_mul_scalar(after.signal)?;
        Ok(Stepped { latents, clean })
    }
}
