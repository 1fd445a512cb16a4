//! OpenRaster files: written and read here, and read by Python's standard library where that is installed.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail as tests do")]

use std::{path::Path, process::Command};

use image::{DynamicImage, Rgba, RgbaImage};
use outframe_interchange::{
    Error, Limits,
    ora::{CompositeOp, Content, Layer, Stack, read_ora, read_ora_merged, write_ora},
};
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn pixels() -> impl Strategy<Value = DynamicImage> {
    (1_u32..12, 1_u32..12, any::<u8>(), any::<bool>()).prop_map(|(width, height, seed, deep)| {
        let value = |x: u32, y: u32, c: u32| (u32::from(seed) + x * 31 + y * 17 + c * 71) as u8;
        let small = RgbaImage::from_fn(width, height, |x, y| Rgba([0, 1, 2, 3].map(|c| value(x, y, c))));
        if deep {
            DynamicImage::ImageRgba16(image::ImageBuffer::from_fn(width, height, |x, y| {
                Rgba(small.get_pixel(x, y).0.map(|v| u16::from(v) * 251))
            }))
        } else {
            DynamicImage::ImageRgba8(small)
        }
    })
}

/// Any character that XML can hold.
fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| {
        chars
            .into_iter()
            .filter(|&c| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')))
            .collect()
    })
}

fn layer() -> impl Strategy<Value = Layer> {
    let leaf = pixels().prop_map(Content::Pixels);
    let properties =
        (name(), 0.0_f32..=1.0, any::<[bool; 3]>(), prop::sample::select(&CompositeOp::ALL[..]), any::<(i32, i32)>())
            .boxed();
    let make = |(name, opacity, [visible, locked, selected], composite_op, (x, y)): (
        String,
        f32,
        [bool; 3],
        _,
        (i32, i32),
    ),
                content| {
        let (x, y) = if matches!(content, Content::Group { .. }) { (0, 0) } else { (x, y) };
        Layer { name, opacity, visible, locked, selected, composite_op, x, y, content }
    };
    let leaf = (properties.clone(), leaf).prop_map(move |(properties, content)| make(properties, content));
    leaf.prop_recursive(3, 12, 4, move |inner| {
        let group = (prop::collection::vec(inner, 0..4), any::<bool>())
            .prop_map(|(layers, isolated)| Content::Group { layers, isolated });
        (properties.clone(), group).prop_map(move |(properties, content)| make(properties, content))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_and_pixels_survive(
        layers in prop::collection::vec(layer(), 0..4),
        (width, height) in (1_u32..40, 1_u32..40),
        resolution in prop::option::of((1_u32..1000, 1_u32..1000)),
    ) {
        let stack = Stack { width, height, resolution, layers };
        let merged = RgbaImage::from_pixel(width, height, Rgba([1, 2, 3, 4]));
        let bytes = write_ora(&stack, &merged, None).unwrap();
        let read = read_ora(&bytes, &Limits::default()).unwrap();
        prop_assert_eq!(&read.warnings, &Vec::<String>::new());
        prop_assert_eq!(read.stack, stack);
        let back = read_ora_merged(&bytes, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(back.pixels.to_rgba8(), merged);
    }
}

fn sample() -> (Stack, RgbaImage) {
    let red = DynamicImage::ImageRgba8(RgbaImage::from_pixel(300, 20, Rgba([255, 0, 0, 128])));
    let top = Layer {
        opacity: 0.25,
        visible: false,
        locked: true,
        composite_op: CompositeOp::SoftLight,
        ..Layer::picture("Tinte \"ä\" & <漢字>", -5, 7, red.clone())
    };
    let group = Layer::group("Gruppe", vec![top, Layer::picture("second", 1, 2, red.clone())]);
    let stack =
        Stack { width: 640, height: 480, resolution: None, layers: vec![group, Layer::picture("bottom", 0, 0, red)] };
    (stack, RgbaImage::from_pixel(640, 480, Rgba([9, 8, 7, 255])))
}

#[test]
fn the_layout_is_that_of_the_specification() {
    let (stack, merged) = sample();
    let bytes = write_ora(&stack, &merged, None).unwrap();
    // The type stands at the same place in every file: the entry's name at 30, its content at 38, without an extra field.
    assert_eq!(&bytes[30..54], b"mimetypeimage/openraster");
    assert_eq!(outframe_interchange::sniff(&bytes), Some(outframe_interchange::Format::OpenRaster));
}

/// Another reader than ours: Python's zipfile and XML parser, and its zlib for the pictures.
#[test]
fn python_reads_what_is_written() {
    let script = r#"
import struct, sys, zipfile, zlib
import xml.etree.ElementTree as ET
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
first = archive.infolist()[0]
assert (first.filename, first.compress_type, first.header_offset, first.extra) == ("mimetype", 0, 0, b""), first
assert archive.read("mimetype") == b"image/openraster"
def size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        assert zlib.crc32(data[at + 4:at + 8 + n]) == struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0]
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + n]
        at += 12 + n
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    assert len(zlib.decompress(packed)) == height * (1 + width * 4 * bits // 8), (width, height, bits, colour)
    return width, height
image = ET.fromstring(archive.read("stack.xml"))
assert image.tag == "image" and image.get("version") == "0.0.3" and (image.get("w"), image.get("h")) == ("640", "480")
[root] = list(image)
assert root.tag == "stack" and not root.attrib, root.attrib
group, bottom = list(root)
assert (group.tag, group.get("name"), group.get("isolation")) == ("stack", "Gruppe", "isolate")
top, second = list(group)
assert top.get("name") == 'Tinte "\u00e4" & <\u6f22\u5b57>', top.get("name")
assert (top.get("x"), top.get("y"), top.get("opacity"), top.get("visibility"), top.get("edit-locked")) == ("-5", "7", "0.25", "hidden", "true")
assert top.get("composite-op") == "svg:soft-light" and bottom.get("composite-op") == "svg:src-over"
assert [size(archive.read(layer.get("src"))) for layer in (top, second, bottom)] == [(300, 20)] * 3
assert size(archive.read("mergedimage.png")) == (640, 480)
assert size(archive.read("Thumbnails/thumbnail.png")) == (256, 192)
print("read")
"#;
    let Some(python) =
        ["python3", "python"].into_iter().find(|python| Command::new(python).arg("--version").output().is_ok())
    else {
        eprintln!("skipped: there is no Python here");
        return;
    };
    let (stack, merged) = sample();
    let path = std::env::temp_dir().join(format!("outframe-layers-{}.ora", std::process::id()));
    std::fs::write(&path, write_ora(&stack, &merged, None).unwrap()).unwrap();
    let output = Command::new(python).args(["-c", script]).arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_of_other_programs_are_understood() {
    let read = read_ora(&fixture("foreign.ora"), &Limits::default()).unwrap();
    assert_eq!((read.stack.width, read.stack.height, read.stack.resolution), (8, 6, Some((300, 300))));
    let [group, below] = &read.stack.layers[..] else { panic!("{:?}", read.stack) };
    let Content::Group { layers, isolated: false } = &group.content else { panic!("{group:?}") };
    assert_eq!((group.name.as_str(), group.opacity, group.x), ("G", 0.5, 0));
    let inside = &layers[0];
    assert_eq!((inside.name.as_str(), inside.x, inside.y), ("in & out", 15, 6));
    assert_eq!((inside.composite_op, inside.visible, inside.locked), (CompositeOp::Plus, false, true));
    assert_eq!((below.x, below.composite_op, below.selected), (-1, CompositeOp::SrcOver, true));
    assert_eq!(read.warnings.len(), 1, "{:?}", read.warnings);
    assert!(read.warnings[0].contains("krita:dissolve"));
}

#[test]
fn hostile_archives_are_refused_or_cut() {
    let limits = Limits { max_decoded_bytes: 8 << 20, ..Limits::default() };
    let error = |name: &str| read_ora(&fixture(name), &limits).unwrap_err();
    assert!(matches!(error("hostile-laughs.ora"), Error::Unsupported { .. }));
    assert!(matches!(error("hostile-nesting.ora"), Error::TooLarge { what: "the nesting of its groups", .. }));
    assert!(matches!(error("hostile-count.ora"), Error::TooLarge { what: "the number of layers", .. }));
    assert!(matches!(error("hostile-bomb.ora"), Error::TooLarge { .. }));
    let paths = read_ora(&fixture("hostile-paths.ora"), &limits).unwrap();
    assert_eq!((paths.stack.layers.len(), paths.warnings.len()), (1, 3), "{:?}", paths.warnings);
    assert!(matches!(read_ora(b"PK\x03\x04", &limits), Err(Error::Damaged { .. })));
}
