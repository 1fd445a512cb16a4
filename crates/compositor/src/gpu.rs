//! The device: adapter, pipelines, targets, and the way back to memory.

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytemuck::{Pod, Zeroable};
use wgpu::util::DeviceExt as _;

use crate::{AdapterChoice, AdapterDescription, Error};

/// Premultiplied linear light.
pub(crate) const LIGHT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Float;
/// Tables of weights, and the sum of several moments where the device can draw to it.
const SINGLE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
/// Codes with 8 and 16 bits.
pub(crate) const CODES: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;
pub(crate) const DEEP: wgpu::TextureFormat = wgpu::TextureFormat::Rgba16Uint;

/// A uniform buffer is bound in steps of this many bytes, on every device.
const UNIFORM_STEP: usize = 256;
const UNIFORM_CHUNK: usize = 64 * UNIFORM_STEP;
/// Longer than any pass takes, shorter than a person waits for a hung driver.
const PATIENCE: Duration = Duration::from_mins(2);
/// Free targets that are kept for the next view.
const SPARE_TARGETS: usize = 6;

const COMMON: &str = include_str!("../../../shaders/common.wgsl");
const PATCH: &str = include_str!("../../../shaders/patch.wgsl");
const HALVE: &str = include_str!("../../../shaders/halve.wgsl");
const SOURCE_FLAT: &str = include_str!("../../../shaders/source_flat.wgsl");
const SOURCE_FLAT_FAST: &str = include_str!("../../../shaders/source_flat_fast.wgsl");
const SOURCE_CAMERA: &str = include_str!("../../../shaders/source_camera.wgsl");
const SOURCE_GROUP: &str = include_str!("../../../shaders/source_group.wgsl");
const MIX: &str = include_str!("../../../shaders/mix.wgsl");
const ACCUMULATE: &str = include_str!("../../../shaders/accumulate.wgsl");
const FADE: &str = include_str!("../../../shaders/fade.wgsl");
const FINISH: &str = include_str!("../../../shaders/finish.wgsl");
const FINISH_TARGET: &str = include_str!("../../../shaders/finish_target.wgsl");
const FINISH_DIRECT: &str = include_str!("../../../shaders/finish_direct.wgsl");

/// Every shader as the device gets it, by the name of its file.
pub(crate) fn shaders() -> [(&'static str, String); 11] {
    [
        ("patch", format!("{COMMON}{PATCH}")),
        ("halve", format!("{COMMON}{HALVE}")),
        ("source_flat", format!("{COMMON}{SOURCE_FLAT}{MIX}")),
        ("source_flat_fast", format!("{COMMON}{SOURCE_FLAT_FAST}{MIX}")),
        ("source_camera", format!("{COMMON}{SOURCE_CAMERA}{MIX}")),
        ("source_group", format!("{COMMON}{SOURCE_GROUP}{MIX}")),
        ("accumulate", format!("{COMMON}{ACCUMULATE}")),
        ("fade", format!("{COMMON}{FADE}")),
        ("finish", format!("{COMMON}{FINISH}{FINISH_TARGET}")),
        ("direct", format!("{COMMON}{SOURCE_FLAT}{FINISH}{FINISH_DIRECT}")),
        ("direct_fast", format!("{COMMON}{SOURCE_FLAT_FAST}{FINISH}{FINISH_DIRECT}")),
    ]
}

/// As in `patch.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct PatchParams {
    pub(crate) origin: [i32; 2],
    pub(crate) size: [i32; 2],
    pub(crate) part: [i32; 4],
    pub(crate) cover_part: [i32; 4],
    pub(crate) whole: [i32; 2],
    pub(crate) cover_whole: [i32; 2],
    pub(crate) masked: i32,
    pub(crate) inverted: i32,
    pub(crate) unused: [i32; 2],
}

/// As in `halve.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct HalveParams {
    pub(crate) offset: [i32; 2],
    pub(crate) unused: [i32; 2],
}

/// As in `mix.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct MixParams {
    pub(crate) rows: [[f32; 4]; 3],
    pub(crate) bounds: [f32; 4],
    pub(crate) sheet: [f32; 2],
    pub(crate) middle: [f32; 2],
    pub(crate) coarsest: f32,
    pub(crate) opacity: f32,
    pub(crate) mode: u32,
    pub(crate) inverted: u32,
}

/// As in `accumulate.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct AccumulateParams {
    pub(crate) weight: f32,
    pub(crate) keep: f32,
    pub(crate) unused: [f32; 2],
}

/// As in `fade.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct FadeParams {
    pub(crate) share: f32,
    pub(crate) unused: [f32; 3],
}

/// As in `finish.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct FinishParams {
    pub(crate) offset: [u32; 2],
    pub(crate) whole: [f32; 2],
    pub(crate) window: [f32; 4],
    pub(crate) vignette: f32,
    pub(crate) grain: f32,
    pub(crate) seed: u32,
    pub(crate) unpainted: u32,
    pub(crate) dither: u32,
    pub(crate) place: [u32; 2],
    pub(crate) opacity: f32,
    pub(crate) background: [f32; 4],
}

impl FinishParams {
    /// Whether 8-bit codes need nothing but light and what lies below the unpainted.
    pub(crate) fn is_plain(&self) -> bool {
        let [left, top, right, bottom] = self.window;
        let whole = left <= 0.0 && top <= 0.0 && right >= self.whole[0] && bottom >= self.whole[1];
        whole && self.vignette <= 0.0 && self.grain <= 0.0 && self.unpainted != 1 && self.dither == 0
    }
}

/// How a layer or group gets onto the target.
#[derive(Debug)]
pub(crate) struct Mixers {
    pub(crate) over: wgpu::RenderPipeline,
    pub(crate) mask: wgpu::RenderPipeline,
    pub(crate) blend: wgpu::RenderPipeline,
}

#[derive(Debug)]
pub(crate) struct Pipelines {
    pub(crate) picture: wgpu::RenderPipeline,
    /// For one as large as its place and without a mask.
    pub(crate) picture_plain: wgpu::RenderPipeline,
    pub(crate) picture_mask: wgpu::RenderPipeline,
    pub(crate) picture_cover: wgpu::RenderPipeline,
    pub(crate) halve: wgpu::RenderPipeline,
    pub(crate) flat: Mixers,
    /// One to one.
    pub(crate) flat_single: Mixers,
    /// Reduced, in software.
    pub(crate) flat_fast: Mixers,
    pub(crate) camera: Mixers,
    pub(crate) group: Mixers,
    pub(crate) accumulate: wgpu::RenderPipeline,
    pub(crate) fade: wgpu::RenderPipeline,
    pub(crate) finish: Finishers,
    pub(crate) direct: Finishers,
    pub(crate) direct_fast: Finishers,
}

/// Ways out, to 8 and to 16 bits.
#[derive(Debug)]
pub(crate) struct Finishers {
    pub(crate) codes: wgpu::RenderPipeline,
    /// For what [`FinishParams::is_plain`] says.
    pub(crate) plain: wgpu::RenderPipeline,
    pub(crate) deep: wgpu::RenderPipeline,
}

/// A texture that is drawn to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) texture: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
}

impl Target {
    fn fits(&self, width: u32, height: u32, format: wgpu::TextureFormat) -> bool {
        self.texture.width() == width && self.texture.height() == height && self.texture.format() == format
    }
}

const TARGET_USAGE: wgpu::TextureUsages = wgpu::TextureUsages::TEXTURE_BINDING
    .union(wgpu::TextureUsages::RENDER_ATTACHMENT)
    .union(wgpu::TextureUsages::COPY_SRC)
    .union(wgpu::TextureUsages::COPY_DST);

/// Left, top, width, height in pixels of the target.
pub(crate) type Scissor = [u32; 4];

/// One triangle that covers a part of the target.
#[derive(Debug)]
pub(crate) struct Draw {
    pub(crate) pipeline: wgpu::RenderPipeline,
    pub(crate) bind_group: wgpu::BindGroup,
    pub(crate) uniform: u32,
    pub(crate) scissor: Scissor,
}

#[derive(Debug)]
struct UniformChunk {
    buffer: wgpu::Buffer,
    data: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) pipelines: Pipelines,
    pub(crate) max_side: u32,
    /// Whether the processor draws.
    pub(crate) software: bool,
    /// What the sum of several moments is kept in.
    pub(crate) sum: wgpu::TextureFormat,
    layout: wgpu::BindGroupLayout,
    sampler: wgpu::Sampler,
    nothing: wgpu::TextureView,
    encoder: Option<wgpu::CommandEncoder>,
    uniforms: Option<UniformChunk>,
    spare: Vec<Target>,
    readback: Option<wgpu::Buffer>,
    lost: Arc<AtomicBool>,
    trouble: Arc<Mutex<Option<String>>>,
}

/// The interfaces that are tried: OpenGL only where nothing else fits, as it is slow to start and least exact.
const BACKENDS: [wgpu::Backends; 2] =
    [wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12), wgpu::Backends::GL];

/// Adapters by preference.
async fn adapters(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    // `WGPU_BACKEND` narrows the choice down further, as in every program that draws by wgpu.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends &= backends;
    if descriptor.backends.is_empty() {
        return Vec::new();
    }
    let mut found = wgpu::Instance::new(descriptor).enumerate_adapters(backends).await;
    found.sort_by_key(|adapter| {
        let info = adapter.get_info();
        match info.device_type {
            _ if is_software(&info) => 4,
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other | wgpu::DeviceType::Cpu => 3,
        }
    });
    found
}

fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let name = info.name.to_ascii_lowercase();
    info.device_type == wgpu::DeviceType::Cpu
        || ["llvmpipe", "softpipe", "swiftshader", "basic render"].iter().any(|known| name.contains(known))
}

impl Gpu {
    /// The device of the first adapter that fits the choice and works.
    pub(crate) async fn new(choice: &AdapterChoice) -> Result<(Self, AdapterDescription), Error> {
        let (mut names, mut tried) = (Vec::new(), Vec::new());
        for backends in BACKENDS {
            for adapter in adapters(backends).await {
                let info = adapter.get_info();
                names.push(info.name.clone());
                let fits = match choice {
                    AdapterChoice::Auto => true,
                    AdapterChoice::Software => is_software(&info),
                    AdapterChoice::Named(wanted) => info.name.to_lowercase().contains(&wanted.to_lowercase()),
                };
                if !fits {
                    continue;
                }
                match Self::on(&adapter).await {
                    Ok(gpu) => {
                        let driver = [info.driver.as_str(), info.driver_info.as_str()];
                        let description = AdapterDescription {
                            name: info.name.clone(),
                            backend: info.backend.to_string(),
                            driver: driver.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
                            software: is_software(&info),
                        };
                        return Ok((gpu, description));
                    }
                    Err(why) => tried.push(format!("{}: {why}", info.name)),
                }
            }
        }
        match choice {
            AdapterChoice::Named(wanted) if tried.is_empty() => {
                Err(Error::UnknownAdapter { wanted: wanted.clone(), found: names })
            }
            _ if tried.is_empty() && !names.is_empty() => {
                Err(Error::NoAdapter { tried: format!("none in software among {}", names.join(", ")) })
            }
            _ => Err(Error::NoAdapter { tried: tried.join("; ") }),
        }
    }

    async fn on(adapter: &wgpu::Adapter) -> Result<Self, String> {
        let limits = wgpu::Limits::downlevel_webgl2_defaults().using_resolution(adapter.limits());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("outframe"),
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| error.to_string())?;
        let lost = Arc::new(AtomicBool::new(false));
        let trouble = Arc::new(Mutex::new(None::<String>));
        let (is_lost, why) = (Arc::clone(&lost), Arc::clone(&trouble));
        device.set_device_lost_callback(move |_, message| {
            is_lost.store(true, Ordering::SeqCst);
            why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        });
        let why = Arc::clone(&trouble);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }));
        let layout = bind_group_layout(&device);
        let usages = adapter.get_texture_format_features(SINGLE).allowed_usages;
        // OpenGL ES without EXT_color_buffer_float: half floats, rounded once a moment.
        let sum = if usages.contains(wgpu::TextureUsages::RENDER_ATTACHMENT) { SINGLE } else { LIGHT };
        let pipelines = pipelines(&device, &layout, sum);
        let sampler = device.create_sampler(&wgpu::SamplerDescriptor {
            mag_filter: wgpu::FilterMode::Linear,
            min_filter: wgpu::FilterMode::Linear,
            ..wgpu::SamplerDescriptor::default()
        });
        let nothing = texture(&device, 1, 1, 1, LIGHT, wgpu::TextureUsages::TEXTURE_BINDING).1;
        let max_side = device.limits().max_texture_dimension_2d;
        let gpu = Self {
            device,
            queue,
            pipelines,
            max_side,
            software: is_software(&adapter.get_info()),
            sum,
            layout,
            sampler,
            nothing,
            encoder: None,
            uniforms: None,
            spare: Vec::new(),
            readback: None,
            lost,
            trouble,
        };
        gpu.trouble().map_or(Ok(gpu), Err)
    }

    /// What went wrong since this was last asked.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(crate) fn texture(
        &self,
        width: u32,
        height: u32,
        levels: u32,
        format: wgpu::TextureFormat,
    ) -> (wgpu::Texture, wgpu::TextureView) {
        use wgpu::TextureUsages as U;
        let mut usage = U::TEXTURE_BINDING | U::COPY_DST;
        if format == LIGHT {
            usage |= U::RENDER_ATTACHMENT | U::COPY_SRC;
        }
        texture(&self.device, width, height, levels, format, usage)
    }

    /// A texture that holds these bytes, row by row.
    pub(crate) fn upload(
        &self,
        width: u32,
        height: u32,
        format: wgpu::TextureFormat,
        bytes: &[u8],
    ) -> (wgpu::Texture, wgpu::TextureView) {
        let (texture, view) = self.texture(width, height, 1, format);
        self.queue.write_texture(
            texture.as_image_copy(),
            bytes,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some((bytes.len() / height.max(1) as usize) as u32),
                rows_per_image: None,
            },
            texture.size(),
        );
        (texture, view)
    }

    pub(crate) fn target(&mut self, width: u32, height: u32, format: wgpu::TextureFormat) -> Target {
        if let Some(index) = self.spare.iter().position(|target| target.fits(width, height, format)) {
            return self.spare.swap_remove(index);
        }
        let (texture, view) = texture(&self.device, width, height, 1, format, TARGET_USAGE);
        Target { texture, view }
    }

    /// Keeps a target for later. Commands that were recorded before still use it in their order.
    pub(crate) fn give_back(&mut self, target: Target) {
        self.spare.push(target);
        if self.spare.len() > SPARE_TARGETS {
            self.spare.remove(0);
        }
    }

    /// A draw of `pipeline` with these parameters and up to three textures, in the order of their bindings.
    pub(crate) fn draw<P: Pod>(
        &mut self,
        pipeline: &wgpu::RenderPipeline,
        params: &P,
        textures: [Option<&wgpu::TextureView>; 3],
        scissor: Scissor,
    ) -> Draw {
        if self.uniforms.as_ref().is_some_and(|chunk| chunk.data.len() + UNIFORM_STEP > UNIFORM_CHUNK) {
            self.write_uniforms();
        }
        let device = &self.device;
        let chunk = self.uniforms.get_or_insert_with(|| UniformChunk {
            buffer: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size: UNIFORM_CHUNK as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            data: Vec::with_capacity(UNIFORM_CHUNK),
        });
        let uniform = chunk.data.len() as u32;
        chunk.data.extend_from_slice(bytemuck::bytes_of(params));
        chunk.data.resize(uniform as usize + UNIFORM_STEP, 0);
        let [first, second, third] = textures.map(|view| view.unwrap_or(&self.nothing));
        let buffer =
            wgpu::BufferBinding { buffer: &chunk.buffer, offset: 0, size: NonZeroU64::new(UNIFORM_STEP as u64) };
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(buffer) },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::TextureView(first) },
                wgpu::BindGroupEntry { binding: 2, resource: wgpu::BindingResource::TextureView(second) },
                wgpu::BindGroupEntry { binding: 3, resource: wgpu::BindingResource::TextureView(third) },
                wgpu::BindGroupEntry { binding: 4, resource: wgpu::BindingResource::Sampler(&self.sampler) },
            ],
        });
        Draw { pipeline: pipeline.clone(), bind_group, uniform, scissor }
    }

    fn write_uniforms(&mut self) {
        if let Some(chunk) = self.uniforms.take() {
            self.queue.write_buffer(&chunk.buffer, 0, &chunk.data);
        }
    }

    pub(crate) fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        let device = &self.device;
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    /// One pass over a target; `clear` says what it holds before, `None` what it has held.
    pub(crate) fn pass(&mut self, view: &wgpu::TextureView, clear: Option<[f64; 4]>, draws: &[Draw]) {
        let load = clear.map_or(wgpu::LoadOp::Load, |[r, g, b, a]| wgpu::LoadOp::Clear(wgpu::Color { r, g, b, a }));
        let mut pass = self.encoder().begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load, store: wgpu::StoreOp::Store },
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        for draw in draws {
            let [x, y, width, height] = draw.scissor;
            if width == 0 || height == 0 {
                continue;
            }
            pass.set_pipeline(&draw.pipeline);
            pass.set_bind_group(0, &draw.bind_group, &[draw.uniform]);
            pass.set_scissor_rect(x, y, width, height);
            pass.draw(0..3, 0..1);
        }
    }

    /// Hands what was recorded to the device.
    pub(crate) fn submit(&mut self) -> wgpu::SubmissionIndex {
        self.write_uniforms();
        self.queue.submit(self.encoder.take().map(wgpu::CommandEncoder::finish))
    }

    /// Forgets what was recorded and not yet handed over.
    pub(crate) fn forget(&mut self) {
        self.encoder = None;
        self.uniforms = None;
    }

    pub(crate) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Error> {
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(PATIENCE) };
        self.device.poll(wait).map_err(|error| Error::Gpu { why: error.to_string() })?;
        self.check()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.trouble() {
            Some(why) => Err(Error::Gpu { why }),
            None if self.is_lost() => Err(Error::Gpu { why: "the device is lost".into() }),
            None => Ok(()),
        }
    }

    /// Reads a texture's finest level back, and hands each of its rows to `row`.
    pub(crate) fn read(&mut self, texture: &wgpu::Texture, mut row: impl FnMut(u32, &[u8])) -> Result<(), Error> {
        let (width, height) = (texture.width(), texture.height());
        let pixel = texture.format().block_copy_size(None).unwrap_or(4);
        let step = (width * pixel).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let size = u64::from(step) * u64::from(height);
        let buffer = match self.readback.take() {
            Some(buffer) if buffer.size() == size => buffer,
            _ => self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            }),
        };
        self.encoder().copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(step), rows_per_image: None },
            },
            wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        );
        let submission = self.submit();
        let (sender, receiver) = std::sync::mpsc::channel();
        buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // Nobody waits any more only if the poll below has failed.
            let _ = sender.send(result);
        });
        self.wait(submission)?;
        receiver
            .recv_timeout(PATIENCE)
            .map_err(|error| error.to_string())
            .and_then(|result| result.map_err(|error| error.to_string()))
            .map_err(|why| Error::Gpu { why })?;
        let bytes = buffer.slice(..).get_mapped_range().map_err(|error| Error::Gpu { why: error.to_string() })?;
        for (y, line) in bytes.chunks_exact(step as usize).enumerate() {
            row(y as u32, &line[..(width * pixel) as usize]);
        }
        drop(bytes);
        buffer.unmap();
        self.readback = Some(buffer);
        Ok(())
    }

    /// A small buffer of weights as a texture of four numbers a texel.
    pub(crate) fn table(&self, width: u32, rows: &[f32]) -> wgpu::TextureView {
        let height = (rows.len() / (width.max(1) as usize * 4)) as u32;
        let descriptor = texture_descriptor(width, height, 1, SINGLE, wgpu::TextureUsages::TEXTURE_BINDING);
        let order = wgpu::util::TextureDataOrder::LayerMajor;
        let texture = self.device.create_texture_with_data(&self.queue, &descriptor, order, bytemuck::cast_slice(rows));
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    }
}

fn texture_descriptor(
    width: u32,
    height: u32,
    levels: u32,
    format: wgpu::TextureFormat,
    usage: wgpu::TextureUsages,
) -> wgpu::TextureDescriptor<'static> {
    wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: levels,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage,
        view_formats: &[],
    }
}

fn texture(
    device: &wgpu::Device,
    width: u32,
    height: u32,
    levels: u32,
    format: wgpu::TextureFormat,
    usage: wgpu::TextureUsages,
) -> (wgpu::Texture, wgpu::TextureView) {
    let texture = device.create_texture(&texture_descriptor(width, height, levels, format, usage));
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    (texture, view)
}

/// One layout for all pipelines: parameters, a texture that may be filtered, two that are only read, a sampler.
fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entry =
        |binding, ty| wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::FRAGMENT, ty, count: None };
    let texture = |filterable| wgpu::BindingType::Texture {
        sample_type: wgpu::TextureSampleType::Float { filterable },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let uniform = wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: true,
        min_binding_size: None,
    };
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &[
            entry(0, uniform),
            entry(1, texture(true)),
            entry(2, texture(false)),
            entry(3, texture(false)),
            entry(4, wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering)),
        ],
    })
}

fn pipelines(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, sum: wgpu::TextureFormat) -> Pipelines {
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    let [patch, halve, flat, flat_fast, camera, group, accumulate, fade, finish, direct, direct_fast] =
        shaders().map(|(name, source)| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            })
        });
    let made = |module: &wgpu::ShaderModule, entry: &str, format, blend, constants: &[(&str, f64)]| {
        device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some(entry),
            layout: Some(&layout),
            vertex: wgpu::VertexState {
                module,
                entry_point: Some("vs_cover"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                targets: &[Some(wgpu::ColorTargetState { format, blend, write_mask: wgpu::ColorWrites::ALL })],
            }),
            multiview_mask: None,
            cache: None,
        })
    };
    let pipeline = |module: &wgpu::ShaderModule, entry: &str, format, blend| made(module, entry, format, blend, &[]);
    let over = Some(wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING);
    let times = wgpu::BlendComponent {
        src_factor: wgpu::BlendFactor::Zero,
        dst_factor: wgpu::BlendFactor::SrcAlpha,
        operation: wgpu::BlendOperation::Add,
    };
    let times = Some(wgpu::BlendState { color: times, alpha: times });
    let mixers = |module: &wgpu::ShaderModule, constants: &[(&str, f64)]| Mixers {
        over: made(module, "fs_over", LIGHT, over, constants),
        mask: made(module, "fs_mask", LIGHT, times, constants),
        blend: made(module, "fs_blend", LIGHT, None, constants),
    };
    let finishers = |module: &wgpu::ShaderModule| Finishers {
        codes: pipeline(module, "fs_codes", CODES, None),
        plain: made(module, "fs_codes", CODES, None, &[("PLAIN", 1.0)]),
        deep: pipeline(module, "fs_deep", DEEP, None),
    };
    Pipelines {
        picture: pipeline(&patch, "fs_picture", LIGHT, over),
        picture_plain: made(&patch, "fs_picture", LIGHT, over, &[("PLAIN", 1.0)]),
        picture_mask: pipeline(&patch, "fs_mask", LIGHT, times),
        picture_cover: pipeline(&patch, "fs_cover", LIGHT, None),
        halve: pipeline(&halve, "fs_halve", LIGHT, None),
        flat: mixers(&flat, &[]),
        flat_single: mixers(&flat, &[("SINGLE", 1.0)]),
        flat_fast: mixers(&flat_fast, &[]),
        camera: mixers(&camera, &[]),
        group: mixers(&group, &[]),
        accumulate: pipeline(&accumulate, "fs_accumulate", sum, None),
        fade: pipeline(&fade, "fs_fade", LIGHT, None),
        finish: finishers(&finish),
        direct: finishers(&direct),
        direct_fast: finishers(&direct_fast),
    }
}

#[cfg(test)]
mod tests {
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;

    #[test]
    fn shaders_are_valid_and_ask_for_nothing_special() {
        for (name, source) in shaders() {
            let module = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
            Validator::new(ValidationFlags::all(), Capabilities::empty())
                .validate(&module)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        }
    }

    #[test]
    fn each_shader_says_what_it_does() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shaders");
        let sources: Vec<_> = shaders().into_iter().map(|(_, source)| source).collect();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(sources.iter().any(|source| source.contains(&text)), "{} is not used", path.display());
            let head: String = text.lines().take_while(|line| line.starts_with("//")).collect();
            for word in ["Inputs:", "Maths:", "light"] {
                assert!(head.contains(word), "{} does not say “{word}”", path.display());
            }
        }
    }

    #[test]
    fn parameters_fit_their_shaders() {
        assert!(size_of::<MixParams>() <= UNIFORM_STEP && size_of::<MixParams>().is_multiple_of(16));
        for (name, source) in shaders() {
            let module = naga::front::wgsl::parse_str(&source).unwrap();
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).unwrap();
            let (_, uniform) = module
                .global_variables
                .iter()
                .find(|(_, variable)| variable.space == naga::AddressSpace::Uniform)
                .unwrap();
            let wanted = layouter[uniform.ty].size as usize;
            let given = match name {
                "patch" => size_of::<PatchParams>(),
                "halve" => size_of::<HalveParams>(),
                "accumulate" => size_of::<AccumulateParams>(),
                "fade" => size_of::<FadeParams>(),
                "finish" | "direct" | "direct_fast" => size_of::<FinishParams>(),
                _ => size_of::<MixParams>(),
            };
            assert!(given >= wanted && given - wanted < 16, "{name}: {given} bytes for {wanted}");
        }
    }
}
