//! DPM-Solver++.

use tch::Tensor;

use super::schedule::Schedule;
use super::spacing::{Grid, Ramp};
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// DPM-Solver++ of second order, multistep, in the midpoint form, deterministic or stochastic (Lu et al.,
/// "DPM-Solver++: Fast solver for guided sampling of diffusion probabilistic models", 2022).
#[derive(Debug)]
pub(super) struct DpmPp2M {
    grid: Grid,
    prediction: Prediction,
    stochastic: bool,
    first_order_end: bool,
    first_order: bool,
    /// The step before and the clean picture that it aimed at.
    history: Option<(usize, Tensor)>,
}

impl DpmPp2M {
    pub(super) fn new(schedule: &Schedule, steps: usize, ramp: Ramp, stochastic: bool) -> Self {
        let few = schedule.lower_order_final && steps < 15;
        Self {
            // Python diffusers rounds times, but for the cosine schedule cuts off.
            grid: Grid::multistep(schedule, steps, ramp, schedule.cosine),
            prediction: schedule.prediction,
            stochastic,
            first_order_end: schedule.euler_at_final || few || schedule.final_sigma_zero,
            first_order: schedule.solver_order == 1,
            history: None,
        }
    }
}

impl Scheduler for DpmPp2M {
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

    fn step(&mut self, step: usize, latents: &Tensor, ask: &mut Ask<'_>) -> Result<Stepped, Error> {
        let (before, after) = (self.before(step), self.after(step));
        let output = (ask.network)(latents, self.timestep(step))?;
        let clean = self.prediction.clean(&output, latents, before)?;
        let h = after.lambda() - before.lambda();
        let last = step + 1 == self.steps();
        let aim = match self.history.take() {
            Some((earlier, old)) if earlier + 1 == step && !self.first_order && !(last && self.first_order_end) => {
                let ratio = (before.lambda() - self.before(earlier).lambda()) / h;
                let slope = clean.f_sub(&old)?.f_mul_scalar(0.5 / ratio)?;
                clean.f_add(&slope)?
            }
            _ => clean.shallow_clone(),
        };
        // The stochastic form goes twice as far and makes up for it with fresh noise.
        let (keep, far) = if self.stochastic { ((-h).exp(), 2.0 * h) } else { (1.0, h) };
        let mut latents = latents
            .f_mul_scalar(after.spread / before.spread * keep)?
            .f_sub(&aim.f_mul_scalar(after.signal * (-far).exp_m1())?)?;
        if self.stochastic && after.spread > 0.0 {
            let fresh = after.spread * (-(-far).exp_m1()).max(0.0).sqrt();
            latents = latents.f_add(&(ask.noise)()?.f_mul_scalar(fresh)?)?;
        }
        self.history = Some((step, clean.shallow_clone()));
        Ok(Stepped { latents, clean })
    }
}
