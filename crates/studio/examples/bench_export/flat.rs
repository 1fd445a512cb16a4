//! Flat compositing of layers with soft edges, from PNG files to a raw picture, against vips and `ImageMagick`.
//!
//! vips is asked for linear light in single precision (`--compositing-space scrgb`), which is what we do; `ImageMagick` mixes
//! codes, as it does unless told otherwise, which is less work.

use std::{fs, path::Path, sync::Arc};

use image::{DynamicImage, Rgba, RgbaImage};
use outframe_compositor::{FlatView, PictureSource, Scene};
use outframe_document::{BlobId, Document, Layer, LayerId, Rect};
use pollster::block_on;
use tokio_util::sync::CancellationToken;

use crate::{
    Outcome, compositor,
    drawing::patch,
    report::{Cost, Report, child, program, run},
};

const LAYERS: u32 = 8;
const SIDE: u32 = 2048;

/// PNG files by their names.
struct Files(std::path::PathBuf);

fn name(number: u32) -> String {
    format!("layer-{number}.png")
}

fn id(number: u32) -> BlobId {
    BlobId::of(name(number).as_bytes())
}

impl PictureSource for Files {
    fn load(&self, wanted: &BlobId) -> Result<DynamicImage, String> {
        let number = (0..LAYERS).find(|number| id(*number) == *wanted).ok_or("no such file")?;
        image::open(self.0.join(name(number))).map_err(|error| error.to_string())
    }
}

/// Composes the layers of a folder. The child's part.
pub(crate) fn compose(folder: &Path, out: &Path) -> Outcome {
    let layers = (0..LAYERS).map(|number| {
        let mut layer = Layer::new(LayerId::from_raw(u64::from(number) + 1), name(number));
        layer.patches.push(patch(u64::from(number) + 100, Rect::new(0, 0, SIDE, SIDE), id(number)));
        layer
    });
    let scene = Arc::new(Scene::new(&Document { layers: layers.collect(), ..Document::default() }));
    let source: Arc<dyn PictureSource> = Arc::new(Files(folder.to_owned()));
    let view = FlatView::pixels(0, 0, SIDE, SIDE);
    let picture = block_on(compositor()?.flat(&scene, &source, &view, &CancellationToken::new()))?;
    fs::write(out, picture.rgba)?;
    Ok(())
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let folder = tempfile::tempdir()?;
    for number in 0..LAYERS {
        let image = RgbaImage::from_fn(SIDE, SIDE, |x, y| {
            let (u, v) = (x as f32 / 300.0 + number as f32, y as f32 / 210.0);
            let alpha = ((u + v).sin() * 300.0).clamp(0.0, 255.0);
            Rgba([(u.sin() * 120.0 + 128.0) as u8, (v.cos() * 120.0 + 128.0) as u8, (number * 30) as u8, alpha as u8])
        });
        image.save(folder.path().join(name(number)))?;
    }
    let what = format!("{LAYERS} layers of {SIDE}x{SIDE}, PNG files to raw");
    let tell = |report: &mut Report, who: &str, cost: &Cost| {
        report.row(format!("{what}, by the clock"), who, cost.wall, "s");
        report.row(format!("{what}, processor"), who, cost.cpu, "s");
    };
    let out = folder.path().join("out.raw");
    tell(report, "outframe", &child("flat", [folder.path(), &out])?);
    let files: Vec<String> =
        (0..LAYERS).map(|number| folder.path().join(name(number)).to_string_lossy().into_owned()).collect();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    match program("vips") {
        Some(vips) => {
            // 2 is "over".
            let modes = vec!["2"; LAYERS as usize - 1].join(" ");
            let arguments = ["composite", &files.join(" "), &path("vips.v"), &modes, "--compositing-space", "scrgb"];
            tell(report, "vips composite", &run(&vips, arguments)?);
        }
        None => report.left_out("vips", "it is not installed"),
    }
    match program("magick").or_else(|| program("convert")) {
        Some(magick) => {
            let raw = format!("RGBA:{}", path("magick.raw"));
            let more = ["-background", "none", "-flatten", "-depth", "8", &raw];
            let arguments: Vec<&str> = files.iter().map(String::as_str).chain(more).collect();
            tell(report, "ImageMagick -flatten", &run(&magick, arguments)?);
        }
        None => report.left_out("ImageMagick", "it is not installed"),
    }
    Ok(())
}
