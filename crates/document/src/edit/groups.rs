//! Edits of groups.

use super::{Edit, GroupChange, unknown};
use crate::document::Document;
use crate::group::Group;
use crate::id::GroupId;
use crate::validate::{self, MAX_GROUP_NESTING, Verdict};

impl Document {
    pub(super) fn apply_to_groups(&mut self, edit: &Edit) -> Result<Edit, String> {
        match edit {
            Edit::AddGroup { group } => {
                validate::group(group)?;
                if self.groups.contains_key(&group.id) {
                    return Err(format!("there is a group {} already", group.id));
                }
                self.check_parent(group.id, group.parent)?;
                self.groups.insert(group.id, (**group).clone());
                Ok(Edit::RemoveGroup { group: group.id })
            }
            Edit::RemoveGroup { group } => {
                if let Some(layer) = self.layers.iter().find(|layer| layer.group == Some(*group)) {
                    return Err(format!("group {group} holds layer {}", layer.id));
                }
                if let Some(inner) = self.groups.values().find(|inner| inner.parent == Some(*group)) {
                    return Err(format!("group {group} holds group {}", inner.id));
                }
                let group = self.groups.remove(group).ok_or_else(|| unknown("group", *group))?;
                Ok(Edit::AddGroup { group: Box::new(group) })
            }
            Edit::SetGroup { group, change } => {
                if let GroupChange::Parent(parent) = change {
                    self.check_parent(*group, *parent)?;
                }
                let found = self.groups.get_mut(group).ok_or_else(|| unknown("group", *group))?;
                Ok(Edit::SetGroup { group: *group, change: found.change(change)? })
            }
            _ => Err("it does not change groups".into()),
        }
    }

    pub(super) fn check_group(&self, group: Option<GroupId>) -> Verdict {
        match group {
            Some(id) if !self.groups.contains_key(&id) => Err(unknown("group", id)),
            _ => Ok(()),
        }
    }

    /// Whether `parent` may hold `group`, which it may hold already.
    fn check_parent(&self, group: GroupId, parent: Option<GroupId>) -> Verdict {
        self.check_group(parent)?;
        let mut above = 0;
        for around in self.groups_around(parent) {
            above += 1;
            if around.id == group {
                return Err(format!("group {group} would hold itself"));
            }
        }
        if above + self.levels_below(group, 0) > MAX_GROUP_NESTING {
            return Err(format!("groups would nest deeper than {MAX_GROUP_NESTING} levels"));
        }
        Ok(())
    }

    /// How many levels of groups there are from `group` downwards, itself included.
    fn levels_below(&self, group: GroupId, level: usize) -> usize {
        if level > MAX_GROUP_NESTING {
            return level;
        }
        let inner = self.groups.values().filter(|inner| inner.parent == Some(group));
        1 + inner.map(|inner| self.levels_below(inner.id, level + 1)).max().unwrap_or(0)
    }
}

impl Group {
    /// Changes one property and returns its old value.
    fn change(&mut self, change: &GroupChange) -> Result<GroupChange, String> {
        use std::mem::replace;
        Ok(match change {
            GroupChange::Name(name) => {
                validate::name(name)?;
                GroupChange::Name(replace(&mut self.name, name.clone()))
            }
            GroupChange::Visible(visible) => GroupChange::Visible(replace(&mut self.visible, *visible)),
            GroupChange::Locked(locked) => GroupChange::Locked(replace(&mut self.locked, *locked)),
            GroupChange::Opacity(opacity) => {
                validate::opacity(*opacity)?;
                GroupChange::Opacity(replace(&mut self.opacity, *opacity))
            }
            GroupChange::Blend(blend) => GroupChange::Blend(replace(&mut self.blend, *blend)),
            GroupChange::Mask(mask) => {
                validate::mask(mask.as_ref())?;
                GroupChange::Mask(replace(&mut self.mask, mask.clone()))
            }
            GroupChange::Parent(parent) => GroupChange::Parent(replace(&mut self.parent, *parent)),
        })
    }
}
