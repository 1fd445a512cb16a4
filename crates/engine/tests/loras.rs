//! Jobs with adapters, through the real worker.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]
#![cfg(feature = "worker")]

mod worker;

use outframe_engine::{Embedding, Event, Lora, Sampling};
use worker::{Worker, fixtures};

#[test]
fn a_job_brings_its_own() {
    let mut worker = Worker::start();
    let mut paint = |loras: Vec<Lora>, embeddings: Vec<Embedding>| {
        worker.paint(Sampling { loras, embeddings, ..worker::sampling() }, Vec::new())
    };
    let lora = |name: &str| Lora { path: fixtures().join("adapters").join(name), weight: 0.9 };
    let plain = paint(Vec::new(), Vec::new());
    assert!(matches!(plain.header, Event::Done { .. }));
    let with = paint(vec![lora("kohya.safetensors")], Vec::new());
    assert!(matches!(with.header, Event::Done { .. }));
    assert_ne!(with.attachments, plain.attachments);
    match paint(vec![lora("gone.safetensors")], Vec::new()).header {
        Event::Failed { id: 7, error } => {
            assert!(error.message.contains("gone.safetensors"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(paint(vec![lora("kohya.safetensors")], Vec::new()).attachments, with.attachments);
    assert_eq!(paint(Vec::new(), Vec::new()).attachments, plain.attachments);
    let dusk = Embedding { path: fixtures().join("adapters/style.safetensors"), word: "dusk".into() };
    let taught = paint(Vec::new(), vec![dusk]);
    assert!(matches!(taught.header, Event::Done { .. }));
    assert_ne!(taught.attachments, plain.attachments);
    assert_eq!(paint(Vec::new(), Vec::new()).attachments, plain.attachments);
}

/// Applications of before the field was there are understood, and nothing is sent where nothing is asked.
#[test]
fn the_field_may_be_absent() {
    let text =
        r#"{"prompt":"a","negative":"","steps":2,"guidance":1.0,"sampler":"ddim","seed":1,"take":0,"preview":false}"#;
    let sampling: Sampling = serde_json::from_str(text).unwrap();
    assert!(sampling.loras.is_empty() && sampling.embeddings.is_empty());
    let written = serde_json::to_string(&sampling).unwrap();
    assert!(!written.contains("loras") && !written.contains("embeddings"), "{written}");
}
