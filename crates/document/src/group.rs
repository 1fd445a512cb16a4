//! Groups of layers, and masks of layers and groups.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::document::{BlendMode, Document, Layer};
use crate::geometry::Rect;
use crate::id::{BlobId, GroupId};

/// What hides parts of a layer or of a group, without changing its pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// An encoded greyscale picture: white shows, black hides.
    pub image: BlobId,
    /// Where it lies; the picture is scaled to it if its size differs.
    pub rect: Rect,
    /// Whether what lies outside of `rect` is shown.
    pub outside: bool,
    /// Whether the mask has an effect.
    pub enabled: bool,
}

impl Mask {
    /// A mask that has an effect, and that hides what lies outside of it.
    pub const fn new(image: BlobId, rect: Rect) -> Self {
        Self { image, rect, outside: false, enabled: true }
    }
}

/// Layers, and other groups, that are drawn as one.
///
/// A group is isolated: what it holds is drawn by itself, over nothing, and the result is then mixed with what lies
/// below as if it were a layer. Which layers it holds is said by [`Layer::group`], and which groups by
/// [`parent`](Self::parent); [`Document::tree`] puts that together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its stable name for programs.
    pub id: GroupId,
    /// The group that holds this one; `None` for none.
    pub parent: Option<GroupId>,
    /// Its name for people.
    pub name: String,
    /// Whether it is drawn, with all that it holds.
    pub visible: bool,
    /// Whether the user has protected it and all that it holds from changes. The editor's tools honour it.
    pub locked: bool,
    /// 0 (invisible) to 1 (opaque).
    pub opacity: f64,
    /// How it mixes with what lies below.
    pub blend: BlendMode,
    /// What hides parts of it.
    pub mask: Option<Mask>,
}

impl Group {
    /// An empty group that no other holds: visible, unlocked, opaque, normal.
    pub fn new(id: GroupId, name: impl Into<String>) -> Self {
        Self {
            id,
            parent: None,
            name: name.into(),
            visible: true,
            locked: false,
            opacity: 1.0,
            blend: BlendMode::Normal,
            mask: None,
        }
    }
}

/// A layer or a group at its place in the stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// A layer.
    Layer(&'a Layer),
    /// A group, and what it holds from the bottom to the top.
    Group(&'a Group, Vec<Node<'a>>),
}

impl Document {
    /// The group of this id.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// The groups that hold one another, from `innermost` outwards.
    pub fn groups_around(&self, innermost: Option<GroupId>) -> impl Iterator<Item = &Group> {
        // Bounded, so that also a document that no project would accept is left in the end.
        let first = innermost.and_then(|id| self.group(id));
        std::iter::successors(first, |group| group.parent.and_then(|id| self.group(id))).take(self.groups.len())
    }

    /// Whether a layer and all groups around it are visible.
    pub fn is_visible(&self, layer: &Layer) -> bool {
        layer.visible && self.groups_around(layer.group).all(|group| group.visible)
    }

    /// Layers and groups as they are drawn, from the bottom to the top.
    ///
    /// Layers keep their order in [`layers`](Self::layers). A group stands where its topmost layer is, and its other
    /// layers come directly below that one; a group without layers stands on top of all else in its parent.
    pub fn tree(&self) -> Vec<Node<'_>> {
        // What each group holds, `None` being the canvas, from the top to the bottom.
        let mut children: BTreeMap<Option<GroupId>, Vec<Child<'_>>> = BTreeMap::new();
        let mut placed = BTreeSet::new();
        for layer in self.layers.iter().rev() {
            children.entry(layer.group).or_default().push(Child::Layer(layer));
            for around in self.groups_around(layer.group) {
                if !placed.insert(around.id) {
                    break;
                }
                children.entry(around.parent).or_default().push(Child::Group(around));
            }
        }
        for group in self.groups.values().filter(|group| !placed.contains(&group.id)) {
            children.entry(group.parent).or_default().insert(0, Child::Group(group));
        }
        build(&mut children, None)
    }
}

enum Child<'a> {
    Layer(&'a Layer),
    Group(&'a Group),
}

fn build<'a>(children: &mut BTreeMap<Option<GroupId>, Vec<Child<'a>>>, of: Option<GroupId>) -> Vec<Node<'a>> {
    // Removed while it is built, so that groups which hold each other cannot lead on for ever.
    let found = children.remove(&of).unwrap_or_default();
    let node = |child| match child {
        Child::Layer(layer) => Node::Layer(layer),
        Child::Group(group) => Node::Group(group, build(children, Some(group.id))),
    };
    found.into_iter().rev().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LayerId;

    fn outline(nodes: &[Node<'_>]) -> String {
        let one = |node: &Node<'_>| match node {
            Node::Layer(layer) => layer.name.clone(),
            Node::Group(group, inside) => format!("{}({})", group.name, outline(inside)),
        };
        nodes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_stand_where_their_topmost_layer_is() {
        let mut document = Document::default();
        let group = |number, name: &str, parent: Option<u64>| {
            let mut group = Group::new(GroupId::from_raw(number), name);
            group.parent = parent.map(GroupId::from_raw);
            group
        };
        for group in [group(1, "G", None), group(2, "H", Some(1)), group(3, "E", Some(2)), group(4, "F", None)] {
            document.groups.insert(group.id, group);
        }
        for (number, name, inside) in [
            (11, "a", None),
            (12, "b", Some(1)),
            (13, "c", None),
            (14, "d", Some(2)),
            (15, "e", Some(1)),
            (16, "f", None),
        ] {
            let mut layer = Layer::new(LayerId::from_raw(number), name);
            layer.group = inside.map(GroupId::from_raw);
            document.layers.push(layer);
        }
        assert_eq!(outline(&document.tree()), "a c G(b H(d E()) e) f F()");
        assert!(document.layers.iter().all(|layer| document.is_visible(layer)));
        document.groups.get_mut(&GroupId::from_raw(1)).unwrap().visible = false;
        let hidden: Vec<_> = document.layers.iter().filter(|layer| !document.is_visible(layer)).collect();
        assert_eq!(hidden.len(), 3);
    }

    #[test]
    fn groups_that_hold_each_other_end_somewhere() {
        let mut document = Document::default();
        for (number, parent) in [(1, 2), (2, 1)] {
            let mut group = Group::new(GroupId::from_raw(number), "G");
            group.parent = Some(GroupId::from_raw(parent));
            document.groups.insert(group.id, group);
        }
        let mut layer = Layer::new(LayerId::from_raw(3), "a");
        layer.group = Some(GroupId::from_raw(1));
        document.layers.push(layer);
        assert!(document.is_visible(&document.layers[0]));
        let _ = document.tree();
    }
}
