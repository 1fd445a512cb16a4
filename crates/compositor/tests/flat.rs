//! The flat canvas: exact codes, blending against a plain reference, scaling, tiles, what is loaded and kept.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail")]

mod support;

use std::sync::{Arc, atomic::Ordering};

use image::{GrayImage, Luma, Rgba, RgbaImage, imageops};
use outframe_compositor::{
    AdapterChoice, Compositor, Error, Filter, FlatView, Options, Picture, PictureSource, Unpainted,
};
use outframe_document::{BlendMode, BlobId, Color, Rect};
use support::{Dice, Stage, Studio, decode, difference, encode, random_stage, reference};
use tokio_util::sync::CancellationToken;

fn every_code() -> RgbaImage {
    RgbaImage::from_fn(64, 16, |x, y| {
        let code = (y * 16 + x % 16) as u8;
        Rgba(match x / 16 {
            0 => [code, code, code, 255],
            1 => [code, 255 - code, 7, 255],
            2 => [0, code, 255, 255],
            _ => [code.wrapping_mul(3), 255, code, 255],
        })
    })
}

#[test]
fn opaque_pixels_keep_their_codes() {
    let studio = Studio::new();
    for (x, y) in [(0, 0), (-37, 511), (1_000_003, -999_999), (1 << 39, -(1 << 39))] {
        let stage = Stage::of(x, y, every_code());
        assert_eq!(studio.flat(&stage, &FlatView::pixels(x, y, 64, 16)), every_code(), "at ({x}, {y})");
        let mut view = FlatView::pixels(x, y, 64, 16);
        (view.dither, view.filter) = (true, Filter::Crisp);
        assert_eq!(studio.flat(&stage, &view), every_code(), "dither leaves exact codes alone");
    }
    let stage = Stage::of(0, 0, every_code());
    let source: Arc<dyn PictureSource> = stage.source();
    let view = FlatView::pixels(0, 0, 64, 16);
    let cancel = CancellationToken::new();
    let deep = studio.wait(studio.compositor.flat_deep(&stage.scene(), &source, &view, &cancel)).unwrap();
    for (deep, code) in deep.rgba.iter().zip(every_code().into_raw()) {
        assert!(deep.abs_diff(u16::from(code) * 257) <= 40, "{deep} for {code}");
    }
}

#[test]
fn light_is_mixed_linearly() {
    let studio = Studio::new();
    let mut stage = Stage::of(0, 0, RgbaImage::from_pixel(8, 8, Rgba([0, 0, 0, 255])));
    stage.layer().opacity = 0.5;
    stage.patch(Rect::new(0, 0, 8, 8), RgbaImage::from_pixel(8, 8, Rgba([255; 4])));
    let mixed = studio.flat(&stage, &FlatView::pixels(0, 0, 8, 8));
    assert!(mixed.pixels().all(|pixel| pixel.0 == [188, 188, 188, 255]));
    // The same with the background below.
    stage.document.layers.remove(0);
    stage.document.canvas.background = Some(Color { r: 0, g: 0, b: 0, a: 255 });
    assert_eq!(studio.flat(&stage, &FlatView::pixels(0, 0, 8, 8)), mixed);
    let empty = studio.flat(&Stage::default(), &FlatView::pixels(-5, -5, 3, 3));
    assert!(empty.pixels().all(|pixel| pixel.0 == [0; 4]));
}

#[test]
fn blend_modes_follow_the_specification() {
    let studio = Studio::new();
    for (number, mode) in BlendMode::ALL.into_iter().enumerate() {
        for (run, opacity) in [1.0, 0.37].into_iter().enumerate() {
            let mut dice = Dice::new((number * 2 + run) as u64);
            let mut stage = Stage::of(0, 0, dice.noise(96, 96, false));
            let layer = stage.layer();
            (layer.opacity, layer.blend) = (opacity, mode);
            stage.patch(Rect::new(0, 0, 96, 96), dice.noise(96, 96, false));
            let rect = Rect::new(0, 0, 96, 96);
            let apart = difference(&studio.flat(&stage, &FlatView::pixels(0, 0, 96, 96)), &reference(&stage, rect));
            assert!(apart <= 1.0, "{mode:?} at {opacity}: {apart} codes");
        }
    }
}

#[test]
fn layers_masks_and_groups_are_put_together_as_the_reference_does() {
    let studio = Studio::new();
    for seed in 0..9 {
        let mut stage = random_stage(seed, |dice, width, height| dice.noise(width, height, false));
        if seed % 3 == 0 {
            stage.document.canvas.background = Some(Color { r: 250, g: 90, b: 20, a: 200 });
        }
        let rect = Rect::new(-130, -100, 170, 140);
        let apart = difference(&studio.flat(&stage, &FlatView::pixels(-130, -100, 170, 140)), &reference(&stage, rect));
        assert!(apart <= 1.5, "document {seed}: {apart} codes");
    }
}

#[test]
fn a_fine_checker_far_away_is_grey() {
    let studio = Studio::new();
    let checker = RgbaImage::from_fn(1024, 1024, |x, y| {
        let code = if (x + y) % 2 == 0 { 255 } else { 0 };
        Rgba([code, code, code, 255])
    });
    let stage = Stage::of(-3, 5, checker);
    for scale in [7.0, 7.3, 4.0, 3.1, 2.0, 11.9] {
        let mut view = FlatView::pixels(0, 10, 128, 64);
        (view.x, view.width, view.height) = (0.4, 64.0 * scale, 32.0 * scale);
        (view.out_width, view.out_height) = (64, 32);
        for pixel in studio.flat(&stage, &view).pixels() {
            assert!(pixel.0[0].abs_diff(188) <= 1 && pixel.0[3] == 255, "{pixel:?} at 1/{scale}");
        }
    }
}

#[test]
fn tiles_fit_together_bit_for_bit() {
    let studio = Studio::new();
    for (seed, level) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, -1), (6, -2)] {
        let mut stage = random_stage(seed, Dice::picture);
        stage.document.canvas.background = Some(Color { r: 20, g: 90, b: 20, a: 100 });
        for filter in [Filter::Smooth, Filter::Crisp] {
            let side = 40;
            let tile = |x, y, count| {
                let mut view = FlatView::tile(level, x, y, side, filter);
                (view.width, view.height) = (view.width * f64::from(count), view.height * f64::from(count));
                (view.out_width, view.out_height) = (side * count, side * count);
                view.dither = true;
                studio.flat(&stage, &view)
            };
            let whole = tile(-2, -1, 3);
            for (x, y) in (0..3).flat_map(|y| (0..3).map(move |x| (x, y))) {
                let part = imageops::crop_imm(&whole, x * side, y * side, side, side).to_image();
                assert_eq!(tile(i64::from(x) - 2, i64::from(y) - 1, 1), part, "level {level}, {filter:?}, ({x}, {y})");
            }
        }
    }
}

#[test]
fn outputs_of_several_blocks_have_no_joins() {
    let studio = Studio::new();
    let mut dice = Dice::new(77);
    let stage = Stage::of(0, 0, dice.noise(700, 300, true));
    // 2100 x 900 pixels are more than one block; strips of it are others.
    let view =
        FlatView { width: 700.0, height: 300.0, out_width: 2100, out_height: 900, ..FlatView::pixels(0, 0, 1, 1) };
    let whole = studio.flat(&stage, &view);
    let strip = FlatView { y: 100.0, height: 100.0, out_height: 300, ..view };
    assert_eq!(studio.flat(&stage, &strip), imageops::crop_imm(&whole, 0, 300, 2100, 300).to_image());
}

#[test]
fn patches_that_touch_have_no_seam() {
    let studio = Studio::new();
    let color = Rgba([200, 100, 50, 255]);
    let mut stage = Stage::default();
    stage.layer();
    for (x, y) in (0..5).flat_map(|y| (0..7).map(move |x| (x, y))) {
        let rect = Rect::new(x * 131 - 300, y * 97 - 200, 131, 97);
        stage.patch(rect, RgbaImage::from_pixel(131, 97, color));
    }
    for scale in [0.31, 0.9, 1.0, 1.37, 2.0, 2.9, 3.7, 5.3, 9.1] {
        let mut view = FlatView::pixels(0, 0, 1, 1);
        (view.x, view.y) = (-299.3, -199.6);
        (view.out_width, view.out_height) = ((915.0 / scale) as u32, (483.0 / scale) as u32);
        (view.width, view.height) = (f64::from(view.out_width) * scale, f64::from(view.out_height) * scale);
        let out = studio.flat(&stage, &view);
        assert!(out.pixels().all(|pixel| *pixel == color), "a seam at scale {scale}");
    }
}

#[test]
fn a_layer_is_opaque_up_to_its_edge() {
    let studio = Studio::new();
    let color = Rgba([30, 220, 110, 255]);
    let stage = Stage::of(-37, 11, RgbaImage::from_pixel(1023, 577, color));
    for (width, height) in [(1023, 577), (1920, 1080), (640, 360), (311, 99), (64, 36), (1, 1)] {
        let view = FlatView {
            x: -37.0,
            y: 11.0,
            width: 1023.0,
            height: 577.0,
            out_width: width,
            out_height: height,
            filter: Filter::Smooth,
            dither: false,
        };
        let out = studio.flat(&stage, &view);
        assert!(out.pixels().all(|pixel| *pixel == color), "{width} x {height}");
    }
    // An edge in the middle of a pixel covers half of it.
    let half = FlatView {
        x: -37.5,
        width: 4.0,
        out_width: 4,
        height: 4.0,
        out_height: 4,
        y: 20.0,
        ..FlatView::pixels(0, 0, 1, 1)
    };
    assert_eq!(studio.flat(&stage, &half).get_pixel(0, 0).0, [30, 220, 110, 128]);
}

#[test]
fn enlargements_are_crisp_or_smooth() {
    let studio = Studio::new();
    let mut dice = Dice::new(5);
    let picture = dice.noise(20, 20, true);
    let stage = Stage::of(0, 0, picture.clone());
    let mut view = FlatView::pixels(5, 5, 10, 10);
    (view.out_width, view.out_height, view.filter) = (80, 80, Filter::Crisp);
    let crisp = studio.flat(&stage, &view);
    for (x, y, pixel) in crisp.enumerate_pixels() {
        assert_eq!(pixel, picture.get_pixel(5 + x / 8, 5 + y / 8));
    }
    view.filter = Filter::Smooth;
    let smooth = studio.flat(&stage, &view);
    for (x, y, pixel) in smooth.enumerate_pixels() {
        let at = |v: u32| 5.0 + (f64::from(v) + 0.5) / 8.0 - 0.5;
        let (u, v) = (at(x), at(y));
        let light = |i: f64, j: f64| decode(picture.get_pixel(i as u32, j as u32).0[1]);
        let (i, j) = (u.floor(), v.floor());
        let (f, g) = (u - i, v - j);
        let upper = light(i, j) * (1.0 - f) + light(i + 1.0, j) * f;
        let lower = light(i, j + 1.0) * (1.0 - f) + light(i + 1.0, j + 1.0) * f;
        let expected = encode(upper * (1.0 - g) + lower * g);
        assert!((f64::from(pixel.0[1]) - expected).abs() <= 1.0, "{pixel:?} {expected}");
    }
}

#[test]
fn pictures_are_scaled_to_their_place() {
    let studio = Studio::new();
    let mut dice = Dice::new(8);
    for (from, to) in [((40, 30), (117, 91)), ((200, 120), (70, 33)), ((50, 90), (150, 45)), ((1, 1), (9, 9))] {
        let picture = dice.noise(from.0, from.1, true);
        let mut stage = Stage::default();
        stage.layer();
        stage.patch(Rect::new(-20, 500, to.0, to.1), picture.clone());
        let expected = imageops::resize(&picture, to.0, to.1, imageops::FilterType::CatmullRom);
        let apart = difference(&studio.flat(&stage, &FlatView::pixels(-20, 500, to.0, to.1)), &expected);
        // One axis smaller and the other larger is done in two steps, with codes between them.
        assert!(apart <= 3.0, "{from:?} to {to:?}: {apart} codes");
    }
    // Masks too, of another size than their picture's.
    let mut stage = Stage::default();
    stage.layer();
    let grey = GrayImage::from_fn(10, 1, |x, _| Luma([if x < 5 { 0 } else { 255 }]));
    stage.patch_masked(Rect::new(0, 0, 100, 50), dice.noise(100, 50, true), Some(grey));
    let out = studio.flat(&stage, &FlatView::pixels(0, 0, 100, 50));
    assert!(out.get_pixel(30, 20).0[3] == 0 && out.get_pixel(70, 20).0[3] == 255);
}

#[test]
fn deep_pictures_keep_more_than_eight_bits() {
    let studio = Studio::new();
    let ramp = image::ImageBuffer::<Rgba<u16>, _>::from_fn(512, 4, |x, _| {
        let code = 20_000 + 32 * x as u16;
        Rgba([code, code, code, 65_535])
    });
    let mut stage = Stage::default();
    stage.layer();
    stage.patch(Rect::new(0, 0, 512, 4), ramp);
    let source: Arc<dyn PictureSource> = stage.source();
    let view = FlatView::pixels(0, 0, 512, 4);
    let cancel = CancellationToken::new();
    let deep = studio.wait(studio.compositor.flat_deep(&stage.scene(), &source, &view, &cancel)).unwrap();
    let mut codes: Vec<u16> = deep.rgba[..512 * 4].chunks_exact(4).map(|pixel| pixel[0]).collect();
    for (x, code) in codes.iter().enumerate() {
        assert!(code.abs_diff(20_000 + 32 * x as u16) <= 30, "{code} at {x}");
    }
    codes.dedup();
    assert!(codes.len() > 400, "only {} different codes", codes.len());
}

#[test]
fn only_what_a_view_touches_is_loaded_and_little_is_kept() {
    let studio = Studio::with_budget(24 << 20);
    let mut dice = Dice::new(3);
    let mut stage = Stage::default();
    stage.layer();
    for number in 0..100 {
        stage.patch(Rect::new(number % 10 * 512, number / 10 * 512, 512, 512), dice.noise(512, 512, true));
    }
    let (scene, pictures) = (stage.scene(), stage.source());
    let source: Arc<dyn PictureSource> = pictures.clone();
    let cancel = CancellationToken::new();
    let tile = |x: i64, y: i64| {
        let view = FlatView::pixels(x * 512, y * 512, 512, 512);
        studio.wait(studio.compositor.flat(&scene, &source, &view, &cancel)).unwrap()
    };
    let first = tile(4, 4);
    assert_eq!(pictures.loads.load(Ordering::SeqCst), 1);
    assert_eq!(tile(4, 4), first);
    assert_eq!(pictures.loads.load(Ordering::SeqCst), 1, "kept");
    for y in 0..5 {
        for x in 0..5 {
            tile(x, y);
        }
    }
    let statistics = studio.compositor.statistics();
    assert!(statistics.resident_bytes <= 24 << 20, "{statistics:?}");
    assert!(statistics.evictions > 0 && statistics.uploads >= 25, "{statistics:?}");
    assert_eq!(tile(4, 4), first, "loaded again");
    // An edit elsewhere makes nothing new here.
    let loads = pictures.loads.load(Ordering::SeqCst);
    stage.document.layers[0].patches.remove(99);
    let view = FlatView::pixels(4 * 512, 4 * 512, 512, 512);
    studio.wait(studio.compositor.flat(&stage.scene(), &source, &view, &cancel)).unwrap();
    assert_eq!(pictures.loads.load(Ordering::SeqCst), loads);
}

#[test]
fn large_pictures_are_split() {
    let studio = Studio::new();
    let wide = RgbaImage::from_fn(9000, 40, |x, y| Rgba([(x % 251) as u8, (x / 251) as u8, y as u8, 255]));
    let stage = Stage::of(-100, 7, wide.clone());
    let out = studio.flat(&stage, &FlatView::pixels(4000 - 100, 7, 200, 40));
    assert_eq!(out, imageops::crop_imm(&wide, 4000, 0, 200, 40).to_image());
    assert_eq!(studio.compositor.statistics().uploads, 2, "only the parts that are seen");
    assert_eq!(studio.flat(&stage, &FlatView::pixels(-100, 7, 9000, 40)), wide);
    // Enlarged over the joints of the parts.
    let mut stage = Stage::default();
    stage.layer();
    let small = Dice::new(2).noise(900, 4, true);
    stage.patch(Rect::new(0, 0, 9000, 40), small.clone());
    let expected = imageops::resize(&small, 9000, 40, imageops::FilterType::CatmullRom);
    assert!(difference(&studio.flat(&stage, &FlatView::pixels(0, 0, 9000, 40)), &expected) <= 2.0);
}

#[test]
fn a_lost_device_is_replaced() {
    let studio = Studio::new();
    let stage = random_stage(9, Dice::picture);
    let view = FlatView::pixels(-150, -150, 300, 300);
    let before = studio.flat(&stage, &view);
    studio.wait(studio.compositor.lose_device()).unwrap();
    assert_eq!(studio.flat(&stage, &view), before);
    assert_eq!(studio.compositor.statistics().recreated_devices, 1);
    assert_eq!(studio.flat(&stage, &view), before);
    assert_eq!(studio.compositor.statistics().recreated_devices, 1);
}

#[test]
fn callers_may_come_at_once_and_go_away() {
    let studio = Studio::new();
    let stage = random_stage(21, Dice::picture);
    let scene = stage.scene();
    let source: Arc<dyn PictureSource> = stage.source();
    let view = |i: i64| FlatView::pixels(i * 40 - 200, -100, 120, 90);
    let expected: Vec<_> = (0..8).map(|i| studio.flat(&stage, &view(i))).collect();
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let (compositor, scene, source) = (studio.compositor.clone(), Arc::clone(&scene), Arc::clone(&source));
            async move {
                tokio::spawn(async move { compositor.flat(&scene, &source, &view(i), &CancellationToken::new()).await })
                    .await
            }
        })
        .collect();
    let found = studio.wait(async {
        let mut found = Vec::new();
        for task in tasks {
            found.push(support::image(task.await.unwrap().unwrap()));
        }
        found
    });
    assert_eq!(found, expected);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let answer = studio.wait(studio.compositor.flat(&scene, &source, &view(0), &cancel));
    assert_eq!(answer, Err(Error::Cancelled));
}

#[test]
fn a_view_in_the_works_can_be_cancelled() {
    struct Slow(CancellationToken);
    impl PictureSource for Slow {
        fn load(&self, _: &BlobId) -> Result<image::DynamicImage, String> {
            self.0.cancel();
            Ok(RgbaImage::new(600, 600).into())
        }
    }
    let studio = Studio::new();
    let stage = Stage::of(0, 0, RgbaImage::new(600, 600));
    let cancel = CancellationToken::new();
    let source: Arc<dyn PictureSource> = Arc::new(Slow(cancel.clone()));
    let view = FlatView::pixels(0, 0, 600, 600);
    let answer = studio.wait(studio.compositor.flat(&stage.scene(), &source, &view, &cancel));
    assert_eq!(answer, Err(Error::Cancelled));
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let studio = Studio::new();
    let mut stage = Stage::of(0, 0, RgbaImage::new(4, 4));
    let cancel = CancellationToken::new();
    let ask = |stage: &Stage, view: &FlatView| {
        let source: Arc<dyn PictureSource> = stage.source();
        studio.wait(studio.compositor.flat(&stage.scene(), &source, view, &cancel))
    };
    let view = FlatView::pixels(0, 0, 4, 4);
    assert!(matches!(ask(&stage, &FlatView { out_width: 0, ..view }), Err(Error::View(_))));
    assert!(matches!(ask(&stage, &FlatView { x: f64::NAN, ..view }), Err(Error::View(_))));
    assert!(matches!(ask(&stage, &FlatView { width: -4.0, ..view }), Err(Error::View(_))));
    let huge = FlatView { out_width: 60_000, out_height: 60_000, ..view };
    assert!(matches!(ask(&stage, &huge), Err(Error::TooLarge { width: 60_000, .. })));
    stage.pictures.clear();
    let error = ask(&stage, &view).unwrap_err();
    assert!(matches!(error, Error::Picture { .. }) && error.to_string().contains("it is not there"), "{error}");
    // And nothing of it stays behind.
    let stage = Stage::of(0, 0, every_code());
    assert_eq!(support::image(ask(&stage, &FlatView::pixels(0, 0, 64, 16)).unwrap()), every_code());
}

#[test]
fn adapters_are_chosen() {
    let studio = Studio::new();
    let name = studio.compositor.adapter().name;
    let choose = |choice: &str| {
        let options = Options { adapter: choice.parse().unwrap(), ..Options::default() };
        studio.wait(Compositor::new(options))
    };
    assert_eq!(choose(&name.to_uppercase()).unwrap().adapter().name, name);
    match choose("no such card") {
        Err(Error::UnknownAdapter { wanted, found }) => assert!(wanted == "no such card" && found.contains(&name)),
        other => panic!("{other:?}"),
    }
    assert_eq!("software".parse(), Ok(AdapterChoice::Software));
    let none = Error::NoAdapter { tried: String::new() }.to_string();
    assert!(none.contains("mesa-vulkan-drivers"), "{none}");
}

#[test]
fn pictures_fade_into_each_other_in_light() {
    let studio = Studio::new();
    let of = |code: u8| Arc::new(Picture { width: 5, height: 3, rgba: [code, code, code, 255].repeat(15) });
    let (black, white, cancel) = (of(0), of(255), CancellationToken::new());
    let fade = |share| studio.wait(studio.compositor.cross_fade(&black, &white, share, &cancel));
    assert_eq!(fade(0.0).unwrap(), *black);
    assert_eq!(fade(0.5).unwrap().rgba, [188, 188, 188, 255].repeat(15));
    assert_eq!(fade(1.0).unwrap(), *white);
    assert!(matches!(fade(1.5), Err(Error::View(_))));
    assert_eq!(Unpainted::default(), Unpainted::Transparent);
}
