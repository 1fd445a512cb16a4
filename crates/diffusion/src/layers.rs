//! The few layers that every network here is made of, with weights that are checked when they are taken.

use tch::Tensor;

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

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight.weight(), Some(&self.bias), stride, padding, [1, 1], 1)?)
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

/// Splits `[N, L, heads * d]` into `[N, heads, L, d]`.
pub(crate) fn split_heads(x: &Tensor, heads: i64) -> Result<Tensor, Error> {
    let (n, length, width) = x.size3()?;
    Ok(x.f_view([n, length, heads, width / heads])?.f_transpose(1, 2)?)
}

/// Attention over `[N, heads, L, d]`, merged back to `[N, L, heads * d]`.
///
/// libtorch's fused kernels sum in f32 in every precision, so models that ask for `upcast_attention` (SD 2.x) need no
/// more than this.
pub(crate) fn attend(query: &Tensor, key: &Tensor, value: &Tensor, causal: bool) -> Result<Tensor, Error> {
    let out = Tensor::f_scaled_dot_product_attention::<&Tensor>(query, key, value, None, 0.0, causal, None, false)?;
    let (n, heads, length, width) = out.size4()?;
    Ok(out.f_transpose(1, 2)?.f_reshape([n, length, heads * width])?)
}
