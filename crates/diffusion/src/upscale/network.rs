//! The two networks, read from what their file holds.

use std::path::Path;

use tch::Tensor;

use crate::Error;
use crate::layers::Conv;
use crate::weights::{Keep, Scope, Weights};

/// More features or blocks than any known network has; a file that claims more is not one.
const MAX_FEATURES: i64 = 512;
const MAX_BLOCKS: usize = 128;
/// Slope of the dense network's activations below 0, and the weight of its residuals.
const SLOPE: f64 = 0.2;
const RESIDUAL: f64 = 0.2;
/// Convolutions in a dense block.
const CONVS: i64 = 5;

/// An upscaling network: `[1, 3, H, W]` in 0..=1 to `[1, 3, scale * H, scale * W]`.
#[derive(Debug)]
pub(super) enum Network {
    Compact(Compact),
    Dense(Box<Dense>),
}

impl Network {
    pub(super) fn load(weights: Weights, path: &Path) -> Result<(Self, Keep), Error> {
        let prefixes = ["", "params_ema", "params"];
        let under = |prefix: &str, name: &str| if prefix.is_empty() { name.into() } else { format!("{prefix}.{name}") };
        let found = |name: &str| prefixes.into_iter().find(|prefix| weights.has(&under(prefix, name)));
        let (network, prefix) = if let Some(prefix) = found("conv_first.weight") {
            (Self::Dense(Box::new(Dense::load(&At::new(&weights, prefix, path))?)), prefix)
        } else if let Some(prefix) = found("body.0.weight") {
            (Self::Compact(Compact::load(&At::new(&weights, prefix, path))?), prefix)
        } else {
            let reason = "its tensors are neither those of SRVGGNetCompact (`body.0.weight`) nor those of RRDBNet \
                          (`conv_first.weight`), the two kinds of upscaler that are supported";
            return Err(Error::NotAModel { path: path.into(), reason: reason.into() });
        };
        // Some files keep the weights before averaging beside the averaged ones.
        let keep = weights.finish(|name| prefix == "params_ema" && name.starts_with("params."))?;
        Ok((network, keep))
    }

    pub(super) fn scale(&self) -> u32 {
        match self {
            Self::Compact(network) => network.scale as u32,
            Self::Dense(network) => 4 / network.fold as u32,
        }
    }

    /// Width and height of what it is given must be multiples of this.
    pub(super) fn multiple(&self) -> u32 {
        match self {
            Self::Compact(_) => 1,
            Self::Dense(network) => network.fold as u32,
        }
    }

    /// Side of a tile and how much around it is looked at, in pixels of the small picture.
    ///
    /// The compact network sees its whole receptive field, so that its tiles are exact. The dense one's is more than twice
    /// what is given: residuals weigh so little that beyond half of it nothing reaches an 8-bit value (measured: no
    /// difference above 1 of 255).
    pub(super) fn tiling(&self) -> (u32, u32) {
        match self {
            Self::Compact(_) => (256, self.reach()),
            Self::Dense(_) => (128, self.reach().min(40)),
        }
    }

    /// How far a pixel's influence goes, in pixels of the small picture, one for the scaling at the end included.
    pub(super) fn reach(&self) -> u32 {
        match self {
            Self::Compact(network) => network.inner.len() as u32 + 2,
            // First and last of the body, fifteen a block, and the four behind the enlargements, which are shorter.
            Self::Dense(network) => (network.blocks.len() as u32 * 15 + 2 + 3) * network.fold as u32 + 1,
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        match self {
            Self::Compact(network) => network.forward(x),
            Self::Dense(network) => network.forward(x),
        }
    }
}

/// A place in the file, with its shapes.
struct At<'a> {
    weights: &'a Weights,
    prefix: &'a str,
    path: &'a Path,
}

impl<'a> At<'a> {
    fn new(weights: &'a Weights, prefix: &'a str, path: &'a Path) -> Self {
        Self { weights, prefix, path }
    }

    fn at(&self, name: impl std::fmt::Display) -> Scope<'a> {
        if self.prefix.is_empty() { self.weights.root().at(name) } else { self.weights.root().at(self.prefix).at(name) }
    }

    fn shape(&self, name: &str) -> Option<&'a [i64]> {
        if self.prefix.is_empty() {
            self.weights.shape(name)
        } else {
            self.weights.shape(&format!("{}.{name}", self.prefix))
        }
    }

    /// Outputs and inputs of a convolution of 3x3.
    fn conv(&self, name: &str) -> Result<(i64, i64), Error> {
        match self.shape(&format!("{name}.weight")) {
            Some(&[outputs @ 1..=MAX_FEATURES, inputs @ 1..=MAX_FEATURES, 3, 3]) => Ok((outputs, inputs)),
            found => Err(self.not(format!(
                "`{name}.weight` has shape {:?}, not that of a convolution of 3x3 with at most {MAX_FEATURES} features",
                found.unwrap_or_default()
            ))),
        }
    }

    fn not(&self, reason: String) -> Error {
        Error::NotAModel { path: self.path.into(), reason }
    }

    /// How many there are of `name(0)`, `name(1)` and so on.
    fn count(&self, name: impl Fn(usize) -> String) -> Result<usize, Error> {
        let count = (0..=MAX_BLOCKS).take_while(|&index| self.shape(&name(index)).is_some()).count();
        if count > MAX_BLOCKS {
            return Err(self.not(format!("it has more than {MAX_BLOCKS} blocks")));
        }
        Ok(count)
    }
}

/// The side of `area` squares, such as 2 of 4; `None` where that is no whole number.
fn side(area: i64) -> Option<i64> {
    (1..=8).find(|side| side * side == area)
}

/// `SRVGGNetCompact`: convolutions at the small size, then the pixels are shuffled out and added to the enlarged picture.
#[derive(Debug)]
pub(super) struct Compact {
    inner: Vec<(Conv, Tensor)>,
    last: Conv,
    scale: i64,
}

impl Compact {
    fn load(at: &At<'_>) -> Result<Self, Error> {
        let (features, 3) = at.conv("body.0")? else {
            return Err(at.not("its first convolution does not take RGB".into()));
        };
        let convs = at.count(|index| format!("body.{}.weight", 2 * index))?;
        if convs < 2 {
            return Err(at.not("it has a single convolution".into()));
        }
        let last = 2 * (convs - 1);
        let (outputs, _) = at.conv(&format!("body.{last}"))?;
        let scale = (outputs % 3 == 0).then(|| side(outputs / 3)).flatten();
        let Some(scale @ 2..=8) = scale else {
            return Err(at.not(format!("its last convolution has {outputs} outputs, which make no larger RGB picture")));
        };
        let inner = (0..convs - 1).map(|index| {
            let conv = Conv::load(
                &at.at(format!("body.{}", 2 * index)),
                if index == 0 { 3 } else { features },
                features,
                3,
                1,
            )?;
            Ok((conv, at.at(format!("body.{}", 2 * index + 1)).take("weight", &[features])?))
        });
        let inner = inner.collect::<Result<_, Error>>()?;
        Ok(Self { inner, last: Conv::load(&at.at(format!("body.{last}")), features, outputs, 3, 1)?, scale })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let (_, _, height, width) = x.size4()?;
        let mut y = x.shallow_clone();
        for (conv, slopes) in &self.inner {
            y = conv.forward(&y)?.f_prelu(slopes)?;
        }
        let y = self.last.forward(&y)?.f_pixel_shuffle(self.scale)?;
        Ok(y.f_add(&x.f_upsample_nearest2d([height * self.scale, width * self.scale], None, None)?)?)
    }
}

/// `RRDBNet`: residual blocks of densely connected convolutions, then two enlargements by two. Networks for 2x first fold each
/// square of 2x2 pixels into channels.
#[derive(Debug)]
pub(super) struct Dense {
    first: Conv,
    /// Three dense blocks each.
    blocks: Vec<[[Conv; CONVS as usize]; 3]>,
    body: Conv,
    up: [Conv; 2],
    high: Conv,
    last: Conv,
    slope: Tensor,
    fold: i64,
}

impl Dense {
    fn load(at: &At<'_>) -> Result<Self, Error> {
        let (features, inputs) = at.conv("conv_first")?;
        let fold = (inputs % 3 == 0).then(|| side(inputs / 3)).flatten();
        let Some(fold @ 1..=2) = fold else {
            return Err(
                at.not(format!("its first convolution takes {inputs} channels; 3 (4x) and 12 (2x) are supported"))
            );
        };
        let (growth, _) = at.conv("body.0.rdb1.conv1")?;
        let count = at.count(|index| format!("body.{index}.rdb1.conv1.weight"))?;
        let conv = |name: &str, inputs: i64, outputs: i64| Conv::load(&at.at(name), inputs, outputs, 3, 1);
        let dense = |block: usize, part: usize| -> Result<[Conv; CONVS as usize], Error> {
            let convs = (1..=CONVS).map(|index| {
                let outputs = if index == CONVS { features } else { growth };
                conv(&format!("body.{block}.rdb{part}.conv{index}"), features + (index - 1) * growth, outputs)
            });
            fixed(convs.collect::<Result<Vec<_>, Error>>()?)
        };
        let blocks = (0..count).map(|block| Ok([dense(block, 1)?, dense(block, 2)?, dense(block, 3)?]));
        let blocks = blocks.collect::<Result<_, Error>>()?;
        let first = conv("conv_first", inputs, features)?;
        // On the network's device, in its number format.
        let slope =
            at.at("conv_first").take("bias", &[features])?.f_zeros_like()?.f_narrow(0, 0, 1)?.f_add_scalar(SLOPE)?;
        Ok(Self {
            first,
            blocks,
            body: conv("conv_body", features, features)?,
            up: [conv("conv_up1", features, features)?, conv("conv_up2", features, features)?],
            high: conv("conv_hr", features, features)?,
            last: conv("conv_last", features, 3)?,
            slope,
            fold,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let x = if self.fold > 1 { x.f_pixel_unshuffle(self.fold)? } else { x.shallow_clone() };
        let first = self.first.forward(&x)?;
        let mut y = first.shallow_clone();
        for block in &self.blocks {
            let mut z = y.shallow_clone();
            for dense in block {
                z = self.dense(dense, &z)?;
            }
            y = z.f_mul_scalar(RESIDUAL)?.f_add(&y)?;
        }
        let mut y = self.body.forward(&y)?.f_add(&first)?;
        for conv in &self.up {
            let (_, _, height, width) = y.size4()?;
            y = conv.forward(&y.f_upsample_nearest2d([2 * height, 2 * width], None, None)?)?.f_prelu(&self.slope)?;
        }
        self.last.forward(&self.high.forward(&y)?.f_prelu(&self.slope)?)
    }

    /// Each convolution sees what went in and what all before it made.
    fn dense(&self, convs: &[Conv; CONVS as usize], x: &Tensor) -> Result<Tensor, Error> {
        let [inner @ .., last] = convs;
        let mut seen = x.shallow_clone();
        for conv in inner {
            seen = Tensor::f_cat(&[&seen, &conv.forward(&seen)?.f_prelu(&self.slope)?], 1)?;
        }
        Ok(last.forward(&seen)?.f_mul_scalar(RESIDUAL)?.f_add(x)?)
    }
}

fn fixed<const N: usize>(convs: Vec<Conv>) -> Result<[Conv; N], Error> {
    let found = convs.len();
    convs.try_into().map_err(|_| Error::Internal {
        doing: "loading an upscaler".into(),
        message: format!("a block of {found} convolutions"),
    })
}
