//! A document reduced to what is drawn.

use std::sync::Arc;

use outframe_document::{BlendMode, BlobId, Color, Document, Mask, Node, Patch, Rect};

/// What a document shows at one point of its history: plain data without pixels, cheap to clone.
///
/// What is invisible is left out. Masks that have no effect are left out too.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    pub(crate) background: Option<Color>,
    pub(crate) nodes: Arc<[Item]>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Layer(Arc<Plane>),
    Group(Arc<Group>),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) opacity: f64,
    pub(crate) blend: BlendMode,
    /// The mask as a plane of its own.
    pub(crate) mask: Option<Plane>,
    pub(crate) inner: Vec<Item>,
}

/// What a plane's tiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holds {
    /// Pictures.
    Colors,
    /// What a mask shows; nothing is shown elsewhere.
    Shown,
    /// What a mask hides; nothing is hidden elsewhere.
    Hidden,
}

/// Pictures on one plane.
#[derive(Debug, PartialEq)]
pub(crate) struct Plane {
    pub(crate) holds: Holds,
    pub(crate) opacity: f64,
    pub(crate) blend: BlendMode,
    pub(crate) depth: f64,
    pub(crate) placed: Vec<Placed>,
    pub(crate) mask: Option<Mask>,
    /// The smallest rectangle around what can be seen.
    pub(crate) bounds: Rect,
}

/// A stored picture at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) rect: Rect,
    pub(crate) image: BlobId,
    pub(crate) mask: Option<BlobId>,
}

impl Scene {
    /// What this document shows now.
    pub fn new(document: &Document) -> Self {
        Self { background: document.canvas.background, nodes: items(document, &document.tree()).into() }
    }

    /// The smallest rectangle around all that is drawn, in canvas pixels; `None` when there is nothing. The background has
    /// no bounds and does not count.
    pub fn bounds(&self) -> Option<Rect> {
        bounds(&self.nodes)
    }
}

fn bounds(items: &[Item]) -> Option<Rect> {
    let of = |item: &Item| match item {
        Item::Layer(plane) => Some(plane.bounds),
        Item::Group(group) => bounds(&group.inner),
    };
    items.iter().filter_map(of).reduce(|all, rect| all.union(&rect))
}

fn items(document: &Document, nodes: &[Node<'_>]) -> Vec<Item> {
    let one = |node: &Node<'_>| match node {
        Node::Layer(layer) if layer.visible && layer.opacity > 0.0 => {
            let place = |patch: &Patch| {
                let pixels = document.pixels(patch)?;
                Some(Placed { rect: patch.rect, image: pixels.image, mask: pixels.mask })
            };
            let placed = layer.patches.iter().filter_map(place).filter(|placed| !placed.rect.is_empty()).collect();
            let plane = Plane::new(placed, layer.mask.clone().filter(|mask| mask.enabled))?;
            let plane = Plane { opacity: layer.opacity.min(1.0), blend: layer.blend, depth: layer.depth, ..plane };
            Some(Item::Layer(Arc::new(plane)))
        }
        Node::Group(group, inner) if group.visible && group.opacity > 0.0 => {
            let inner = items(document, inner);
            if inner.is_empty() {
                return None;
            }
            let depth = common_depth(&inner).unwrap_or(1.0);
            let mask = group.mask.as_ref().filter(|mask| mask.enabled).and_then(|mask| Plane::of_mask(mask, depth));
            let (opacity, blend) = (group.opacity.min(1.0), group.blend);
            Some(Item::Group(Arc::new(Group { opacity, blend, mask, inner })))
        }
        Node::Layer(_) | Node::Group(..) => None,
    };
    nodes.iter().filter_map(one).collect()
}

/// The depth of all layers inside; `None` if they differ.
fn common_depth(items: &[Item]) -> Option<f64> {
    let mut depths = items.iter().map(|item| match item {
        Item::Layer(plane) => Some(plane.depth),
        Item::Group(group) => common_depth(&group.inner),
    });
    let first = depths.next()??;
    // Depths are numbers that the user has set; only the very same one is the same plane.
    depths.all(|depth| depth.is_some_and(|depth| depth.to_bits() == first.to_bits())).then_some(first)
}

impl Group {
    /// Whether what it holds can be drawn straight onto what lies below: putting over is associative.
    pub(crate) fn is_plain(&self) -> bool {
        self.mask.is_none()
            && self.opacity >= 1.0
            && self.blend == BlendMode::Normal
            && self.inner.iter().all(|item| match item {
                Item::Layer(plane) => plane.blend == BlendMode::Normal,
                Item::Group(group) => group.blend == BlendMode::Normal,
            })
    }
}

impl Plane {
    /// `None` if nothing can be seen of it.
    fn new(mut placed: Vec<Placed>, mask: Option<Mask>) -> Option<Self> {
        if let Some(mask) = mask.as_ref().filter(|mask| !mask.outside) {
            placed.retain(|placed| placed.rect.intersection(&mask.rect).is_some());
        }
        let mut bounds = placed.iter().map(|placed| placed.rect).reduce(|all, rect| all.union(&rect))?;
        if let Some(mask) = mask.as_ref().filter(|mask| !mask.outside) {
            bounds = bounds.intersection(&mask.rect)?;
        }
        let (opacity, blend, depth) = (1.0, BlendMode::Normal, 1.0);
        Some(Self { holds: Holds::Colors, opacity, blend, depth, placed, mask, bounds })
    }

    fn of_mask(mask: &Mask, depth: f64) -> Option<Self> {
        let plane = Self::new(vec![Placed { rect: mask.rect, image: mask.image, mask: None }], None)?;
        Some(Self { holds: if mask.outside { Holds::Hidden } else { Holds::Shown }, depth, ..plane })
    }
}
