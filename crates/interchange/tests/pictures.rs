//! Whole files through the public functions: made by other programs (`make_fixtures.py` says how), and written here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may fail as tests do")]

use std::path::Path;

use image::{DynamicImage, GenericImageView as _, Rgba, RgbaImage};
use outframe_interchange::{
    DigitalSourceType, Error, Format, GenerationMetadata, Limits, Metadata, Picture, WriteMetadata, WriteOptions,
    a1111, from_texts, read_picture, write_jpeg, write_png, write_tiff, write_webp,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn read(name: &str) -> Picture {
    read_picture(&fixture(name), Some(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn expected(name: &str) -> Vec<[u8; 3]> {
    let all: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    serde_json::from_value(all[name].clone()).unwrap()
}

fn rgb(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let [r, g, b, _] = picture.pixels.get_pixel(x, y).0;
    [r, g, b]
}

#[track_caller]
fn near(found: [u8; 3], wanted: [u8; 3], most: u8, what: &str) {
    let far = found.iter().zip(wanted).any(|(a, b)| a.abs_diff(b) > most);
    assert!(!far, "{what}: {found:?} instead of {wanted:?}");
}

/// What the `image` crate makes of the bytes when they are stored as they are.
fn stored_as_is(bytes: &[u8]) -> RgbaImage {
    image::load_from_memory(bytes).unwrap().to_rgba8()
}

#[test]
fn every_orientation_comes_out_upright() {
    let wanted = expected("upright");
    let mut names: Vec<String> = (1..=8).map(|number| format!("orientation-{number}.jpg")).collect();
    names.extend([5, 6].into_iter().flat_map(|n| ["png", "webp", "tif"].map(|kind| format!("orientation-{n}.{kind}"))));
    for name in names {
        let picture = read(&name);
        assert_eq!(picture.size(), (48, 32), "{name}");
        for (at, wanted) in wanted.iter().enumerate() {
            let (x, y) = (at as u32 % 3 * 16 + 8, at as u32 / 3 * 16 + 8);
            near(rgb(&picture, x, y), *wanted, 6, &name);
        }
        let number: u8 = name.bytes().find(u8::is_ascii_digit).unwrap() - b'0';
        assert_eq!(picture.orientation, number, "{name}");
        assert_eq!(picture.lossless_as_is, number == 1, "{name}");
        assert_eq!(picture.metadata.exif.make.as_deref(), Some("Maker"), "{name}");
        assert_eq!(picture.metadata.exif.date_time.as_deref(), Some("2024-05-01 13:37:00"), "{name}");
    }
}

#[test]
#[cfg(feature = "avif")]
fn avif_of_every_orientation_sampling_and_profile() {
    let wanted = expected("upright");
    for number in 1..=8 {
        let name = format!("orientation-{number}.avif");
        let picture = read(&name);
        assert_eq!((picture.size(), picture.orientation), ((48, 32), number), "{name}");
        for (at, wanted) in wanted.iter().enumerate() {
            near(rgb(&picture, at as u32 % 3 * 16 + 8, at as u32 / 3 * 16 + 8), *wanted, 6, &name);
        }
    }
    for name in ["plain.avif", "plain-420.avif", "alpha.avif"] {
        let picture = read(name);
        assert_eq!((picture.size(), picture.bit_depth, picture.lossless_as_is), ((64, 48), 8, false));
        for (at, wanted) in wanted.iter().enumerate() {
            near(rgb(&picture, at as u32 % 3 * 21 + 10, at as u32 / 3 * 24 + 12), *wanted, 12, name);
        }
        let alpha = picture.pixels.get_pixel(30, 20).0[3];
        assert!(alpha.abs_diff(if name == "alpha.avif" { 128 } else { 255 }) <= 1, "{name}: {alpha}");
    }
    let picture = read("adobe.avif");
    assert!(picture.had_profile);
    for (at, wanted) in expected("adobe").iter().enumerate() {
        near(rgb(&picture, at as u32 * 8 + 4, 4), *wanted, 6, "adobe.avif");
    }
}

#[test]
fn inks_are_converted_with_and_without_a_profile() {
    for (name, key, most) in [("cmyk.jpg", "cmyk_ideal", 3), ("cmyk-profile.jpg", "cmyk_profile", 5)] {
        let picture = read(name);
        for (at, wanted) in expected(key).iter().enumerate() {
            near(rgb(&picture, at as u32 * 16 + 8, 8), *wanted, most, name);
        }
        assert!(!picture.lossless_as_is, "{name}");
        assert_eq!(picture.had_profile, name.contains("profile"));
        assert_eq!(picture.warnings, [""; 0], "{name}");
    }
}

#[test]
fn wide_colours_become_srgb_as_littlecms_says() {
    for (name, key, width) in [
        ("p3.png", "p3", 8),
        ("adobe.png", "adobe", 8),
        ("adobe.webp", "adobe", 64),
        ("adobe.tif", "adobe", 64),
        ("adobe-16.png", "adobe", 8),
    ] {
        let picture = read(name);
        assert!(picture.had_profile && !picture.lossless_as_is, "{name}");
        for (at, wanted) in expected(key).iter().enumerate() {
            near(rgb(&picture, at as u32 * (width / 8) + width / 16, 0), *wanted, 2, &format!("{name} {at}"));
        }
    }
    assert_eq!(read("adobe-16.png").bit_depth, 16);
    // sRGB under the name of a profile changes nothing.
    let same = read("srgb-profile.png");
    assert!(same.had_profile && same.lossless_as_is);
    assert_eq!(rgb(&same, 3, 0), [200, 80, 40]);
}

#[test]
fn depth_palette_alpha_and_grey_are_kept() {
    let deep = read("rgba16.png");
    assert_eq!((deep.bit_depth, deep.lossless_as_is), (16, false));
    assert_eq!(deep.pixels.as_rgba16().unwrap().as_raw(), &[0, 1, 65535, 65535, 32768, 12345, 54321, 256]);
    assert_eq!(read("grey-alpha-16.png").pixels.as_rgba16().unwrap().as_raw(), &[40000, 40000, 40000, 20000]);
    assert_eq!(read("grey16.tif").pixels.as_rgba16().unwrap().as_raw(), &[0, 0, 0, 65535, 65535, 65535, 65535, 65535]);
    let palette = read("palette-alpha.png");
    let colours: Vec<[u8; 4]> = palette.pixels.to_rgba8().pixels().map(|pixel| pixel.0).collect();
    assert_eq!(colours, [[255, 0, 0, 255], [0, 255, 0, 128], [0, 0, 255, 0], [255, 0, 0, 255]]);
    assert!(palette.lossless_as_is);
    let grey = read("grey.png");
    assert_eq!(grey.pixels.get_pixel(3, 1), Rgba([19, 19, 19, 255]));
    assert_eq!(read("grey.jpg").pixels.get_pixel(0, 15).0[3], 255);
    let gif = read("animated.gif");
    assert_eq!((gif.size(), rgb(&gif, 2, 2)), ((5, 4), [255, 0, 0]));
    assert_eq!(rgb(&read("rgb.bmp"), 1, 1), [0, 250, 250]);
}

#[test]
fn what_may_be_stored_as_it_is_decodes_to_the_same_pixels() {
    let mut as_is = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if let Ok(picture) = read_picture(&bytes, None, &Limits::default())
            && picture.lossless_as_is
        {
            assert_eq!(stored_as_is(&bytes), picture.pixels.to_rgba8(), "{}", path.display());
            as_is += 1;
        }
    }
    assert!(as_is >= 10, "only {as_is}");
}

#[test]
fn generation_texts_of_five_programs_are_found() {
    for name in ["a1111.png", "a1111-packed.png", "a1111.jpg", "a1111.webp"] {
        let generation = read(name).metadata.generation.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(generation.source, "a1111", "{name}");
        assert!(generation.prompt.ends_with("on a hill, (sunset:1.2)"), "{name}");
        assert_eq!(generation.prompt.contains("漢字"), name.contains("packed"));
        assert_eq!(generation.negative, "blurry, low quality", "{name}");
        assert_eq!(
            (generation.seed, generation.steps, generation.cfg),
            (Some(1_234_567_890), Some(28), Some(6.5)),
            "{name}"
        );
        assert_eq!((generation.size, generation.denoising_strength), (Some((512, 768)), Some(0.4)), "{name}");
        assert_eq!(generation.extra["Lora hashes"], "detail: 7c6b, other: 12", "{name}");
    }
    let comfy = read("comfyui.png").metadata.generation.unwrap();
    assert_eq!((comfy.source.as_str(), comfy.prompt.as_str()), ("comfyui", "beautiful scenery, glass bottle"));
    assert_eq!((comfy.negative.as_str(), comfy.seed), ("text, watermark", Some(156_680_208_700_286)));
    assert_eq!(comfy.model.as_deref(), Some("v1-5-pruned-emaonly.safetensors"));
    assert_eq!(read("invokeai.png").metadata.generation.unwrap().prompt, "a fox");
    let novel = read("novelai.png").metadata.generation.unwrap();
    assert_eq!((novel.prompt.as_str(), novel.negative.as_str(), novel.seed), ("a lake", "bad hands", Some(42)));
}

#[test]
fn xmp_and_iptc_are_found() {
    let xmp = read("xmp.jpg").metadata;
    assert_eq!(xmp.title.as_deref(), Some("A title"));
    assert_eq!(xmp.creator.as_deref(), Some("Ann, Bob"));
    assert_eq!(xmp.digital_source_type, Some(DigitalSourceType::TrainedAlgorithmicMedia));
    let iptc = read("iptc.jpg").metadata;
    assert_eq!((iptc.title.as_deref(), iptc.rights.as_deref()), (Some("An IPTC title"), Some("Rights")));
}

fn full() -> Metadata {
    Metadata {
        generation: Some(GenerationMetadata {
            prompt: "a heron, ink — 漢字".into(),
            negative: "fog".into(),
            seed: Some(u64::MAX),
            steps: Some(30),
            cfg: Some(7.5),
            sampler: Some("Euler a".into()),
            scheduler: Some("Karras".into()),
            model: Some("starter".into()),
            model_hash: Some("0123abcd".into()),
            size: Some((512, 512)),
            denoising_strength: Some(0.1 + 0.2),
            source: "outframe".into(),
            extra: [("Clip skip".to_owned(), "2".to_owned())].into(),
        }),
        outframe: Some(json!({"engine": "0.1.0", "timings": [0.1, 2], "nested": {"a": null}})),
        title: Some("Title & <more>".into()),
        description: Some("A caption".into()),
        creator: Some("Ann".into()),
        rights: Some("© Ann".into()),
        keywords: vec!["bird".into()],
        software: Some("Outframe 0.1.0".into()),
        digital_source_type: Some(DigitalSourceType::CompositeWithTrainedAlgorithmicMedia),
        ..Metadata::default()
    }
}

fn options(metadata: Metadata, strip: bool) -> WriteOptions {
    WriteOptions { metadata: WriteMetadata { metadata, strip }, ..WriteOptions::default() }
}

fn gradient(alpha: bool) -> DynamicImage {
    DynamicImage::ImageRgba8(RgbaImage::from_fn(33, 17, |x, y| {
        Rgba([x as u8 * 7, y as u8 * 15, 200, if alpha { (x * 7) as u8 } else { 255 }])
    }))
}

#[test]
fn descriptions_survive_every_format() {
    let options = options(full(), false);
    for (format, bytes) in [
        (Format::Png, write_png(&gradient(true), &options).unwrap()),
        (Format::WebP, write_webp(&gradient(true), &options).unwrap()),
        (Format::Jpeg, write_jpeg(&gradient(true), &options).unwrap()),
    ] {
        let picture = read_picture(&bytes, None, &Limits::default()).unwrap();
        assert_eq!(picture.format, format);
        let mut found = picture.metadata.clone();
        if format != Format::Png {
            // EXIF says it a second time.
            assert_eq!(found.exif.description.take().as_deref(), Some("A caption"));
        }
        assert_eq!(found, full(), "{format}");
        assert!(picture.lossless_as_is, "{format}");
        assert_eq!(picture.warnings, [""; 0], "{format}");
        if format != Format::Jpeg {
            assert_eq!(picture.pixels, gradient(true), "{format}");
        }
    }
    // What A1111 and its like look for, where they look for it.
    let png = write_png(&gradient(false), &options).unwrap();
    assert!(png.windows(15).any(|bytes| bytes == b"iTXtparameters\0"));
    assert!(png.windows(4).any(|bytes| bytes == b"sRGB"));
}

#[test]
fn stripped_files_say_nothing() {
    let options = options(full(), true);
    for bytes in [
        write_png(&gradient(false), &options).unwrap(),
        write_webp(&gradient(false), &options).unwrap(),
        write_jpeg(&gradient(false), &options).unwrap(),
        write_tiff(&gradient(false)).unwrap(),
    ] {
        let picture = read_picture(&bytes, None, &Limits::default()).unwrap();
        assert_eq!(picture.metadata, Metadata::default(), "{}", picture.format);
        for word in [&b"heron"[..], b"Outframe", b"outframe", b"digitalsourcetype", b"Exif\0\0"] {
            assert!(!bytes.windows(word.len()).any(|bytes| bytes == word), "{}: {word:?}", picture.format);
        }
        if picture.format != Format::Jpeg {
            assert_eq!(picture.pixels, gradient(false), "{}", picture.format);
        }
    }
}

#[test]
fn sixteen_bits_are_written_and_read() {
    let deep = DynamicImage::ImageRgba16(image::ImageBuffer::from_fn(9, 5, |x, y| {
        Rgba([(x * 7001) as u16, (y * 9001) as u16, 12_345, 65_535 - x as u16])
    }));
    for bytes in [write_png(&deep, &WriteOptions::default()).unwrap(), write_tiff(&deep).unwrap()] {
        let back = read_picture(&bytes, None, &Limits::default()).unwrap();
        assert_eq!((back.bit_depth, &back.pixels), (16, &deep));
    }
}

#[test]
fn transparent_jpegs_show_the_background() {
    let clear = DynamicImage::ImageRgba8(RgbaImage::from_pixel(8, 8, Rgba([255, 0, 0, 0])));
    let bytes = write_jpeg(&clear, &WriteOptions { background: [10, 200, 30], ..WriteOptions::default() }).unwrap();
    near(rgb(&read_picture(&bytes, None, &Limits::default()).unwrap(), 4, 4), [10, 200, 30], 3, "background");
}

#[test]
fn a_description_that_does_not_fit_is_refused_in_words() {
    let long = Metadata { description: Some("x".repeat(70_000)), ..Metadata::default() };
    let error = write_jpeg(&gradient(false), &options(long, false)).unwrap_err();
    assert!(matches!(error, Error::MetadataTooLarge { what: "EXIF", .. }), "{error}");
}

#[test]
fn errors_say_what_to_do() {
    let unknown = read_picture(b"hello", Some("notes.txt"), &Limits::default()).unwrap_err();
    assert!(unknown.to_string().contains("notes.txt") && unknown.to_string().contains("PNG"), "{unknown}");
    let half = fixture("orientation-5.png");
    let damaged = read_picture(&half[..half.len() / 2], None, &Limits::default()).unwrap_err();
    assert!(matches!(damaged, Error::Damaged { format: Format::Png, .. }), "{damaged}");
    let small = Limits { max_side: 10, ..Limits::default() };
    let large = read_picture(&fixture("orientation-1.jpg"), None, &small).unwrap_err();
    assert!(matches!(large, Error::TooLarge { found: 48, limit: 10, .. }), "{large}");
}

/// Text as a prompt may have it: lines without spaces around them, no line of which begins with the other prompt's name.
fn prompt() -> impl Strategy<Value = String> {
    prop::collection::vec("[^\\s\\x00]([^\n\r\\x00]{0,30}[^\\s\\x00])?", 1..4)
        .prop_map(|lines| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n"))
        .prop_filter("ambiguous in the format itself", |text| {
            !text.contains("Negative prompt:") && text.lines().all(|line| !line.is_empty())
        })
}

fn generation() -> impl Strategy<Value = GenerationMetadata> {
    let value = "[^\\s\\x00]([^\\x00]{0,20}[^\\s\\x00])?";
    (
        prompt(),
        prop::option::of(prompt()),
        (any::<u64>(), 1_u32..10_000, -1e6_f64..1e6),
        prop::option::of(value),
        prop::option::of(value),
        prop::option::of(value),
        prop::option::of("[0-9a-f]{10}"),
        prop::option::of((any::<u32>(), any::<u32>())),
        prop::option::of(0.0_f64..1.0),
        prop::collection::btree_map("X[a-z][A-Za-z0-9_/-]{0,8}", value, 0..4),
    )
        .prop_map(
            |(prompt, negative, (seed, steps, cfg), sampler, scheduler, model, model_hash, size, strength, extra)| {
                GenerationMetadata {
                    prompt,
                    negative: negative.unwrap_or_default(),
                    seed: Some(seed),
                    steps: Some(steps),
                    cfg: Some(cfg),
                    sampler,
                    scheduler,
                    model,
                    model_hash,
                    size,
                    denoising_strength: strength,
                    source: "a1111".into(),
                    extra,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a1111_reads_what_it_writes(generation in generation()) {
        let text = a1111::format(&generation);
        prop_assert_eq!(a1111::parse(&text).unwrap(), generation, "{}", text);
    }

    #[test]
    fn a1111_takes_any_text(text in any::<String>()) {
        if let Some(read) = a1111::parse(&text) {
            a1111::format(&read);
        }
    }

    #[test]
    fn our_own_chunk_is_exact(generation in generation()) {
        let own = json!({"version": 1, "generation": generation, "data": null}).to_string();
        let read = from_texts(&[("outframe".into(), own)], &Limits::default());
        prop_assert_eq!(read.generation.unwrap(), generation);
    }
}
