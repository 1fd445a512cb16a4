//! Networks that make a picture larger in one pass: Real-ESRGAN's two kinds, in tiles.
//!
//! Xintao Wang, Liangbin Xie, Chao Dong, Ying Shan: "Real-ESRGAN: Training real-world blind super-resolution with pure
//! synthetic data", 2021. What a file holds is told from the names and shapes of its tensors.

mod network;
mod tiles;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use self::network::Network;
use self::tiles::{Tile, tiles};
use crate::device::device_name;
use crate::error::{Error, guard};
use crate::picture::interleaved;
use crate::pipeline::{LoadOptions, Observer, Output, Progress};
use crate::weights::{Keep, Weights};

/// Longest side of an upscaled picture, in pixels.
pub const MAX_UPSCALED_SIDE: u32 = 16_384;

/// A loaded upscaler.
#[derive(Debug)]
pub struct Upscaler {
    network: Network,
    device: Device,
    kind: Kind,
    /// After the tensors that may lie in it.
    _keep: Keep,
}

impl Upscaler {
    /// Loads a network from a `SafeTensors` file with the tensor names of the original `PyTorch` code, with or without
    /// the prefix `params_ema` or `params`.
    ///
    /// # Errors
    /// Names what is damaged or missing, or says that the file holds another kind of network.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        guard("loading an upscaler", || {
            let device = options.device.resolve()?;
            let kind = options.precision.resolve(device).kind();
            if let Some(threads) = options.threads {
                tch::set_num_threads(i32::try_from(threads.clamp(1, 1024)).unwrap_or(1));
            }
            let weights = Weights::open(path, device, kind)?;
            tch::no_grad(|| {
                let (network, keep) = Network::load(weights, path).map_err(plain)?;
                Ok(Self { network, device, kind, _keep: keep })
            })
        })
    }

    /// How many times as large a picture becomes along each side in one pass.
    pub fn scale(&self) -> u32 {
        self.network.scale()
    }

    /// The device that it computes on, such as `cpu` or `cuda:0`.
    pub fn device(&self) -> String {
        device_name(self.device)
    }

    /// Makes a picture `factor` times as large along each side; smaller factors than the network's own scale its result
    /// down, bicubically. Memory beyond the two pictures does not depend on their size.
    ///
    /// `observe` is called before the first tile and after each; when it breaks, [`Error::Cancelled`] comes back.
    pub fn upscale(&self, image: &RgbImage, factor: u32, observe: &mut Observer<'_>) -> Result<Output, Error> {
        guard("upscaling a picture", || {
            let (core, margin) = self.network.tiling();
            tch::no_grad(|| self.run(image, factor, core, margin, observe))
        })
    }

    /// The same without tiles, for tests.
    #[doc(hidden)]
    pub fn upscale_whole(&self, image: &RgbImage, factor: u32) -> Result<RgbImage, Error> {
        guard("upscaling a picture", || {
            let whole = image.width().max(image.height()).max(1);
            let output = tch::no_grad(|| self.run(image, factor, whole, 0, &mut |_| ControlFlow::Continue(())))?;
            Ok(output.image)
        })
    }

    fn run(
        &self,
        image: &RgbImage,
        factor: u32,
        core: u32,
        margin: u32,
        observe: &mut Observer<'_>,
    ) -> Result<Output, Error> {
        let started = Instant::now();
        let (width, height) = image.dimensions();
        check(width, height, factor, self.scale())?;
        let mut out = RgbImage::new(width * factor, height * factor);
        let plan = tiles(width, height, core, margin, self.network.multiple());
        let steps = u32::try_from(plan.len()).unwrap_or(u32::MAX);
        let mut report = |step: u32| match observe(Progress { step, steps, preview: None }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
        report(0)?;
        for (done, tile) in (1..).zip(&plan) {
            let bytes = self.tile(image, tile, factor)?;
            place(&mut out, &bytes, tile, factor);
            report(done)?;
        }
        Ok(Output { image: out, seconds: started.elapsed().as_secs_f64(), warnings: Vec::new() })
    }

    /// The RGB bytes of a tile's inner part, upscaled.
    fn tile(&self, image: &RgbImage, tile: &Tile, factor: u32) -> Result<Vec<u8>, Error> {
        let [width, height] = [tile.outer.width, tile.outer.height].map(i64::from);
        let bytes = Tensor::f_from_slice(&tile.pixels(image))?.f_view([1, height, width, 3])?;
        let planes = bytes.f_to_device(self.device)?.f_to_kind(self.kind)?.f_div_scalar(255.0)?;
        let mut large = self.network.forward(&planes.f_permute([0, 3, 1, 2])?.f_contiguous()?)?;
        let factor = i64::from(factor);
        if factor != i64::from(self.scale()) {
            large = large.f_upsample_bicubic2d([height * factor, width * factor], false, None, None)?;
        }
        let inside = |from: u32| i64::from(from) * factor;
        let (left, top) = (inside(tile.inner.x - tile.outer.x), inside(tile.inner.y - tile.outer.y));
        let inner = large.f_narrow(2, top, inside(tile.inner.height))?.f_narrow(3, left, inside(tile.inner.width))?;
        interleaved(&inner.f_to_kind(Kind::Float)?.f_mul_scalar(255.0)?)
    }
}

/// Refuses sizes before anything is allocated.
fn check(width: u32, height: u32, factor: u32, scale: u32) -> Result<(), Error> {
    if factor < 2 || factor > scale {
        return Err(Error::Request(format!(
            "this upscaler makes pictures 2 to {scale} times as large, not {factor} times"
        )));
    }
    let longest = MAX_UPSCALED_SIDE / factor;
    if width == 0 || height == 0 || width > longest || height > longest {
        return Err(Error::Request(format!(
            "{width}x{height} pixels cannot become {factor} times as large: each side may have 1 to {longest} pixels, \
             so that the result has at most {MAX_UPSCALED_SIDE}"
        )));
    }
    Ok(())
}

fn place(out: &mut RgbImage, bytes: &[u8], tile: &Tile, factor: u32) {
    let stride = out.width() as usize * 3;
    let row = (tile.inner.width * factor) as usize * 3;
    let (x, y) = ((tile.inner.x * factor) as usize, (tile.inner.y * factor) as usize);
    let rows = out.chunks_exact_mut(stride).skip(y);
    for (to, from) in rows.zip(bytes.chunks_exact(row)) {
        to[x * 3..x * 3 + row].copy_from_slice(from);
    }
}

/// For a single file there is no config.json, of which the general messages speak.
pub(crate) fn plain(error: Error) -> Error {
    match error {
        Error::MissingTensor { path, tensor, expected } => Error::Weights {
            path,
            problem: format!(
                "it lacks the tensor `{tensor}` (shape {expected:?}), so it is incomplete or another network"
            ),
        },
        Error::TensorShape { path, tensor, expected, found } => Error::Weights {
            path,
            problem: format!("its tensor `{tensor}` has shape {found:?} where its other tensors imply {expected:?}"),
        },
        Error::UnexpectedTensors { path, names, count } => Error::Weights {
            path,
            problem: format!(
                "it holds {count} tensors that its kind of network does not have (such as {}), so the result would be wrong",
                names.join(", ")
            ),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
