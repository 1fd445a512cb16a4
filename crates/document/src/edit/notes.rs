//! Edits of notes and of the list of models.

use super::{Edit, unknown};
use crate::document::Document;
use crate::validate;

impl Document {
    pub(super) fn apply_to_notes(&mut self, edit: &Edit) -> Result<Edit, String> {
        match edit {
            Edit::AddNote { note } => {
                validate::note(note)?;
                if self.notes.contains_key(&note.id) {
                    return Err(format!("there is a note {} already", note.id));
                }
                self.notes.insert(note.id, note.clone());
                Ok(Edit::RemoveNote { note: note.id })
            }
            Edit::RemoveNote { note } => {
                let note = self.notes.remove(note).ok_or_else(|| unknown("note", *note))?;
                Ok(Edit::AddNote { note })
            }
            Edit::SetNote { note } => {
                validate::note(note)?;
                let old = self.notes.get_mut(&note.id).ok_or_else(|| unknown("note", note.id))?;
                Ok(Edit::SetNote { note: std::mem::replace(old, note.clone()) })
            }
            Edit::SetModel { hash, model } => {
                let old = match model {
                    Some(model) => {
                        validate::model(model)?;
                        self.models.insert(*hash, model.clone())
                    }
                    None => self.models.remove(hash),
                };
                Ok(Edit::SetModel { hash: *hash, model: old })
            }
            _ => Err("it does not change notes".into()),
        }
    }
}
