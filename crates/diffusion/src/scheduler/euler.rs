//! Euler's method, plain and ancestral.

use tch::Tensor;

use super::schedule::Schedule;
use super::spacing::{Grid, Ramp};
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// Euler's method (Karras et al. 2022, algorithm 2 without churn). In the variance-preserving form it keeps the noise
/// that the network sees and mixes it anew with the picture that it sees.
#[derive(Debug)]
pub(super) struct Euler {
    grid: Grid,
    prediction: Prediction,
}

impl Euler {
    pub(super) fn new(schedule: &Schedule, steps: usize, ramp: Ramp) -> Self {
        Self { grid: Grid::continuous(schedule, steps, ramp, false), prediction: schedule.prediction }
    }
}

impl Scheduler for Euler {
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
        let before = self.before(step);
        let output = (ask.network)(latents, self.timestep(step))?;
        let clean = self.prediction.clean(&output, latents, before)?;
        let noise = self.prediction.noise(&output, latents, before)?;
        Ok(Stepped { latents: self.after(step).mix(&clean, &noise)?, clean })
    }
}

/// Euler's method that takes more noise away than the next level asks for and adds as much fresh noise (Crowson,
/// k-diffusion, 2022; the split is that of Ho, Jain, Abbeel: "Denoising diffusion probabilistic models", 2020).
#[derive(Debug)]
pub(super) struct EulerAncestral {
    grid: Grid,
    prediction: Prediction,
}

impl EulerAncestral {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        Self { grid: Grid::continuous(schedule, steps, Ramp::Trained, true), prediction: schedule.prediction }
    }
}

impl Scheduler for EulerAncestral {
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
        let clean = self.prediction.clean(&output, latents, before)?;
        let noise = self.prediction.noise(&output, latents, before)?;
        // What remains of the old noise, and what is new: their squares add up to the next level's.
        let part = after.sigma() / before.sigma();
        let fresh = after.spread * (1.0 - part * part).max(0.0).sqrt();
        let old = Level { signal: after.signal, spread: after.spread * part };
        let mut latents = old.mix(&clean, &noise)?;
        if fresh > 0.0 {
            latents = latents.f_add(&(ask.noise)()?.f_mul_scalar(fresh)?)?;
        }
        Ok(Stepped { latents, clean })
    }
}
