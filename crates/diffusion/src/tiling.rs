//! The autoencoder in tiles, for pictures whose layers would not fit into memory as a whole.
//!
//! Cutting a picture into tiles goes wrong in two places. A convolution near a tile's edge misses its neighbours: here
//! every tile is computed with a margin as wide as the layers can see, and the margin is thrown away, so that tiles meet
//! without a seam and there is nothing to blend. And a group normalisation takes mean and variance of the tile rather than
//! of the picture, which gives every tile colours of its own: here these numbers are taken once for the whole picture, from
//! a run over every `k`-th cell, and are the same for all tiles. What is left is one small error that is the same
//! everywhere; docs/performance.md has the numbers. The layers at low resolution, attention among them, see the whole
//! picture at once.

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use crate::Error;
use crate::layers::{attend, channels_last, split_heads};
use crate::vae::VaeConfig;

/// The same in every autoencoder of this family.
const EPS: f64 = 1e-6;

/// Tiles are not made smaller than this, in pixels along a side: their margins would cost more than they do.
const LEAST: i64 = 256;

/// Up to so many latents diffusers-rs computes: those of 256 x 256 pixels in Stable Diffusion. Beyond, the square of its
/// attention and its copies between the layers cost more than anything else.
const MOST_SQUARED: i64 = 32 * 32;

/// As many numbers the allocator keeps at most of what tiles took: larger tensors go back to the system at once.
const HEAP: f64 = (96 << 20) as f64;

/// When to cut pictures into tiles for the autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// When the whole picture would not fit into free memory.
    #[default]
    Auto,
    /// Always, in tiles of 512 pixels, where the picture is larger than that.
    Always,
    /// Never.
    Never,
}

/// Which way of the autoencoder a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Encode,
    Decode,
}

/// How a picture is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many blocks at the full-resolution end are computed in tiles.
    blocks: usize,
    /// The side of a tile in pixels, without its margin.
    side: i64,
    /// Every how many cells one is looked at for the norms.
    step: i64,
}

/// How an encoding or decoding is carried out, from the fastest to the most frugal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By diffusers-rs, whose attention needs memory by the square of the picture's area.
    Whole,
    /// The same layers without that square, and with the channels last on the processor.
    Fused,
    /// In tiles.
    Tiles(Plan),
}

impl Mode {
    /// The first way that needs at most `limit` bytes for a picture of this many pixels; else the most frugal one.
    pub(crate) fn choose(config: &VaeConfig, way: Way, (high, wide): (i64, i64), limit: u64, tiling: Tiling) -> Self {
        let factor = 1 << (config.channels.len() - 1);
        let small = (high / factor) * (wide / factor) <= MOST_SQUARED;
        let whole: Vec<Self> = [Self::Whole, Self::Fused].into_iter().skip(usize::from(!small)).collect();
        let tiles = Plan::candidates(config, (high, wide)).into_iter().map(Self::Tiles);
        let candidates: Vec<Self> = match tiling {
            Tiling::Never => whole,
            Tiling::Auto => whole.into_iter().chain(tiles).collect(),
            Tiling::Always => {
                let mut tiles: Vec<Self> = tiles.collect();
                // Force means tiles, not the smallest of them; a picture that is no larger than one has none.
                tiles.sort_by_key(|mode| matches!(mode, Self::Tiles(plan) if plan.side != 512));
                if tiles.is_empty() { whole } else { tiles }
            }
        };
        let fits = candidates.iter().copied().find(|mode| mode.bytes(config, way, (high, wide)) <= limit);
        let frugal = || candidates.iter().copied().min_by_key(|mode| mode.bytes(config, way, (high, wide)));
        fits.or_else(frugal).unwrap_or(Self::Whole)
    }

    /// Bytes at the peak beside the weights.
    pub(crate) fn bytes(self, config: &VaeConfig, way: Way, (high, wide): (i64, i64)) -> u64 {
        let channels = &config.channels;
        let n = channels.len();
        let cells = |i: usize, high: i64, wide: i64| (high >> i).max(1) as f64 * (wide >> i).max(1) as f64;
        // f32 numbers at the peak of the block at the scale `i`, 0 being that of the pixels: input, normalised input and output of
        // a convolution are alive, and in diffusers-rs its own copies of the last two in the order that it computes in;
        // decoding begins a block with an enlargement in its input's channels. The factors are measured.
        let block = |i: usize, high: i64, wide: i64| -> f64 {
            let (inner, own) = (channels[(i + 1).min(n - 1)].max(channels[i]) as f64, channels[i] as f64);
            cells(i, high, wide)
                * match (self, way) {
                    (Self::Whole, Way::Encode) => 4.5 * inner + 3.0 * own,
                    (Self::Whole, Way::Decode) => 8.5 * inner + own,
                    (_, Way::Encode) => 3.5 * own,
                    (_, Way::Decode) => 2.5 * inner + own,
                }
        };
        let blocks =
            |from: usize, to: usize, high: i64, wide: i64| (from..to).map(|i| block(i, high, wide)).fold(0.0, f64::max);
        let picture = 9.0 * cells(0, high, wide);
        let numbers = match self {
            Self::Whole => {
                let tokens = cells(n - 1, high, wide);
                blocks(0, n, high, wide).max(2.0 * tokens * tokens)
            }
            Self::Fused => blocks(0, n, high, wide),
            Self::Tiles(plan) => {
                let margin = 2 * margin(config, way, plan.blocks) * plan.scale(way);
                let (tile_high, tile_wide) = ((plan.side + margin).min(high), (plan.side + margin).min(wide));
                let tile = blocks(0, plan.blocks, tile_high, tile_wide);
                let sample = blocks(0, plan.blocks, high / plan.step, wide / plan.step);
                // What lies between the tiled and the other layers is there as a whole.
                let (between, last) = match way {
                    Way::Encode => (cells(plan.blocks, high, wide) * channels[plan.blocks - 1] as f64, 0.0),
                    Way::Decode => {
                        let map = cells(plan.blocks - 1, high, wide) * channels[plan.blocks.min(n - 1)] as f64;
                        // It comes out of an upsampling and a convolution.
                        (map, 2.2 * map)
                    }
                };
                let others = blocks(plan.blocks, n, high, wide);
                // What comes and goes in these sizes is kept by the allocator, which does not find a place for each tensor
                // where another was; the factors are measured.
                let tiles = 1.3 * (between + tile.max(sample)).max(others);
                // The middle with its attention has many tensors of a size, beside the heap that small tiles left or will need.
                let middle = 12.0 * cells(n - 1, high, wide) * channels[n - 1] as f64;
                tiles.max(last).max(middle + tiles.min(HEAP))
            }
        };
        ((numbers + picture) * 4.0) as u64
    }
}

impl Plan {
    /// Pixels along the side of one cell where the tiles are cut (decoding) or come out (encoding).
    fn scale(self, way: Way) -> i64 {
        match way {
            Way::Encode => 1 << self.blocks,
            Way::Decode => 1 << (self.blocks - 1),
        }
    }

    /// Every sensible plan, from the most exact to the most frugal.
    fn candidates(config: &VaeConfig, (high, wide): (i64, i64)) -> Vec<Self> {
        let n = config.channels.len();
        let mut plans = Vec::new();
        for side in [1024, 512, LEAST] {
            if high <= side && wide <= side {
                continue;
            }
            let area = (side * side) as f64;
            let step = ((high * wide) as f64 / area).sqrt().ceil().max(2.0) as i64;
            for blocks in 1..=(n - 1).min(3) {
                plans.push(Self { blocks, side, step });
            }
        }
        plans
    }
}

/// How far the tiled layers see, in cells of the resolution where the tiles are cut (decoding) or come out (encoding).
fn margin(config: &VaeConfig, way: Way, blocks: usize) -> i64 {
    match way {
        Way::Decode => {
            // Backwards from a pixel: the last convolution, then each block's, and between two blocks the convolution of
            // the upsampling, which doubles what its input is wide.
            let mut seen = 1_i64;
            for i in 0..blocks {
                if i > 0 {
                    seen = (seen + 2).div_euclid(2);
                }
                seen += 2 * (config.layers + 1);
            }
            seen
        }
        Way::Encode => {
            // Backwards from a cell, to the right, where the halving convolutions see farther.
            let mut seen = 0;
            for _ in 0..blocks {
                seen = 2 * seen + 2 + 2 * config.layers;
            }
            ((seen + 1) >> blocks) + 1
        }
    }
}

/// Where mean and variance of the norms come from.
#[derive(Debug)]
enum Norms {
    /// From what is normalised.
    Own,
    /// Likewise, and they are kept.
    Noting(BTreeMap<String, (Tensor, Tensor)>),
    /// From what was kept.
    Given(BTreeMap<String, (Tensor, Tensor)>),
}

/// The autoencoder's layers, one by one, over the weights that diffusers-rs computes with.
#[derive(Debug)]
pub(crate) struct Net<'a> {
    pub(crate) tensors: &'a BTreeMap<String, Tensor>,
    pub(crate) config: &'a VaeConfig,
}

impl Net<'_> {
    /// `[1, 3, H, W]` to the mean of the latent distribution `[1, latent_channels, h, w]`, unscaled.
    pub(crate) fn encode(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor, Error> {
        let mut norms = Norms::Own;
        let (x, blocks) = match mode {
            Mode::Whole | Mode::Fused => (self.conv("encoder.conv_in", &laid_out(pixels)?, 1)?, 0),
            Mode::Tiles(plan) => (self.encode_tiles(pixels, plan)?, plan.blocks),
        };
        let mut x = x;
        for i in blocks..self.config.channels.len() {
            x = self.down(i, x, &mut norms)?;
        }
        let x = self.middle("encoder", x, &mut norms)?;
        let x = self.active("encoder.conv_norm_out", &x, &mut norms)?;
        let x = self.conv("encoder.conv_out", &x, 1)?;
        let x = self.conv("quant_conv", &x, 0)?;
        Ok(x.f_narrow(1, 0, self.config.latent_channels)?.f_contiguous()?)
    }

    /// `[1, latent_channels, h, w]`, unscaled, to pixels `[1, 3, H, W]`.
    pub(crate) fn decode(&self, latents: &Tensor, mode: Mode) -> Result<Tensor, Error> {
        let mut norms = Norms::Own;
        let n = self.config.channels.len();
        let tiled = if let Mode::Tiles(plan) = mode { plan.blocks } else { 0 };
        let x = self.conv("post_quant_conv", &laid_out(latents)?, 0)?;
        let mut x = self.middle("decoder", self.conv("decoder.conv_in", &x, 1)?, &mut norms)?;
        for i in 0..n - tiled {
            x = self.up(i, x, &mut norms)?;
        }
        match mode {
            Mode::Whole | Mode::Fused => self.decode_end(n, x, &mut norms),
            Mode::Tiles(plan) => self.decode_tiles(&x, plan),
        }
    }

    fn encode_start(&self, pixels: &Tensor, blocks: usize, norms: &mut Norms) -> Result<Tensor, Error> {
        let mut x = self.conv("encoder.conv_in", pixels, 1)?;
        for i in 0..blocks {
            x = self.down(i, x, norms)?;
        }
        Ok(x)
    }

    fn encode_tiles(&self, pixels: &Tensor, plan: Plan) -> Result<Tensor, Error> {
        let mut norms = Norms::Noting(BTreeMap::new());
        let _ = self.encode_start(&every(pixels, plan.step)?, plan.blocks, &mut norms)?;
        self.encode_cut(pixels, plan, &mut norms.given())
    }

    /// The first blocks in tiles, with numbers for the norms that were given.
    fn encode_cut(&self, pixels: &Tensor, plan: Plan, norms: &mut Norms) -> Result<Tensor, Error> {
        // Tiles begin and end at whole cells of the resolution where they come out.
        let scale = plan.scale(Way::Encode);
        let (_, _, high, wide) = pixels.size4()?;
        let cut = Cut {
            high: high / scale,
            wide: wide / scale,
            side: (plan.side / scale).max(1),
            margin: self.margin(Way::Encode, plan),
        };
        let mut whole: Option<Tensor> = None;
        for (rows, columns) in cut.tiles() {
            let tile = pixels.f_narrow(2, rows.from * scale, rows.len * scale)?.f_narrow(
                3,
                columns.from * scale,
                columns.len * scale,
            )?;
            let out = self.encode_start(&laid_out(&tile)?, plan.blocks, norms)?;
            let target = match &whole {
                Some(whole) => whole,
                None => {
                    whole.insert(out.f_new_empty([1, out.size4()?.1, cut.high, cut.wide], (out.kind(), out.device()))?)
                }
            };
            paste(target, &out, (rows, columns), 1)?;
        }
        whole.ok_or_else(|| Error::from_torch_message("an empty picture"))
    }

    fn decode_end(&self, from: usize, x: Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        let mut x = x;
        for i in from..self.config.channels.len() {
            x = self.up(i, x, norms)?;
        }
        x = self.active("decoder.conv_norm_out", &x, norms)?;
        self.conv("decoder.conv_out", &x, 1)
    }

    fn decode_tiles(&self, x: &Tensor, plan: Plan) -> Result<Tensor, Error> {
        let from = self.config.channels.len() - plan.blocks;
        let mut norms = Norms::Noting(BTreeMap::new());
        let _ = self.decode_end(from, every(x, plan.step)?, &mut norms)?;
        self.decode_cut(x, plan, &mut norms.given())
    }

    /// The last blocks in tiles, with numbers for the norms that were given.
    fn decode_cut(&self, x: &Tensor, plan: Plan, norms: &mut Norms) -> Result<Tensor, Error> {
        let from = self.config.channels.len() - plan.blocks;
        let scale = plan.scale(Way::Decode);
        let (_, _, high, wide) = x.size4()?;
        let cut = Cut { high, wide, side: (plan.side / scale).max(1), margin: self.margin(Way::Decode, plan) };
        let pixels = x.f_new_empty([1, 3, high * scale, wide * scale], (x.kind(), x.device()))?;
        for (rows, columns) in cut.tiles() {
            let tile = x.f_narrow(2, rows.from, rows.len)?.f_narrow(3, columns.from, columns.len)?;
            let out = self.decode_end(from, laid_out(&tile)?, norms)?;
            paste(&pixels, &out, (rows, columns), scale)?;
        }
        Ok(pixels)
    }

    fn margin(&self, way: Way, plan: Plan) -> i64 {
        margin(self.config, way, plan.blocks)
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, Error> {
        self.tensors.get(name).ok_or_else(|| Error::Internal {
            doing: "cutting a picture into tiles".to_owned(),
            message: format!("the autoencoder has no {name}"),
        })
    }

    fn pair(&self, at: &str) -> Result<(&Tensor, &Tensor), Error> {
        Ok((self.tensor(&format!("{at}.weight"))?, self.tensor(&format!("{at}.bias"))?))
    }

    fn conv(&self, at: &str, x: &Tensor, padding: i64) -> Result<Tensor, Error> {
        let (weight, bias) = self.pair(at)?;
        Ok(x.f_conv2d(weight, Some(bias), [1, 1], [padding; 2], [1, 1], 1)?)
    }

    fn norm(&self, at: &str, x: &Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        let (weight, bias) = self.pair(at)?;
        let groups = self.config.groups;
        match norms {
            Norms::Own => {}
            Norms::Noting(found) => {
                let (variance, mean) = x.f_reshape([groups, -1])?.f_var_mean_dim(&[1_i64][..], false, false)?;
                let each = x.size4()?.1 / groups;
                let spread =
                    |group: &Tensor| group.f_view([groups, 1])?.f_expand([groups, each], false)?.f_reshape([-1]);
                found.insert(at.to_owned(), (spread(&mean)?, spread(&variance)?));
            }
            Norms::Given(found) => {
                let Some((mean, variance)) = found.get(at) else {
                    return Err(Error::from_torch_message(&format!("no numbers for the norm {at}")));
                };
                let (mean, variance) = (Some(mean), Some(variance));
                return Ok(x.f_batch_norm(Some(weight), Some(bias), mean, variance, false, 0.0, EPS, false)?);
            }
        }
        Ok(x.f_group_norm(groups, Some(weight), Some(bias), EPS, false)?)
    }

    fn active(&self, at: &str, x: &Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        Ok(self.norm(at, x, norms)?.f_silu_()?)
    }

    fn resnet(&self, at: &str, x: Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        // One variable, not one name for several: what is no longer needed is freed before the next layer.
        let mut x = x;
        let mut hidden = self.active(&format!("{at}.norm1"), &x, norms)?;
        hidden = self.conv(&format!("{at}.conv1"), &hidden, 1)?;
        hidden = self.active(&format!("{at}.norm2"), &hidden, norms)?;
        hidden = self.conv(&format!("{at}.conv2"), &hidden, 1)?;
        let shortcut = format!("{at}.conv_shortcut");
        if self.tensors.contains_key(&format!("{shortcut}.weight")) {
            x = self.conv(&shortcut, &x, 0)?;
        }
        Ok(hidden.f_add_(&x)?)
    }

    fn down(&self, i: usize, x: Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        let at = format!("encoder.down_blocks.{i}");
        let mut x = x;
        for layer in 0..self.config.layers {
            x = self.resnet(&format!("{at}.resnets.{layer}"), x, norms)?;
        }
        if i + 1 < self.config.channels.len() {
            let (weight, bias) = self.pair(&format!("{at}.downsamplers.0.conv"))?;
            let padded = x.f_constant_pad_nd([0, 1, 0, 1])?;
            x = padded.f_conv2d(weight, Some(bias), [2, 2], [0, 0], [1, 1], 1)?;
        }
        Ok(x)
    }

    fn up(&self, i: usize, x: Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        let at = format!("decoder.up_blocks.{i}");
        let mut x = x;
        for layer in 0..=self.config.layers {
            x = self.resnet(&format!("{at}.resnets.{layer}"), x, norms)?;
        }
        if i + 1 < self.config.channels.len() {
            let (_, _, high, wide) = x.size4()?;
            x = x.f_upsample_nearest2d([high * 2, wide * 2], None, None)?;
            x = self.conv(&format!("{at}.upsamplers.0.conv"), &x, 1)?;
        }
        Ok(x)
    }

    fn middle(&self, side: &str, x: Tensor, norms: &mut Norms) -> Result<Tensor, Error> {
        let at = format!("{side}.mid_block");
        let x = self.resnet(&format!("{at}.resnets.0"), x, norms)?;
        let (n, channels, high, wide) = x.size4()?;
        let attention = format!("{at}.attentions.0");
        let linear = |name: &str, x: &Tensor| -> Result<Tensor, Error> {
            let (weight, bias) = self.pair(&format!("{attention}.{name}"))?;
            Ok(x.f_linear(weight, Some(bias))?)
        };
        let mut mixed = self.norm(&format!("{attention}.group_norm"), &x, norms)?;
        mixed = mixed.f_reshape([n, channels, high * wide])?.f_transpose(1, 2)?;
        let heads = |name: &str| split_heads(&linear(name, &mixed)?, 1);
        mixed = attend(&heads("query")?, &heads("key")?, &heads("value")?, false)?;
        mixed = linear("proj_attn", &mixed)?.f_transpose(1, 2)?.f_reshape([n, channels, high, wide])?;
        let x = x.f_add(&mixed)?;
        drop(mixed);
        self.resnet(&format!("{at}.resnets.1"), x, norms)
    }
}

impl Norms {
    fn given(self) -> Self {
        match self {
            Self::Noting(found) | Self::Given(found) => Self::Given(found),
            Self::Own => Self::Own,
        }
    }
}

/// Every `step`-th cell of `[1, C, h, w]` in both directions: neighbours are thinned out, but each cell stays as it is,
/// which keeps the distribution of the numbers better than averages do.
fn every(x: &Tensor, step: i64) -> Result<Tensor, Error> {
    let thin = |x: &Tensor, axis: i64| -> Result<Tensor, Error> {
        let len = x.size()[axis as usize];
        let step = step.clamp(1, len.max(1));
        Ok(x.f_slice(axis, step / 2, len, step)?)
    };
    laid_out(&thin(&thin(x, 2)?, 3)?)
}

/// In the order that convolutions compute fastest in: otherwise each makes a copy of its input and one of its output.
fn laid_out(x: &Tensor) -> Result<Tensor, Error> {
    if x.device() == Device::Cpu { channels_last(x) } else { Ok(x.f_contiguous()?) }
}

/// Puts a computed tile without its margins where it belongs.
fn paste(whole: &Tensor, tile: &Tensor, (rows, columns): (Span, Span), scale: i64) -> Result<(), Error> {
    let target = whole.f_narrow(2, rows.keep * scale, rows.kept * scale)?;
    let mut target = target.f_narrow(3, columns.keep * scale, columns.kept * scale)?;
    let source = tile.f_narrow(2, (rows.keep - rows.from) * scale, rows.kept * scale)?;
    target.f_copy_(&source.f_narrow(3, (columns.keep - columns.from) * scale, columns.kept * scale)?)?;
    Ok(())
}

/// Along one axis: what a tile covers, and what of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    len: i64,
    keep: i64,
    kept: i64,
}

/// How a map of cells is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    high: i64,
    wide: i64,
    side: i64,
    margin: i64,
}

impl Cut {
    fn spans(&self, whole: i64) -> Vec<Span> {
        // As many tiles as needed, of about the same size.
        let count = (whole + self.side - 1) / self.side;
        (0..count)
            .map(|i| {
                let (keep, end) = (whole * i / count, whole * (i + 1) / count);
                let (from, to) = ((keep - self.margin).max(0), (end + self.margin).min(whole));
                Span { from, len: to - from, keep, kept: end - keep }
            })
            .collect()
    }

    fn tiles(&self) -> Vec<(Span, Span)> {
        let columns = self.spans(self.wide);
        self.spans(self.high).into_iter().flat_map(|row| columns.iter().map(move |&column| (row, column))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::{Device, Kind};

    use super::*;
    use crate::config::Config;
    use crate::model::NETWORK;
    use crate::vae::Vae;
    use crate::weights::find_files;

    /// With the same numbers for the norms a tile is exactly a part of the whole, whatever its neighbours are.
    #[test]
    fn tiles_see_as_far_as_the_layers_do() {
        tch::no_grad(|| {
            for name in ["vaes/groups32", "vaes/factor4_shifted", "models/filler/vae"] {
                let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures").join(name);
                let config = VaeConfig::read(&Config::read(&dir.join("config.json")).unwrap()).unwrap();
                let vae = Vae::load(config, &find_files(&dir, NETWORK).unwrap(), Device::Cpu).unwrap();
                let net = vae.net();
                let n = net.config.channels.len();
                let noise = |channels: i64, high: i64, wide: i64| {
                    Tensor::randn([1, channels, high, wide], (Kind::Float, Device::Cpu))
                };
                let same = |what: &str, whole: &Tensor, tiled: &Tensor| {
                    let size = f64::try_from(whole.abs().max()).unwrap();
                    let gap = f64::try_from((whole - tiled).abs().max()).unwrap();
                    assert!(gap < 1e-5 * size.max(1.0), "{name}, {what}: {gap} of {size}");
                };
                for blocks in 1..n {
                    let plan = Plan { blocks, side: 32, step: 2 };
                    let pixels = noise(3, 120, 96);
                    let mut norms = Norms::Noting(BTreeMap::new());
                    let whole = net.encode_start(&pixels, blocks, &mut norms).unwrap();
                    let tiled = net.encode_cut(&pixels, plan, &mut norms.given()).unwrap();
                    same(&format!("encoding {blocks} blocks"), &whole, &tiled);

                    let scale = plan.scale(Way::Decode);
                    let x = noise(net.config.channels[blocks], 120 / scale, 96 / scale);
                    let mut norms = Norms::Noting(BTreeMap::new());
                    let whole = net.decode_end(n - blocks, x.shallow_clone(), &mut norms).unwrap();
                    let tiled = net.decode_cut(&x, plan, &mut norms.given()).unwrap();
                    same(&format!("decoding {blocks} blocks"), &whole, &tiled);
                }
            }
        });
    }

    #[test]
    fn tiles_cover_everything_once() {
        for (high, wide, side, margin) in [(100, 70, 32, 5), (1, 1, 8, 3), (64, 64, 64, 9), (65, 8, 32, 40)] {
            let cut = Cut { high, wide, side, margin };
            let mut seen = vec![0_u8; (high * wide) as usize];
            for (rows, columns) in cut.tiles() {
                assert!(rows.from >= 0 && rows.from + rows.len <= high && rows.kept <= side);
                for y in rows.keep..rows.keep + rows.kept {
                    for x in columns.keep..columns.keep + columns.kept {
                        seen[(y * wide + x) as usize] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1));
        }
    }
}
