use super::*;

use image::{GrayImage, Rgb, RgbaImage};
use outframe_document::{GenerationKind, GenerationRequest};

use crate::{Painting, TakeImage};

/// The tensors of a `SafeTensors` file of bytes, with their shapes.
fn fixture() -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/control/pictures/io.safetensors");
    let file = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    let entries = header.iter().filter(|(name, _)| *name != "__metadata__");
    entries
        .map(|(name, entry)| {
            assert_eq!(entry["dtype"], "U8");
            let at = |i: usize| 8 + length + number(&entry["data_offsets"][i]);
            let shape = entry["shape"].as_array().unwrap().iter().map(number).collect();
            (name.clone(), shape, file[at(0)..at(1)].to_vec())
        })
        .collect()
}

/// The pictures of `tests/parity/make_fixtures_control.py`.
fn drawing(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (i64::from(x) - i64::from(width / 2), i64::from(y) - i64::from(height / 2));
        let disc = (dx * dx + dy * dy) * 9 < i64::from(width.min(height)).pow(2);
        Rgb([
            ((x * 255 / width + seed * 40) % 256) as u8,
            if disc { 220 } else { (y * 255 / height) as u8 },
            if (x / 9 + y / 7 + seed).is_multiple_of(3) { 255 } else { 30 },
        ])
    })
}

#[test]
fn edges_are_those_of_opencv() {
    let fixture = fixture();
    let of = |wanted: &str| fixture.iter().find(|(name, ..)| name == wanted).unwrap();
    let mut compared = 0;
    for (name, shape, theirs) in fixture.iter().filter(|(name, ..)| name.starts_with("edges_")) {
        let ours: GrayImage = if name == "edges_noisy" {
            let (_, shape, bytes) = of("noisy");
            canny(&RgbImage::from_raw(shape[1] as u32, shape[0] as u32, bytes.clone()).unwrap(), 100, 200)
        } else {
            let numbers: Vec<u32> = name.split('_').skip(1).map(|part| part.parse().unwrap()).collect();
            canny(&drawing(shape[1] as u32, shape[0] as u32, numbers[0]), numbers[1], numbers[2])
        };
        assert_eq!((ours.height() as usize, ours.width() as usize), (shape[0], shape[1]));
        let edges = theirs.iter().map(|value| usize::from(*value == 255)).sum::<usize>();
        let unequal = ours.as_raw().iter().zip(theirs).filter(|(a, b)| a != b).count();
        println!("{name}: {unequal} of {} pixels differ, {edges} edges", theirs.len());
        assert!(edges > 50 && unequal == 0, "{name}: {unequal} of {} differ, {edges} edges", theirs.len());
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn small_pictures_have_edges_too() {
    for (width, height) in [(1, 1), (1, 7), (7, 1), (2, 2)] {
        let edges = canny(&drawing(width, height, 1), 10, 20);
        assert_eq!(edges.dimensions(), (width, height));
        assert!(edges.pixels().all(|pixel| matches!(pixel.0[0], 0 | 255)));
    }
    assert!(canny(&RgbImage::from_pixel(9, 9, Rgb([7, 80, 3])), 0, 0).pixels().all(|pixel| pixel.0[0] == 0));
}

#[test]
fn a_window_sees_its_part_of_a_picture() {
    // A picture that tells its places: 64x32 over a canvas of 256x128 that begins at -40, 10.
    let picture = RgbImage::from_fn(64, 32, |x, y| Rgb([(x * 4) as u8, (y * 8) as u8, 200]));
    let over = Rect::new(-40, 10, 256, 128);
    let whole = crop(&picture, over, over, (64, 32)).unwrap();
    assert_eq!(whole, picture);
    // The right half at the picture's own scale, and a window that reaches beyond it.
    let half = crop(&picture, over, Rect::new(88, 10, 128, 128), (32, 32)).unwrap();
    assert_eq!(half, imageops::crop_imm(&picture, 32, 0, 32, 32).to_image());
    let beyond = crop(&picture, over, Rect::new(-168, 10, 256, 128), (64, 32)).unwrap();
    assert_eq!(
        imageops::crop_imm(&beyond, 32, 0, 32, 32).to_image(),
        imageops::crop_imm(&picture, 0, 0, 32, 32).to_image()
    );
    assert!(imageops::crop_imm(&beyond, 0, 0, 32, 32).to_image().pixels().all(|pixel| pixel.0 == [0; 3]));
    // Where it sees nothing of it, and where less than a pixel.
    let nothing = crop(&picture, over, Rect::new(1000, 0, 8, 8), (8, 8)).unwrap();
    assert!(nothing.pixels().all(|pixel| pixel.0 == [0; 3]));
    for window in [Rect::new(215, 137, 512, 512), Rect::new(-551, -501, 512, 512)] {
        assert_eq!(crop(&picture, over, window, (16, 16)).unwrap().dimensions(), (16, 16));
    }
}

fn network() -> ControlEntry {
    ControlEntry { name: "edges".into(), path: "/models/edges.safetensors".into() }
}

#[test]
fn what_steered_a_picture_is_kept_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.outframe");
    let mut project = Project::create(&file, "a").unwrap();
    let control = Control {
        scale: 0.8,
        start: 0.1,
        end: 0.6,
        prepare: Prepare::Canny { low: 100, high: 200 },
        ..Control::new(network(), drawing(40, 20, 1))
    };
    let steering = Steering::new(std::slice::from_ref(&control), Rect::new(0, 0, 32, 16)).unwrap();
    let (told, pictures) = steering.for_window(Rect::new(0, 0, 32, 16), (32, 16)).unwrap();
    assert_eq!((told[0].path.clone(), told[0].scale, told[0].start, told[0].end), (network().path, 0.8, 0.1, 0.6));
    assert_eq!((told[0].picture.width, pictures[0].dimensions()), (32, (32, 16)));
    assert_eq!(pictures[0], crop(&control.prepared(), Rect::new(0, 0, 1, 1), Rect::new(0, 0, 1, 1), (32, 16)).unwrap());
    let request = GenerationRequest { kind: GenerationKind::TextToImage, ..GenerationRequest::default() };
    let mut provenance = Provenance { request, ..Provenance::default() };
    let control_pictures = steering.record(&mut provenance);
    let image = RgbImage::new(32, 16);
    let takes = vec![TakeImage { image, prompt: String::new(), seed: 1, seconds: 0.0 }];
    Painting { takes, provenance, control_pictures }.place(&mut project).unwrap();
    // It survives what removes all that nothing names.
    project.compact().unwrap();
    project.close().unwrap();

    let project = Project::open(&file).unwrap();
    let generation = project.document().generations.values().next().unwrap();
    let kept = generation.provenance.request.controls[0].clone();
    let picture = image::load_from_memory(&project.blob(&kept.picture).unwrap()).unwrap().into_rgb8();
    assert_eq!(picture, drawing(40, 20, 1));
    let expected = ControlUse {
        network: "edges".into(),
        picture: kept.picture,
        rect: Rect::new(0, 0, 32, 16),
        scale: 0.8,
        start: 0.1,
        end: 0.6,
        canny: Some([100, 200]),
    };
    assert_eq!(kept, expected);
}

#[test]
fn requests_of_before_are_read_and_written_as_they_were() {
    let old = serde_json::to_value(GenerationRequest::default()).unwrap();
    assert!(old.get("controls").is_none());
    let read: GenerationRequest = serde_json::from_value(old.clone()).unwrap();
    assert!(read.controls.is_empty());
    assert_eq!(serde_json::to_value(read).unwrap(), old);
}

#[test]
fn impossible_controls_are_refused() {
    let good = Control::new(network(), drawing(4, 4, 0));
    assert!(check(std::slice::from_ref(&good)).is_ok());
    let canny = |low, high| Control { prepare: Prepare::Canny { low, high }, ..good.clone() };
    for bad in [
        Control { scale: 11.0, ..good.clone() },
        Control { scale: f64::NAN, ..good.clone() },
        Control { start: 0.5, end: 0.5, ..good.clone() },
        Control { end: 1.5, ..good.clone() },
        Control { picture: Arc::new(RgbImage::new(0, 4)), ..good.clone() },
        canny(200, 100),
        canny(0, 5000),
    ] {
        let error = check(&[bad]).unwrap_err().to_string();
        assert!(error.contains("edges"), "{error}");
    }
    assert!(check(&vec![good.clone(); MAX_CONTROLS + 1]).unwrap_err().to_string().contains("at most"));
    assert!(refuse(&[good], "An upscaling").is_err());
}

#[test]
fn networks_are_found_by_name_and_by_path() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str| crate::models::header_of(&[(name, &[1, 3, 3, 3])], &[]);
    let bytes = file("controlnet_cond_embedding.conv_in.weight");
    std::fs::create_dir_all(root.path().join("control/depth")).unwrap();
    std::fs::write(root.path().join("control/edges.safetensors"), file("control_model.input_hint_block.0.weight"))
        .unwrap();
    std::fs::write(root.path().join("bare.safetensors"), file("input_hint_block.0.weight")).unwrap();
    std::fs::write(root.path().join("control/depth/diffusion_pytorch_model.safetensors"), &bytes).unwrap();
    std::fs::write(root.path().join("control/depth/config.json"), "{}").unwrap();
    std::fs::write(root.path().join("lora.safetensors"), file("x.lora_down.weight")).unwrap();
    let models = Models::at(vec![root.path().into()]);
    let names: Vec<_> = models.controls().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["bare", "depth", "edges"]);
    assert_eq!(models.control("depth").unwrap().path, root.path().join("control/depth"));
    let path = root.path().join("control/edges.safetensors");
    assert_eq!(models.control(path.to_str().unwrap()).unwrap().name, "edges");
    let error = models.control("unicorn").unwrap_err().to_string();
    assert!(error.contains("unicorn") && error.contains("bare, depth, edges"), "{error}");
}

#[test]
fn transparent_parts_of_a_picture_are_black() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let picture = RgbaImage::from_fn(2, 1, |x, _| image::Rgba([200, 100, 50, if x == 0 { 255 } else { 0 }]));
    std::fs::write(&path, encode_png(&DynamicImage::ImageRgba8(picture)).unwrap()).unwrap();
    let read = read_control_picture(&path).unwrap();
    assert_eq!((read.get_pixel(0, 0).0, read.get_pixel(1, 0).0), ([200, 100, 50], [0; 3]));
    let error = read_control_picture(&folder.path().join("gone.png")).unwrap_err().to_string();
    assert!(error.contains("gone.png"), "{error}");
}
