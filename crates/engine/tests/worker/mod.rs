//! The real worker as its jobs' tests drive it: on the small fixture model, one thread, two steps.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use outframe_engine::{Event, Frame, GenerateJob, Request, Sampling, frame};

pub(crate) struct Worker {
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

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures")
}

/// The model that a worker holds.
pub(crate) fn painter() -> PathBuf {
    fixtures().join("models/painter")
}

/// Two steps, and nothing that steers them.
pub(crate) fn sampling() -> Sampling {
    Sampling {
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
        loras: Vec::new(),
        embeddings: Vec::new(),
        controls: Vec::new(),
    }
}

impl Worker {
    /// Starts it and has it load the model.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outframe-engine"))
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut worker = Self { child, input, output };
        let (device, precision) = ("cpu".into(), "f32".into());
        let load = Request::Load { id: 1, model: painter(), device, precision, threads: Some(1), vae: None };
        assert!(matches!(worker.ask(&Frame::new(load)).header, Event::Loaded { .. }));
        worker
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Frame<Request>) -> Frame<Event> {
        frame::write(&mut self.input, request).unwrap();
        loop {
            let event: Frame<Event> = frame::read(&mut self.output).unwrap();
            if !matches!(event.header, Event::Progress { .. }) {
                return event;
            }
        }
    }

    /// A picture of 16 by 16 pixels, as job 7; with the pictures of its `ControlNet`s.
    pub(crate) fn paint(&mut self, sampling: Sampling, pictures: Vec<Vec<u8>>) -> Frame<Event> {
        let job = GenerateJob { sampling, width: 16, height: 16 };
        self.ask(&Frame::with(Request::Generate { id: 7, job }, pictures))
    }
}
