//! Measures the compositor, one JSON line each: `cargo run --release -p outframe-compositor --example bench_compositor`.
//!
//! `first` is with nothing on the device (decoding is not included: the pictures lie decoded in memory), `again` the
//! median of repetitions with what a view keeps. `OUTFRAME_ADAPTER` chooses the adapter.

use std::{
    collections::HashMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use image::{DynamicImage, Rgba, RgbaImage};
use outframe_camera::{Camera, Pose, Rect as View};
use outframe_compositor::{AdapterChoice, Compositor, FlatView, Options, PictureSource, Scene, ShotView};
use outframe_document::{BlobId, Document, Layer, LayerId, Origin, Patch, PatchContent, PatchId, PatchImage, Rect};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Pictures(HashMap<BlobId, DynamicImage>);

impl PictureSource for Pictures {
    fn load(&self, id: &BlobId) -> Result<DynamicImage, String> {
        self.0.get(id).cloned().ok_or_else(|| "not stored".to_owned())
    }
}

impl Pictures {
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

fn patch(number: u64, rect: Rect, image: BlobId) -> Patch {
    let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: Origin::Drawn }));
    Patch::new(PatchId::from_raw(number), rect, content)
}

struct Bench {
    compositor: Compositor,
    cancel: CancellationToken,
}

impl Bench {
    async fn flat(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        view: FlatView,
    ) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        self.compositor.flat(scene, source, &view, &self.cancel).await?;
        Ok(start.elapsed())
    }

    async fn shot(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        camera: Camera,
    ) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        let view = ShotView { opaque: true, ..ShotView::new(camera, 1280, 720) };
        self.compositor.shot(scene, source, &view, &self.cancel).await?;
        Ok(start.elapsed())
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn report(what: &str, first: Duration, again: Vec<Duration>) {
    let first = first.as_secs_f64() * 1e3;
    println!("{{\"what\": \"{what}\", \"first_ms\": {first:.2}, \"again_ms\": {:.2}}}", median(again));
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let adapter: AdapterChoice = std::env::var("OUTFRAME_ADAPTER").unwrap_or_default().parse()?;
    let compositor = Compositor::new(Options { adapter, ..Options::default() }).await?;
    let described = compositor.adapter();
    println!(
        "{{\"adapter\": \"{}\", \"backend\": \"{}\", \"driver\": \"{}\"}}",
        described.name, described.backend, described.driver
    );
    let bench = Bench { compositor, cancel: CancellationToken::new() };

    for count in [1_u32, 10, 100] {
        let mut pictures = Pictures::default();
        let mut document = Document::default();
        let mut layer = Layer::new(LayerId::from_raw(1), "Layer");
        for number in 0..count {
            let (side, step) = if count == 1 { (512, 0) } else { (128, i64::from(number)) };
            let image = pictures.add(number + count * 1000, side, side);
            let rect = Rect::new(step * 37 % 384, step * 53 % 384, side, side);
            layer.patches.push(patch(u64::from(number) + 2, rect, image));
        }
        document.layers.push(layer);
        let source: Arc<dyn PictureSource> = Arc::new(pictures);
        let scene = Arc::new(Scene::new(&document));
        let view = FlatView::pixels(0, 0, 512, 512);
        let first = bench.flat(&scene, &source, view).await?;
        let mut again = Vec::new();
        for _ in 0..25 {
            again.push(bench.flat(&scene, &source, view).await?);
        }
        report(&format!("512 tile, {count} patches"), first, again);
    }

    // Ken Burns: one still of 4096 x 4096 pixels, panned and zoomed.
    let mut pictures = Pictures::default();
    let mut document = Document::default();
    let mut layer = Layer::new(LayerId::from_raw(1), "Still");
    layer.patches.push(patch(2, Rect::new(0, 0, 4096, 4096), pictures.add(9, 4096, 4096)));
    document.layers.push(layer);
    let source: Arc<dyn PictureSource> = Arc::new(pictures);
    let scene = Arc::new(Scene::new(&document));
    let still = |frame: u32| {
        let share = f64::from(frame) / 60.0;
        let width = 2600.0 - 900.0 * share;
        Camera::new(
            View::new(300.0 + 400.0 * share, 500.0 + 200.0 * share, width, width * 9.0 / 16.0),
            1280.0,
            720.0,
            35.0,
            Pose::REST,
        )
    };
    let first = bench.shot(&scene, &source, still(0)).await?;
    let mut again = Vec::new();
    for frame in 1..=60 {
        again.push(bench.shot(&scene, &source, still(frame)).await?);
    }
    report("1280x720 Ken Burns frame from a 4096x4096 still", first, again);

    // Eight layers at their depths, trucked and turned.
    let mut pictures = Pictures::default();
    let mut document = Document::default();
    for number in 0..8_u32 {
        let mut layer = Layer::new(LayerId::from_raw(u64::from(number) + 100), "Layer");
        layer.depth = 4.0 - 0.4 * f64::from(number);
        let (width, height) = if number == 0 { (2048, 1152) } else { (700, 700) };
        let rect = Rect::new(i64::from(number) * 120 - 200, i64::from(number) * 40 - 100, width, height);
        layer.patches.push(patch(u64::from(number) + 200, rect, pictures.add(50 + number, width, height)));
        document.layers.push(layer);
    }
    let source: Arc<dyn PictureSource> = Arc::new(pictures);
    let scene = Arc::new(Scene::new(&document));
    for (what, turn) in [("truck", 0.0), ("truck and roll", 6.0)] {
        let camera = |frame: u32| {
            let share = f64::from(frame) / 40.0;
            let pose = Pose { x: 0.2 * share, roll: turn * (0.2 + share), ..Pose::REST };
            Camera::new(View::new(0.0, 0.0, 1280.0, 720.0), 1280.0, 720.0, 35.0, pose)
        };
        let first = bench.shot(&scene, &source, camera(0)).await?;
        let mut again = Vec::new();
        for frame in 1..=40 {
            again.push(bench.shot(&scene, &source, camera(frame)).await?);
        }
        report(&format!("1280x720 camera frame, 8 layers, {what}"), first, again);
    }

    // Nothing but clearing, the way out and reading back.
    let (empty, nothing) = (Arc::new(Scene::new(&Document::default())), Arc::new(Pictures::default()));
    let nothing: Arc<dyn PictureSource> = nothing;
    for (width, height) in [(512, 512), (1280, 720), (3840, 2160)] {
        let view = FlatView::pixels(0, 0, width, height);
        let first = bench.flat(&empty, &nothing, view).await?;
        let mut again = Vec::new();
        for _ in 0..15 {
            again.push(bench.flat(&empty, &nothing, view).await?);
        }
        report(&format!("readback {width}x{height}"), first, again);
    }
    println!("{{\"statistics\": \"{:?}\"}}", bench.compositor.statistics());
    Ok(())
}
