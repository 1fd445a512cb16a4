//! Jobs that are steered by a `ControlNet`, through the real worker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]
#![cfg(feature = "worker")]

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use outframe_engine::{Control, Event, FillJob, Frame, GenerateJob, Picture, Request, Sampling, frame};
use serde_json::{Map, Value, json};

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

fn painter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/models/painter")
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

    fn ask(&mut self, request: &Frame<Request>) -> Frame<Event> {
        frame::write(&mut self.input, request).unwrap();
        loop {
            let event: Frame<Event> = frame::read(&mut self.output).unwrap();
            if !matches!(event.header, Event::Progress { .. }) {
                return event;
            }
        }
    }

    fn load(&mut self) {
        let (device, precision) = ("cpu".into(), "f32".into());
        let load = Request::Load { id: 1, model: painter(), device, precision, threads: Some(1), vae: None };
        assert!(matches!(self.ask(&Frame::new(load)).header, Event::Loaded { .. }));
    }

    fn paint(&mut self, controls: Vec<Control>, pictures: Vec<Vec<u8>>) -> Frame<Event> {
        let job = GenerateJob { sampling: sampling(controls), width: 16, height: 16 };
        self.ask(&Frame::with(Request::Generate { id: 7, job }, pictures))
    }
}

fn sampling(controls: Vec<Control>) -> Sampling {
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
        controls,
    }
}

/// A control network as its training begins, the UNet's own way down, but with additions that are not zero.
fn write_control(path: &Path) {
    let file = std::fs::read(painter().join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let data = &file[8 + length..];
    let (mut named, mut bytes) = (Map::new(), Vec::new());
    let mut put = |name: &str, dtype: &Value, shape: &Value, own: &[u8]| {
        let start = bytes.len();
        bytes.extend_from_slice(own);
        named.insert(name.into(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, bytes.len()]}));
    };
    for (name, entry) in &header {
        if ["conv_in.", "time_embedding.", "down_blocks.", "mid_block."].iter().any(|start| name.starts_with(start)) {
            let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            put(name, &entry["dtype"], &entry["shape"], &data[at(0)..at(1)]);
        }
    }
    let mut conv = |name: &str, [outputs, inputs, kernel]: [usize; 3]| {
        let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 400.0;
        let values = |n: usize| (0..n).flat_map(|i| number(i).to_le_bytes()).collect::<Vec<_>>();
        let shape = json!([outputs, inputs, kernel, kernel]);
        put(&format!("{name}.weight"), &json!("F32"), &shape, &values(outputs * inputs * kernel * kernel));
        put(&format!("{name}.bias"), &json!("F32"), &json!([outputs]), &values(outputs));
    };
    let seen = "controlnet_cond_embedding";
    for (name, sizes) in [("conv_in", [16, 3, 3]), ("blocks.0", [16, 16, 3]), ("blocks.1", [32, 16, 3])] {
        conv(&format!("{seen}.{name}"), sizes);
    }
    conv(&format!("{seen}.conv_out"), [32, 32, 3]);
    for i in 0..4 {
        conv(&format!("controlnet_down_blocks.{i}"), [32, 32, 1]);
    }
    conv("controlnet_mid_block", [32, 32, 1]);
    let header = Value::Object(named).to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length, header.as_bytes(), &bytes].concat()).unwrap();
}

#[test]
fn a_job_is_steered_by_its_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.safetensors");
    write_control(&path);
    let picture = Picture { width: 20, height: 10 };
    let control = Control { path: path.clone(), scale: 1.0, start: 0.0, end: 1.0, picture };
    let drawn = |value: u8| (0..600_u32).map(|i| if i % 60 < 30 { 0 } else { value }).collect::<Vec<u8>>();

    let mut worker = Worker::start();
    worker.load();
    let plain = worker.paint(Vec::new(), Vec::new());
    assert!(matches!(plain.header, Event::Done { .. }), "{:?}", plain.header);
    let white = worker.paint(vec![control.clone()], vec![drawn(255)]);
    assert!(matches!(white.header, Event::Done { .. }), "{:?}", white.header);
    assert_ne!(white.attachments, plain.attachments);
    let grey = worker.paint(vec![control.clone()], vec![drawn(90)]);
    assert_ne!(grey.attachments, white.attachments, "the picture counts");
    let both = worker.paint(vec![control.clone(), control.clone()], vec![drawn(255), drawn(90)]);
    assert!(matches!(both.header, Event::Done { .. }), "{:?}", both.header);
    assert!(both.attachments != white.attachments && both.attachments != grey.attachments);
    // Kept while no job asks for it, and not for longer than its file.
    assert_eq!(worker.paint(Vec::new(), Vec::new()).attachments, plain.attachments);
    assert_eq!(worker.paint(vec![control.clone()], vec![drawn(255)]).attachments, white.attachments);
    let gone = Control { path: dir.path().join("gone.safetensors"), ..control.clone() };
    let refused = |event: Frame<Event>, word: &str| match event.header {
        Event::Failed { id: 7, error } => assert!(error.message.contains(word), "{error}"),
        other => panic!("{other:?}"),
    };
    refused(worker.paint(vec![gone], vec![drawn(255)]), "gone.safetensors");
    // Pictures that do not come, or that have another size than is said.
    refused(worker.paint(vec![control.clone()], Vec::new()), "1 ControlNets came with 0 pictures");
    refused(worker.paint(Vec::new(), vec![drawn(255)]), "0 ControlNets came with 1 pictures");
    refused(worker.paint(vec![control.clone()], vec![vec![0; 599]]), "599 bytes");
    let huge = Control { picture: Picture { width: u32::MAX, height: u32::MAX }, ..control.clone() };
    refused(worker.paint(vec![huge], vec![drawn(255)]), "600 bytes");
    refused(worker.paint(vec![Control { scale: 11.0, ..control.clone() }], vec![drawn(255)]), "scale");
    assert_eq!(worker.paint(Vec::new(), Vec::new()).attachments, plain.attachments);

    // A fill has its own two attachments before.
    let fill = |worker: &mut Worker, controls: Vec<Control>, pictures: Vec<Vec<u8>>| {
        let job = FillJob { sampling: sampling(controls), width: 16, height: 16, strength: 1.0 };
        let own = vec![vec![120; 768], vec![255; 256]];
        worker.ask(&Frame::with(Request::Fill { id: 8, job }, own.into_iter().chain(pictures).collect()))
    };
    let free = fill(&mut worker, Vec::new(), Vec::new());
    let led = fill(&mut worker, vec![control], vec![drawn(255)]);
    assert!(matches!((&free.header, &led.header), (Event::Done { .. }, Event::Done { .. })), "{:?}", led.header);
    assert_ne!(free.attachments, led.attachments);
}
