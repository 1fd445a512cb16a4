use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// A network's tensors by name and shape.
type Shapes = Vec<(String, Vec<usize>)>;

fn conv(name: &str, outputs: usize, inputs: usize) -> Shapes {
    vec![(format!("{name}.weight"), vec![outputs, inputs, 3, 3]), (format!("{name}.bias"), vec![outputs])]
}

fn compact(features: usize, convs: usize, scale: usize) -> Shapes {
    let mut shapes = Vec::new();
    for index in 0..=convs {
        shapes.extend(conv(&format!("body.{}", 2 * index), features, if index == 0 { 3 } else { features }));
        shapes.push((format!("body.{}.weight", 2 * index + 1), vec![features]));
    }
    shapes.extend(conv(&format!("body.{}", 2 * convs + 2), 3 * scale * scale, features));
    shapes
}

fn dense(features: usize, growth: usize, blocks: usize, inputs: usize) -> Shapes {
    let mut shapes = conv("conv_first", features, inputs);
    for block in 0..blocks {
        for part in 1..=3 {
            for index in 1..=5 {
                let name = format!("body.{block}.rdb{part}.conv{index}");
                let outputs = if index == 5 { features } else { growth };
                shapes.extend(conv(&name, outputs, features + (index - 1) * growth));
            }
        }
    }
    for name in ["conv_body", "conv_up1", "conv_up2", "conv_hr"] {
        shapes.extend(conv(name, features, features));
    }
    shapes.extend(conv("conv_last", 3, features));
    shapes
}

/// Writes random weights of these shapes.
fn file(shapes: &Shapes, prefix: &str) -> tempfile::NamedTempFile {
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) - 0.5
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .iter()
        .map(|(name, shape)| {
            let fan: usize = shape.iter().skip(1).product();
            // Activations keep about the size of the picture's values.
            let size = if fan > 1 { 3.4 / (fan as f64).sqrt() } else { 0.5 };
            let count: usize = shape.iter().product();
            let bytes = (0..count).flat_map(|_| ((random() * size) as f32).to_le_bytes()).collect();
            (format!("{prefix}{name}"), shape.clone(), bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), safetensors::serialize(views, None).unwrap()).unwrap();
    file
}

fn load(shapes: &Shapes) -> Result<Upscaler, Error> {
    Upscaler::load(file(shapes, "").path(), &LoadOptions::default())
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 37 + y * 11) as u8, (x * x + 3 * y) as u8, if (x / 5 + y / 7) % 2 == 0 { 220 } else { 30 }])
    })
}

fn go(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// How much two pictures differ at most.
fn difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn tiles_show_no_seam() {
    for (shapes, factors) in [
        (compact(8, 3, 4), vec![4, 3, 2]),
        (compact(6, 2, 2), vec![2]),
        (dense(8, 4, 1, 3), vec![4, 2]),
        (dense(8, 4, 1, 12), vec![2]),
    ] {
        let upscaler = load(&shapes).unwrap();
        let image = picture(61, 47);
        for factor in factors {
            let whole = upscaler.run(&image, factor, 1024, 0, &mut go).unwrap().image;
            assert_eq!(whole.dimensions(), (61 * factor, 47 * factor));
            let tiled = upscaler.run(&image, factor, 16, upscaler.network.reach(), &mut go).unwrap().image;
            assert!(difference(&whole, &tiled) <= 1, "{factor}: {}", difference(&whole, &tiled));
            // The test would notice a seam: without surroundings there is one.
            let cut = upscaler.run(&image, factor, 16, 0, &mut go).unwrap().image;
            assert!(difference(&whole, &cut) > 2, "{factor}");
        }
    }
}

#[test]
fn kinds_and_scales_are_told_from_the_file() {
    assert_eq!(load(&compact(4, 2, 4)).unwrap().scale(), 4);
    assert_eq!(load(&compact(4, 2, 2)).unwrap().scale(), 2);
    assert_eq!(load(&dense(4, 2, 2, 3)).unwrap().scale(), 4);
    assert_eq!(load(&dense(4, 2, 1, 12)).unwrap().scale(), 2);
    let averaged = file(&dense(4, 2, 1, 3), "params_ema.");
    assert_eq!(Upscaler::load(averaged.path(), &LoadOptions::default()).unwrap().scale(), 4);
}

#[test]
fn foreign_and_hostile_files_are_named() {
    let mut no_bias = compact(4, 2, 4);
    no_bias.retain(|(name, _)| name != "body.2.bias");
    let mut wrong = dense(4, 2, 1, 3);
    wrong.retain(|(name, _)| name != "body.0.rdb2.conv3.weight");
    wrong.push(("body.0.rdb2.conv3.weight".into(), vec![2, 5, 3, 3]));
    let mut extra = compact(4, 2, 4);
    extra.extend(conv("attention", 4, 4));
    let blocks =
        (0..200).flat_map(|block| conv(&format!("body.{block}.rdb1.conv1"), 1, 1)).chain(conv("conv_first", 1, 3));
    for (shapes, word) in [
        (conv("unet", 4, 4), "SRVGGNetCompact"),
        (no_bias, "body.2.bias"),
        (wrong, "body.0.rdb2.conv3.weight"),
        (extra, "attention"),
        (compact(4, 0, 3).split_off(3), "SRVGGNetCompact"),
        (vec![("body.0.weight".into(), vec![4, 3])], "3x3"),
        (vec![("body.0.weight".into(), vec![600, 3, 3, 3])], "512"),
        (conv("body.0", 4, 3), "single"),
        (dense(4, 2, 1, 48), "48"),
        (blocks.collect(), "128"),
    ] {
        let error = load(&shapes).unwrap_err();
        assert!(!matches!(error, Error::Internal { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(word) && !text.contains("config.json"), "{word}: {text}");
    }
    let upscaler = load(&compact(4, 1, 4)).unwrap();
    for (width, height, factor) in [(4097, 4, 4), (4, 8193, 2), (0, 4, 4), (4, 4, 5), (4, 4, 1)] {
        let refused = upscaler.upscale(&RgbImage::new(width, height), factor, &mut go);
        assert!(matches!(refused, Err(Error::Request(_))), "{width}x{height}, {factor}");
    }
}

#[test]
fn each_tile_is_told_and_can_be_the_last() {
    let upscaler = load(&compact(4, 1, 2)).unwrap();
    let image = picture(300, 290);
    let mut seen = Vec::new();
    upscaler
        .upscale(&image, 2, &mut |progress| {
            seen.push((progress.step, progress.steps));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]);
    let mut calls = 0;
    let stopped = upscaler.upscale(&image, 2, &mut |progress| {
        calls += 1;
        if progress.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Error::Cancelled)) && calls == 3);
}

proptest! {
    #[test]
    fn tiles_cover_each_pixel_once(
        width in 1u32..300, height in 1u32..300, core in 1u32..120, margin in 0u32..40, multiple in 1u32..3,
    ) {
        let plan = tiles(width, height, core, margin, multiple);
        let mut covered = vec![0_u8; (width * height) as usize];
        for Tile { inner, outer } in plan {
            prop_assert!(inner.x >= outer.x && inner.x + inner.width <= outer.x + outer.width);
            prop_assert!(inner.y >= outer.y && inner.y + inner.height <= outer.y + outer.height);
            prop_assert!([outer.x, outer.y, outer.width, outer.height].iter().all(|n| n.is_multiple_of(multiple)));
            prop_assert!(outer.x + outer.width < width + multiple && outer.y + outer.height < height + multiple);
            for y in inner.y..inner.y + inner.height {
                for x in inner.x..inner.x + inner.width {
                    covered[(y * width + x) as usize] += 1;
                }
            }
        }
        prop_assert!(covered.iter().all(|count| *count == 1));
    }
}
