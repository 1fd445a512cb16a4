//! The stage's tiles: squares of the flat picture, drawn when asked for, kept as long as they are right.
//!
//! Level 0 shows canvas pixels one to one; each further level halves them. A tile is named by level, column and row: its area is
//! `[x * side, (x + 1) * side)` with `side = SIDE << level`, likewise for y.
//!
//! Requests are answered by threads of this service, the newest request first: what the person looks at now matters more
//! than what was scrolled past. An edit forgets just the tiles that it [changed](changed_area).
//!
//! When nothing is asked for, one of the threads draws ahead: the ring of tiles around what was asked for last, then what the
//! next coarser level shows there, so that a scroll or a zoom finds them. A newer view takes the place of an older one's ring.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    io::Cursor,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder as _, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
};
use outframe_document::{Document, Layer, LayerId, Patch, Pixels, Rect};

/// The side of a tile in its own pixels.
pub const SIDE: u32 = 512;
/// The highest level: a tile is then two million canvas pixels wide.
pub const MAX_LEVEL: u32 = 12;
/// Columns and rows lie within ± this.
const MAX_INDEX: i64 = 1 << 40;
/// Encoded tiles that are kept, in bytes.
const CACHE_BYTES: usize = 192 << 20;
/// Requests that wait at most; the oldest are refused then.
const MAX_WAITING: usize = 512;
/// Past changes that are remembered to tell whether an old address still shows the truth.
const MAX_CHANGES: usize = 512;
/// How often a tile that is changed while it is drawn is drawn anew before it is handed out as it is.
const MAX_RETRIES: u32 = 3;
/// How many pixels of its own level beyond its edges a tile depends on, by filtering.
const FOOTPRINT: i64 = 4;
/// Requests that come closer together than this, side by side at one level, are one view.
const ONE_VIEW: Duration = Duration::from_millis(400);
/// A view has no more columns, and no more rows, than this.
const MOST_ACROSS: i64 = 24;
/// JPEG quality of reduced tiles.
const QUALITY: u8 = 90;

/// Which tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileAddress {
    /// 0 to [`MAX_LEVEL`].
    pub level: u32,
    /// The column.
    pub x: i64,
    /// The row.
    pub y: i64,
}

impl TileAddress {
    /// The canvas rectangle that it shows; `None` for an address that no canvas has.
    pub fn rect(&self) -> Option<Rect> {
        let within = |index: i64| (-MAX_INDEX..=MAX_INDEX).contains(&index);
        if self.level > MAX_LEVEL || !within(self.x) || !within(self.y) {
            return None;
        }
        let side = SIDE << self.level;
        Some(Rect::new(self.x * i64::from(side), self.y * i64::from(side), side, side))
    }

    /// The canvas rectangle that its pixels depend on.
    fn footprint(&self) -> Option<Rect> {
        let rect = self.rect()?;
        let margin = FOOTPRINT << self.level;
        let side = rect.width.saturating_add(2 * margin as u32);
        Some(Rect::new(rect.x - margin, rect.y - margin, side, side))
    }
}

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The file's bytes.
    pub bytes: Arc<Vec<u8>>,
    /// `image/png` or `image/jpeg`.
    pub media_type: &'static str,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The picture, [`SIDE`] pixels wide and high, or a single transparent pixel where nothing is painted.
    pub picture: Encoded,
    /// Whether the picture belongs to the revision that was asked for. Otherwise it is a newer one's and must not be kept
    /// under the old address.
    pub lasting: bool,
}

/// Why there is no tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The project is closed, or was opened anew.
    #[error("The project is not open any more.")]
    Closed,
    /// No canvas has such a tile, or the revision is not there yet.
    #[error("There is no such tile.")]
    NoSuchTile,
    /// Too many newer requests came.
    #[error("Newer requests came first; ask again.")]
    Superseded,
    /// It could not be drawn.
    #[error("{0}")]
    Failed(String),
}

/// Draws the canvas rectangle of a document as a picture of the given width and height.
pub type Draw = Arc<dyn Fn(&Arc<Document>, Rect, (u32, u32)) -> Result<RgbaImage, String> + Send + Sync>;
type Reply = Box<dyn FnOnce(Result<Tile, TileError>) + Send>;

/// The tile service. Dropping it ends its threads.
pub struct Tiles {
    shared: Arc<Shared>,
}

impl fmt::Debug for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        let (kept, waiting) = (state.cache.tiles.len(), state.waiting.len());
        f.debug_struct("Tiles").field("kept", &kept).field("waiting", &waiting).finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    scene: Option<Scene>,
    cache: Cache,
    /// The newest last.
    waiting: Vec<Work>,
    /// Tiles that are being drawn, and who else waits for them.
    drawing: HashMap<(u64, TileAddress), Vec<(u64, Reply)>>,
    /// What is looked at.
    view: Option<View>,
    /// Whether a thread draws ahead. The others stay free for what is asked for.
    ahead: bool,
}

/// The tiles that were asked for together, last.
struct View {
    opening: u64,
    level: u32,
    /// First and last column, first and last row.
    columns: (i64, i64),
    rows: (i64, i64),
    at: Instant,
    /// What was drawn ahead for it, or could not be.
    tried: HashSet<TileAddress>,
}

impl View {
    /// The view after one more request; the same, a larger or another one.
    fn with(before: Option<Self>, opening: u64, TileAddress { level, x, y }: TileAddress, at: Instant) -> Self {
        let grown = |(first, last): (i64, i64), index: i64| (first.min(index), last.max(index));
        let near = |(first, last): (i64, i64), index: i64| {
            let (low, high) = grown((first, last), index);
            index >= first - 1 && index <= last + 1 && high - low < MOST_ACROSS
        };
        match before {
            Some(view)
                if (view.opening, view.level) == (opening, level)
                    && at.duration_since(view.at) < ONE_VIEW
                    && near(view.columns, x)
                    && near(view.rows, y) =>
            {
                Self { columns: grown(view.columns, x), rows: grown(view.rows, y), at, ..view }
            }
            _ => Self { opening, level, columns: (x, x), rows: (y, y), at, tried: HashSet::new() },
        }
    }

    /// What may be asked for next: the tiles around it, then the coarser ones there.
    fn ring(&self) -> impl Iterator<Item = TileAddress> + use<> {
        let (level, (left, right), (top, bottom)) = (self.level, self.columns, self.rows);
        let inside = move |x: i64, y: i64| (left..=right).contains(&x) && (top..=bottom).contains(&y);
        let around = (top - 1..=bottom + 1)
            .flat_map(move |y| (left - 1..=right + 1).map(move |x| TileAddress { level, x, y }))
            .filter(move |tile| !inside(tile.x, tile.y));
        let half = |index: i64| index.div_euclid(2);
        let coarser = (half(top - 1)..=half(bottom + 1))
            .flat_map(move |y| (half(left - 1)..=half(right + 1)).map(move |x| TileAddress { level: level + 1, x, y }));
        around.chain(coarser)
    }
}

enum Work {
    Tile { opening: u64, address: TileAddress, replies: Vec<(u64, Reply)> },
    Other(Box<dyn FnOnce() + Send>),
}

/// What is shown.
struct Scene {
    key: String,
    /// Counts openings, so that what was asked of another one is not confused with this.
    opening: u64,
    revision: u64,
    document: Arc<Document>,
    draw: Draw,
    /// Which revision changed what; `None` is everything. The newest last.
    changes: VecDeque<(u64, Option<Vec<Rect>>)>,
    /// The oldest revision of which all changes since are known.
    known_since: u64,
}

impl Scene {
    /// Whether the pixels of an area may have changed after a revision.
    fn changed_since(&self, revision: u64, area: &Rect) -> bool {
        revision < self.known_since
            || self.changes.iter().rev().take_while(|(at, _)| *at > revision).any(|(_, areas)| match areas {
                None => true,
                Some(areas) => areas.iter().any(|changed| changed.intersection(area).is_some()),
            })
    }
}

/// Encoded tiles of the scene, of its newest revision.
#[derive(Default)]
struct Cache {
    tiles: HashMap<TileAddress, (Encoded, u64)>,
    by_age: BTreeMap<u64, TileAddress>,
    clock: u64,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, address: TileAddress) -> Option<Encoded> {
        let (picture, age) = self.tiles.get_mut(&address)?;
        self.by_age.remove(age);
        self.clock += 1;
        *age = self.clock;
        self.by_age.insert(*age, address);
        Some(picture.clone())
    }

    fn put(&mut self, address: TileAddress, picture: Encoded) {
        self.forget(address);
        self.clock += 1;
        self.bytes += picture.bytes.len();
        self.tiles.insert(address, (picture, self.clock));
        self.by_age.insert(self.clock, address);
        while self.bytes > CACHE_BYTES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, address: TileAddress) {
        if let Some((picture, age)) = self.tiles.remove(&address) {
            self.bytes -= picture.bytes.len();
            self.by_age.remove(&age);
        }
    }

    fn forget_in(&mut self, areas: &[Rect]) {
        let touched = |address: &TileAddress| {
            address.footprint().is_some_and(|rect| areas.iter().any(|area| area.intersection(&rect).is_some()))
        };
        let stale: Vec<TileAddress> = self.tiles.keys().copied().filter(touched).collect();
        for address in stale {
            self.forget(address);
        }
    }
}

impl Tiles {
    /// A service with so many threads, at least one.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let service = Self { shared: Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() }) };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&service.shared);
            thread::Builder::new().name(format!("tiles-{number}")).spawn(move || shared.serve())?;
        }
        Ok(service)
    }

    /// Shows another project from now on; requests for the one before are refused.
    pub fn open(&self, key: &str, revision: u64, document: Arc<Document>, draw: Draw) {
        let mut state = self.shared.state();
        let opening = state.scene.as_ref().map_or(0, |scene| scene.opening) + 1;
        let refused = state.reset();
        let changes = VecDeque::new();
        state.scene =
            Some(Scene { key: key.into(), opening, revision, document, draw, changes, known_since: revision });
        drop(state);
        refuse(refused);
    }

    /// Shows nothing any more.
    pub fn close(&self) {
        let mut state = self.shared.state();
        let refused = state.reset();
        // The counter of openings stays.
        if let Some(scene) = &mut state.scene {
            scene.key.clear();
            scene.document = Arc::default();
            scene.draw = Arc::new(|_, _, _| Err("The project is closed.".into()));
        }
        drop(state);
        refuse(refused);
    }

    /// Takes note of a new revision of the open project and of what looks different in it; `None` is everything.
    pub fn update(&self, revision: u64, document: Arc<Document>, areas: Option<Vec<Rect>>) {
        let mut state = self.shared.state();
        let State { scene, cache, view, .. } = &mut *state;
        let Some(scene) = scene else { return };
        if let Some(view) = view {
            // What it has touched may be drawn ahead once more.
            view.tried.clear();
        }
        match &areas {
            None => *cache = Cache { clock: cache.clock, ..Cache::default() },
            Some(areas) => cache.forget_in(areas),
        }
        scene.revision = revision;
        scene.document = document;
        scene.changes.push_back((revision, areas));
        if scene.changes.len() > MAX_CHANGES
            && let Some((oldest, _)) = scene.changes.pop_front()
        {
            scene.known_since = oldest;
        }
    }

    /// Asks for a tile of a revision. `reply` is called once, from a thread of the service or from this one.
    pub fn request(
        &self,
        key: &str,
        revision: u64,
        address: TileAddress,
        reply: impl FnOnce(Result<Tile, TileError>) + Send + 'static,
    ) {
        let mut state = self.shared.state();
        let answer = state.ask(key, revision, address);
        match answer {
            Err(error) => {
                drop(state);
                reply(Err(error));
            }
            Ok(Asked::There(tile)) => {
                state.look(address);
                drop(state);
                self.shared.wake.notify_one();
                reply(Ok(tile));
            }
            Ok(Asked::Draw(opening)) => {
                state.look(address);
                let reply: Reply = Box::new(reply);
                if let Some(others) = state.drawing.get_mut(&(opening, address)) {
                    others.push((revision, reply));
                    return;
                }
                // Asked again, it moves to the front.
                let same = |work: &Work| matches!(work, Work::Tile { opening: o, address: a, .. } if (*o, *a) == (opening, address));
                let mut replies = vec![(revision, reply)];
                if let Some(at) = state.waiting.iter().position(same)
                    && let Work::Tile { replies: earlier, .. } = state.waiting.remove(at)
                {
                    replies.extend(earlier);
                }
                state.waiting.push(Work::Tile { opening, address, replies });
                let oldest = || state.waiting.iter().position(|work| matches!(work, Work::Tile { .. }));
                let refused = match oldest() {
                    Some(oldest) if state.waiting.len() > MAX_WAITING => vec![state.waiting.remove(oldest)],
                    _ => Vec::new(),
                };
                drop(state);
                self.shared.wake.notify_one();
                refuse_with(refused, &TileError::Superseded);
            }
        }
    }

    /// Runs something else on the service's threads: at once like the newest tile when it is urgent, a film's picture for
    /// instance; else, as thumbnails, when no tile is waited for.
    pub fn run(&self, urgent: bool, work: impl FnOnce() + Send + 'static) {
        let work = Work::Other(Box::new(work));
        let mut state = self.shared.state();
        let at = if urgent { state.waiting.len() } else { 0 };
        state.waiting.insert(at, work);
        drop(state);
        self.shared.wake.notify_one();
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        let refused = state.reset();
        drop(state);
        self.shared.wake.notify_all();
        refuse(refused);
    }
}

enum Asked {
    There(Tile),
    Draw(u64),
}

impl State {
    /// Forgets everything of the scene; returns what is to be refused.
    fn reset(&mut self) -> Vec<Work> {
        self.cache = Cache::default();
        self.view = None;
        let (tiles, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|work| matches!(work, Work::Tile { .. }));
        self.waiting = others;
        tiles
    }

    /// Takes note that a tile is looked at.
    fn look(&mut self, address: TileAddress) {
        let Some(scene) = &self.scene else { return };
        self.view = Some(View::with(self.view.take(), scene.opening, address, Instant::now()));
    }

    /// A tile to draw before it is asked for.
    fn next_ahead(&mut self) -> Option<(u64, TileAddress)> {
        let Self { scene, cache, drawing, view, ahead, .. } = self;
        let (scene, view) = (scene.as_ref()?, view.as_mut()?);
        if *ahead || view.opening != scene.opening || scene.key.is_empty() {
            return None;
        }
        let wanted = view.ring().find(|address| {
            !view.tried.contains(address)
                && !cache.tiles.contains_key(address)
                && !drawing.contains_key(&(scene.opening, *address))
                && address.rect().is_some_and(|rect| !is_bare(&scene.document, &rect))
        })?;
        view.tried.insert(wanted);
        *ahead = true;
        Some((scene.opening, wanted))
    }

    fn ask(&mut self, key: &str, revision: u64, address: TileAddress) -> Result<Asked, TileError> {
        let scene = self.scene.as_ref().filter(|scene| scene.key == key && !key.is_empty()).ok_or(TileError::Closed)?;
        let (Some(rect), Some(footprint)) = (address.rect(), address.footprint()) else {
            return Err(TileError::NoSuchTile);
        };
        if revision > scene.revision {
            return Err(TileError::NoSuchTile);
        }
        let lasting = !scene.changed_since(revision, &footprint);
        if let Some(picture) = self.cache.get(address) {
            return Ok(Asked::There(Tile { picture, lasting }));
        }
        if is_bare(&scene.document, &rect) {
            return Ok(Asked::There(Tile { picture: nothing(), lasting }));
        }
        Ok(Asked::Draw(scene.opening))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        loop {
            let mut state = self.state();
            let work = loop {
                if state.ended {
                    return;
                }
                if let Some(work) = state.waiting.pop() {
                    break work;
                }
                if let Some((opening, address)) = state.next_ahead() {
                    state.drawing.insert((opening, address), Vec::new());
                    drop(state);
                    self.tile(opening, address);
                    state = self.state();
                    state.ahead = false;
                    continue;
                }
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            match work {
                Work::Other(work) => {
                    drop(state);
                    work();
                }
                Work::Tile { opening, address, replies } => {
                    state.drawing.insert((opening, address), replies);
                    drop(state);
                    self.tile(opening, address);
                }
            }
        }
    }

    /// Draws a tile and answers all who wait for it.
    fn tile(&self, opening: u64, address: TileAddress) {
        let mut retries = 0;
        loop {
            let scene = {
                let state = self.state();
                state
                    .scene
                    .as_ref()
                    .filter(|scene| scene.opening == opening && !scene.key.is_empty())
                    .map(|scene| (scene.revision, Arc::clone(&scene.document), Arc::clone(&scene.draw)))
            };
            let (Some((revision, document, draw)), Some(rect), Some(footprint)) =
                (scene, address.rect(), address.footprint())
            else {
                return self.refuse(opening, address);
            };
            let drawn = draw(&document, rect, (SIDE, SIDE)).and_then(|image| encode(image, address.level));
            let mut state = self.state();
            let State { scene, cache, .. } = &mut *state;
            let Some(scene) = scene.as_ref().filter(|scene| scene.opening == opening && !scene.key.is_empty()) else {
                drop(state);
                return self.refuse(opening, address);
            };
            let stale = scene.changed_since(revision, &footprint);
            if stale && drawn.is_ok() && retries < MAX_RETRIES {
                retries += 1;
                continue;
            }
            if let Ok(picture) = &drawn
                && !stale
            {
                cache.put(address, picture.clone());
            }
            let waiting = state.drawing.remove(&(opening, address)).unwrap_or_default();
            let scene = state.scene.as_ref();
            let lasting: Vec<bool> = waiting
                .iter()
                .map(|(asked, _)| !stale && scene.is_some_and(|scene| !scene.changed_since(*asked, &footprint)))
                .collect();
            drop(state);
            for ((_, reply), lasting) in waiting.into_iter().zip(lasting) {
                reply(drawn.clone().map(|picture| Tile { picture, lasting }).map_err(TileError::Failed));
            }
            return;
        }
    }

    /// Answers all who wait for a tile of a project that is closed.
    fn refuse(&self, opening: u64, address: TileAddress) {
        let waiting = self.state().drawing.remove(&(opening, address)).unwrap_or_default();
        for (_, reply) in waiting {
            reply(Err(TileError::Closed));
        }
    }
}

fn refuse(work: Vec<Work>) {
    refuse_with(work, &TileError::Closed);
}

fn refuse_with(work: Vec<Work>, error: &TileError) {
    for work in work {
        if let Work::Tile { replies, .. } = work {
            for (_, reply) in replies {
                reply(Err(error.clone()));
            }
        }
    }
}

/// Whether nothing is painted in an area.
fn is_bare(document: &Document, area: &Rect) -> bool {
    document.canvas.background.is_none()
        && !document
            .layers
            .iter()
            .filter(|layer| document.is_visible(layer))
            .flat_map(|layer| &layer.patches)
            .any(|patch| patch.rect.intersection(area).is_some())
}

/// One transparent pixel.
pub fn nothing() -> Encoded {
    // A PNG of 1 x 1 pixels, grey and alpha, both 0: 68 bytes that need no encoder.
    const PIXEL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x04\x00\x00\x00\xb5\x1c\x0c\x02\x00\x00\x00\x0b\
        IDATx\xdac\x60\x60\x00\x00\x00\x03\x00\x01\x2b\x09M\x84\x00\x00\x00\x00IEND\xaeB\x60\x82";
    Encoded { bytes: Arc::new(PIXEL.to_vec()), media_type: "image/png" }
}

/// Encodes a tile: losslessly where pixels are shown one to one or are not opaque, else as JPEG; a lone pixel when there is
/// nothing in it.
fn encode(image: RgbaImage, level: u32) -> Result<Encoded, String> {
    let (mut opaque, mut empty) = (true, true);
    for pixel in image.pixels() {
        opaque &= pixel.0[3] == 255;
        empty &= pixel.0[3] == 0;
    }
    if empty {
        return Ok(nothing());
    }
    let image = if opaque {
        DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8())
    } else {
        DynamicImage::ImageRgba8(image)
    };
    if opaque && level > 0 { encode_jpeg(&image) } else { encode_quickly(&image) }
}

/// A PNG made quickly rather than small.
pub fn encode_quickly(image: &DynamicImage) -> Result<Encoded, String> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub)
        .write_image(image.as_bytes(), image.width(), image.height(), image.color().into())
        .map_err(|error| format!("The picture cannot be encoded: {error}."))?;
    Ok(Encoded { bytes: Arc::new(bytes), media_type: "image/png" })
}

/// A JPEG for looking at.
pub fn encode_jpeg(image: &DynamicImage) -> Result<Encoded, String> {
    let mut bytes = Vec::new();
    let image = image.to_rgb8();
    JpegEncoder::new_with_quality(Cursor::new(&mut bytes), QUALITY)
        .encode(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(|error| format!("The picture cannot be encoded: {error}."))?;
    Ok(Encoded { bytes: Arc::new(bytes), media_type: "image/jpeg" })
}

/// Where the flat pictures of two documents may differ: rectangles that may overlap, none when they look the same, `None`
/// when anything may differ.
pub fn changed_area(before: &Document, after: &Document) -> Option<Vec<Rect>> {
    if before.canvas != after.canvas || before.groups != after.groups {
        return None;
    }
    let old: HashMap<LayerId, &Layer> = before.layers.iter().map(|layer| (layer.id, layer)).collect();
    let new: HashMap<LayerId, &Layer> = after.layers.iter().map(|layer| (layer.id, layer)).collect();
    let mut areas = Vec::new();
    let mut add_layer = |document: &Document, layer: &Layer| {
        if document.is_visible(layer) {
            areas.extend(layer.patches.iter().map(|patch| patch.rect));
        }
    };
    for layer in &before.layers {
        if !new.contains_key(&layer.id) {
            add_layer(before, layer);
        }
    }
    for layer in &after.layers {
        match old.get(&layer.id) {
            None => add_layer(after, layer),
            Some(earlier) if !looks_alike(earlier, layer) => {
                add_layer(before, earlier);
                add_layer(after, layer);
            }
            Some(_) => {}
        }
    }
    // Those between the first and the last that changed places.
    let common = |document: &Document, other: &HashMap<LayerId, &Layer>| -> Vec<LayerId> {
        document.layers.iter().map(|layer| layer.id).filter(|id| other.contains_key(id)).collect()
    };
    for id in displaced(&common(before, &new), &common(after, &old)) {
        if let Some(layer) = new.get(&id) {
            add_layer(after, layer);
        }
    }
    for layer in &after.layers {
        if let Some(earlier) = old.get(&layer.id)
            && looks_alike(earlier, layer)
            && after.is_visible(layer)
        {
            changed_patches((before, earlier), (after, layer), &mut areas);
        }
    }
    Some(without_inner(areas))
}

/// Whether two states of a layer differ at most in their patches and in what is not seen.
fn looks_alike(a: &Layer, b: &Layer) -> bool {
    a.visible == b.visible
        && a.opacity.to_bits() == b.opacity.to_bits()
        && a.blend == b.blend
        && a.group == b.group
        && a.mask == b.mask
}

fn changed_patches(before: (&Document, &Layer), after: (&Document, &Layer), areas: &mut Vec<Rect>) {
    type Seen = (Rect, Option<Pixels>);
    let seen = |(document, layer): (&Document, &Layer)| -> HashMap<_, Seen> {
        layer.patches.iter().map(|patch: &Patch| (patch.id, (patch.rect, document.pixels(patch)))).collect()
    };
    let (old, new) = (seen(before), seen(after));
    for (id, there) in &old {
        if new.get(id) != Some(there) {
            areas.push(there.0);
        }
    }
    for (id, there) in &new {
        if old.get(id) != Some(there) {
            areas.push(there.0);
        }
    }
    let common = |layer: &Layer, other: &HashMap<_, Seen>| -> Vec<_> {
        layer.patches.iter().map(|patch| patch.id).filter(|id| other.contains_key(id)).collect()
    };
    for id in displaced(&common(before.1, &new), &common(after.1, &old)) {
        areas.extend(new.get(&id).map(|there| there.0));
    }
}

/// What lies between the first and the last place at which two orders of the same things differ.
fn displaced<Id: Copy + PartialEq>(before: &[Id], after: &[Id]) -> Vec<Id> {
    let same = |(a, b): &(&Id, &Id)| a == b;
    let front = before.iter().zip(after).take_while(same).count();
    if front == before.len().min(after.len()) {
        return Vec::new();
    }
    let back = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
    after[front..after.len() - back].to_vec()
}

/// The rectangles without those that lie in others; one around all of them when there are many.
fn without_inner(areas: Vec<Rect>) -> Vec<Rect> {
    const MANY: usize = 64;
    let distinct: HashSet<Rect> = areas.into_iter().filter(|rect| !rect.is_empty()).collect();
    if distinct.len() > MANY {
        return distinct.into_iter().reduce(|all, rect| all.union(&rect)).into_iter().collect();
    }
    let all: Vec<Rect> = distinct.into_iter().collect();
    let inner = |rect: &&Rect| all.iter().any(|other| other != *rect && other.contains(rect));
    let mut kept: Vec<Rect> = all.iter().filter(|rect| !inner(rect)).copied().collect();
    kept.sort_by_key(|rect| (rect.y, rect.x, rect.height, rect.width));
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use image::Rgba;
    use outframe_document::{BlobId, GenerationId, Origin, PatchContent, PatchId, PatchImage};

    use super::*;

    fn patch(id: u64, rect: Rect, picture: &[u8]) -> Patch {
        let image = PatchImage { image: BlobId::of(picture), mask: None, origin: Origin::Drawn };
        Patch::new(PatchId::from_raw(id), rect, PatchContent::Image(Box::new(image)))
    }

    fn layer(id: u64, patches: Vec<Patch>) -> Layer {
        Layer { patches, ..Layer::new(LayerId::from_raw(id), format!("layer {id}")) }
    }

    fn two_layers() -> Document {
        let below =
            layer(1, vec![patch(10, Rect::new(0, 0, 600, 600), b"a"), patch(11, Rect::new(2000, 0, 50, 50), b"b")]);
        let above = layer(2, vec![patch(20, Rect::new(500, 500, 100, 100), b"c")]);
        Document { layers: vec![below, above], ..Document::default() }
    }

    #[test]
    fn only_what_looks_different_has_changed() {
        let before = two_layers();
        let change = |edit: &dyn Fn(&mut Document)| {
            let mut after = before.clone();
            edit(&mut after);
            changed_area(&before, &after)
        };
        let (a, b, c) = (Rect::new(0, 0, 600, 600), Rect::new(2000, 0, 50, 50), Rect::new(500, 500, 100, 100));
        assert_eq!(change(&|_| {}), Some(vec![]));
        assert_eq!(change(&|after| after.layers[0].name = "other".into()), Some(vec![]));
        assert_eq!(change(&|after| after.layers[0].locked = true), Some(vec![]));
        assert_eq!(change(&|after| after.layers[0].depth = 2.0), Some(vec![]), "the flat picture has no depth");
        assert_eq!(change(&|after| after.layers[1].opacity = 0.5), Some(vec![c]));
        assert_eq!(change(&|after| after.layers[0].visible = false), Some(vec![a, b]));
        assert_eq!(change(&|after| drop(after.layers.remove(1))), Some(vec![c]));
        assert_eq!(change(&|after| after.layers.swap(0, 1)), Some(vec![a, b]), "the smaller lies within");
        assert_eq!(change(&|after| after.layers[0].patches[1] = patch(11, b, b"other")), Some(vec![b]));
        assert_eq!(change(&|after| after.layers[0].patches[1].rect.x = 3000), Some(vec![b, Rect { x: 3000, ..b }]));
        assert_eq!(change(&|after| after.layers[0].patches.swap(0, 1)), Some(vec![a, b]));
        assert_eq!(change(&|after| drop(after.layers[0].patches.pop())), Some(vec![b]));
        assert_eq!(
            change(&|after| after.canvas.background = Some(outframe_document::Color { r: 1, g: 2, b: 3, a: 4 })),
            None
        );
        let mut hidden = before.clone();
        hidden.layers[1].visible = false;
        let mut moved = hidden.clone();
        moved.layers[1].patches[0].rect.x = 0;
        assert_eq!(changed_area(&hidden, &moved), Some(vec![]), "what is hidden does not show");
    }

    #[test]
    fn another_take_changes_what_its_patch_shows() {
        use outframe_document::{Generation, Provenance, Take, TakeId};
        let take = |id: u64| Take {
            id: TakeId::from_raw(id),
            seed: id,
            image: BlobId::of(&[id as u8]),
            mask: None,
            seconds: 1.0,
        };
        let id = GenerationId::from_raw(5);
        let rect = Rect::new(10, 20, 30, 40);
        let chosen = TakeId::from_raw(6);
        let provenance = Provenance::default();
        let mut before = two_layers();
        before.generations.insert(id, Generation { id, rect, provenance, takes: vec![take(6), take(7)], chosen });
        before.layers[1].patches.push(Patch::new(PatchId::from_raw(21), rect, PatchContent::Generation(id)));
        let mut after = before.clone();
        after.generations.get_mut(&id).unwrap().chosen = TakeId::from_raw(7);
        assert_eq!(changed_area(&before, &after), Some(vec![rect]));
    }

    /// Paints the colour of the number of layers where a visible patch is.
    fn draw() -> Draw {
        Arc::new(|document: &Arc<Document>, rect: Rect, (width, height): (u32, u32)| {
            let scale = i64::from(rect.width / width);
            Ok(RgbaImage::from_fn(width, height, |x, y| {
                let (x, y) = (rect.x + i64::from(x) * scale, rect.y + i64::from(y) * scale);
                let shown = document.patches().any(|patch| patch.rect.contains_point(x, y));
                if shown { Rgba([document.layers.len() as u8, 0, 0, 255]) } else { Rgba([0; 4]) }
            }))
        })
    }

    fn ask(tiles: &Tiles, key: &str, revision: u64, address: TileAddress) -> Result<Tile, TileError> {
        let (send, receive) = mpsc::channel();
        tiles.request(key, revision, address, move |answer| send.send(answer).unwrap());
        receive.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    const fn at(level: u32, x: i64, y: i64) -> TileAddress {
        TileAddress { level, x, y }
    }

    #[test]
    fn an_edit_costs_only_the_tiles_that_it_touches() {
        let tiles = Tiles::new(2).unwrap();
        let before = two_layers();
        tiles.open("k", 1, Arc::new(before.clone()), draw());
        let near = ask(&tiles, "k", 1, at(0, 0, 0)).unwrap();
        let far = ask(&tiles, "k", 1, at(0, 3, 0)).unwrap();
        assert!(near.lasting && far.lasting && near.picture.media_type == "image/png");
        let picture = image::load_from_memory(&near.picture.bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (SIDE, SIDE));

        let mut after = before.clone();
        after.layers.push(layer(3, vec![patch(30, Rect::new(0, 0, 10, 10), b"d")]));
        let areas = changed_area(&before, &after);
        tiles.update(2, Arc::new(after), areas);
        let changed = ask(&tiles, "k", 2, at(0, 0, 0)).unwrap();
        assert_ne!(changed.picture.bytes, near.picture.bytes);
        let same = ask(&tiles, "k", 2, at(0, 3, 0)).unwrap();
        assert!(Arc::ptr_eq(&same.picture.bytes, &far.picture.bytes), "it was kept");
        assert!(ask(&tiles, "k", 1, at(0, 3, 0)).unwrap().lasting, "the old address still shows the truth");
        let old = ask(&tiles, "k", 1, at(0, 0, 0)).unwrap();
        assert!(!old.lasting && old.picture == changed.picture);
        // Reduced tiles are JPEG where opaque.
        assert_eq!(ask(&tiles, "k", 2, at(1, 0, 0)).unwrap().picture.media_type, "image/png");
        assert_eq!(ask(&tiles, "k", 3, at(0, 0, 0)), Err(TileError::NoSuchTile), "not there yet");
    }

    #[test]
    fn bare_canvas_is_one_pixel_and_wrong_addresses_are_refused() {
        let tiles = Tiles::new(1).unwrap();
        assert_eq!(ask(&tiles, "k", 0, at(0, 0, 0)), Err(TileError::Closed));
        tiles.open("k", 0, Arc::new(two_layers()), draw());
        let bare = ask(&tiles, "k", 0, at(0, -5, 9)).unwrap().picture;
        let pixel = image::load_from_memory(&bare.bytes).unwrap().into_rgba8();
        assert_eq!((pixel.dimensions(), pixel.get_pixel(0, 0).0[3]), ((1, 1), 0));
        for wrong in [at(99, 0, 0), at(0, i64::MAX, 0), at(0, 0, i64::MIN)] {
            assert_eq!(ask(&tiles, "k", 0, wrong), Err(TileError::NoSuchTile));
        }
        assert_eq!(ask(&tiles, "other", 0, at(0, 0, 0)), Err(TileError::Closed));
        tiles.close();
        assert_eq!(ask(&tiles, "k", 0, at(0, 0, 0)), Err(TileError::Closed));
        assert_eq!(ask(&tiles, "", 0, at(0, 0, 0)), Err(TileError::Closed));
    }

    #[test]
    fn the_newest_request_is_served_first() {
        let tiles = Tiles::new(1).unwrap();
        let big = Document {
            layers: vec![layer(1, vec![patch(1, Rect::new(0, 0, 10_000, 10_000), b"a")])],
            ..Document::default()
        };
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let inner = draw();
        let slow: Draw = Arc::new(move |document, rect, size| {
            let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(10));
            inner(document, rect, size)
        });
        tiles.open("k", 0, Arc::new(big), slow);
        let (send, receive) = mpsc::channel();
        let ask = |x| {
            let send = send.clone();
            tiles.request("k", 0, at(0, x, 0), move |answer| send.send((x, answer.is_ok())).unwrap());
        };
        ask(0);
        // The only thread draws tile 0 now, or is about to.
        while !tiles.shared.state().waiting.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let (later, urgent) = (send.clone(), send.clone());
        tiles.run(false, move || later.send((100, true)).unwrap());
        for x in 1..4 {
            ask(x);
        }
        tiles.run(true, move || urgent.send((200, true)).unwrap());
        for _ in 0..4 {
            go.send(()).unwrap();
        }
        let order: Vec<_> = (0..6).map(|_| receive.recv_timeout(Duration::from_secs(10)).unwrap().0).collect();
        assert_eq!(order, [0, 200, 3, 2, 1, 100]);
    }

    /// A service of one thread over a large picture, which draws one tile for each message sent; and what it has drawn.
    fn gated() -> (Tiles, mpsc::Sender<()>, mpsc::Receiver<Rect>) {
        let tiles = Tiles::new(1).unwrap();
        let big = Document {
            layers: vec![layer(1, vec![patch(1, Rect::new(0, 0, 100_000, 100_000), b"a")])],
            ..Document::default()
        };
        let (go, gate) = mpsc::channel::<()>();
        let (told, drawn) = mpsc::channel();
        let gate = Mutex::new((gate, told));
        let inner = draw();
        let slow: Draw = Arc::new(move |document, rect, size| {
            let gate = gate.lock().unwrap();
            gate.0.recv_timeout(Duration::from_secs(20)).map_err(|error| error.to_string())?;
            gate.1.send(rect).unwrap();
            inner(document, rect, size)
        });
        tiles.open("k", 0, Arc::new(big), slow);
        (tiles, go, drawn)
    }

    #[test]
    fn what_lies_around_a_view_is_drawn_ahead() {
        let (tiles, go, drawn) = gated();
        let next = || {
            go.send(()).unwrap();
            drawn.recv_timeout(Duration::from_secs(10)).unwrap()
        };
        let (send, receive) = mpsc::channel();
        let ask = |x, y| {
            let send = send.clone();
            tiles.request("k", 0, at(0, x, y), move |answer| send.send(answer.is_ok()).unwrap());
        };
        ask(2, 2);
        assert_eq!(next(), at(0, 2, 2).rect().unwrap());
        assert!(receive.recv_timeout(Duration::from_secs(10)).unwrap());
        let ahead: HashSet<Rect> = (0..12).map(|_| next()).collect();
        let around = (1..4).flat_map(|y| (1..4).map(move |x| at(0, x, y))).filter(|tile| *tile != at(0, 2, 2));
        let coarser = (0..2).flat_map(|y| (0..2).map(move |x| at(1, x, y)));
        assert_eq!(ahead, around.chain(coarser).map(|tile| tile.rect().unwrap()).collect());
        // What was drawn ahead is there without being drawn; it only widens the view.
        while tiles.shared.state().cache.tiles.len() < 13 {
            thread::sleep(Duration::from_millis(1));
        }
        ask(3, 2);
        assert!(receive.recv_timeout(Duration::from_secs(10)).unwrap());
    }

    #[test]
    fn a_newer_view_takes_the_place_of_an_older_ones_ring() {
        let (tiles, go, drawn) = gated();
        let next = || {
            go.send(()).unwrap();
            drawn.recv_timeout(Duration::from_secs(10)).unwrap()
        };
        tiles.request("k", 0, at(0, 2, 2), |_| {});
        next();
        let first = at(0, 1, 1).rect().unwrap();
        // The first of the ring is being drawn, or about to be, when the person looks elsewhere.
        while !tiles.shared.state().drawing.contains_key(&(1, at(0, 1, 1))) {
            thread::sleep(Duration::from_millis(1));
        }
        tiles.request("k", 0, at(0, 50, 50), |_| {});
        assert_eq!((next(), next()), (first, at(0, 50, 50).rect().unwrap()), "what is asked for comes before the ring");
        let near = Rect::new(47 * 512, 47 * 512, 7 * 512, 7 * 512);
        for _ in 0..12 {
            let rect = next();
            assert!(near.contains(&rect), "{rect:?} is of the old ring");
        }
    }

    #[test]
    fn a_tile_changed_while_it_is_drawn_is_not_kept_as_it_was() {
        let tiles = Arc::new(Tiles::new(1).unwrap());
        let before = two_layers();
        let mut after = before.clone();
        after.layers.push(layer(3, vec![]));
        let (inner, again, changed) = (draw(), Arc::downgrade(&tiles), Arc::new(after));
        let once = Mutex::new(true);
        let meddling: Draw = Arc::new(move |document, rect, size| {
            if std::mem::take(&mut *once.lock().unwrap()) {
                again.upgrade().unwrap().update(2, Arc::clone(&changed), Some(vec![Rect::new(0, 0, 5, 5)]));
            }
            inner(document, rect, size)
        });
        tiles.open("k", 1, Arc::new(before), meddling);
        let tile = ask(&tiles, "k", 1, at(0, 0, 0)).unwrap();
        let picture = image::load_from_memory(&tile.picture.bytes).unwrap().into_rgb8();
        assert_eq!(picture.get_pixel(0, 0).0[0], 3, "drawn anew from the newer document");
        assert!(!tile.lasting);
    }
}
