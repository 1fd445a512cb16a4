//! The supervisor and the real worker: health, previews, cancelling, memory, restarts.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use outframe_studio::{
    CancellationToken, Models,
    engine::{Engine, EngineError, EngineOptions, GenerateJob, Job, JobEvent, Sampling},
};
use outframe_tests::{models, program};

fn engine() -> Engine {
    Engine::new(EngineOptions { program: Some(program("outframe-engine")), ..EngineOptions::default() })
}

fn job(steps: u32) -> Job {
    let sampling = Sampling {
        prompt: "a lake".into(),
        negative: String::new(),
        steps,
        guidance: 3.0,
        sampler: "ddim".into(),
        seed: 1,
        take: 0,
        preview: true,
        clip_skip: 0,
        guidance_rescale: 0.0,
        loras: Vec::new(),
        embeddings: Vec::new(),
        controls: Vec::new(),
    };
    Job::Generate(GenerateJob { sampling, width: 128, height: 96 })
}

async fn loaded() -> Engine {
    let engine = engine();
    let starter = Models::at(vec![models()]).resolve(None).unwrap();
    engine.load(&starter.path).await.unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_started_when_needed_and_tells_how_it_is() {
    let engine = engine();
    let idle = engine.status().await.unwrap();
    assert_eq!((idle.pid, idle.busy), (None, false), "nothing runs before it is needed");
    let refused = engine.run(&job(1), &mut |_| {}, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, EngineError::NoModel), "{refused}");

    let starter = Models::at(vec![models()]).resolve(None).unwrap();
    let model = engine.load(&starter.path).await.unwrap();
    assert_eq!((model.info.in_channels, model.info.native_size), (9, 256));
    let up = engine.status().await.unwrap();
    assert!(up.pid.is_some() && !up.busy);
    assert_eq!(up.model.as_ref(), Some(&model));
    assert!(up.memory.resident > 50_000_000 && up.memory.peak >= up.memory.resident, "{:?}", up.memory);
    assert_eq!(engine.load(&starter.path).await.unwrap(), model, "it is not loaded twice");
    assert_eq!(engine.status().await.unwrap().pid, up.pid);

    engine.shutdown().await;
    assert_eq!(engine.status().await.unwrap().pid, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_shown_and_the_state_can_be_asked_meanwhile() {
    let engine = std::sync::Arc::new(loaded().await);
    let (told, mut telling) = tokio::sync::mpsc::channel(64);
    let worker = std::sync::Arc::clone(&engine);
    let running = tokio::spawn(async move {
        let mut observe = |event| told.try_send(event).unwrap();
        worker.run(&job(6), &mut observe, &CancellationToken::new()).await
    });
    let mut steps = Vec::new();
    let mut asked = None;
    while let Some(event) = telling.recv().await {
        let JobEvent::Step { step, steps: count, preview } = event else { panic!("{event:?}") };
        assert_eq!(count, 6);
        if step > 0 {
            let preview = preview.unwrap();
            assert!((1..=128).contains(&preview.width()) && (1..=128).contains(&preview.height()));
        }
        if asked.is_none() {
            asked = Some(engine.status().await.unwrap());
        }
        steps.push(step);
    }
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6]);
    assert!(asked.unwrap().pid.is_some(), "answered while the job ran");
    assert_eq!(running.await.unwrap().unwrap().image.dimensions(), (128, 96));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_takes_effect_within_one_step_and_the_worker_goes_on() {
    let engine = loaded().await;
    let cancel = CancellationToken::new();
    let mut last = 0;
    let mut observe = |event| {
        if let JobEvent::Step { step, .. } = event {
            last = step;
            if step == 3 {
                cancel.cancel();
            }
        }
    };
    let error = engine.run(&job(999), &mut observe, &cancel).await.unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    // The step that runs when the message arrives may end, and one more may have been on its way.
    assert!(last <= 6, "{last} steps");
    let before = engine.status().await.unwrap().pid;
    let output = engine.run(&job(2), &mut |_| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!(output.image.dimensions(), (128, 96));
    assert_eq!(engine.status().await.unwrap().pid, before, "the same worker");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_and_makes_the_same_picture() {
    let engine = loaded().await;
    let undisturbed = engine.run(&job(8), &mut |_| {}, &CancellationToken::new()).await.unwrap();
    let pid = engine.status().await.unwrap().pid.unwrap();
    let (mut killed, mut reason) = (false, String::new());
    let mut observe = |event| match event {
        JobEvent::Step { step: 2, .. } if !killed => {
            killed = true;
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        JobEvent::Step { .. } => {}
        JobEvent::Restarted { reason: why } => reason = why,
    };
    let output = engine.run(&job(8), &mut observe, &CancellationToken::new()).await.unwrap();
    assert!(reason.contains("signal 9") && reason.contains("project is unharmed"), "{reason}");
    assert!(output.image == undisturbed.image);
    assert_ne!(engine.status().await.unwrap().pid, Some(pid));
}
