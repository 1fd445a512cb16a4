//! From a scene and a view to a picture: layers and groups in their order, then the way out.

use outframe_camera::{Camera, Error as CameraError, Homography, Point, Rect as CameraRect};
use outframe_document::{BlendMode, Color};

use crate::{
    DeepPicture, Error, Filter, FlatView, Picture, Scene, ShotView, Unpainted,
    flat::{Axis, Tap, level_of, octave, taps},
    gpu::{
        AccumulateParams, CODES, DEEP, Draw, FadeParams, FinishParams, Finishers, LIGHT, MixParams, Mixers, Scissor,
        Target,
    },
    host,
    scene::{Group, Holds, Item, Plane},
    tiles::{Job, Region, Sheet},
};

/// Outputs are composed in blocks of this side at most.
const FLAT_BLOCK: u32 = 1024;
const SHOT_BLOCK: u32 = 2048;
/// The most texels of a layer that a block takes at once; beyond, the block is divided.
const SHEET_TEXELS: i64 = 16 << 20;
/// Blocks are not divided further than to this side.
const LEAST_BLOCK: u32 = 16;
/// Sheets of a shot end at multiples of so many texels, so that the next frame can often use the same.
const SHEET_STEP: i64 = 256;
/// Sheets in memory end at multiples of the first of these numbers with which they are no larger than [`HOST_TEXELS`]: a move
/// should need few of them, as pictures are decoded for each.
const HOST_STEPS: [i64; 3] = [2048, 1024, 512];
const HOST_TEXELS: i64 = 8 << 20;
/// The most pixels of one output.
pub(crate) const MOST_PIXELS: u64 = 1 << 28;
/// The farthest place that can be viewed, in canvas pixels.
const FARTHEST: f64 = (1_u64 << 42) as f64;
/// As in `source_camera.wgsl`.
const HORIZON: f64 = 1e-4;
const MOST_ANISOTROPY: f64 = 8.0;
/// A block's footprints are measured at so many steps across and down.
const GRID: u32 = 8;

type Matrix = [[f64; 3]; 3];

/// The codes of an output.
pub(crate) enum Codes<'a> {
    Bytes(&'a mut [u8]),
    Deep(&'a mut [u16]),
}

impl Codes<'_> {
    fn format(&self) -> wgpu::TextureFormat {
        match self {
            Self::Bytes(_) => CODES,
            Self::Deep(_) => DEEP,
        }
    }

    fn pipeline(&self, finishers: &Finishers, params: &FinishParams) -> wgpu::RenderPipeline {
        match self {
            Self::Bytes(_) if params.is_plain() => &finishers.plain,
            Self::Bytes(_) => &finishers.codes,
            Self::Deep(_) => &finishers.deep,
        }
        .clone()
    }
}

/// A part of the output, in its pixels.
#[derive(Debug, Clone, Copy)]
struct Block {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// How the canvas gets to the output.
enum Way<'a> {
    Flat {
        x: Axis,
        y: Axis,
        crisp: bool,
    },
    /// The camera, and how many of its own output pixels an output pixel is.
    Camera {
        camera: &'a Camera,
        scale: (f64, f64),
    },
}

/// A target being drawn to.
struct Canvas {
    target: Target,
    /// What it holds before the first pass.
    clear: Option<[f64; 4]>,
    waiting: Vec<Draw>,
}

/// What becomes of a plane's or group's pixels.
#[derive(Clone, Copy)]
enum Mixing {
    Over,
    Mask,
    Blend,
}

impl Mixing {
    fn pipeline(self, mixers: &Mixers) -> wgpu::RenderPipeline {
        match self {
            Self::Over => &mixers.over,
            Self::Mask => &mixers.mask,
            Self::Blend => &mixers.blend,
        }
        .clone()
    }
}

fn mode(blend: BlendMode) -> u32 {
    match blend {
        BlendMode::Normal => 0,
        BlendMode::Multiply => 1,
        BlendMode::Screen => 2,
        BlendMode::Overlay => 3,
        BlendMode::SoftLight => 4,
        BlendMode::Add => 5,
        BlendMode::Darken => 6,
        BlendMode::Lighten => 7,
        BlendMode::Color => 8,
        BlendMode::Luminosity => 9,
    }
}

/// Premultiplied linear light.
fn light(color: Option<Color>) -> [f64; 4] {
    let Some(Color { r, g, b, a }) = color else { return [0.0; 4] };
    let alpha = f64::from(a) / 255.0;
    let decode = |code: u8| {
        let code = f64::from(code) / 255.0;
        if code <= 0.04045 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
    };
    [decode(r) * alpha, decode(g) * alpha, decode(b) * alpha, alpha]
}

fn check_size(width: u32, height: u32) -> Result<(), Error> {
    if width == 0 || height == 0 {
        return Err(Error::View(format!("its output has {width} x {height} pixels; both sides must be at least 1.")));
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Error::TooLarge { width, height, limit: MOST_PIXELS });
    }
    Ok(())
}

fn blocks(width: u32, height: u32, side: u32) -> Vec<Block> {
    let starts = |length: u32| (0..length).step_by(side as usize);
    starts(height)
        .flat_map(|y| {
            starts(width).map(move |x| Block { x, y, width: side.min(width - x), height: side.min(height - y) })
        })
        .collect()
}

pub(crate) fn check_flat(view: &FlatView) -> Result<(), Error> {
    check_size(view.out_width, view.out_height)?;
    let far = [view.x, view.y].into_iter().any(|at| at.is_nan() || at.abs() > FARTHEST);
    let sides = [view.width, view.height].into_iter().any(|side| !(1e-3..=FARTHEST).contains(&side));
    if far || sides {
        return Err(Error::View(format!(
            "it shows {} x {} canvas pixels at ({}, {}); sides must be positive, and all within ±{FARTHEST:e}.",
            view.width, view.height, view.x, view.y
        )));
    }
    Ok(())
}

pub(crate) fn check_shot(view: &ShotView) -> Result<(), Error> {
    check_size(view.width, view.height)?;
    let look = &view.look;
    if view.cameras.is_empty() {
        return Err(Error::View("it has no camera.".into()));
    }
    if !(0.0..=1.0).contains(&look.vignette) || !(0.0..=1.0).contains(&look.grain) {
        return Err(Error::View(format!(
            "vignette {} and grain {} must be between 0 and 1.",
            look.vignette, look.grain
        )));
    }
    if look.letterbox.is_some_and(|aspect| !(0.01..=100.0).contains(&aspect)) {
        return Err(Error::View("the letterbox's aspect must be between 0.01 and 100.".into()));
    }
    Ok(())
}

impl Job<'_> {
    pub(crate) fn flat(&mut self, scene: &Scene, view: &FlatView, mut codes: Codes<'_>) -> Result<(), Error> {
        let x = Axis { start: view.x, scale: view.width / f64::from(view.out_width) };
        let y = Axis { start: view.y, scale: view.height / f64::from(view.out_height) };
        let way = Way::Flat { x, y, crisp: view.filter == Filter::Crisp };
        let place = [x, y].map(|axis| (axis.start / axis.scale).round() as i64 as u32);
        let side = FLAT_BLOCK.min(self.renderer.gpu.max_side / 3);
        for block in blocks(view.out_width, view.out_height, side) {
            self.check()?;
            let target = self.draw_scene(scene, &way, block)?;
            let params = FinishParams {
                offset: [block.x, block.y],
                whole: [view.out_width as f32, view.out_height as f32],
                window: [0.0, 0.0, view.out_width as f32, view.out_height as f32],
                dither: u32::from(view.dither),
                place,
                ..FinishParams::default()
            };
            self.finish(&target, &params, block, view.out_width, &mut codes)?;
            self.renderer.gpu.give_back(target);
        }
        Ok(())
    }

    pub(crate) fn shot(&mut self, scene: &Scene, view: &ShotView, mut codes: Codes<'_>) -> Result<(), Error> {
        // The same camera twice is seen twice as long.
        let mut moments: Vec<(&Camera, f64)> = Vec::new();
        for camera in &view.cameras {
            match moments.iter_mut().find(|(known, _)| *known == camera) {
                Some((_, weight)) => *weight += 1.0,
                None => moments.push((camera, 1.0)),
            }
        }
        let (width, height) = (f64::from(view.width), f64::from(view.height));
        let mut window = [0.0, 0.0, width, height];
        if let Some(aspect) = view.look.letterbox {
            let (bar_x, bar_y) =
                (((width - height * aspect) / 2.0).max(0.0), ((height - width / aspect) / 2.0).max(0.0));
            window = [bar_x, bar_y, width - bar_x, height - bar_y];
        }
        let unpainted = match view.unpainted {
            Unpainted::Transparent if !view.opaque => 0,
            Unpainted::Checkerboard => 1,
            Unpainted::Transparent | Unpainted::Black => 2,
        };
        let side = SHOT_BLOCK.min(self.renderer.gpu.max_side / 3);
        for block in blocks(view.width, view.height, side) {
            let params = FinishParams {
                offset: [block.x, block.y],
                whole: [width as f32, height as f32],
                window: window.map(|side| side as f32),
                // The square root of 10, less 1: a tenth of the light is left in the corners at 1.
                vignette: (view.look.vignette * 2.162_277_7) as f32,
                grain: (view.look.grain * 0.25) as f32,
                seed: (view.look.grain_seed ^ (view.look.grain_seed >> 32)) as u32,
                unpainted,
                ..FinishParams::default()
            };
            if self.direct(scene, &moments, view, &params, block, &mut codes)? {
                continue;
            }
            let target = self.exposed(scene, &moments, view, block)?;
            self.finish(&target, &params, block, view.width, &mut codes)?;
            self.renderer.gpu.give_back(target);
        }
        Ok(())
    }

    /// What falls on the film over all moments.
    fn exposed(
        &mut self,
        scene: &Scene,
        moments: &[(&Camera, f64)],
        view: &ShotView,
        block: Block,
    ) -> Result<Target, Error> {
        let total: f64 = moments.iter().map(|(_, weight)| weight).sum();
        let mut sum: Option<Target> = None;
        for (camera, weight) in moments {
            self.check()?;
            let scale = scale_of(camera, view);
            let target = self.draw_scene(scene, &Way::Camera { camera, scale }, block)?;
            if moments.len() == 1 {
                return Ok(target);
            }
            let gpu = &mut self.renderer.gpu;
            let next = gpu.target(block.width, block.height, gpu.sum);
            let params = AccumulateParams {
                weight: (weight / total) as f32,
                keep: f32::from(u8::from(sum.is_some())),
                unused: [0.0; 2],
            };
            let pipeline = gpu.pipelines.accumulate.clone();
            let textures = [None, Some(&target.view), sum.as_ref().map(|sum| &sum.view)];
            let draw = gpu.draw(&pipeline, &params, textures, [0, 0, block.width, block.height]);
            gpu.pass(&next.view, Some([0.0; 4]), &[draw]);
            gpu.submit();
            gpu.give_back(target);
            if let Some(old) = sum.replace(next) {
                gpu.give_back(old);
            }
        }
        sum.ok_or_else(|| Error::View("it has no camera.".into()))
    }

    pub(crate) fn fade(
        &mut self,
        first: &Picture,
        second: &Picture,
        share: f64,
        codes: Codes<'_>,
    ) -> Result<(), Error> {
        let mut codes = codes;
        let (width, height) = (first.width, first.height);
        let line = width as usize * 4;
        for block in blocks(width, height, SHOT_BLOCK.min(self.renderer.gpu.max_side)) {
            self.check()?;
            let gpu = &mut self.renderer.gpu;
            let [first, second] = [first, second].map(|picture| {
                let from = block.x as usize * 4;
                let rows = picture.rgba.chunks_exact(line).skip(block.y as usize).take(block.height as usize);
                let bytes: Vec<u8> =
                    rows.flat_map(|row| &row[from..from + block.width as usize * 4]).copied().collect();
                gpu.upload(block.width, block.height, CODES, &bytes).1
            });
            let target = gpu.target(block.width, block.height, LIGHT);
            let pipeline = gpu.pipelines.fade.clone();
            let params = FadeParams { share: share as f32, unused: [0.0; 3] };
            let scissor = [0, 0, block.width, block.height];
            let draw = gpu.draw(&pipeline, &params, [Some(&first), Some(&second), None], scissor);
            gpu.pass(&target.view, Some([0.0; 4]), &[draw]);
            let params = FinishParams {
                offset: [block.x, block.y],
                whole: [width as f32, height as f32],
                window: [0.0, 0.0, width as f32, height as f32],
                ..FinishParams::default()
            };
            self.finish(&target, &params, block, width, &mut codes)?;
            self.renderer.gpu.give_back(target);
        }
        Ok(())
    }

    fn finish(
        &mut self,
        target: &Target,
        params: &FinishParams,
        block: Block,
        out_width: u32,
        codes: &mut Codes<'_>,
    ) -> Result<(), Error> {
        let pipelines = &self.renderer.gpu.pipelines.finish;
        let pipeline = codes.pipeline(pipelines, params);
        self.way_out(&pipeline, params, [None, Some(&target.view), None], block, out_width, codes)
    }

    /// Draws codes, and reads them back.
    fn way_out(
        &mut self,
        pipeline: &wgpu::RenderPipeline,
        params: &FinishParams,
        textures: [Option<&wgpu::TextureView>; 3],
        block: Block,
        out_width: u32,
        codes: &mut Codes<'_>,
    ) -> Result<(), Error> {
        let gpu = &mut self.renderer.gpu;
        let out = gpu.target(block.width, block.height, codes.format());
        let scissor = [0, 0, block.width, block.height];
        let draw = gpu.draw(pipeline, params, textures, scissor);
        gpu.pass(&out.view, Some([0.0; 4]), &[draw]);
        let start = |row: u32| ((block.y + row) as usize * out_width as usize + block.x as usize) * 4;
        gpu.read(&out.texture, |row, bytes| match codes {
            Codes::Bytes(codes) => codes[start(row)..][..bytes.len()].copy_from_slice(bytes),
            Codes::Deep(codes) => {
                codes[start(row)..][..bytes.len() / 2].copy_from_slice(bytemuck::cast_slice(bytes));
            }
        })?;
        gpu.give_back(out);
        Ok(())
    }

    /// Draws a block in one pass, without a target between, if a single layer is all that there is and the camera neither
    /// turns nor tilts it. Returns whether it did.
    fn direct(
        &mut self,
        scene: &Scene,
        moments: &[(&Camera, f64)],
        view: &ShotView,
        params: &FinishParams,
        block: Block,
        codes: &mut Codes<'_>,
    ) -> Result<bool, Error> {
        let ([(camera, _)], [Item::Layer(plane)]) = (moments, &*scene.nodes) else { return Ok(false) };
        if plane.blend != BlendMode::Normal {
            return Ok(false);
        }
        self.check()?;
        let Some(homography) = seen_at(camera, plane.depth)? else { return Ok(false) };
        let Some((x, y)) = axes(&inverse_of(&homography, scale_of(camera, view))) else { return Ok(false) };
        if self.renderer.gpu.software
            && let Codes::Bytes(bytes) = codes
            && params.is_plain()
            && params.unpainted != 0
        {
            return self.by_processor(plane, (x, y), light(scene.background), block, view.width, bytes);
        }
        let Some(straight) = self.straight(plane, (x, y), false, SHEET_STEP, block)? else { return Ok(false) };
        let pipelines = &self.renderer.gpu.pipelines;
        let pipeline = codes.pipeline(
            if straight.filter == Sampling::Fast { &pipelines.direct_fast } else { &pipelines.direct },
            params,
        );
        let params = FinishParams {
            opacity: plane.opacity as f32,
            background: light(scene.background).map(|part| part as f32),
            ..*params
        };
        let textures = [Some(&straight.sheet.kept.view), Some(&straight.table), None];
        self.way_out(&pipeline, &params, textures, block, view.width, codes)?;
        Ok(true)
    }

    /// Draws a block of opaque codes of a single plane without the adapter. Returns whether anything of the plane is seen.
    fn by_processor(
        &mut self,
        plane: &Plane,
        axes: (Axis, Axis),
        background: [f64; 4],
        block: Block,
        out_width: u32,
        codes: &mut [u8],
    ) -> Result<bool, Error> {
        let Some(reach) = Reach::new(plane, axes, false, block) else { return Ok(false) };
        let regions = HOST_STEPS.map(|step| reach.region(plane, step));
        let fits = |[left, top, right, bottom]: &Region| (right - left) * (bottom - top) <= HOST_TEXELS;
        let region = regions.into_iter().find(fits).unwrap_or_else(|| reach.region(plane, SHEET_STEP));
        let Some(sheet) = self.host_sheet(plane, reach.level, region)? else { return Ok(false) };
        let line = out_width as usize * 4;
        let start = block.y as usize * line + block.x as usize * 4;
        let over = (plane.opacity, background.map(|part| part as f32));
        let origin = (region[0], region[1]);
        let carry_on = || !(self.is_cancelled)();
        let whole =
            host::draw(&sheet, origin, (&reach.columns, &reach.rows), over, (&mut codes[start..], line), &carry_on);
        if whole { Ok(true) } else { Err(Error::Cancelled) }
    }

    fn draw_scene(&mut self, scene: &Scene, way: &Way<'_>, block: Block) -> Result<Target, Error> {
        let mut canvas = self.canvas(block, light(scene.background));
        self.draw_items(&scene.nodes, way, block, &mut canvas)?;
        self.flush(&mut canvas);
        Ok(canvas.target)
    }

    fn canvas(&mut self, block: Block, clear: [f64; 4]) -> Canvas {
        let target = self.renderer.gpu.target(block.width, block.height, LIGHT);
        Canvas { target, clear: Some(clear), waiting: Vec::new() }
    }

    fn flush(&mut self, canvas: &mut Canvas) {
        if canvas.clear.is_some() || !canvas.waiting.is_empty() {
            self.renderer.gpu.pass(&canvas.target.view, canvas.clear.take(), &canvas.waiting);
            canvas.waiting.clear();
        }
    }

    fn draw_items(&mut self, items: &[Item], way: &Way<'_>, block: Block, canvas: &mut Canvas) -> Result<(), Error> {
        for item in items {
            self.check()?;
            match item {
                Item::Layer(plane) => self.mix(canvas, plane.blend, |job, mixing, below| {
                    job.plane_draws(plane, way, block, mixing, plane.opacity, below)
                })?,
                Item::Group(group) if group.is_plain() => self.draw_items(&group.inner, way, block, canvas)?,
                Item::Group(group) => {
                    let inner = self.draw_group(group, way, block)?;
                    self.mix(canvas, group.blend, |job, mixing, below| {
                        let gpu = &mut job.renderer.gpu;
                        let params = MixParams {
                            opacity: group.opacity as f32,
                            mode: mode(group.blend),
                            ..MixParams::default()
                        };
                        let pipeline = mixing.pipeline(&gpu.pipelines.group);
                        let scissor = [0, 0, block.width, block.height];
                        Ok(vec![gpu.draw(&pipeline, &params, [Some(&inner.view), None, below], scissor)])
                    })?;
                    // What waits refers to the group's target, which must not be drawn to before.
                    self.flush(canvas);
                    self.renderer.gpu.give_back(inner);
                }
            }
        }
        Ok(())
    }

    /// A group by itself, with its mask.
    fn draw_group(&mut self, group: &Group, way: &Way<'_>, block: Block) -> Result<Target, Error> {
        let mut canvas = self.canvas(block, [0.0; 4]);
        self.draw_items(&group.inner, way, block, &mut canvas)?;
        if let Some(mask) = &group.mask {
            let draws = self.plane_draws(mask, way, block, Mixing::Mask, 1.0, None)?;
            if mask.holds == Holds::Shown {
                // Where the mask's plane is not drawn it hides.
                self.keep_only(&mut canvas, &draws, block);
            }
            canvas.waiting.extend(draws);
        }
        self.flush(&mut canvas);
        Ok(canvas.target)
    }

    /// Clears what no draw covers. Scissors of one plane do not overlap.
    fn keep_only(&mut self, canvas: &mut Canvas, draws: &[Draw], block: Block) {
        self.flush(canvas);
        let gpu = &mut self.renderer.gpu;
        let kept = gpu.target(block.width, block.height, LIGHT);
        gpu.pass(&kept.view, Some([0.0; 4]), &[]);
        for draw in draws {
            let [x, y, width, height] = draw.scissor;
            let origin = wgpu::Origin3d { x, y, z: 0 };
            let mut from = canvas.target.texture.as_image_copy();
            let mut to = kept.texture.as_image_copy();
            (from.origin, to.origin) = (origin, origin);
            let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
            gpu.encoder().copy_texture_to_texture(from, to, size);
        }
        gpu.give_back(std::mem::replace(&mut canvas.target, kept));
    }

    /// Puts what `draws` makes over the canvas, or blends it with what is there.
    fn mix(
        &mut self,
        canvas: &mut Canvas,
        blend: BlendMode,
        draws: impl FnOnce(&mut Self, Mixing, Option<&wgpu::TextureView>) -> Result<Vec<Draw>, Error>,
    ) -> Result<(), Error> {
        if blend == BlendMode::Normal {
            let draws = draws(self, Mixing::Over, None)?;
            canvas.waiting.extend(draws);
            return Ok(());
        }
        let draws = draws(self, Mixing::Blend, Some(&canvas.target.view))?;
        if draws.is_empty() {
            return Ok(());
        }
        self.flush(canvas);
        let gpu = &mut self.renderer.gpu;
        let texture = &canvas.target.texture;
        let next = gpu.target(texture.width(), texture.height(), LIGHT);
        let (from, to) = (texture.as_image_copy(), next.texture.as_image_copy());
        gpu.encoder().copy_texture_to_texture(from, to, texture.size());
        gpu.pass(&next.view, None, &draws);
        gpu.give_back(std::mem::replace(&mut canvas.target, next));
        Ok(())
    }

    fn plane_draws(
        &mut self,
        plane: &Plane,
        way: &Way<'_>,
        block: Block,
        mixing: Mixing,
        opacity: f64,
        below: Option<&wgpu::TextureView>,
    ) -> Result<Vec<Draw>, Error> {
        let params = MixParams {
            opacity: opacity as f32,
            mode: mode(plane.blend),
            inverted: u32::from(plane.holds == Holds::Hidden),
            ..MixParams::default()
        };
        let how = How { mixing, params, below };
        match way {
            Way::Flat { x, y, crisp } => self.flat_draw(plane, (*x, *y), *crisp, 1, block, &how),
            Way::Camera { camera, scale } => {
                let Some(homography) = seen_at(camera, plane.depth)? else { return Ok(Vec::new()) };
                let inverse = inverse_of(&homography, *scale);
                if let Some((x, y)) = axes(&inverse) {
                    return self.flat_draw(plane, (x, y), false, SHEET_STEP, block, &how);
                }
                let mut draws = Vec::new();
                let seen = Seen { plane, homography: &homography, inverse, scale: *scale, block };
                self.camera_draws(&seen, [0, 0, block.width, block.height], &how, &mut draws)?;
                Ok(draws)
            }
        }
    }

    /// A plane under a scaling and a shift.
    fn flat_draw(
        &mut self,
        plane: &Plane,
        axes: (Axis, Axis),
        crisp: bool,
        step: i64,
        block: Block,
        how: &How<'_>,
    ) -> Result<Vec<Draw>, Error> {
        let Some(straight) = self.straight(plane, axes, crisp, step, block)? else { return Ok(Vec::new()) };
        let gpu = &mut self.renderer.gpu;
        let mixers = match straight.filter {
            Sampling::Single => &gpu.pipelines.flat_single,
            Sampling::Fast => &gpu.pipelines.flat_fast,
            Sampling::Full => &gpu.pipelines.flat,
        };
        let pipeline = how.mixing.pipeline(mixers);
        let textures = [Some(&straight.sheet.kept.view), Some(&straight.table), how.below];
        Ok(vec![gpu.draw(&pipeline, &how.params, textures, straight.scissor)])
    }

    /// What is needed to draw a plane under a scaling and a shift; `None` if nothing of it is seen. Sheets end at multiples of
    /// `step` texels.
    fn straight(
        &mut self,
        plane: &Plane,
        axes: (Axis, Axis),
        crisp: bool,
        step: i64,
        block: Block,
    ) -> Result<Option<Straight>, Error> {
        let Some(reach) = Reach::new(plane, axes, crisp, block) else { return Ok(None) };
        let Some(sheet) = self.sheet(plane, reach.level, reach.region(plane, step), 1)? else { return Ok(None) };
        let Reach { columns, rows, across, down, .. } = reach;
        let single = is_single(&columns[across.pixels.start as usize..across.pixels.end as usize])
            && is_single(&rows[down.pixels.start as usize..down.pixels.end as usize]);
        let filter = if single {
            Sampling::Single
        } else if self.renderer.gpu.software && step > 1 {
            // Not for flat views, which are the same to the last bit whatever sheet they are drawn from.
            Sampling::Fast
        } else {
            Sampling::Full
        };
        let width = block.width.max(block.height) as usize;
        let table = if filter == Sampling::Fast {
            let [sheet_width, sheet_height] = sheet.kept.whole.map(f64::from);
            let mut table = vec![0.0_f32; width * 8];
            let (places_x, places_y) = table.split_at_mut(width * 4);
            fill_fast(places_x, &columns, sheet.origin.0, sheet_width);
            fill_fast(places_y, &rows, sheet.origin.1, sheet_height);
            table
        } else {
            let mut table = vec![0.0_f32; width * 16];
            let (weights_x, rest) = table.split_at_mut(width * 4);
            let (places_x, rest) = rest.split_at_mut(width * 4);
            let (weights_y, places_y) = rest.split_at_mut(width * 4);
            fill(weights_x, places_x, &columns, sheet.origin.0);
            fill(weights_y, places_y, &rows, sheet.origin.1);
            table
        };
        let table = self.renderer.gpu.table(width as u32, &table);
        let scissor = [
            across.pixels.start,
            down.pixels.start,
            across.pixels.end - across.pixels.start,
            down.pixels.end - down.pixels.start,
        ];
        Ok(Some(Straight { sheet, table, scissor, filter }))
    }

    /// A part of a block (`rect`, in the block's pixels) of a plane under any homography.
    fn camera_draws(
        &mut self,
        seen: &Seen<'_>,
        rect: Scissor,
        how: &How<'_>,
        draws: &mut Vec<Draw>,
    ) -> Result<(), Error> {
        let Some(extent) = seen.extent(rect) else { return Ok(()) };
        let side = i64::from(self.renderer.gpu.max_side);
        let (mut finest, coarsest) = extent.levels;
        let (region, levels) = loop {
            let (region, levels) = extent.region(seen.plane, finest, coarsest.max(finest));
            let (width, height) = (region[2] - region[0], region[3] - region[1]);
            if width <= 0 || height <= 0 {
                return Ok(());
            }
            if width <= side && height <= side && width * height <= SHEET_TEXELS {
                break (region, levels);
            }
            let [x, y, width, height] = rect;
            if width.max(height) > LEAST_BLOCK {
                let halves = if width >= height {
                    [[x, y, width / 2, height], [x + width / 2, y, width - width / 2, height]]
                } else {
                    [[x, y, width, height / 2], [x, y + height / 2, width, height - height / 2]]
                };
                for half in halves {
                    self.camera_draws(seen, half, how, draws)?;
                }
                return Ok(());
            }
            finest += 1;
        };
        let Some(sheet) = self.sheet(seen.plane, finest, region, levels)? else { return Ok(()) };
        let params = seen.params(&sheet, finest, levels, how.params);
        let gpu = &mut self.renderer.gpu;
        let pipeline = how.mixing.pipeline(&gpu.pipelines.camera);
        draws.push(gpu.draw(&pipeline, &params, [Some(&sheet.kept.view), None, how.below], rect));
        Ok(())
    }
}

/// A plane under a scaling and a shift, ready to be drawn.
struct Straight {
    sheet: Sheet,
    /// As `source_flat.wgsl` or `source_flat_fast.wgsl` reads it.
    table: wgpu::TextureView,
    /// The part of the block in which it is seen.
    scissor: Scissor,
    filter: Sampling,
}

/// Which texels a block shows of a plane under a scaling and a shift.
struct Reach {
    level: u32,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    across: Used,
    down: Used,
}

impl Reach {
    /// `None` if nothing of the plane is seen.
    fn new(plane: &Plane, (x, y): (Axis, Axis), crisp: bool, block: Block) -> Option<Self> {
        let bounds = plane.bounds;
        let level = level_of(x, y);
        let columns = taps(x, block.x..block.x + block.width, level, bounds.x as f64, bounds.right() as f64, crisp);
        let rows = taps(y, block.y..block.y + block.height, level, bounds.y as f64, bounds.bottom() as f64, crisp);
        let (across, down) = (used(&columns)?, used(&rows)?);
        Some(Self { level, columns, rows, across, down })
    }

    /// Texels of the level that hold all that is needed, up to multiples of `step`.
    fn region(&self, plane: &Plane, step: i64) -> Region {
        let (bounds, across, down) = (plane.bounds, &self.across, &self.down);
        let out = |from: i64, to: i64, least: i64, most: i64| {
            let (least, most) = (least >> self.level, ((most - 1) >> self.level) + 1);
            let (from, to) = (from.div_euclid(step) * step, (to - 1).div_euclid(step) * step + step);
            (from.max(least), to.min(most))
        };
        let (left, right) = out(across.first, across.end, bounds.x, bounds.right());
        let (top, bottom) = out(down.first, down.end, bounds.y, bounds.bottom());
        [left, top, right, bottom]
    }
}

/// How a plane under a scaling and a shift is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sampling {
    /// Every pixel is a texel.
    Single,
    /// By `source_flat_fast.wgsl`.
    Fast,
    /// By all the texels of `source_flat.wgsl`.
    Full,
}

/// Whether each of these pixels is one whole texel.
fn is_single(taps: &[Tap]) -> bool {
    taps.iter().all(|tap| tap.count == 1 && tap.weights[0].to_bits() == 1.0_f64.to_bits())
}

/// Where the camera sees what lies at a depth; `None` if it has passed it or sees it too obliquely.
fn seen_at(camera: &Camera, depth: f64) -> Result<Option<Homography>, Error> {
    match camera.homography(depth) {
        Ok(homography) => Ok(Some(homography)),
        Err(CameraError::Passed { .. } | CameraError::IllConditioned { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// How many of the camera's own output pixels an output pixel is.
fn scale_of(camera: &Camera, view: &ShotView) -> (f64, f64) {
    let (width, height) = camera.output();
    (width / f64::from(view.width), height / f64::from(view.height))
}

/// From the output's pixels to the canvas.
fn inverse_of(homography: &Homography, scale: (f64, f64)) -> Matrix {
    homography.inverse().map(|row| [row[0] * scale.0, row[1] * scale.1, row[2]])
}

/// How a plane's pixels get onto the target.
struct How<'a> {
    mixing: Mixing,
    params: MixParams,
    below: Option<&'a wgpu::TextureView>,
}

/// The two axes of a map that turns and tilts nothing.
fn axes(inverse: &Matrix) -> Option<(Axis, Axis)> {
    let [[a, b, c], [d, e, f], [g, h, i]] = *inverse;
    let straight = [b, d, g, h].into_iter().all(|value| value.abs() < 1e-300) && i > 0.0 && a > 0.0 && e > 0.0;
    straight.then(|| (Axis { start: c / i, scale: a / i }, Axis { start: f / i, scale: e / i }))
}

/// The output pixels of a block that need texels, and which.
struct Used {
    pixels: std::ops::Range<u32>,
    first: i64,
    end: i64,
}

fn used(taps: &[Tap]) -> Option<Used> {
    let start = taps.iter().position(|tap| tap.count > 0)?;
    let last = taps.iter().rposition(|tap| tap.count > 0)?;
    let needed = taps[start..=last].iter().filter(|tap| tap.count > 0);
    let first = needed.clone().map(|tap| tap.first).min()?;
    let end = needed.map(|tap| tap.first + tap.count as i64).max()?;
    Some(Used { pixels: start as u32..last as u32 + 1, first, end })
}

fn fill(weights: &mut [f32], places: &mut [f32], taps: &[Tap], origin: i64) {
    for ((weights, places), tap) in weights.chunks_exact_mut(4).zip(places.chunks_exact_mut(4)).zip(taps) {
        for (to, from) in weights.iter_mut().zip(tap.weights) {
            *to = from as f32;
        }
        if tap.count > 0 {
            (places[0], places[1]) = ((tap.first - origin) as f32, tap.count as f32);
        }
    }
}

/// Where bilinear samples give two texels each by their weights, in parts of the sheet's side.
fn fill_fast(places: &mut [f32], taps: &[Tap], origin: i64, side: f64) {
    for (place, tap) in places.chunks_exact_mut(4).zip(taps) {
        let first = (tap.first - origin) as f64;
        for (i, pair) in tap.weights.chunks_exact(2).enumerate() {
            let weight = pair[0] + pair[1];
            let share = if weight > 0.0 { pair[1] / weight } else { 0.0 };
            place[i] = ((first + 2.0 * i as f64 + 0.5 + share) / side) as f32;
            place[i + 2] = weight as f32;
        }
    }
}

/// A plane seen through a camera in a block of the output.
struct Seen<'a> {
    plane: &'a Plane,
    homography: &'a Homography,
    /// From the output's pixels to the canvas.
    inverse: Matrix,
    scale: (f64, f64),
    block: Block,
}

/// What of the plane is needed, and how fine.
struct Extent {
    /// Left, top, right, bottom on the canvas.
    canvas: [f64; 4],
    /// The finest and the coarsest level.
    levels: (u32, u32),
}

impl Seen<'_> {
    /// Homogeneous canvas coordinates of a point of the output.
    fn ray(&self, x: f64, y: f64) -> [f64; 3] {
        self.inverse.map(|row| row[0] * x + row[1] * y + row[2])
    }

    /// The shorter axis of an output pixel's footprint, in canvas pixels, as the shader reckons it.
    fn footprint(&self, [x, y, w]: [f64; 3]) -> f64 {
        let (x, y) = (x / w, y / w);
        let [row_x, row_y, row_w] = self.inverse;
        let column = |i: usize| ((row_x[i] - x * row_w[i]) / w, (row_y[i] - y * row_w[i]) / w);
        let (dx, dy) = (column(0), column(1));
        let (xx, yy, xy) = (dx.0 * dx.0 + dy.0 * dy.0, dx.1 * dx.1 + dy.1 * dy.1, dx.0 * dx.1 + dy.0 * dy.1);
        let mean = 0.5 * (xx + yy);
        let spread = (0.25 * (xx - yy) * (xx - yy) + xy * xy).max(0.0).sqrt();
        (mean - spread).max(0.0).sqrt().max((mean + spread).sqrt() / MOST_ANISOTROPY)
    }

    fn extent(&self, rect: Scissor) -> Option<Extent> {
        let (left, top) = (f64::from(self.block.x + rect[0]), f64::from(self.block.y + rect[1]));
        let (width, height) = (f64::from(rect[2]), f64::from(rect[3]));
        let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];
        let rays = corners.map(|(u, v)| self.ray(left + u * width, top + v * height));
        // The part before the horizon, which cuts the block along a straight line.
        let mut seen = Vec::with_capacity(6);
        for i in 0..4 {
            let (a, b) = (rays[i], rays[(i + 1) % 4]);
            if a[2] > HORIZON {
                seen.push(a);
            }
            if (a[2] > HORIZON) != (b[2] > HORIZON) {
                let t = (HORIZON - a[2]) / (b[2] - a[2]);
                seen.push([a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, HORIZON]);
            }
        }
        let bounds = self.plane.bounds;
        let bounds = [bounds.x as f64, bounds.y as f64, bounds.right() as f64, bounds.bottom() as f64];
        let mut canvas = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
        for [x, y, w] in seen {
            let (x, y) = (x / w, y / w);
            canvas = [canvas[0].min(x), canvas[1].min(y), canvas[2].max(x), canvas[3].max(y)];
        }
        // A pixel's footprint reaches beyond the pixel's middle.
        let margin = [canvas[2] - canvas[0], canvas[3] - canvas[1]].map(|span| span / width.min(height) + 1.0);
        let canvas = [
            (canvas[0] - margin[0]).max(bounds[0]),
            (canvas[1] - margin[1]).max(bounds[1]),
            (canvas[2] + margin[0]).min(bounds[2]),
            (canvas[3] + margin[1]).min(bounds[3]),
        ];
        if !(canvas[0] < canvas[2] && canvas[1] < canvas[3]) {
            return None;
        }
        let mut sizes = Vec::new();
        for (i, j) in (0..=GRID).flat_map(|j| (0..=GRID).map(move |i| (i, j))) {
            let ray =
                self.ray(left + width * f64::from(i) / f64::from(GRID), top + height * f64::from(j) / f64::from(GRID));
            let (x, y) = (ray[0] / ray[2], ray[1] / ray[2]);
            let near = |at: f64, from: f64, to: f64| at >= from - (to - from) / 8.0 && at <= to + (to - from) / 8.0;
            if ray[2] > HORIZON && near(x, canvas[0], canvas[2]) && near(y, canvas[1], canvas[3]) {
                sizes.push(self.footprint(ray));
            }
        }
        // A plane so small that it lies between the points of the grid.
        let [x, y, right, bottom] = canvas;
        let rect = CameraRect::new(x, y, right - x, bottom - y);
        if sizes.is_empty() {
            for point in rect.corners().into_iter().chain([rect.centre()]) {
                if let Some(Point { x, y }) = self.homography.project(point) {
                    sizes.push(self.footprint(self.ray(x / self.scale.0, y / self.scale.1)));
                }
            }
        }
        let finest = sizes.iter().copied().reduce(f64::min)?;
        let coarsest = sizes.into_iter().reduce(f64::max)?;
        if !finest.is_finite() || !coarsest.is_finite() {
            return None;
        }
        let level = |size: f64| octave(size.max(1.0)).clamp(0, crate::flat::MAX_LEVEL as i32) as u32;
        Some(Extent { canvas, levels: (level(finest), level(coarsest)) })
    }

    fn params(&self, sheet: &Sheet, level: u32, levels: u32, params: MixParams) -> MixParams {
        let [width, height] = sheet.kept.whole;
        let params = MixParams { sheet: [width as f32, height as f32], ..params };
        self.rows([sheet.origin.0, sheet.origin.1], level, levels, params)
    }

    /// What leads to the texels of a sheet with this top left corner.
    fn rows(&self, origin: [i64; 2], level: u32, levels: u32, params: MixParams) -> MixParams {
        let texel = f64::from(level).exp2();
        let [left, top] = origin.map(|side| side as f64);
        let middle = (f64::from(self.block.width) / 2.0, f64::from(self.block.height) / 2.0);
        let at = (f64::from(self.block.x) + middle.0, f64::from(self.block.y) + middle.1);
        let [row_x, row_y, row_w] = self.inverse;
        let row = |row: [f64; 3], origin: f64| {
            let [a, b, c]: [f64; 3] = std::array::from_fn(|i| row[i] / texel - origin * row_w[i]);
            [a as f32, b as f32, (a * at.0 + b * at.1 + c) as f32, 0.0]
        };
        let bounds = self.plane.bounds;
        let within = |side: i64, origin: f64| (side as f64 / texel - origin) as f32;
        MixParams {
            rows: [
                row(row_x, left),
                row(row_y, top),
                [row_w[0] as f32, row_w[1] as f32, (row_w[0] * at.0 + row_w[1] * at.1 + row_w[2]) as f32, 0.0],
            ],
            bounds: [
                within(bounds.x, left),
                within(bounds.y, top),
                within(bounds.right(), left),
                within(bounds.bottom(), top),
            ],
            middle: [middle.0 as f32, middle.1 as f32],
            coarsest: (levels - 1) as f32,
            ..params
        }
    }
}

impl Extent {
    /// The texels of the finest level that are needed for all levels, and how many levels there are.
    fn region(&self, plane: &Plane, finest: u32, coarsest: u32) -> (Region, u32) {
        let levels = coarsest - finest + 1;
        let unit = SHEET_STEP.max(1 << (levels - 1));
        // The longest reach of the probes and of the bilinear samples, at the coarsest level.
        let margin = 12_i64 << coarsest;
        // Beyond the layer's own edge, only what a bilinear sample reads.
        let ring = 2_i64 << coarsest;
        let bounds = plane.bounds;
        let side = |from: f64, to: f64, least: i64, most: i64| {
            let from = (from.floor() as i64 - margin).max(least - ring) >> finest;
            let to = ((to.ceil() as i64 + margin).min(most + ring) >> finest) + 1;
            (from.div_euclid(unit) * unit, (to - 1).div_euclid(unit) * unit + unit)
        };
        let [left, top, right, bottom] = self.canvas;
        let (left, right) = side(left, right, bounds.x, bounds.right());
        let (top, bottom) = side(top, bottom, bounds.y, bounds.bottom());
        ([left, top, right, bottom], levels)
    }
}

/// An empty picture of a checked size.
pub(crate) fn blank(width: u32, height: u32) -> Picture {
    Picture { width, height, rgba: vec![0; width as usize * height as usize * 4] }
}

/// The same with 16 bits a channel.
pub(crate) fn blank_deep(width: u32, height: u32) -> DeepPicture {
    DeepPicture { width, height, rgba: vec![0; width as usize * height as usize * 4] }
}

#[cfg(test)]
mod tests {
    use outframe_camera::Pose;
    use outframe_document::Rect;
    use proptest::prelude::*;

    use super::*;
    use crate::scene::Placed;

    proptest! {
        /// What the shader gets in single precision leads the corners of a layer, seen anywhere on the canvas, to where the
        /// camera's homography leads them.
        #[test]
        fn corners_in_single_precision(
            far_x in -1e6..1e6_f64, far_y in -1e6..1e6_f64, x in -0.4..0.4_f64, y in -0.4..0.4_f64, z in -0.5..0.5_f64,
            yaw in -25.0..25.0_f64, pitch in -20.0..20.0_f64, roll in -180.0..180.0_f64, depth in 0.6..5.0_f64,
        ) {
            let view = CameraRect::new(far_x, far_y, 1920.0, 1080.0);
            let pose = Pose { x, y, z, yaw, pitch, roll, focal: 1.0 };
            let homography = Camera::new(view, 1920.0, 1080.0, 35.0, pose).homography(depth).unwrap();
            let bounds = Rect::new(far_x as i64 + 300, far_y as i64 + 200, 1200, 600);
            let image = outframe_document::BlobId::of(b"");
            let placed = vec![Placed { rect: bounds, image, mask: None }];
            let plane = Plane {
                holds: Holds::Colors, opacity: 1.0, blend: BlendMode::Normal, depth, placed, mask: None, bounds,
            };
            let block = Block { x: 0, y: 0, width: 1920, height: 1080 };
            let inverse = homography.inverse();
            let seen = Seen { plane: &plane, homography: &homography, inverse, scale: (1.0, 1.0), block };
            let Some(extent) = seen.extent([0, 0, 1920, 1080]) else { return Ok(()) };
            let (level, coarsest) = extent.levels;
            let (region, levels) = extent.region(&plane, level, coarsest);
            let params = seen.rows([region[0], region[1]], level, levels, MixParams::default());
            let corners = [(0, 1), (2, 1), (2, 3), (0, 3)];
            let rect = CameraRect::new(bounds.x as f64, bounds.y as f64, 1200.0, 600.0);
            let Some(projected) = homography.corners(&rect) else { return Ok(()) };
            for (point, (i, j)) in projected.into_iter().zip(corners) {
                if !(-200.0..2200.0).contains(&point.x) || !(-200.0..1300.0).contains(&point.y) {
                    continue;
                }
                let pixel = [point.x as f32 - params.middle[0], point.y as f32 - params.middle[1], 1.0];
                let [u, v, w] = params.rows.map(|row| row[0] * pixel[0] + row[1] * pixel[1] + row[2]);
                let off = [u / w - params.bounds[i], v / w - params.bounds[j]];
                // From texels to output pixels, by the size of a pixel there.
                let texel = f64::from(level).exp2();
                let size = seen.footprint(seen.ray(point.x, point.y)) / texel;
                let off = f64::from(off[0].hypot(off[1])) / size;
                prop_assert!(off < 0.01, "{off} pixels");
            }
        }
    }
}
