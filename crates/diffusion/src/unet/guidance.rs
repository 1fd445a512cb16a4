//! The guidance scale as an input of the network, for models that were distilled to obey it (Meng et al., "On
//! distillation of guided diffusion models", CVPR 2023; Luo et al., "Latent consistency models", 2023). Such a model is
//! asked once a step, without a negative prompt.

use tch::Tensor;

use super::{Conditioning, UNet};
use crate::Error;
use crate::config::Config;

/// Reads `time_cond_proj_dim`.
pub(super) fn read(config: &Config) -> Result<Option<i64>, Error> {
    const KEY: &str = "time_cond_proj_dim";
    if config.get(KEY).is_none() {
        return Ok(None);
    }
    let width = config.count(KEY, None)?;
    // With half of two or three numbers the waves' spacing would be a division by zero.
    if width < 4 { Err(config.refuse(KEY, "at least 4 is expected")) } else { Ok(Some(width)) }
}

/// The waves of a guidance scale: those of Python diffusers' `get_guidance_scale_embedding`, which counts from 0 (no
/// guidance) and, unlike for the time, begins with the sines and spaces the frequencies over one fewer.
///
/// In f32, as there: the angles are thousands of radians, so more digits would give other waves than it was trained with.
fn waves(scale: f64, width: i64) -> Vec<f32> {
    let half = width / 2;
    let number = (scale - 1.0) as f32 * 1000.0;
    let spacing = 10_000_f32.ln() / (half - 1) as f32;
    let angles: Vec<f64> = (0..half).map(|i| f64::from(number * (i as f32 * -spacing).exp())).collect();
    let both = angles.iter().map(|angle| angle.sin()).chain(angles.iter().map(|angle| angle.cos()));
    both.map(|v| v as f32).chain((width % 2 == 1).then_some(0.0)).collect()
}

impl UNet {
    /// Whether the network is told the guidance scale, so that it needs no second run for it.
    pub(crate) fn knows_guidance(&self) -> bool {
        self.guidance.is_some()
    }

    /// Tells the network the guidance scale; others ignore it.
    pub(crate) fn tell_guidance(&self, scale: f64, with: &mut Conditioning) -> Result<(), Error> {
        let (Some(layer), Some(width)) = (&self.guidance, self.config.guidance) else { return Ok(()) };
        let waves = Tensor::f_from_slice(&waves(scale, width))?
            .f_view([1, width])?
            .f_to_device(self.device)?
            .f_to_kind(self.kind)?;
        with.guidance = Some(layer.forward(&waves)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_becomes_waves_of_the_asked_for_width() {
        for width in [4, 5, 256] {
            assert_eq!(waves(7.5, width).len(), width as usize);
        }
        let still = waves(1.0, 8);
        assert_eq!(still, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let odd = waves(3.0, 5);
        assert_eq!(odd[4].to_bits(), 0.0_f32.to_bits());
    }
}
