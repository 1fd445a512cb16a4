//! The few layers that every network here is made of, with weights that are checked when they are taken.

use tch::{Device, Tensor};

use crate::Error;
use crate::adapters::slot::Slot;
use crate::weights::Scope;

/// `y = x W^T + b` over the last axis.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Slot,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn load(at: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Self, Error> {
        let bias = Some(at.take("bias", &[outputs])?);
        Ok(Self { weight: at.slot("weight", &[outputs, inputs])?, bias })
    }

    pub(crate) fn load_without_bias(at: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Self, Error> {
        Ok(Self { weight: at.slot("weight", &[outputs, inputs])?, bias: None })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.f_linear(&self.weight.weight(), self.bias.as_ref())?)
    }

    /// One of so many equal parts of the output.
    pub(crate) fn forward_part(&self, x: &Tensor, part: i64, of: i64) -> Result<Tensor, Error> {
        let weight = self.weight.weight();
        let size = weight.size2()?.0 / of;
        let narrow = |tensor: &Tensor| tensor.f_narrow(0, part * size, size);
        let bias = self.bias.as_ref().map(narrow).transpose()?;
        Ok(x.f_linear(&narrow(&weight)?, bias)?)
    }
}

/// A convolution with square kernel, in and out `[N, C, H, W]`, padded to keep the size at stride 1.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Slot,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    pub(crate) fn load(at: &Scope<'_>, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Result<Self, Error> {
        let weight = at.slot("weight", &[outputs, inputs, kernel, kernel])?;
        Ok(Self { weight, bias: at.take("bias", &[outputs])?, stride, padding: kernel / 2 })
    }

    /// With or without a bias, as the file has it; stride 1.
    pub(crate) fn load_any(at: &Scope<'_>, inputs: i64, outputs: i64, kernel: i64) -> Result<Self, Error> {
        let weight = at.slot("weight", &[outputs, inputs, kernel, kernel])?;
        let bias = if at.has("bias") {
            at.take("bias", &[outputs])?
        } else {
            let like = weight.base();
            like.f_new_zeros([outputs], (like.kind(), like.device()))?
        };
        Ok(Self { weight, bias, stride: 1, padding: kernel / 2 })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.forward_with(x, &self.bias)
    }

    /// With `shift` `[C]` added to the result.
    pub(crate) fn forward_shifted(&self, x: &Tensor, shift: &Tensor) -> Result<Tensor, Error> {
        self.forward_with(x, &self.bias.f_add(shift)?)
    }

    fn forward_with(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor, Error> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight.weight(), Some(bias), stride, padding, [1, 1], 1)?)
    }
}

/// Normalisation over groups of channels.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    pub(crate) fn load(at: &Scope<'_>, channels: i64, groups: i64, eps: f64) -> Result<Self, Error> {
        Ok(Self { weight: at.take("weight", &[channels])?, bias: at.take("bias", &[channels])?, groups, eps })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}

/// Normalisation over the last axis.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(at: &Scope<'_>, width: i64, eps: f64) -> Result<Self, Error> {
        Ok(Self { weight: at.take("weight", &[width])?, bias: at.take("bias", &[width])?, width, eps })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.f_layer_norm([self.width], Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}

/// `[N, C, H, W]` with the channels of a place beside each other in memory; the shape stays.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor, Error> {
    Ok(x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// Splits `[N, L, heads * d]` into `[N, heads, L, d]`.
pub(crate) fn split_heads(x: &Tensor, heads: i64) -> Result<Tensor, Error> {
    let (n, length, width) = x.size3()?;
    Ok(x.f_view([n, length, heads, width / heads])?.f_transpose(1, 2)?)
}

/// So many numbers the scores of attention may have where a kernel holds them all at once.
const MAX_SCORES: i64 = 1 << 28;

/// Attention over `[N, heads, L, d]`, merged back to `[N, L, heads * d]`.
///
/// libtorch's fused kernels sum in f32 in every precision, so models that ask for `upcast_attention` (SD 2.x) need no
/// more than this. On the processor and on CUDA they never hold all scores; elsewhere the queries are taken in slices when
/// there would be too many.
pub(crate) fn attend(query: &Tensor, key: &Tensor, value: &Tensor, causal: bool) -> Result<Tensor, Error> {
    let (n, heads, length, _) = query.size4()?;
    let scores = n * heads * length * key.size4()?.2;
    if causal || scores <= MAX_SCORES || matches!(query.device(), Device::Cpu | Device::Cuda(_)) {
        return attend_at_once(query, key, value, causal);
    }
    attend_in_slices(query, key, value, (MAX_SCORES / (scores / length)).max(1))
}

/// As [`attend`], for so many queries at a time.
fn attend_in_slices(query: &Tensor, key: &Tensor, value: &Tensor, rows: i64) -> Result<Tensor, Error> {
    let (_, _, length, _) = query.size4()?;
    let slices = (0..length).step_by(rows.max(1) as usize).map(|from| {
        let part = query.f_narrow(2, from, rows.min(length - from))?;
        attend_at_once(&part, key, value, false)
    });
    Ok(Tensor::f_cat(&slices.collect::<Result<Vec<_>, Error>>()?, 1)?)
}

fn attend_at_once(query: &Tensor, key: &Tensor, value: &Tensor, causal: bool) -> Result<Tensor, Error> {
    let out = Tensor::f_scaled_dot_product_attention::<&Tensor>(query, key, value, None, 0.0, causal, None, false)?;
    let (n, heads, length, width) = out.size4()?;
    Ok(out.f_transpose(1, 2)?.f_reshape([n, length, heads * width])?)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn slices_of_the_queries_give_the_same() {
        let random = |len: i64| Tensor::randn([2, 3, len, 8], (Kind::Float, Device::Cpu));
        let (query, key, value) = (random(37), random(21), random(21));
        let whole = attend(&query, &key, &value, false).unwrap();
        for rows in [1, 5, 37, 100] {
            let sliced = attend_in_slices(&query, &key, &value, rows).unwrap();
            assert_eq!(sliced.size(), [2, 37, 24]);
            let gap = f64::try_from((&sliced - &whole).abs().max()).unwrap();
            assert!(gap < 1e-5, "{rows}: {gap}");
        }
    }
}
