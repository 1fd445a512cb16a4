//! Where on the way from noise to the picture the steps lie.

use super::Level;
use super::schedule::Schedule;

/// Where in the training's times the steps lie (Lin et al., "Common diffusion noise schedules and sample steps are
/// flawed", 2023, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// `n` whole times by a rule of [`Spacing`]; `points` is how many the way is divided into (the last may be left out).
pub(super) fn times(spacing: Spacing, train: usize, n: usize, points: usize, offset: i64) -> Vec<i64> {
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

/// Which noise levels the steps lie at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ramp {
    /// Those of the training at the times of [`Spacing`].
    Trained,
    /// Denser towards the end (Karras et al., "Elucidating the design space of diffusion-based generative models", 2022,
    /// equation 5, with their rho of 7).
    Karras,
    /// Equal ratios from one to the next.
    Exponential,
}

impl Ramp {
    /// `steps` levels from `most` to `least`; none for [`Ramp::Trained`].
    fn sigmas(self, most: f64, least: f64, steps: usize) -> Option<Vec<f64>> {
        const RHO: f64 = 7.0;
        match self {
            Self::Trained => None,
            Self::Karras => {
                let roots = spread(most.powf(1.0 / RHO), least.powf(1.0 / RHO), steps);
                Some(roots.into_iter().map(|root| root.powf(RHO)).collect())
            }
            Self::Exponential => Some(spread(most.ln(), least.ln(), steps).into_iter().map(f64::exp).collect()),
        }
    }
}

/// The times of the steps, and the levels around them.
#[derive(Debug)]
pub(super) struct Grid {
    /// The network's times.
    pub(super) times: Vec<f64>,
    /// The level before each step and after the last: one more than there are steps.
    pub(super) levels: Vec<Level>,
    /// See [`super::Scheduler::start`].
    pub(super) start: f64,
}

impl Grid {
    /// As the multistep solvers (DPM-Solver++, `UniPC`) lay it: whole times, and the last time of the way left out.
    ///
    /// `cuts` says that whole times of a ramp are cut off, not rounded.
    pub(super) fn multistep(schedule: &Schedule, steps: usize, ramp: Ramp, cuts: bool) -> Self {
        let train = schedule.alphas.len();
        let ramped = ramp.sigmas(schedule.sigma(train as i64 - 1), schedule.sigma(0), steps);
        let (times, sigmas) = if let Some(sigmas) = ramped {
            let times = trained_times(schedule, &sigmas);
            let cuts = cuts || ramp == Ramp::Exponential;
            let whole = |time: f64| if cuts { time.trunc() } else { time.round_ties_even() };
            (times.into_iter().map(whole).collect(), sigmas)
        } else {
            let spacing = schedule.spacing.unwrap_or(Spacing::Linspace);
            let times = times(spacing, train, steps, steps + 1, schedule.offset);
            let sigmas = times.iter().map(|&time| schedule.sigma(time)).collect();
            (times.into_iter().map(|time| time as f64).collect(), sigmas)
        };
        Self { times, levels: levels(sigmas, schedule, schedule.final_sigma_zero), start: 1.0 }
    }

    /// As the methods of Karras et al. (Euler, Heun) lay it: down to the first time, with times between whole ones.
    ///
    /// `ends_clean`: the last level is no noise, whatever the schedule says.
    pub(super) fn continuous(schedule: &Schedule, steps: usize, ramp: Ramp, ends_clean: bool) -> Self {
        let train = schedule.alphas.len();
        let spacing = schedule.spacing.unwrap_or(Spacing::Linspace);
        let mut at: Vec<f64> = match spacing {
            // Python keeps these times in f32.
            Spacing::Linspace if steps > 1 => {
                spread((train - 1) as f64, 0.0, steps).into_iter().map(|time| f64::from(time as f32)).collect()
            }
            Spacing::Linspace => vec![0.0],
            _ => times(spacing, train, steps, steps, schedule.offset).into_iter().map(|time| time as f64).collect(),
        };
        let mut sigmas: Vec<f64> = at
            .iter()
            .map(|&time| {
                let (low, part) = (time.floor(), time.fract());
                let low_sigma = schedule.sigma(low as i64);
                if part > 0.0 { low_sigma + part * (schedule.sigma(low as i64 + 1) - low_sigma) } else { low_sigma }
            })
            .collect();
        if let (Some(&most), Some(&least)) = (sigmas.first(), sigmas.last())
            && let Some(ramped) = ramp.sigmas(most, least, steps)
        {
            at = trained_times(schedule, &ramped);
            sigmas = ramped;
        }
        let levels = levels(sigmas, schedule, ends_clean || schedule.final_sigma_zero);
        let start = if spacing == Spacing::Leading { 1.0 } else { levels[0].spread };
        Self { times: at, levels, start }
    }

    pub(super) fn before(&self, step: usize) -> Level {
        self.levels[step]
    }

    pub(super) fn after(&self, step: usize) -> Level {
        self.levels[step + 1]
    }
}

fn levels(sigmas: Vec<f64>, schedule: &Schedule, ends_clean: bool) -> Vec<Level> {
    let last = if ends_clean { 0.0 } else { schedule.sigma(0) };
    sigmas.into_iter().chain([last]).map(Level::from_sigma).collect()
}

/// The times at which the training had these noise levels, between whole ones by the logarithm.
fn trained_times(schedule: &Schedule, sigmas: &[f64]) -> Vec<f64> {
    let trained: Vec<f64> = (0..schedule.alphas.len() as i64).map(|time| schedule.sigma(time).ln()).collect();
    sigmas
        .iter()
        .map(|sigma| {
            let log = sigma.max(1e-10).ln();
            let low = trained.partition_point(|&level| level <= log).saturating_sub(1).min(trained.len() - 2);
            let part = ((trained[low] - log) / (trained[low] - trained[low + 1])).clamp(0.0, 1.0);
            low as f64 + part
        })
        .collect()
}

/// `count` numbers from `start` to `end`, both included.
pub(super) fn spread(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
    (0..count).map(|i| start + step * i as f64).collect()
}
