//! Blend modes under the names of other formats.

use outframe_document::BlendMode;
use outframe_interchange::ora::CompositeOp;

const PAIRS: [(BlendMode, CompositeOp); 10] = [
    (BlendMode::Normal, CompositeOp::SrcOver),
    (BlendMode::Multiply, CompositeOp::Multiply),
    (BlendMode::Screen, CompositeOp::Screen),
    (BlendMode::Overlay, CompositeOp::Overlay),
    (BlendMode::SoftLight, CompositeOp::SoftLight),
    (BlendMode::Add, CompositeOp::Plus),
    (BlendMode::Darken, CompositeOp::Darken),
    (BlendMode::Lighten, CompositeOp::Lighten),
    (BlendMode::Color, CompositeOp::Color),
    (BlendMode::Luminosity, CompositeOp::Luminosity),
];

/// The blend mode of an OpenRaster operation.
pub(crate) fn blend_of(op: CompositeOp) -> BlendMode {
    PAIRS.into_iter().find(|(_, other)| *other == op).map(|(blend, _)| blend).unwrap_or_default()
}

/// The OpenRaster operation of a blend mode.
pub(crate) fn op_of(blend: BlendMode) -> CompositeOp {
    PAIRS.into_iter().find(|(other, _)| *other == blend).map(|(_, op)| op).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blend_mode_has_its_operation() {
        for blend in BlendMode::ALL {
            assert_eq!(blend_of(op_of(blend)), blend);
        }
        for op in CompositeOp::ALL {
            assert_eq!(op_of(blend_of(op)), op);
        }
    }
}
