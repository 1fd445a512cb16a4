//! Edits of frames, shots and sequences.

use super::{Edit, ShotChange, insert, move_item, unknown};
use crate::document::Document;
use crate::id::{FrameId, SequenceId, ShotId};
use crate::shot::{Sequence, Shot};
use crate::validate::{self, Verdict};

impl Document {
    /// The shot of this id.
    pub fn shot(&self, id: ShotId) -> Option<&Shot> {
        self.shots.iter().find(|shot| shot.id == id)
    }

    /// The sequence of this id.
    pub fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        self.sequences.iter().find(|sequence| sequence.id == id)
    }

    pub(super) fn apply_to_frames(&mut self, edit: &Edit) -> Result<Edit, String> {
        match edit {
            Edit::AddFrame { index, frame } => {
                validate::frame(frame)?;
                if self.frame(frame.id).is_some() {
                    return Err(format!("there is a frame {} already", frame.id));
                }
                insert(&mut self.frames, *index, frame.clone())?;
                Ok(Edit::RemoveFrame { frame: frame.id })
            }
            Edit::RemoveFrame { frame } => {
                let index = self.find_frame(*frame)?;
                if let Some(shot) = self.shots.iter().find(|shot| shot.frame == *frame) {
                    return Err(format!("shot {} starts from frame {frame}", shot.id));
                }
                Ok(Edit::AddFrame { index, frame: self.frames.remove(index) })
            }
            Edit::MoveFrame { frame, index } => {
                let from = self.find_frame(*frame)?;
                move_item(&mut self.frames, from, *index)?;
                Ok(Edit::MoveFrame { frame: *frame, index: from })
            }
            Edit::SetFrame { frame } => {
                validate::frame(frame)?;
                let index = self.find_frame(frame.id)?;
                Ok(Edit::SetFrame { frame: std::mem::replace(&mut self.frames[index], frame.clone()) })
            }
            _ => Err("it does not change frames".into()),
        }
    }

    pub(super) fn apply_to_film(&mut self, edit: &Edit) -> Result<Edit, String> {
        match edit {
            Edit::AddShot { index, shot } => {
                validate::shot(shot)?;
                if self.shot(shot.id).is_some() {
                    return Err(format!("there is a shot {} already", shot.id));
                }
                self.check_frame(shot.frame)?;
                insert(&mut self.shots, *index, (**shot).clone())?;
                Ok(Edit::RemoveShot { shot: shot.id })
            }
            Edit::RemoveShot { shot } => {
                let index = self.find_shot(*shot)?;
                if let Some(sequence) = self.sequences.iter().find(|sequence| sequence.shots.contains(shot)) {
                    return Err(format!("sequence {} shows shot {shot}", sequence.id));
                }
                Ok(Edit::AddShot { index, shot: Box::new(self.shots.remove(index)) })
            }
            Edit::MoveShot { shot, index } => {
                let from = self.find_shot(*shot)?;
                move_item(&mut self.shots, from, *index)?;
                Ok(Edit::MoveShot { shot: *shot, index: from })
            }
            Edit::SetShot { shot, change } => {
                let index = self.find_shot(*shot)?;
                if let ShotChange::Frame(frame) = change {
                    self.check_frame(*frame)?;
                }
                Ok(Edit::SetShot { shot: *shot, change: self.shots[index].change(change)? })
            }
            Edit::AddSequence { index, sequence } => {
                self.check_sequence(sequence)?;
                if self.sequence(sequence.id).is_some() {
                    return Err(format!("there is a sequence {} already", sequence.id));
                }
                insert(&mut self.sequences, *index, sequence.clone())?;
                Ok(Edit::RemoveSequence { sequence: sequence.id })
            }
            Edit::RemoveSequence { sequence } => {
                let index = self.find_sequence(*sequence)?;
                Ok(Edit::AddSequence { index, sequence: self.sequences.remove(index) })
            }
            Edit::MoveSequence { sequence, index } => {
                let from = self.find_sequence(*sequence)?;
                move_item(&mut self.sequences, from, *index)?;
                Ok(Edit::MoveSequence { sequence: *sequence, index: from })
            }
            Edit::SetSequence { sequence } => {
                self.check_sequence(sequence)?;
                let index = self.find_sequence(sequence.id)?;
                Ok(Edit::SetSequence { sequence: std::mem::replace(&mut self.sequences[index], sequence.clone()) })
            }
            _ => Err("it does not change shots".into()),
        }
    }

    fn find_frame(&self, id: FrameId) -> Result<usize, String> {
        self.frames.iter().position(|frame| frame.id == id).ok_or_else(|| unknown("frame", id))
    }

    fn check_frame(&self, frame: FrameId) -> Verdict {
        self.frame(frame).map(drop).ok_or_else(|| unknown("frame", frame))
    }

    fn check_sequence(&self, sequence: &Sequence) -> Verdict {
        validate::sequence(sequence)?;
        sequence.shots.iter().try_for_each(|shot| self.find_shot(*shot).map(drop))
    }

    fn find_shot(&self, id: ShotId) -> Result<usize, String> {
        self.shots.iter().position(|shot| shot.id == id).ok_or_else(|| unknown("shot", id))
    }

    fn find_sequence(&self, id: SequenceId) -> Result<usize, String> {
        self.sequences.iter().position(|sequence| sequence.id == id).ok_or_else(|| unknown("sequence", id))
    }
}

impl Shot {
    /// Changes one property and returns its old value.
    fn change(&mut self, change: &ShotChange) -> Result<ShotChange, String> {
        use std::mem::replace;
        Ok(match change {
            ShotChange::Name(name) => {
                validate::name(name)?;
                ShotChange::Name(replace(&mut self.name, name.clone()))
            }
            ShotChange::Frame(frame) => ShotChange::Frame(replace(&mut self.frame, *frame)),
            ShotChange::Size(width, height) => {
                validate::size(*width, *height)?;
                ShotChange::Size(replace(&mut self.width, *width), replace(&mut self.height, *height))
            }
            ShotChange::Rate(rate) => {
                validate::rate(*rate)?;
                ShotChange::Rate(replace(&mut self.rate, *rate))
            }
            ShotChange::Frames(frames) => {
                validate::shot_frames(*frames)?;
                ShotChange::Frames(replace(&mut self.frames, *frames))
            }
            ShotChange::Moves(moves) => {
                validate::moves(moves)?;
                ShotChange::Moves(replace(&mut self.moves, moves.clone()))
            }
            ShotChange::Keyframes(keyframes) => {
                validate::keyframes(keyframes)?;
                ShotChange::Keyframes(replace(&mut self.keyframes, keyframes.clone()))
            }
            ShotChange::Setting(key, value) => {
                validate::meta_key(key)?;
                // As with the project's settings, JSON cannot tell `Some(null)` from `None`.
                let old = match value.as_ref().filter(|value| !value.is_null()) {
                    Some(value) => {
                        validate::json(value)?;
                        self.settings.insert(key.clone(), value.clone())
                    }
                    None => self.settings.remove(key),
                };
                ShotChange::Setting(key.clone(), old)
            }
        })
    }
}
