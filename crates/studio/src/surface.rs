//! Which layers carry the picture, and which part of a plane they cover.

use outframe_document::{BlendMode, Document, Layer, Rect};

/// Whether a layer's opaque pixels are seen just as they are: it is visible, opaque, normal and without a mask, and so are the
/// groups around it.
pub(crate) fn is_plain(document: &Document, layer: &Layer) -> bool {
    let plain = |visible: bool, opacity: f64, blend: BlendMode, masked: bool| {
        visible && opacity >= 1.0 && blend == BlendMode::Normal && !masked
    };
    plain(layer.visible, layer.opacity, layer.blend, layer.mask.as_ref().is_some_and(|mask| mask.enabled))
        && document.groups_around(layer.group).all(|group| {
            plain(group.visible, group.opacity, group.blend, group.mask.as_ref().is_some_and(|mask| mask.enabled))
        })
}

/// Whether the person has protected a layer, by itself or by a group around it.
pub(crate) fn is_locked(document: &Document, layer: &Layer) -> bool {
    layer.locked || document.groups_around(layer.group).any(|group| group.locked)
}

/// Whether a layer shows something of a rectangle, by the rectangles of its patches.
pub(crate) fn touches(layer: &Layer, rect: Rect) -> bool {
    layer.patches.iter().any(|patch| patch.rect.intersection(&rect).is_some())
}

/// How many pixels of a rectangle the layers' patches take up together, whether opaque or not.
pub(crate) fn taken_up<'a>(layers: impl Iterator<Item = &'a Layer>, rect: Rect) -> u64 {
    union_area(
        &layers.flat_map(|layer| &layer.patches).filter_map(|patch| patch.rect.intersection(&rect)).collect::<Vec<_>>(),
    )
}

/// The area of a union of rectangles, by the strips between their edges.
pub(crate) fn union_area(rects: &[Rect]) -> u64 {
    let mut lines: Vec<i64> = rects.iter().flat_map(|rect| [rect.y, rect.bottom()]).collect();
    lines.sort_unstable();
    lines.dedup();
    let strip = |top: i64, bottom: i64| {
        let mut spans: Vec<_> = rects
            .iter()
            .filter(|rect| rect.y <= top && rect.bottom() >= bottom)
            .map(|rect| (rect.x, rect.right()))
            .collect();
        spans.sort_unstable();
        let (mut width, mut reached) = (0, i64::MIN);
        for (from, to) in spans {
            width += (to - from.max(reached)).max(0);
            reached = reached.max(to);
        }
        width as u64 * (bottom - top) as u64
    };
    lines.windows(2).map(|pair| strip(pair[0], pair[1])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_area_of_a_union_equals_counting(rects in prop::collection::vec((0i64..20, 0i64..20, 1u32..9, 1u32..9), 0..7)) {
            let rects: Vec<_> = rects.into_iter().map(|(x, y, w, h)| Rect::new(x, y, w, h)).collect();
            let mut counted = 0;
            for y in 0..30 { for x in 0..30 {
                counted += u64::from(rects.iter().any(|rect| rect.contains_point(x, y)));
            } }
            prop_assert_eq!(union_area(&rects), counted);
        }
    }
}
