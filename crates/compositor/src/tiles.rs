//! From stored pictures to the tiles of a layer, at any level, and sheets of several tiles.
//!
//! A tile holds [`TILE`] x [`TILE`] texels of one layer, aligned to the canvas. At level 0 a texel is a canvas pixel, and
//! the layer's patches and its mask are put together there, before anything is filtered: so patches that touch stay
//! without a seam at any scale. Each further level is the mean of 2 x 2 texels of the one before. A tile is known by what
//! it holds (the hashes of its pictures, and where they lie in it), so that an edit makes new just what it touches.

use std::{collections::HashMap, sync::Arc};

use half::f16;
use image::{DynamicImage, GrayImage, RgbImage, Rgba32FImage, RgbaImage, imageops};
use outframe_document::{BlobId, Rect};

use crate::{
    Error, PictureSource,
    cache::{Cache, Kept, Key},
    gpu::{Draw, Gpu, HalveParams, LIGHT, PatchParams, Scissor},
    host::{self, HostSheet},
    scene::{Holds, Placed, Plane},
};

/// The side of a tile, in texels.
pub(crate) const TILE: i64 = 512;
/// Pictures are sent to the device in parts of this side at most.
const PART: u32 = 2048;
/// Work is handed to the device, and waited for, after so many bytes of new textures.
const BYTES_AT_ONCE: u64 = 64 << 20;
/// The processor puts sheets together itself from pictures of so many pixels at most.
const MOST_HOST_PIXELS: u64 = 1 << 26;
/// Catmull-Rom reads so many texels to either side.
const APRON: i64 = 2;

/// What outlives a view.
#[derive(Debug)]
pub(crate) struct Renderer {
    pub(crate) gpu: Gpu,
    pub(crate) cache: Cache,
    /// Sheets in memory, for what the processor draws itself.
    pub(crate) hosts: Cache<HostSheet>,
    pub(crate) uploads: u64,
    pub(crate) tiles: u64,
}

/// One view being composed.
pub(crate) struct Job<'a> {
    pub(crate) renderer: &'a mut Renderer,
    pub(crate) source: &'a dyn PictureSource,
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
    decoded: HashMap<Wanted, Arc<Decoded>>,
    new_bytes: u64,
}

/// A picture, and the size of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Wanted {
    id: BlobId,
    size: (u32, u32),
    mask: bool,
}

/// A picture in memory, no larger than its place.
enum Decoded {
    Codes(RgbaImage),
    /// Without alpha, which is 255 then.
    Opaque(RgbImage),
    Deep(Rgba32FImage),
    Mask(GrayImage),
}

/// A part of a layer at one level and, if asked for, the coarser ones.
pub(crate) struct Sheet {
    pub(crate) kept: Arc<Kept>,
    /// The texel in its top left corner, counted on the canvas.
    pub(crate) origin: (i64, i64),
}

/// Texels of a level, counted on the canvas: left, top, right, bottom.
pub(crate) type Region = [i64; 4];

impl<'a> Job<'a> {
    pub(crate) fn new(
        renderer: &'a mut Renderer,
        source: &'a dyn PictureSource,
        is_cancelled: &'a dyn Fn() -> bool,
    ) -> Self {
        Self { renderer, source, is_cancelled, decoded: HashMap::new(), new_bytes: 0 }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if (self.is_cancelled)() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// A layer's texels of `region` at `level`, with `levels` levels; the region's sides are multiples of 2^(levels - 1)
    /// then. `None` if nothing is there. What is returned may be larger than what was asked for.
    pub(crate) fn sheet(
        &mut self,
        plane: &Plane,
        level: u32,
        region: Region,
        levels: u32,
    ) -> Result<Option<Sheet>, Error> {
        let [left, top, right, bottom] = region;
        let Some(Plan { placed, found, hash, in_tile }) = plan(plane, level, region, levels) else { return Ok(None) };
        if let ([(column, row, key)], true, 1) = (found.as_slice(), in_tile, levels) {
            let kept = self.tile(plane, &placed, level, *column, *row, *key)?;
            return Ok(Some(Sheet { kept, origin: (column * TILE, row * TILE) }));
        }
        let key = Key::Sheet(hash);
        if let Some(kept) = self.renderer.cache.get(&key) {
            return Ok(Some(Sheet { kept, origin: (left, top) }));
        }
        let (width, height) = ((right - left) as u32, (bottom - top) as u32);
        let (texture, view) = self.renderer.gpu.texture(width, height, levels, LIGHT);
        for (column, row, key) in found {
            let tile = self.tile(plane, &placed, level, column, row, key)?;
            let (x, y) = (column * TILE, row * TILE);
            let (from_x, from_y) = (left.max(x), top.max(y));
            let mut from = tile.texture.as_image_copy();
            from.origin = wgpu::Origin3d { x: (from_x - x) as u32, y: (from_y - y) as u32, z: 0 };
            let mut to = texture.as_image_copy();
            to.origin = wgpu::Origin3d { x: (from_x - left) as u32, y: (from_y - top) as u32, z: 0 };
            let size = wgpu::Extent3d {
                width: (right.min(x + TILE) - from_x) as u32,
                height: (bottom.min(y + TILE) - from_y) as u32,
                depth_or_array_layers: 1,
            };
            self.renderer.gpu.encoder().copy_texture_to_texture(from, to, size);
        }
        self.halve_levels(&texture, levels);
        let bytes = u64::from(width) * u64::from(height) * 8 * if levels > 1 { 4 } else { 3 } / 3;
        let kept = Kept { texture, view, part: [0; 4], whole: [width as i32, height as i32], bytes };
        let kept = self.renderer.cache.insert(key, kept);
        self.worked(bytes)?;
        Ok(Some(Sheet { kept, origin: (left, top) }))
    }

    /// As [`sheet`](Self::sheet) with one level, in memory; just the region.
    pub(crate) fn host_sheet(
        &mut self,
        plane: &Plane,
        level: u32,
        region: Region,
    ) -> Result<Option<Arc<HostSheet>>, Error> {
        let Some(Plan { placed, hash, .. }) = plan(plane, level, region, 1) else { return Ok(None) };
        let key = Key::Host(hash);
        if let Some(kept) = self.renderer.hosts.get(&key) {
            return Ok(Some(kept));
        }
        let sheet = match self.host_sheet_of_codes(plane, &placed, level, region)? {
            Some(sheet) => sheet,
            None => match self.sheet(plane, level, region, 1)? {
                Some(sheet) => self.read_sheet(&sheet, region)?,
                None => return Ok(None),
            },
        };
        Ok(Some(self.renderer.hosts.insert(key, sheet)))
    }

    /// Puts a sheet together from pictures that need neither scaling nor masks; `None` where there are others.
    fn host_sheet_of_codes(
        &mut self,
        plane: &Plane,
        placed: &[Placed],
        level: u32,
        region: Region,
    ) -> Result<Option<HostSheet>, Error> {
        let pixels: u64 =
            placed.iter().map(|placed| u64::from(placed.rect.width) * u64::from(placed.rect.height)).sum();
        let is_plain = plane.holds == Holds::Colors && plane.mask.is_none();
        if !is_plain || pixels > MOST_HOST_PIXELS || placed.iter().any(|placed| placed.mask.is_some()) {
            return Ok(None);
        }
        let wanted =
            |placed: &Placed| Wanted { id: placed.image, size: (placed.rect.width, placed.rect.height), mask: false };
        let all: Vec<_> = placed.iter().map(|placed| (wanted(placed), (0, 0))).collect();
        self.decode(&all)?;
        let mut pictures = Vec::with_capacity(placed.len());
        for placed in placed {
            let decoded = self.decoded.get(&wanted(placed)).cloned();
            let Some(decoded) = decoded.filter(|decoded| decoded.size() == wanted(placed).size) else {
                return Ok(None);
            };
            if matches!(*decoded, Decoded::Deep(_) | Decoded::Mask(_)) {
                return Ok(None);
            }
            pictures.push((placed.rect, decoded));
        }
        let codes = pictures.iter().filter_map(|(rect, decoded)| {
            let (raw, channels) = match &**decoded {
                Decoded::Codes(image) => (image.as_raw(), 4),
                Decoded::Opaque(image) => (image.as_raw(), 3),
                Decoded::Deep(_) | Decoded::Mask(_) => return None,
            };
            Some(host::Codes { rect: *rect, raw, channels })
        });
        let sheet = host::sheet(&codes.collect::<Vec<_>>(), level, region, &|| !(self.is_cancelled)());
        sheet.map(Some).ok_or(Error::Cancelled)
    }

    fn read_sheet(&mut self, sheet: &Sheet, [left, top, right, bottom]: Region) -> Result<HostSheet, Error> {
        let (width, height) = ((right - left) as usize, (bottom - top) as usize);
        let (skip_x, skip_y) = ((left - sheet.origin.0) as usize, (top - sheet.origin.1) as usize);
        let mut halves = Vec::with_capacity(width * height * 4);
        self.renderer.gpu.read(&sheet.kept.texture, |y, row| {
            if (skip_y..skip_y + height).contains(&(y as usize)) {
                let bytes = &row[skip_x * 8..(skip_x + width) * 8];
                halves.extend(bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])));
            }
        })?;
        Ok(HostSheet { width, halves })
    }

    fn halve_levels(&mut self, texture: &wgpu::Texture, levels: u32) {
        let gpu = &mut self.renderer.gpu;
        let view = |level| {
            texture.create_view(&wgpu::TextureViewDescriptor {
                base_mip_level: level,
                mip_level_count: Some(1),
                ..wgpu::TextureViewDescriptor::default()
            })
        };
        let pipeline = gpu.pipelines.halve.clone();
        for level in 1..levels {
            let scissor = [0, 0, texture.width() >> level, texture.height() >> level];
            let draw = gpu.draw(&pipeline, &HalveParams::default(), [Some(&view(level - 1)), None, None], scissor);
            gpu.pass(&view(level), Some([0.0; 4]), &[draw]);
        }
    }

    fn tile(
        &mut self,
        plane: &Plane,
        placed: &[Placed],
        level: u32,
        column: i64,
        row: i64,
        key: [u8; 32],
    ) -> Result<Arc<Kept>, Error> {
        let key = Key::Tile(key);
        if let Some(kept) = self.renderer.cache.get(&key) {
            return Ok(kept);
        }
        self.check()?;
        let draws = if level == 0 {
            self.patch_draws(plane, placed, column * TILE, row * TILE)?
        } else {
            let mut draws = Vec::with_capacity(4);
            let half = (TILE / 2) as u32;
            for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (column, row) = (2 * column + i64::from(x), 2 * row + i64::from(y));
                let area = Area::of_tile(level - 1, column, row);
                let inner: Vec<_> = placed.iter().filter(|placed| area.touches(&placed.rect)).copied().collect();
                let Some(key) = tile_key(plane, &inner, level - 1, column, row) else { continue };
                let finer = self.tile(plane, &inner, level - 1, column, row, key)?;
                let params = HalveParams { offset: [(x * half) as i32, (y * half) as i32], unused: [0; 2] };
                let gpu = &mut self.renderer.gpu;
                let pipeline = gpu.pipelines.halve.clone();
                let scissor = [x * half, y * half, half, half];
                draws.push(gpu.draw(&pipeline, &params, [Some(&finer.view), None, None], scissor));
            }
            draws
        };
        let gpu = &mut self.renderer.gpu;
        let (texture, view) = gpu.texture(TILE as u32, TILE as u32, 1, LIGHT);
        gpu.pass(&view, Some([0.0; 4]), &draws);
        let bytes = (TILE * TILE * 8) as u64;
        let kept = Kept { texture, view, part: [0; 4], whole: [TILE as i32; 2], bytes };
        let kept = self.renderer.cache.insert(key, kept);
        self.renderer.tiles += 1;
        self.worked(bytes)?;
        Ok(kept)
    }

    /// Counts new textures, and now and then lets the device catch up, so that memory stays bounded.
    fn worked(&mut self, bytes: u64) -> Result<(), Error> {
        self.new_bytes += bytes;
        if self.new_bytes < BYTES_AT_ONCE {
            return Ok(());
        }
        self.new_bytes = 0;
        let submission = self.renderer.gpu.submit();
        self.renderer.gpu.wait(submission)?;
        self.check()
    }

    /// The layer's patches, and its mask, into the tile of level 0 at (x, y).
    fn patch_draws(&mut self, plane: &Plane, placed: &[Placed], x: i64, y: i64) -> Result<Vec<Draw>, Error> {
        let tile = Rect::new(x, y, TILE as u32, TILE as u32);
        let seen =
            plane.mask.as_ref().filter(|mask| !mask.outside).map_or(Some(tile), |mask| tile.intersection(&mask.rect));
        let Some(seen) = seen else { return Ok(Vec::new()) };
        let parts: Vec<_> =
            placed.iter().flat_map(|placed| parts_of(placed.rect, seen, *placed, self.part_side())).collect();
        let masks: Vec<_> = plane
            .mask
            .iter()
            .flat_map(|mask| {
                let placed = Placed { rect: mask.rect, image: mask.image, mask: None };
                parts_of(mask.rect, tile, placed, self.part_side())
            })
            .collect();
        let covers = plane.holds != Holds::Colors;
        let mut wanted = Vec::new();
        for part in &parts {
            wanted.push((part.wanted(part.placed.image, covers), part.index));
            wanted.extend(part.placed.mask.map(|mask| (part.wanted(mask, true), part.index)));
        }
        wanted.extend(masks.iter().map(|part| (part.wanted(part.placed.image, true), part.index)));
        self.decode(&wanted)?;
        let mut draws = Vec::with_capacity(parts.len() + masks.len());
        for part in parts {
            let picture = self.part(part.wanted(part.placed.image, covers), part.index)?;
            let cover = part.placed.mask.map(|mask| self.part(part.wanted(mask, true), part.index)).transpose()?;
            let pipelines = &self.renderer.gpu.pipelines;
            let place = [part.placed.rect.width as i32, part.placed.rect.height as i32];
            let pipeline = match &cover {
                _ if covers => &pipelines.picture_cover,
                None if picture.whole == place => &pipelines.picture_plain,
                _ => &pipelines.picture,
            }
            .clone();
            let inverted = plane.holds == Holds::Hidden;
            let (picture, cover) = if covers { (None, Some(picture)) } else { (Some(picture), cover) };
            draws.push(self.patch_draw(&pipeline, tile, &part, picture.as_deref(), cover.as_deref(), inverted));
        }
        for part in masks {
            let cover = self.part(part.wanted(part.placed.image, true), part.index)?;
            let pipeline = self.renderer.gpu.pipelines.picture_mask.clone();
            draws.push(self.patch_draw(&pipeline, tile, &part, None, Some(&cover), false));
        }
        Ok(draws)
    }

    fn patch_draw(
        &mut self,
        pipeline: &wgpu::RenderPipeline,
        tile: Rect,
        part: &Part,
        picture: Option<&Kept>,
        cover: Option<&Kept>,
        inverted: bool,
    ) -> Draw {
        let rect = part.placed.rect;
        let params = PatchParams {
            origin: [(tile.x - rect.x) as i32, (tile.y - rect.y) as i32],
            size: [rect.width as i32, rect.height as i32],
            part: picture.map_or([0; 4], |kept| kept.part),
            cover_part: cover.map_or([0; 4], |kept| kept.part),
            whole: picture.map_or([0; 2], |kept| kept.whole),
            cover_whole: cover.map_or([0; 2], |kept| kept.whole),
            masked: i32::from(cover.is_some()),
            inverted: i32::from(inverted),
            unused: [0; 2],
        };
        let scissor: Scissor =
            [(part.seen.x - tile.x) as u32, (part.seen.y - tile.y) as u32, part.seen.width, part.seen.height];
        let textures = [picture.map(|kept| &kept.view), cover.map(|kept| &kept.view), None];
        self.renderer.gpu.draw(pipeline, &params, textures, scissor)
    }

    fn part_side(&self) -> u32 {
        PART.min(self.renderer.gpu.max_side - 2 * APRON as u32 - 1)
    }

    /// Decodes, on several threads, those of the wanted pictures that are neither on the device nor in memory.
    fn decode(&mut self, wanted: &[(Wanted, (u32, u32))]) -> Result<(), Error> {
        let mut missing: Vec<Wanted> = Vec::new();
        for (wanted, index) in wanted {
            let on_device = self.renderer.cache.get(&wanted.key(*index)).is_some();
            if !on_device && !self.decoded.contains_key(wanted) && !missing.contains(wanted) {
                missing.push(*wanted);
            }
        }
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let source = self.source;
        for some in missing.chunks(threads) {
            self.check()?;
            let done: Vec<Result<Decoded, Error>> = std::thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|wanted| scope.spawn(|| decode(source, wanted))).collect();
                let join = |(thread, wanted): (std::thread::ScopedJoinHandle<'_, _>, &Wanted)| {
                    let why = "its reader failed unexpectedly".to_owned();
                    thread.join().unwrap_or(Err(Error::Picture { id: wanted.id, why }))
                };
                running.into_iter().zip(some).map(join).collect()
            });
            for (wanted, decoded) in some.iter().zip(done) {
                self.decoded.insert(*wanted, Arc::new(decoded?));
            }
        }
        Ok(())
    }

    /// A part of a picture on the device.
    fn part(&mut self, wanted: Wanted, index: (u32, u32)) -> Result<Arc<Kept>, Error> {
        let key = wanted.key(index);
        if let Some(kept) = self.renderer.cache.get(&key) {
            return Ok(kept);
        }
        let decoded = match self.decoded.get(&wanted) {
            Some(decoded) => Arc::clone(decoded),
            // Thrown out again since `decode`, because the budget is smaller than what this tile needs.
            None => Arc::new(decode(self.source, &wanted)?),
        };
        let side = self.part_side();
        let (whole_width, whole_height) = decoded.size();
        let across = span(index.0, side, wanted.size.0, whole_width);
        let down = span(index.1, side, wanted.size.1, whole_height);
        let part = [across.0, down.0, across.1, down.1];
        let (format, bytes) = decoded.bytes(part);
        let (texture, view) = self.renderer.gpu.upload(part[2], part[3], format, &bytes);
        if wanted.size.0 <= side && wanted.size.1 <= side {
            self.decoded.remove(&wanted);
        }
        let kept = Kept {
            texture,
            view,
            part: part.map(|value| value as i32),
            whole: [whole_width as i32, whole_height as i32],
            bytes: bytes.len() as u64,
        };
        let kept = self.renderer.cache.insert(key, kept);
        self.renderer.uploads += 1;
        self.worked(bytes.len() as u64)?;
        Ok(kept)
    }
}

/// The texels of a picture `whole` long that part `index` of its place, `length` long, is made of: the first and how many.
fn span(index: u32, side: u32, length: u32, whole: u32) -> (u32, u32) {
    let (start, end) = (index * side, length.min((index + 1) * side));
    if length == whole {
        return (start, end - start);
    }
    let scale = f64::from(whole) / f64::from(length);
    let at = |pixel: u32| ((f64::from(pixel) + 0.5) * scale - 0.5).floor() as i64;
    let first = (at(start) - APRON).clamp(0, i64::from(whole) - 1);
    let last = (at(end - 1) + APRON + 1).clamp(first, i64::from(whole) - 1);
    (first as u32, (last - first + 1) as u32)
}

impl Wanted {
    fn key(&self, part: (u32, u32)) -> Key {
        Key::Part { id: self.id, size: self.size, part, mask: self.mask }
    }
}

fn decode(source: &dyn PictureSource, wanted: &Wanted) -> Result<Decoded, Error> {
    let mut image = source.load(&wanted.id).map_err(|why| Error::Picture { id: wanted.id, why })?;
    if image.width() == 0 || image.height() == 0 {
        return Err(Error::Picture { id: wanted.id, why: "it is empty".into() });
    }
    let (width, height) = (image.width().min(wanted.size.0), image.height().min(wanted.size.1));
    let same = (width, height) == (image.width(), image.height());
    let filter = imageops::FilterType::CatmullRom;
    let is_deep = !matches!(
        image,
        DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageRgb8(_)
            | DynamicImage::ImageRgba8(_)
    );
    Ok(if wanted.mask {
        // As everywhere in the program, a mask is the red of its picture, whose alpha has no meaning.
        let red = match image {
            DynamicImage::ImageLuma8(grey) => grey,
            other => {
                let rgba = other.into_rgba8();
                let red = rgba.pixels().map(|pixel| pixel.0[0]).collect();
                GrayImage::from_raw(rgba.width(), rgba.height(), red).unwrap_or_default()
            }
        };
        Decoded::Mask(if same { red } else { imageops::resize(&red, width, height, filter) })
    } else if is_deep {
        let deep = image.into_rgba32f();
        Decoded::Deep(if same { deep } else { imageops::resize(&deep, width, height, filter) })
    } else if let (true, DynamicImage::ImageRgb8(codes)) = (same, &mut image) {
        Decoded::Opaque(std::mem::take(codes))
    } else {
        let codes = image.into_rgba8();
        Decoded::Codes(if same { codes } else { imageops::resize(&codes, width, height, filter) })
    })
}

impl Decoded {
    fn size(&self) -> (u32, u32) {
        match self {
            Self::Codes(image) => image.dimensions(),
            Self::Opaque(image) => image.dimensions(),
            Self::Deep(image) => image.dimensions(),
            Self::Mask(image) => image.dimensions(),
        }
    }

    /// The bytes of a part (x, y, width, height), as the device takes them.
    fn bytes(&self, part: [u32; 4]) -> (wgpu::TextureFormat, Vec<u8>) {
        match self {
            Self::Codes(image) => (wgpu::TextureFormat::Rgba8Unorm, cut(image.as_raw(), image.width(), 4, part)),
            Self::Opaque(image) => {
                let codes = cut(image.as_raw(), image.width(), 3, part);
                let mut bytes = vec![255; codes.len() / 3 * 4];
                for (pixel, code) in bytes.chunks_exact_mut(4).zip(codes.chunks_exact(3)) {
                    pixel[..3].copy_from_slice(code);
                }
                (wgpu::TextureFormat::Rgba8Unorm, bytes)
            }
            Self::Mask(image) => (wgpu::TextureFormat::R8Unorm, cut(image.as_raw(), image.width(), 1, part)),
            Self::Deep(image) => {
                let numbers = cut(image.as_raw(), image.width(), 4, part);
                let halves: Vec<u16> =
                    numbers.into_iter().map(|value| f16::from_f32(value.clamp(0.0, 1.0)).to_bits()).collect();
                (LIGHT, bytemuck::cast_slice(&halves).to_vec())
            }
        }
    }
}

fn cut<T: Copy>(raw: &[T], width: u32, channels: usize, [x, y, part_width, part_height]: [u32; 4]) -> Vec<T> {
    let line = width as usize * channels;
    let (from, length) = (x as usize * channels, part_width as usize * channels);
    let mut out = Vec::with_capacity(length * part_height as usize);
    for row in raw.chunks_exact(line).skip(y as usize).take(part_height as usize) {
        out.extend_from_slice(&row[from..from + length]);
    }
    out
}

/// A part of a placed picture, and where it is seen.
struct Part {
    placed: Placed,
    /// Column and row in the grid of parts.
    index: (u32, u32),
    seen: Rect,
}

impl Part {
    fn wanted(&self, id: BlobId, mask: bool) -> Wanted {
        Wanted { id, size: (self.placed.rect.width, self.placed.rect.height), mask }
    }
}

/// The parts of `rect` that are seen in `window`.
fn parts_of(rect: Rect, window: Rect, placed: Placed, side: u32) -> Vec<Part> {
    let Some(seen) = rect.intersection(&window) else { return Vec::new() };
    let range = |from: i64, to: i64| (from / i64::from(side)) as u32..=((to - 1) / i64::from(side)) as u32;
    let columns = range(seen.x - rect.x, seen.right() - rect.x);
    let rows = range(seen.y - rect.y, seen.bottom() - rect.y);
    let mut parts = Vec::new();
    for row in rows {
        for column in columns.clone() {
            let x = rect.x + i64::from(column) * i64::from(side);
            let y = rect.y + i64::from(row) * i64::from(side);
            if let Some(seen) = Rect::new(x, y, side, side).intersection(&seen) {
                parts.push(Part { placed, index: (column, row), seen });
            }
        }
    }
    parts
}

/// Canvas pixels: left, top, right, bottom. Unlike a [`Rect`] as large as the canvas.
struct Area([i64; 4]);

impl Area {
    fn of_tile(level: u32, column: i64, row: i64) -> Self {
        Self::of_texels(level, [column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE])
    }

    fn of_texels(level: u32, region: Region) -> Self {
        // Whole tiles, since what a tile holds must not depend on which part of it is asked for.
        let [left, top, right, bottom] = region;
        let (before, after) = (|at: i64| at.div_euclid(TILE) * TILE, |at: i64| (at - 1).div_euclid(TILE) * TILE + TILE);
        Self([before(left), before(top), after(right), after(bottom)].map(|side| side << level))
    }

    fn touches(&self, rect: &Rect) -> bool {
        let [left, top, right, bottom] = self.0;
        rect.x < right && rect.y < bottom && rect.right() > left && rect.bottom() > top
    }
}

/// What a sheet is made of.
struct Plan {
    /// The pictures that may touch it.
    placed: Vec<Placed>,
    /// Column, row and key of the tiles in it that are not empty.
    found: Vec<(i64, i64, [u8; 32])>,
    /// Of what it holds.
    hash: [u8; 32],
    /// Whether it lies within one tile.
    in_tile: bool,
}

/// `None` if nothing is there.
fn plan(plane: &Plane, level: u32, region: Region, levels: u32) -> Option<Plan> {
    let [left, top, right, bottom] = region;
    let columns = left.div_euclid(TILE)..=(right - 1).div_euclid(TILE);
    let rows = top.div_euclid(TILE)..=(bottom - 1).div_euclid(TILE);
    let mut found = Vec::new();
    let mut hash = blake3::Hasher::new();
    for number in [i64::from(levels), right - left, bottom - top] {
        hash.update(&number.to_le_bytes());
    }
    let in_tile = columns.clone().count() * rows.clone().count() == 1;
    let seen = Area::of_texels(level, region);
    let placed: Vec<_> = plane.placed.iter().filter(|placed| seen.touches(&placed.rect)).copied().collect();
    for row in rows {
        for column in columns.clone() {
            if let Some(key) = tile_key(plane, &placed, level, column, row) {
                for number in [column * TILE - left, row * TILE - top] {
                    hash.update(&number.to_le_bytes());
                }
                hash.update(&key);
                found.push((column, row, key));
            }
        }
    }
    let hash = *hash.finalize().as_bytes();
    (!found.is_empty()).then_some(Plan { placed, found, hash, in_tile })
}

/// What a tile holds, as a hash; `None` if it is empty. `placed` are pictures that may touch it, in their order.
fn tile_key(plane: &Plane, placed: &[Placed], level: u32, column: i64, row: i64) -> Option<[u8; 32]> {
    let area = Area::of_tile(level, column, row);
    let [left, top, ..] = area.0;
    let mask = plane.mask.as_ref();
    if mask.is_some_and(|mask| !mask.outside && !area.touches(&mask.rect)) {
        return None;
    }
    let mut hash = blake3::Hasher::new();
    hash.update(&[b't', level as u8, plane.holds as u8]);
    let place = |rect: &Rect, hash: &mut blake3::Hasher| {
        for number in [rect.x - left, rect.y - top, i64::from(rect.width), i64::from(rect.height)] {
            hash.update(&number.to_le_bytes());
        }
    };
    let mut empty = true;
    for placed in placed.iter().filter(|placed| area.touches(&placed.rect)) {
        empty = false;
        place(&placed.rect, &mut hash);
        hash.update(placed.image.as_bytes());
        hash.update(&[u8::from(placed.mask.is_some())]);
        if let Some(mask) = placed.mask {
            hash.update(mask.as_bytes());
        }
    }
    if empty {
        return None;
    }
    if let Some(mask) = mask.filter(|mask| area.touches(&mask.rect)) {
        hash.update(&[b'm', u8::from(mask.outside)]);
        place(&mask.rect, &mut hash);
        hash.update(mask.image.as_bytes());
    }
    Some(*hash.finalize().as_bytes())
}
