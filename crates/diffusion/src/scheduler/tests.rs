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
        (r#"{"use_karras_sigmas": true, "use_exponential_sigmas": true}"#, "use_exponential_sigmas"),
        (r#"{"original_inference_steps": 1000}"#, "original_inference_steps"),
        (r#"{"trained_betas": [0.1]}"#, "trained_betas"),
    ] {
        let error = schedule(json).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    let schedule = stable_diffusion("");
    assert!(schedule.sampler("magic", 10).unwrap_err().to_string().contains("dpmpp-2m"));
    assert!(schedule.sampler("ddim", 0).is_err());
    assert!(schedule.sampler("ddim", 1000).is_err());
    assert!(schedule.sampler("lcm", 51).unwrap_err().to_string().contains("1 to 50"));
    assert_eq!(KNOWN, SAMPLERS.join(", "));
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
        let steps = steps.min(schedule.max_steps_of(name));
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
        // Consistency models mix a trace of their input into the picture, and TCD ends at the first trained level.
        let tolerance = if name == "lcm" { 1e-4 } else { 1e-6 };
        let mut latents = sampler.before(start).mix(&picture, &noise).unwrap();
        for step in start..steps {
            let mut at = vec![sampler.after(step), sampler.before(step)];
            let mut network = |latents: &Tensor, _: f64| {
                let level = at.pop().unwrap();
                // What the latents say about the noise at the level where the network is asked.
                let eps = (latents - &picture * level.signal) / level.spread;
                Ok(match schedule.prediction() {
                    Prediction::Epsilon => eps,
                    Prediction::Velocity => eps * level.signal - &picture * level.spread,
                    Prediction::Sample => picture.shallow_clone(),
                })
            };
            let mut fresh = || Ok(Tensor::from_slice(&[0.2_f64 * (step % 3) as f64, -1.1, 0.6]));
            let stepped = sampler.step(step, &latents, &mut Ask { network: &mut network, noise: &mut fresh }).unwrap();
            prop_assert!(f64::try_from((&stepped.clean - &picture).abs().max()).unwrap() < tolerance);
            latents = stepped.latents;
        }
        prop_assert_eq!(latents.kind(), Kind::Double);
        let end = sampler.after(steps - 1);
        let far = f64::try_from((latents - picture * end.signal).abs().max()).unwrap();
        prop_assert!(far < tolerance + 10.0 * end.spread, "{} is {} away", name, far);
    }
}

/// A fill changes latents between steps: no sampler may lead back to what they were.
#[test]
fn changes_between_steps_stay() {
    let schedule = stable_diffusion(r#", "prediction_type": "sample", "steps_offset": 1"#);
    for name in SAMPLERS.into_iter().filter(|&name| name != "lcm") {
        let end = |change: f64| {
            let mut sampler = schedule.sampler(name, 8).unwrap();
            let mut latents = Tensor::from_slice(&[0.4_f64, -0.9]);
            let mut expected = change;
            for step in 0..5 {
                let mut network = |_: &Tensor, _: f64| Ok(Tensor::from_slice(&[0.1_f64 * step as f64, 0.7]));
                let mut fresh = || Ok(Tensor::from_slice(&[0.3_f64, -1.1]));
                let mut ask = Ask { network: &mut network, noise: &mut fresh };
                latents = sampler.step(step, &latents, &mut ask).unwrap().latents;
                if step == 2 {
                    latents = &latents + change;
                } else if step > 2 {
                    expected *= sampler.after(step).spread / sampler.before(step).spread;
                }
            }
            (latents, expected)
        };
        let ((plain, _), (changed, expected)) = (end(0.0), end(1.0));
        let difference = f64::try_from((changed - plain).min()).unwrap();
        // Fresh noise replaces a part of the old, so less of the change is left then.
        let least =
            if matches!(name, "euler-a" | "dpmpp-2m-sde" | "dpmpp-2m-sde-karras" | "tcd") { 0.05 } else { 0.999 };
        assert!(difference > least * expected && difference < 1.001 * expected, "{name}: {difference} of {expected}");
    }
}
