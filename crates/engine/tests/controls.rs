//! Jobs that are steered by a `ControlNet`, through the real worker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]
#![cfg(feature = "worker")]

mod worker;

use std::path::Path;

use outframe_engine::{Control, Event, FillJob, Frame, Picture, Request, Sampling};
use serde_json::{Map, Value, json};
use worker::{Worker, painter};

fn sampling(controls: Vec<Control>) -> Sampling {
    Sampling { controls, ..worker::sampling() }
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
    let mut paint = |controls, pictures| worker.paint(sampling(controls), pictures);
    let plain = paint(Vec::new(), Vec::new());
    assert!(matches!(plain.header, Event::Done { .. }), "{:?}", plain.header);
    let white = paint(vec![control.clone()], vec![drawn(255)]);
    assert!(matches!(white.header, Event::Done { .. }), "{:?}", white.header);
    assert_ne!(white.attachments, plain.attachments);
    let grey = paint(vec![control.clone()], vec![drawn(90)]);
    assert_ne!(grey.attachments, white.attachments, "the picture counts");
    let both = paint(vec![control.clone(), control.clone()], vec![drawn(255), drawn(90)]);
    assert!(matches!(both.header, Event::Done { .. }), "{:?}", both.header);
    assert!(both.attachments != white.attachments && both.attachments != grey.attachments);
    // Kept while no job asks for it, and not for longer than its file.
    assert_eq!(paint(Vec::new(), Vec::new()).attachments, plain.attachments);
    assert_eq!(paint(vec![control.clone()], vec![drawn(255)]).attachments, white.attachments);
    let gone = Control { path: dir.path().join("gone.safetensors"), ..control.clone() };
    let refused = |event: Frame<Event>, word: &str| match event.header {
        Event::Failed { id: 7, error } => assert!(error.message.contains(word), "{error}"),
        other => panic!("{other:?}"),
    };
    refused(paint(vec![gone], vec![drawn(255)]), "gone.safetensors");
    // Pictures that do not come, or that have another size than is said.
    refused(paint(vec![control.clone()], Vec::new()), "1 ControlNets came with 0 pictures");
    refused(paint(Vec::new(), vec![drawn(255)]), "0 ControlNets came with 1 pictures");
    refused(paint(vec![control.clone()], vec![vec![0; 599]]), "599 bytes");
    let huge = Control { picture: Picture { width: u32::MAX, height: u32::MAX }, ..control.clone() };
    refused(paint(vec![huge], vec![drawn(255)]), "600 bytes");
    refused(paint(vec![Control { scale: 11.0, ..control.clone() }], vec![drawn(255)]), "scale");
    assert_eq!(paint(Vec::new(), Vec::new()).attachments, plain.attachments);

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
