//! Jobs with adapters, through the real worker.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]
#![cfg(feature = "worker")]

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use outframe_engine::{Embedding, Event, Frame, GenerateJob, Lora, Request, Sampling, frame};

struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures")
}

impl Worker {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outframe-engine"))
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: Request) -> Frame<Event> {
        frame::write(&mut self.input, &Frame::new(request)).unwrap();
        loop {
            let event: Frame<Event> = frame::read(&mut self.output).unwrap();
            if !matches!(event.header, Event::Progress { .. }) {
                return event;
            }
        }
    }

    fn paint(&mut self, loras: Vec<Lora>) -> Frame<Event> {
        self.paint_with(loras, Vec::new())
    }

    fn paint_with(&mut self, loras: Vec<Lora>, embeddings: Vec<Embedding>) -> Frame<Event> {
        let sampling = Sampling {
            prompt: "a snowy lake at dusk".into(),
            negative: String::new(),
            steps: 2,
            guidance: 3.0,
            sampler: "ddim".into(),
            seed: 5,
            take: 0,
            preview: false,
            clip_skip: 0,
            guidance_rescale: 0.0,
            loras,
            embeddings,
            controls: Vec::new(),
        };
        self.ask(Request::Generate { id: 7, job: GenerateJob { sampling, width: 16, height: 16 } })
    }
}

#[test]
fn a_job_brings_its_own() {
    let mut worker = Worker::start();
    let load = Request::Load {
        id: 1,
        model: fixtures().join("models/painter"),
        device: "cpu".into(),
        precision: "f32".into(),
        threads: Some(1),
        vae: None,
    };
    assert!(matches!(worker.ask(load).header, Event::Loaded { .. }));
    let lora = |name: &str| Lora { path: fixtures().join("adapters").join(name), weight: 0.9 };
    let plain = worker.paint(Vec::new());
    assert!(matches!(plain.header, Event::Done { .. }));
    let with = worker.paint(vec![lora("kohya.safetensors")]);
    assert!(matches!(with.header, Event::Done { .. }));
    assert_ne!(with.attachments, plain.attachments);
    match worker.paint(vec![lora("gone.safetensors")]).header {
        Event::Failed { id: 7, error } => {
            assert!(error.message.contains("gone.safetensors"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(worker.paint(vec![lora("kohya.safetensors")]).attachments, with.attachments);
    assert_eq!(worker.paint(Vec::new()).attachments, plain.attachments);
    let dusk = Embedding { path: fixtures().join("adapters/style.safetensors"), word: "dusk".into() };
    let taught = worker.paint_with(Vec::new(), vec![dusk]);
    assert!(matches!(taught.header, Event::Done { .. }));
    assert_ne!(taught.attachments, plain.attachments);
    assert_eq!(worker.paint(Vec::new()).attachments, plain.attachments);
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
