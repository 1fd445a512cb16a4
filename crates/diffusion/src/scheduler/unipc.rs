//! The predictor-corrector `UniPC`.

use tch::Tensor;

use super::schedule::Schedule;
use super::spacing::Grid;
use super::{Ask, Level, Prediction, Scheduler, Stepped};
use crate::Error;

/// `UniPC` of second order on clean pictures, with the paper's `B_2(h) = exp(h) - 1` (Zhao et al., "`UniPC`: a unified
/// predictor-corrector framework for fast sampling of diffusion models", 2023). The corrector uses the network's output
/// at the predicted latents, which the next step needs anyway, so that each step asks the network once.
#[derive(Debug)]
pub(super) struct UniPc {
    grid: Grid,
    prediction: Prediction,
    order: usize,
    lower_order_final: bool,
    history: Option<Past>,
}

/// What is remembered of the step before.
#[derive(Debug)]
struct Past {
    step: usize,
    order: usize,
    /// The corrected latents that the step started from, and the latents that it led to.
    from: Tensor,
    to: Tensor,
    clean: Tensor,
    /// The clean picture of the step before that one.
    older: Option<Tensor>,
}

impl UniPc {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Self {
        Self {
            grid: Grid::multistep(schedule, steps, schedule.ramp, false),
            prediction: schedule.prediction,
            order: if schedule.solver_order == 1 { 1 } else { 2 },
            lower_order_final: schedule.lower_order_final,
            history: None,
        }
    }

    /// Step sizes around step `step`: its own, and that of the step before it as a (negative) part of its own.
    fn sizes(&self, step: usize) -> (f64, f64) {
        let lambda = |at: usize| self.grid.levels[at].lambda();
        let h = lambda(step + 1) - lambda(step);
        let ratio = if step > 0 { (lambda(step - 1) - lambda(step)) / h } else { 0.0 };
        (h, ratio)
    }

    /// From `from` along step `step` with the clean picture `clean` at its start and `slope`, the weighted differences.
    fn walk(&self, step: usize, from: &Tensor, clean: &Tensor, slope: Option<&Tensor>) -> Result<Tensor, Error> {
        let (before, after) = (self.grid.before(step), self.grid.after(step));
        let (h, _) = self.sizes(step);
        let aim = match slope {
            Some(slope) => clean.f_add(slope)?,
            None => clean.shallow_clone(),
        };
        Ok(from.f_mul_scalar(after.spread / before.spread)?.f_sub(&aim.f_mul_scalar(after.signal * (-h).exp_m1())?)?)
    }

    /// The end of the step before, corrected with the clean picture `new` that the network sees there.
    fn correct(&self, past: &Past, new: &Tensor) -> Result<Tensor, Error> {
        let (h, ratio) = self.sizes(past.step);
        let change = new.f_sub(&past.clean)?;
        let slope = match &past.older {
            Some(older) if past.order == 2 => {
                // The two conditions of the paper's equation 9, with phi_1 and phi_2 of -h.
                let b_h = (-h).exp_m1();
                let phi_1 = b_h / -h - 1.0;
                let phi_2 = phi_1 / -h - 0.5;
                let (b_0, b_1) = (phi_1 / b_h, phi_2 * 2.0 / b_h);
                let rho_0 = (b_0 - b_1) / (1.0 - ratio);
                let rho_1 = b_0 - rho_0;
                let earlier = older.f_sub(&past.clean)?.f_mul_scalar(rho_0 / ratio)?;
                earlier.f_add(&change.f_mul_scalar(rho_1)?)?
            }
            _ => change.f_mul_scalar(0.5)?,
        };
        self.walk(past.step, &past.from, &past.clean, Some(&slope))
    }
}

impl Scheduler for UniPc {
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
        let output = (ask.network)(latents, self.timestep(step))?;
        let clean = self.prediction.clean(&output, latents, self.before(step))?;
        let past = self.history.take().filter(|past| past.step + 1 == step);
        let (from, older) = match past {
            // Only the difference is taken over, so that latents changed since then stay changed.
            Some(past) => {
                let corrected = self.correct(&past, &clean)?.f_sub(&past.to)?.f_add(latents)?;
                (corrected, Some(past.clean))
            }
            None => (latents.shallow_clone(), None),
        };
        // No second order without a past, nor to no noise at all, where the step has no finite size.
        let last = step + 1 == self.steps();
        let low = (last && self.lower_order_final) || self.after(step).spread <= 0.0;
        let (_, ratio) = self.sizes(step);
        let slope = match &older {
            Some(older) if self.order == 2 && !low => Some(older.f_sub(&clean)?.f_mul_scalar(0.5 / ratio)?),
            _ => None,
        };
        let latents = self.walk(step, &from, &clean, slope.as_ref())?;
        let order = if slope.is_some() { 2 } else { 1 };
        let (to, seen) = (latents.shallow_clone(), clean.shallow_clone());
        self.history = Some(Past { step, order, from, to, clean: seen, older });
        Ok(Stepped { latents, clean })
    }
}
