//! What the compositor takes for a tile and for a frame.
//!
//! *first* is with nothing on the device (the pictures lie decoded in memory), the other figures are medians with what a
//! view keeps.

use std::{collections::HashMap, sync::Arc, time::Instant};

use image::{DynamicImage, Rgba, RgbaImage};
use outframe_camera::{Camera, Pose, Rect as View};
use outframe_compositor::{Compositor, FlatView, PictureSource, Scene, ShotView};
use outframe_document::{BlobId, Document, Layer, LayerId, Origin, Patch, PatchContent, PatchId, PatchImage, Rect};
use pollster::block_on;
use tokio_util::sync::CancellationToken;

use crate::{
    Outcome, compositor,
    report::{Report, median},
};

const OURS: &str = "outframe";

/// Pictures in memory.
#[derive(Default)]
pub(crate) struct Stored(pub(crate) HashMap<BlobId, DynamicImage>);

impl PictureSource for Stored {
    fn load(&self, id: &BlobId) -> Result<DynamicImage, String> {
        self.0.get(id).cloned().ok_or_else(|| "not stored".to_owned())
    }
}

impl Stored {
    fn add(&mut self, number: u32, width: u32, height: u32) -> BlobId {
        let id = BlobId::of(format!("{number} {width}x{height}").as_bytes());
        let image = RgbaImage::from_fn(width, height, |x, y| {
            let bits = (x ^ number).wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503);
            Rgba([(x + number * 31) as u8, (bits >> 12) as u8, y as u8, 255])
        });
        self.0.insert(id, image.into());
        id
    }
}

/// A picture in its place.
pub(crate) fn patch(number: u64, rect: Rect, image: BlobId) -> Patch {
    let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: Origin::Drawn }));
    Patch::new(PatchId::from_raw(number), rect, content)
}

struct Bench {
    compositor: Compositor,
    scene: Arc<Scene>,
    source: Arc<dyn PictureSource>,
}

impl Bench {
    fn new(document: &Document, stored: Stored) -> Outcome<Self> {
        Ok(Self { compositor: compositor()?, scene: Arc::new(Scene::new(document)), source: Arc::new(stored) })
    }

    /// Milliseconds.
    fn flat(&self, view: &FlatView) -> Outcome<f64> {
        let start = Instant::now();
        block_on(self.compositor.flat(&self.scene, &self.source, view, &CancellationToken::new()))?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Milliseconds.
    fn shot(&self, camera: Camera) -> Outcome<f64> {
        let start = Instant::now();
        let view = ShotView { opaque: true, ..ShotView::new(camera, 1280, 720) };
        block_on(self.compositor.shot(&self.scene, &self.source, &view, &CancellationToken::new()))?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    for count in [1_u32, 10, 100] {
        let mut stored = Stored::default();
        let mut layer = Layer::new(LayerId::from_raw(1), "Layer");
        for number in 0..count {
            let (side, step) = if count == 1 { (512, 0) } else { (128, i64::from(number)) };
            let image = stored.add(number + count * 1000, side, side);
            let rect = Rect::new(step * 37 % 384, step * 53 % 384, side, side);
            layer.patches.push(patch(u64::from(number) + 2, rect, image));
        }
        let bench = Bench::new(&Document { layers: vec![layer], ..Document::default() }, stored)?;
        let view = FlatView::pixels(0, 0, 512, 512);
        report.row(format!("512 tile, {count} patches, first"), OURS, bench.flat(&view)?, "ms");
        let again = (0..25).map(|_| bench.flat(&view)).collect::<Outcome<Vec<_>>>()?;
        report.row(format!("512 tile, {count} patches"), OURS, median(again), "ms");
    }

    // Eight layers at their depths, trucked, and turned.
    let mut stored = Stored::default();
    let mut document = Document::default();
    for number in 0..8_u32 {
        let mut layer = Layer::new(LayerId::from_raw(u64::from(number) + 100), "Layer");
        layer.depth = 4.0 - 0.4 * f64::from(number);
        let (width, height) = if number == 0 { (2048, 1152) } else { (700, 700) };
        let rect = Rect::new(i64::from(number) * 120 - 200, i64::from(number) * 40 - 100, width, height);
        layer.patches.push(patch(u64::from(number) + 200, rect, stored.add(50 + number, width, height)));
        document.layers.push(layer);
    }
    let bench = Bench::new(&document, stored)?;
    for (what, turn) in [("truck", 0.0), ("truck and roll", 6.0)] {
        let camera = |frame: u32| {
            let share = f64::from(frame) / 40.0;
            let pose = Pose { x: 0.2 * share, roll: turn * (0.2 + share), ..Pose::REST };
            Camera::new(View::new(0.0, 0.0, 1280.0, 720.0), 1280.0, 720.0, 35.0, pose)
        };
        let what = format!("1280x720 frame, 8 layers, {what}");
        report.row(format!("{what}, first"), OURS, bench.shot(camera(0))?, "ms");
        let again = (1..=40).map(|frame| bench.shot(camera(frame))).collect::<Outcome<Vec<_>>>()?;
        report.row(what, OURS, median(again), "ms");
    }

    // Nothing but clearing, the way out and reading back.
    let bench = Bench::new(&Document::default(), Stored::default())?;
    for (width, height) in [(512, 512), (1280, 720), (3840, 2160)] {
        let view = FlatView::pixels(0, 0, width, height);
        bench.flat(&view)?;
        let again = (0..15).map(|_| bench.flat(&view)).collect::<Outcome<Vec<_>>>()?;
        report.row(format!("way out and readback, {width}x{height}"), OURS, median(again), "ms");
    }
    Ok(())
}
