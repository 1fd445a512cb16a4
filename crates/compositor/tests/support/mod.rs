//! Small documents, their pictures, and a slow, plain reference of how they are put together.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba, RgbaImage};
use outframe_compositor::{AdapterChoice, Compositor, FlatView, Options, Picture, PictureSource, Scene, ShotView};
use outframe_document::{
    BlendMode, BlobId, Document, Group, GroupId, Layer, LayerId, Mask, Node, Origin, Patch, PatchContent, PatchId,
    PatchImage, Rect,
};
use tokio_util::sync::CancellationToken;

/// A document under construction, with its pictures.
#[derive(Default)]
pub struct Stage {
    pub document: Document,
    pub pictures: HashMap<BlobId, DynamicImage>,
    next: u64,
}

/// The pictures of a stage, and how often one was asked for.
pub struct Pictures {
    pictures: HashMap<BlobId, DynamicImage>,
    pub loads: AtomicUsize,
}

impl PictureSource for Pictures {
    fn load(&self, id: &BlobId) -> Result<DynamicImage, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.pictures.get(id).cloned().ok_or_else(|| "it is not there".to_owned())
    }
}

impl Stage {
    pub fn store(&mut self, image: impl Into<DynamicImage>) -> BlobId {
        let image = image.into();
        let mut bytes = format!("{:?}{}x{}", image.color(), image.width(), image.height()).into_bytes();
        bytes.extend_from_slice(image.as_bytes());
        let id = BlobId::of(&bytes);
        self.pictures.insert(id, image);
        id
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A layer on top of the others.
    pub fn layer(&mut self) -> &mut Layer {
        let number = self.number();
        self.document.layers.push(Layer::new(LayerId::from_raw(number), format!("Layer {number}")));
        self.top()
    }

    pub fn top(&mut self) -> &mut Layer {
        self.document.layers.last_mut().unwrap()
    }

    pub fn group(&mut self) -> GroupId {
        let id = GroupId::from_raw(self.number());
        self.document.groups.insert(id, Group::new(id, "Group"));
        id
    }

    /// A picture on the topmost layer.
    pub fn patch(&mut self, rect: Rect, image: impl Into<DynamicImage>) -> &mut Patch {
        self.patch_masked(rect, image, None)
    }

    pub fn patch_masked(&mut self, rect: Rect, image: impl Into<DynamicImage>, mask: Option<GrayImage>) -> &mut Patch {
        let image = self.store(image);
        let mask = mask.map(|mask| self.store(mask));
        let content = PatchContent::Image(Box::new(PatchImage { image, mask, origin: Origin::Drawn }));
        let patch = Patch::new(PatchId::from_raw(self.number()), rect, content);
        let patches = &mut self.top().patches;
        patches.push(patch);
        patches.last_mut().unwrap()
    }

    pub fn mask(&mut self, rect: Rect, mask: GrayImage, outside: bool) -> Mask {
        let image = self.store(mask);
        Mask { image, rect, outside, enabled: true }
    }

    pub fn scene(&self) -> Arc<Scene> {
        Arc::new(Scene::new(&self.document))
    }

    pub fn source(&self) -> Arc<Pictures> {
        Arc::new(Pictures { pictures: self.pictures.clone(), loads: AtomicUsize::new(0) })
    }

    /// One opaque picture at (x, y).
    pub fn of(x: i64, y: i64, image: RgbaImage) -> Self {
        let mut stage = Self::default();
        stage.layer();
        stage.patch(Rect::new(x, y, image.width(), image.height()), image);
        stage
    }
}

/// A compositor with what it draws by.
pub struct Studio {
    pub compositor: Compositor,
    runtime: tokio::runtime::Runtime,
}

impl Studio {
    /// On the software adapter, so that the pictures are those of the other machines that run these tests.
    pub fn new() -> Self {
        Self::with_budget(Options::default().texture_budget)
    }

    pub fn with_budget(texture_budget: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let adapter = std::env::var("OUTFRAME_ADAPTER").map_or(AdapterChoice::Software, |name| name.parse().unwrap());
        let options = Options { adapter, texture_budget };
        let compositor = runtime.block_on(Compositor::new(options)).unwrap();
        Self { compositor, runtime }
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn flat(&self, stage: &Stage, view: &FlatView) -> RgbaImage {
        let source: Arc<dyn PictureSource> = stage.source();
        let picture = self.wait(self.compositor.flat(&stage.scene(), &source, view, &CancellationToken::new()));
        image(picture.unwrap())
    }

    pub fn shot(&self, stage: &Stage, view: &ShotView) -> RgbaImage {
        let source: Arc<dyn PictureSource> = stage.source();
        let picture = self.wait(self.compositor.shot(&stage.scene(), &source, view, &CancellationToken::new()));
        image(picture.unwrap())
    }
}

pub fn image(picture: Picture) -> RgbaImage {
    RgbaImage::from_raw(picture.width, picture.height, picture.rgba).unwrap()
}

/// The largest difference of two pictures, in codes; colours count by their alpha.
pub fn difference(a: &RgbaImage, b: &RgbaImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.pixels().zip(b.pixels()).map(|(a, b)| apart(a.0, b.0)).fold(0.0, f64::max)
}

fn apart(a: [u8; 4], b: [u8; 4]) -> f64 {
    let alpha = f64::from(a[3].min(b[3])) / 255.0;
    let color = (0..3).map(|c| f64::from(a[c].abs_diff(b[c])) * alpha).fold(0.0, f64::max);
    color.max(f64::from(a[3].abs_diff(b[3])))
}

/// Numbers that look random and are the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (self.0 >> 33) ^ self.0;
        (word.wrapping_mul(0xff51_afd7_ed55_8ccd)) >> 11
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from) as u64) as i64
    }

    pub fn share(&mut self) -> f64 {
        self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    /// Noise: each pixel by itself.
    pub fn noise(&mut self, width: u32, height: u32, opaque: bool) -> RgbaImage {
        RgbaImage::from_fn(width, height, |_, _| {
            let bits = self.roll();
            let alpha = match (opaque, (bits >> 24) & 3) {
                (true, _) | (_, 0) => 255,
                (_, 1) => 0,
                _ => (bits >> 32) as u8,
            };
            Rgba([bits as u8, (bits >> 8) as u8, (bits >> 16) as u8, alpha])
        })
    }

    /// Something smooth with a few edges, as photographs have.
    pub fn picture(&mut self, width: u32, height: u32) -> RgbaImage {
        let waves: Vec<_> = (0..9).map(|_| (self.share() * 0.12, self.share() * 0.12, self.share() * 6.0)).collect();
        ImageBuffer::from_fn(width, height, |x, y| {
            let wave = |c: usize| {
                let sum: f64 = (0..3)
                    .map(|i| {
                        let (a, b, shift) = waves[c * 3 + i];
                        (a * f64::from(x) + b * f64::from(y) + shift).sin()
                    })
                    .sum();
                let edge = if (x / 23 + y / 31) % 5 == c as u32 { 40.0 } else { 0.0 };
                (110.0 + 32.0 * sum + edge).clamp(0.0, 255.0) as u8
            };
            Rgba([wave(0), wave(1), wave(2), 255])
        })
    }

    pub fn grey(&mut self, width: u32, height: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |_, _| {
            let bits = self.roll();
            Luma([match bits & 3 {
                0 => 255,
                1 => 0,
                _ => (bits >> 8) as u8,
            }])
        })
    }
}

/// A document of several layers, blend modes, masks and groups within about 300 pixels of the origin.
pub fn random_stage(seed: u64, make: fn(&mut Dice, u32, u32) -> RgbaImage) -> Stage {
    let mut dice = Dice::new(seed);
    let mut stage = Stage::default();
    let groups: Vec<_> = (0..2).map(|_| stage.group()).collect();
    if dice.below(2) == 0 {
        stage.document.groups.get_mut(&groups[1]).unwrap().parent = Some(groups[0]);
    }
    for group in &groups {
        let mask = (dice.below(2) == 0).then(|| {
            let (width, height) = (dice.range(30, 300) as u32, dice.range(30, 300) as u32);
            let grey = dice.grey(width, height);
            stage.mask(Rect::new(dice.range(-100, 100), dice.range(-100, 100), width, height), grey, dice.below(2) == 0)
        });
        let group = stage.document.groups.get_mut(group).unwrap();
        group.mask = mask;
        group.opacity = if dice.below(2) == 0 { 1.0 } else { dice.share() };
        group.blend = BlendMode::ALL[dice.below(10) as usize];
    }
    for _ in 0..5 {
        stage.layer();
        for _ in 0..dice.range(1, 4) {
            let (width, height) = (dice.range(10, 260) as u32, dice.range(10, 260) as u32);
            let rect = Rect::new(dice.range(-300, 200), dice.range(-300, 200), width, height);
            let picture = make(&mut dice, width, height);
            let mask = (dice.below(3) == 0).then(|| dice.grey(width, height));
            stage.patch_masked(rect, picture, mask);
        }
        let mask = (dice.below(2) == 0).then(|| {
            let (width, height) = (dice.range(30, 300) as u32, dice.range(30, 300) as u32);
            let grey = dice.grey(width, height);
            stage.mask(Rect::new(dice.range(-200, 100), dice.range(-200, 100), width, height), grey, dice.below(2) == 0)
        });
        let group = [None, None, Some(groups[0]), Some(groups[1])][dice.below(4) as usize];
        let layer = stage.top();
        layer.mask = mask;
        layer.group = group;
        layer.opacity = if dice.below(2) == 0 { 1.0 } else { dice.share() };
        layer.blend = BlendMode::ALL[dice.below(10) as usize];
    }
    stage
}

pub fn decode(code: u8) -> f64 {
    let code = f64::from(code) / 255.0;
    if code <= 0.04045 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
}

pub fn encode(light: f64) -> f64 {
    255.0 * if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

/// Premultiplied linear light.
type Light = [f64; 4];

/// What a document shows of `rect` at one to one, by the formulas of W3C's Compositing and Blending Level 1, one pixel and
/// one layer after the other in double precision.
pub fn reference(stage: &Stage, rect: Rect) -> RgbaImage {
    RgbaImage::from_fn(rect.width, rect.height, |x, y| {
        let background = stage.document.canvas.background.map_or([0; 4], |color| [color.r, color.g, color.b, color.a]);
        let mut light = premultiplied(background, 1.0);
        let at = (rect.x + i64::from(x), rect.y + i64::from(y));
        nodes_at(stage, &stage.document.tree(), at, &mut light);
        let [r, g, b, a] = light;
        if a <= 0.0 {
            return Rgba([0; 4]);
        }
        Rgba([
            encode(r / a).round() as u8,
            encode(g / a).round() as u8,
            encode(b / a).round() as u8,
            (a * 255.0).round() as u8,
        ])
    })
}

fn premultiplied(code: [u8; 4], shown: f64) -> Light {
    let alpha = f64::from(code[3]) / 255.0 * shown;
    [decode(code[0]) * alpha, decode(code[1]) * alpha, decode(code[2]) * alpha, alpha]
}

fn nodes_at(stage: &Stage, nodes: &[Node<'_>], at: (i64, i64), below: &mut Light) {
    for node in nodes {
        let (inner, opacity, blend, mask) = match node {
            Node::Layer(layer) => {
                if !layer.visible {
                    continue;
                }
                let mut inner = [0.0; 4];
                for patch in &layer.patches {
                    let Some(code) = stage.document.pixels(patch).and_then(|pixels| {
                        let shown = match pixels.mask {
                            Some(mask) => f64::from(code_at(stage, mask, patch.rect, at)?[0]) / 255.0,
                            None => 1.0,
                        };
                        Some(premultiplied(code_at(stage, pixels.image, patch.rect, at)?, shown))
                    }) else {
                        continue;
                    };
                    mix(&mut inner, code, BlendMode::Normal);
                }
                (inner, layer.opacity, layer.blend, &layer.mask)
            }
            Node::Group(group, nodes) => {
                if !group.visible {
                    continue;
                }
                let mut inner = [0.0; 4];
                nodes_at(stage, nodes, at, &mut inner);
                (inner, group.opacity, group.blend, &group.mask)
            }
        };
        let shown = mask.as_ref().filter(|mask| mask.enabled).map_or(1.0, |mask| {
            let outside = if mask.outside { 1.0 } else { 0.0 };
            code_at(stage, mask.image, mask.rect, at).map_or(outside, |code| f64::from(code[0]) / 255.0)
        });
        mix(below, inner.map(|value| value * opacity * shown), blend);
    }
}

fn code_at(stage: &Stage, id: BlobId, rect: Rect, at: (i64, i64)) -> Option<[u8; 4]> {
    let image = &stage.pictures[&id];
    assert_eq!((image.width(), image.height()), (rect.width, rect.height), "the reference does not scale");
    rect.contains_point(at.0, at.1).then(|| {
        use image::GenericImageView as _;
        image.get_pixel((at.0 - rect.x) as u32, (at.1 - rect.y) as u32).0
    })
}

fn mix(below: &mut Light, above: Light, mode: BlendMode) {
    let (a, b) = (above[3], below[3]);
    if a <= 0.0 {
        return;
    }
    let source = [0, 1, 2].map(|c| above[c] / a);
    let under = if b > 0.0 { [0, 1, 2].map(|c| below[c] / b) } else { [0.0; 3] };
    let blended = blend(mode, under, source);
    for c in 0..3 {
        below[c] = (1.0 - b) * above[c] + a * b * blended[c] + (1.0 - a) * below[c];
    }
    below[3] = a + b * (1.0 - a);
}

fn blend(mode: BlendMode, under: [f64; 3], source: [f64; 3]) -> [f64; 3] {
    let each = |f: fn(f64, f64) -> f64| [0, 1, 2].map(|c| f(under[c], source[c]));
    match mode {
        BlendMode::Normal => source,
        BlendMode::Multiply => each(|b, s| b * s),
        BlendMode::Screen => each(|b, s| 1.0 - (1.0 - b) * (1.0 - s)),
        BlendMode::Overlay => each(|b, s| if b <= 0.5 { 2.0 * b * s } else { 1.0 - 2.0 * (1.0 - b) * (1.0 - s) }),
        BlendMode::SoftLight => each(|b, s| {
            if s <= 0.5 {
                b - (1.0 - 2.0 * s) * b * (1.0 - b)
            } else {
                let d = if b <= 0.25 { ((16.0 * b - 12.0) * b + 4.0) * b } else { b.sqrt() };
                b + (2.0 * s - 1.0) * (d - b)
            }
        }),
        BlendMode::Add => each(|b, s| (b + s).min(1.0)),
        BlendMode::Darken => each(f64::min),
        BlendMode::Lighten => each(f64::max),
        BlendMode::Color => with_luminosity(source, luminosity(under)),
        BlendMode::Luminosity => with_luminosity(under, luminosity(source)),
    }
}

fn luminosity([r, g, b]: [f64; 3]) -> f64 {
    0.3 * r + 0.59 * g + 0.11 * b
}

fn with_luminosity(color: [f64; 3], wanted: f64) -> [f64; 3] {
    let shift = wanted - luminosity(color);
    let color = color.map(|value| value + shift);
    let lum = luminosity(color);
    let low = color.into_iter().fold(f64::MAX, f64::min);
    let high = color.into_iter().fold(f64::MIN, f64::max);
    if low < 0.0 {
        color.map(|value| lum + (value - lum) * lum / (lum - low))
    } else if high > 1.0 {
        color.map(|value| lum + (value - lum) * (1.0 - lum) / (high - lum))
    } else {
        color
    }
}
