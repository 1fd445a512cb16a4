//! The current state in the tables: written edit by edit, read when a project opens.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rank::List;
use crate::document::{
    BlendMode, Canvas, Color, Document, Frame, Generation, Layer, ModelRef, Note, Patch, PatchContent, PatchImage, Take,
};
use crate::edit::Edit;
use crate::error::Error;
use crate::geometry::Rect;
use crate::group::{Group, Mask};
use crate::id::{BlobId, FrameId, GenerationId, GroupId, LayerId, NoteId, PatchId, SequenceId, ShotId, TakeId};
use crate::shot::{FrameRate, Sequence, Shot};
use crate::validate;

/// Brings the tables from the state before `edit` to `document`, the state after it.
pub(crate) fn write(connection: &Connection, document: &Document, edit: &Edit) -> Result<(), Error> {
    let rows = Rows { connection, document };
    match edit {
        Edit::SetCanvas { canvas } => rows.set_canvas(*canvas),
        Edit::SetMeta { key, .. } => rows.set_meta(key),
        Edit::AddLayer { index, layer } => rows.insert_layer(*index, layer),
        Edit::RemoveLayer { layer } => {
            rows.delete("DELETE FROM patches WHERE layer = ?1", layer.get())?;
            rows.delete("DELETE FROM masks WHERE layer = ?1", layer.get())?;
            rows.delete("DELETE FROM layers WHERE id = ?1", layer.get())
        }
        Edit::MoveLayer { layer, index } => {
            let position = rows.layers().rank(connection, *index)?;
            rows.update("UPDATE layers SET position = ?2 WHERE id = ?1", params![layer.get() as i64, position])
        }
        Edit::SetLayer { layer, .. } => rows.update_layer(*layer),
        Edit::AddPatch { layer, index, patch } => rows.insert_patch(*layer, *index, patch),
        Edit::RemovePatch { patch } => rows.delete("DELETE FROM patches WHERE id = ?1", patch.get()),
        Edit::MovePatch { patch, layer, index } => {
            let position = rows.patch_position(*layer, *index)?;
            rows.update(
                "UPDATE patches SET layer = ?2, position = ?3 WHERE id = ?1",
                params![patch.get() as i64, layer.get() as i64, position],
            )
        }
        Edit::SetPatch { patch, .. } => rows.update_patch(*patch),
        Edit::AddGeneration { generation } => rows.insert_generation(generation),
        Edit::RemoveGeneration { generation } => {
            rows.delete("DELETE FROM takes WHERE generation = ?1", generation.get())?;
            rows.delete("DELETE FROM generations WHERE id = ?1", generation.get())
        }
        Edit::AddTake { generation, index, take } => {
            let position = rows.take_position(*generation, *index)?;
            rows.insert_take(*generation, position, take)
        }
        Edit::RemoveTake { take, .. } => rows.delete("DELETE FROM takes WHERE id = ?1", take.get()),
        Edit::ChooseTake { generation, take } => rows.update(
            "UPDATE generations SET chosen = ?2 WHERE id = ?1",
            params![generation.get() as i64, take.get() as i64],
        ),
        Edit::AddFrame { index, frame } => rows.insert_frame(*index, frame),
        Edit::RemoveFrame { frame } => rows.delete("DELETE FROM frames WHERE id = ?1", frame.get()),
        Edit::MoveFrame { frame, index } => {
            let position = rows.frames().rank(connection, *index)?;
            rows.update("UPDATE frames SET position = ?2 WHERE id = ?1", params![frame.get() as i64, position])
        }
        Edit::SetFrame { frame } => {
            let Rect { x, y, width, height } = frame.rect;
            rows.update(
                "UPDATE frames SET name = ?2, x = ?3, y = ?4, width = ?5, height = ?6 WHERE id = ?1",
                params![frame.id.get() as i64, frame.name, x, y, width, height],
            )
        }
        Edit::AddGroup { group } => rows.insert_group(group),
        Edit::RemoveGroup { group } => {
            rows.delete("DELETE FROM masks WHERE group_id = ?1", group.get())?;
            rows.delete("DELETE FROM layer_groups WHERE id = ?1", group.get())
        }
        Edit::SetGroup { group, .. } => rows.update_group(*group),
        Edit::AddShot { index, shot } => rows.insert_shot(*index, shot),
        Edit::RemoveShot { shot } => rows.delete("DELETE FROM shots WHERE id = ?1", shot.get()),
        Edit::MoveShot { shot, index } => {
            let position = rows.shots().rank(connection, *index)?;
            rows.update("UPDATE shots SET position = ?2 WHERE id = ?1", params![shot.get() as i64, position])
        }
        Edit::SetShot { shot, .. } => rows.update_shot(*shot),
        Edit::AddSequence { index, sequence } => {
            let position = rows.sequences().rank(connection, *index)?;
            rows.update(
                "INSERT INTO sequences (id, position, name) VALUES (?1, ?2, ?3)",
                params![sequence.id.get() as i64, position, sequence.name],
            )?;
            rows.insert_sequence_shots(sequence)
        }
        Edit::RemoveSequence { sequence } => {
            rows.delete("DELETE FROM sequence_shots WHERE sequence = ?1", sequence.get())?;
            rows.delete("DELETE FROM sequences WHERE id = ?1", sequence.get())
        }
        Edit::MoveSequence { sequence, index } => {
            let position = rows.sequences().rank(connection, *index)?;
            rows.update("UPDATE sequences SET position = ?2 WHERE id = ?1", params![sequence.get() as i64, position])
        }
        Edit::SetSequence { sequence } => {
            let id = sequence.id.get() as i64;
            rows.update("UPDATE sequences SET name = ?2 WHERE id = ?1", params![id, sequence.name])?;
            rows.delete("DELETE FROM sequence_shots WHERE sequence = ?1", sequence.id.get())?;
            rows.insert_sequence_shots(sequence)
        }
        Edit::AddNote { note } | Edit::SetNote { note } => rows.write_note(note),
        Edit::RemoveNote { note } => rows.delete("DELETE FROM notes WHERE id = ?1", note.get()),
        Edit::SetModel { hash, model: Some(model) } => rows.update(
            "INSERT INTO models (hash, name, family) VALUES (?1, ?2, ?3)
             ON CONFLICT (hash) DO UPDATE SET name = excluded.name, family = excluded.family",
            params![hash.as_bytes(), model.name, model.family],
        ),
        Edit::SetModel { hash, model: None } => {
            connection.prepare_cached("DELETE FROM models WHERE hash = ?1")?.execute(params![hash.as_bytes()])?;
            Ok(())
        }
    }
}

/// The connection within whose transaction is written, and the document after the edit.
struct Rows<'a> {
    connection: &'a Connection,
    document: &'a Document,
}

impl Rows<'_> {
    fn update(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), Error> {
        let count = self.connection.prepare_cached(sql)?.execute(values)?;
        // The row and the document in memory must go together; a mere no-op would hide that they do not.
        if count == 1 { Ok(()) } else { Err(Error::damaged(format!("{count} rows where one was expected"))) }
    }

    fn delete(&self, sql: &str, id: u64) -> Result<(), Error> {
        self.connection.prepare_cached(sql)?.execute(params![id as i64])?;
        Ok(())
    }

    fn layer(&self, id: LayerId) -> Result<&Layer, Error> {
        self.document.layer(id).ok_or_else(|| Error::invalid(format!("there is no layer {id}")))
    }

    fn set_canvas(&self, canvas: Canvas) -> Result<(), Error> {
        self.update("UPDATE project SET background = ?1", params![canvas.background.map(color_to_sql)])
    }

    fn set_meta(&self, key: &str) -> Result<(), Error> {
        let Some(value) = self.document.meta.get(key) else {
            self.connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute(params![key])?;
            return Ok(());
        };
        self.update(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, to_json(value)?],
        )
    }

    fn layers(&self) -> List<'_, Layer> {
        List { table: "layers", items: &self.document.layers, id: |layer| layer.id.get() }
    }

    fn frames(&self) -> List<'_, Frame> {
        List { table: "frames", items: &self.document.frames, id: |frame| frame.id.get() }
    }

    fn shots(&self) -> List<'_, Shot> {
        List { table: "shots", items: &self.document.shots, id: |shot| shot.id.get() }
    }

    fn sequences(&self) -> List<'_, Sequence> {
        List { table: "sequences", items: &self.document.sequences, id: |sequence| sequence.id.get() }
    }

    fn patch_position(&self, layer: LayerId, index: usize) -> Result<i64, Error> {
        let patches = &self.layer(layer)?.patches;
        List { table: "patches", items: patches, id: |patch| patch.id.get() }.rank(self.connection, index)
    }

    fn take_position(&self, generation: GenerationId, index: usize) -> Result<i64, Error> {
        let takes = self.document.generation(generation).map(|generation| generation.takes.as_slice());
        let takes = takes.ok_or_else(|| Error::invalid(format!("there is no generation {generation}")))?;
        List { table: "takes", items: takes, id: |take| take.id.get() }.rank(self.connection, index)
    }

    fn insert_layer(&self, index: usize, layer: &Layer) -> Result<(), Error> {
        let position = self.layers().rank(self.connection, index)?;
        self.update(
            "INSERT INTO layers (id, position, name, visible, locked, opacity, blend, depth, group_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                layer.id.get() as i64,
                position,
                layer.name,
                layer.visible,
                layer.locked,
                layer.opacity,
                layer.blend.as_str(),
                layer.depth,
                layer.group.map(|group| group.get() as i64)
            ],
        )?;
        self.write_mask("layer", layer.id.get(), layer.mask.as_ref())?;
        for (patch, position) in layer.patches.iter().zip(fresh_positions()) {
            self.write_patch(layer.id, position, patch)?;
        }
        Ok(())
    }

    fn update_layer(&self, id: LayerId) -> Result<(), Error> {
        let layer = self.layer(id)?;
        self.update(
            "UPDATE layers SET name = ?2, visible = ?3, locked = ?4, opacity = ?5, blend = ?6, depth = ?7, group_id = ?8
             WHERE id = ?1",
            params![
                id.get() as i64,
                layer.name,
                layer.visible,
                layer.locked,
                layer.opacity,
                layer.blend.as_str(),
                layer.depth,
                layer.group.map(|group| group.get() as i64)
            ],
        )?;
        self.write_mask("layer", id.get(), layer.mask.as_ref())
    }

    /// `column` says whose mask it is: `layer` or `group_id`.
    fn write_mask(&self, column: &str, owner: u64, mask: Option<&Mask>) -> Result<(), Error> {
        let Some(mask) = mask else {
            return self.delete(&format!("DELETE FROM masks WHERE {column} = ?1"), owner);
        };
        let Rect { x, y, width, height } = mask.rect;
        self.update(
            &format!(
                "INSERT INTO masks ({column}, image, x, y, width, height, outside, enabled)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT ({column}) DO UPDATE SET
                     image = excluded.image, x = excluded.x, y = excluded.y, width = excluded.width,
                     height = excluded.height, outside = excluded.outside, enabled = excluded.enabled"
            ),
            params![owner as i64, mask.image.as_bytes(), x, y, width, height, mask.outside, mask.enabled],
        )
    }

    fn insert_group(&self, group: &Group) -> Result<(), Error> {
        self.update(
            "INSERT INTO layer_groups (id, parent, name, visible, locked, opacity, blend)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                group.id.get() as i64,
                group.parent.map(|parent| parent.get() as i64),
                group.name,
                group.visible,
                group.locked,
                group.opacity,
                group.blend.as_str()
            ],
        )?;
        self.write_mask("group_id", group.id.get(), group.mask.as_ref())
    }

    fn update_group(&self, id: GroupId) -> Result<(), Error> {
        let group = self.document.group(id).ok_or_else(|| Error::invalid(format!("there is no group {id}")))?;
        self.update(
            "UPDATE layer_groups SET parent = ?2, name = ?3, visible = ?4, locked = ?5, opacity = ?6, blend = ?7
             WHERE id = ?1",
            params![
                id.get() as i64,
                group.parent.map(|parent| parent.get() as i64),
                group.name,
                group.visible,
                group.locked,
                group.opacity,
                group.blend.as_str()
            ],
        )?;
        self.write_mask("group_id", id.get(), group.mask.as_ref())
    }

    fn insert_shot(&self, index: usize, shot: &Shot) -> Result<(), Error> {
        let position = self.shots().rank(self.connection, index)?;
        self.write_shot(
            "INSERT INTO shots (id, name, frame, width, height, rate_numerator, rate_denominator, frames, moves, keyframes,
                                settings, position)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            shot,
            Some(position),
        )
    }

    fn update_shot(&self, id: ShotId) -> Result<(), Error> {
        let shot = self.document.shot(id).ok_or_else(|| Error::invalid(format!("there is no shot {id}")))?;
        self.write_shot(
            "UPDATE shots SET name = ?2, frame = ?3, width = ?4, height = ?5, rate_numerator = ?6, rate_denominator = ?7,
                              frames = ?8, moves = ?9, keyframes = ?10, settings = ?11, position = coalesce(?12, position)
             WHERE id = ?1",
            shot,
            None,
        )
    }

    fn write_shot(&self, sql: &str, shot: &Shot, position: Option<i64>) -> Result<(), Error> {
        self.update(
            sql,
            params![
                shot.id.get() as i64,
                shot.name,
                shot.frame.get() as i64,
                shot.width,
                shot.height,
                shot.rate.numerator,
                shot.rate.denominator,
                shot.frames,
                to_json(&shot.moves)?,
                to_json(&shot.keyframes)?,
                to_json(&shot.settings)?,
                position
            ],
        )
    }

    fn insert_sequence_shots(&self, sequence: &Sequence) -> Result<(), Error> {
        for (position, shot) in sequence.shots.iter().enumerate() {
            self.update(
                "INSERT INTO sequence_shots (sequence, position, shot) VALUES (?1, ?2, ?3)",
                params![sequence.id.get() as i64, position as i64, shot.get() as i64],
            )?;
        }
        Ok(())
    }

    fn write_note(&self, note: &Note) -> Result<(), Error> {
        let place = note.place;
        self.update(
            "INSERT INTO notes (id, text, x, y, width, height) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET text = excluded.text, x = excluded.x, y = excluded.y,
                                            width = excluded.width, height = excluded.height",
            params![
                note.id.get() as i64,
                note.text,
                place.map(|place| place.x),
                place.map(|place| place.y),
                place.map(|place| place.width),
                place.map(|place| place.height)
            ],
        )
    }

    fn insert_patch(&self, layer: LayerId, index: usize, patch: &Patch) -> Result<(), Error> {
        let position = self.patch_position(layer, index)?;
        self.write_patch(layer, position, patch)
    }

    fn write_patch(&self, layer: LayerId, position: i64, patch: &Patch) -> Result<(), Error> {
        let Rect { x, y, width, height } = patch.rect;
        let content = ContentColumns::of(&patch.content)?;
        self.update(
            "INSERT INTO patches (id, layer, position, name, x, y, width, height, image, mask, origin, generation)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                patch.id.get() as i64,
                layer.get() as i64,
                position,
                patch.name,
                x,
                y,
                width,
                height,
                content.image,
                content.mask,
                content.origin,
                content.generation
            ],
        )
    }

    fn update_patch(&self, id: PatchId) -> Result<(), Error> {
        let patch = self.document.patch(id).ok_or_else(|| Error::invalid(format!("there is no patch {id}")))?;
        let Rect { x, y, width, height } = patch.rect;
        let content = ContentColumns::of(&patch.content)?;
        self.update(
            "UPDATE patches SET name = ?2, x = ?3, y = ?4, width = ?5, height = ?6,
                                image = ?7, mask = ?8, origin = ?9, generation = ?10
             WHERE id = ?1",
            params![
                id.get() as i64,
                patch.name,
                x,
                y,
                width,
                height,
                content.image,
                content.mask,
                content.origin,
                content.generation
            ],
        )
    }

    fn insert_generation(&self, generation: &Generation) -> Result<(), Error> {
        let Rect { x, y, width, height } = generation.rect;
        self.update(
            "INSERT INTO generations (id, x, y, width, height, provenance, chosen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                generation.id.get() as i64,
                x,
                y,
                width,
                height,
                to_json(&generation.provenance)?,
                generation.chosen.get() as i64
            ],
        )?;
        for (take, position) in generation.takes.iter().zip(fresh_positions()) {
            self.insert_take(generation.id, position, take)?;
        }
        Ok(())
    }

    fn insert_take(&self, generation: GenerationId, position: i64, take: &Take) -> Result<(), Error> {
        self.update(
            "INSERT INTO takes (id, generation, position, seed, image, mask, seconds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                take.id.get() as i64,
                generation.get() as i64,
                position,
                // SQLite's integers are signed: the same 64 bits.
                take.seed as i64,
                take.image.as_bytes(),
                take.mask.as_ref().map(BlobId::as_bytes),
                take.seconds
            ],
        )
    }

    fn insert_frame(&self, index: usize, frame: &Frame) -> Result<(), Error> {
        let position = self.frames().rank(self.connection, index)?;
        let Rect { x, y, width, height } = frame.rect;
        self.update(
            "INSERT INTO frames (id, position, name, x, y, width, height) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![frame.id.get() as i64, position, frame.name, x, y, width, height],
        )
    }
}

/// Positions for the items of a list that is written as a whole.
fn fresh_positions() -> impl Iterator<Item = i64> {
    (0..).step_by(1 << 32)
}

/// The columns of `patches` that say what a patch shows.
struct ContentColumns<'a> {
    image: Option<&'a [u8; 32]>,
    mask: Option<&'a [u8; 32]>,
    origin: Option<String>,
    generation: Option<i64>,
}

impl<'a> ContentColumns<'a> {
    fn of(content: &'a PatchContent) -> Result<Self, Error> {
        Ok(match content {
            PatchContent::Image(own) => Self {
                image: Some(own.image.as_bytes()),
                mask: own.mask.as_ref().map(BlobId::as_bytes),
                origin: Some(to_json(&own.origin)?),
                generation: None,
            },
            PatchContent::Generation(id) => {
                Self { image: None, mask: None, origin: None, generation: Some(id.get() as i64) }
            }
        })
    }
}

/// Reads the current state, and refuses what no edit could have made.
pub(crate) fn load(connection: &Connection) -> Result<Document, Error> {
    let document = Reader { connection, lost: None }.document()?;
    validate::document(&document).map_err(Error::damaged)?;
    Ok(document)
}

/// Reads what can be read of the current state, adding to `lost` what cannot. What it refers to may be missing.
pub(crate) fn load_what_is_left(connection: &Connection, lost: &RefCell<Vec<String>>) -> Result<Document, Error> {
    Reader { connection, lost: Some(lost) }.document()
}

struct Reader<'a> {
    connection: &'a Connection,
    /// Where to note rows that cannot be read; `None` makes each an error.
    lost: Option<&'a RefCell<Vec<String>>>,
}

impl Reader<'_> {
    fn document(&self) -> Result<Document, Error> {
        let mut document = Document {
            canvas: Canvas { background: self.background()? },
            layers: self.layers()?,
            groups: self.groups()?,
            generations: self.generations()?.into_iter().map(|found| (found.id, found)).collect(),
            frames: self.query(
                "frame",
                "SELECT id, name, x, y, width, height FROM frames ORDER BY position, id",
                |row| Ok(Frame { id: FrameId::from_raw(id(row, 0)?), name: row.get(1)?, rect: rect(row, 2)? }),
            )?,
            shots: self.shots()?,
            sequences: self.sequences()?,
            notes: self.notes()?,
            models: self.models()?,
            meta: self
                .query("setting", "SELECT key, value FROM meta", |row| Ok((row.get(0)?, json(row, 1)?)))?
                .into_iter()
                .collect(),
        };
        self.patches(&mut document)?;
        self.masks(&mut document)?;
        Ok(document)
    }

    fn background(&self) -> Result<Option<Color>, Error> {
        let found = self.query("canvas", "SELECT background FROM project", |row| Ok(row.get::<_, Option<u32>>(0)?))?;
        let number = match (found.first(), self.lost) {
            (Some(number), _) => *number,
            (None, Some(_)) => None,
            (None, None) => return Err(Error::damaged("it has no row that says where its history stands")),
        };
        Ok(number.map(|number| {
            let [r, g, b, a] = number.to_be_bytes();
            Color { r, g, b, a }
        }))
    }

    fn layers(&self) -> Result<Vec<Layer>, Error> {
        let sql = "SELECT id, name, visible, locked, opacity, blend, depth, group_id FROM layers ORDER BY position, id";
        self.query("layer", sql, |row| {
            Ok(Layer {
                id: LayerId::from_raw(id(row, 0)?),
                name: row.get(1)?,
                visible: row.get(2)?,
                locked: row.get(3)?,
                opacity: row.get(4)?,
                blend: blend(row, 5)?,
                depth: row.get(6)?,
                group: row.get::<_, Option<i64>>(7)?.map(|number| GroupId::from_raw(number as u64)),
                mask: None,
                patches: Vec::new(),
            })
        })
    }

    fn groups(&self) -> Result<BTreeMap<GroupId, Group>, Error> {
        let sql = "SELECT id, parent, name, visible, locked, opacity, blend FROM layer_groups";
        let groups = self.query("group", sql, |row| {
            Ok(Group {
                id: GroupId::from_raw(id(row, 0)?),
                parent: row.get::<_, Option<i64>>(1)?.map(|number| GroupId::from_raw(number as u64)),
                name: row.get(2)?,
                visible: row.get(3)?,
                locked: row.get(4)?,
                opacity: row.get(5)?,
                blend: blend(row, 6)?,
                mask: None,
            })
        })?;
        Ok(groups.into_iter().map(|group| (group.id, group)).collect())
    }

    fn masks(&self, document: &mut Document) -> Result<(), Error> {
        let sql = "SELECT layer, group_id, image, x, y, width, height, outside, enabled FROM masks ORDER BY id";
        let masks = self.query("mask", sql, |row| {
            let mask = Mask {
                image: BlobId::from_bytes(row.get(2)?),
                rect: rect(row, 3)?,
                outside: row.get(7)?,
                enabled: row.get(8)?,
            };
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?, mask))
        })?;
        for (layer, group, mask) in masks {
            let place = match (layer, group) {
                (Some(layer), None) => {
                    let layer = LayerId::from_raw(layer as u64);
                    document.layers.iter_mut().find(|found| found.id == layer).map(|found| &mut found.mask)
                }
                (None, Some(group)) => {
                    document.groups.get_mut(&GroupId::from_raw(group as u64)).map(|found| &mut found.mask)
                }
                _ => None,
            };
            match place {
                Some(place) => *place = Some(mask),
                None => self.orphan("a mask belongs to a layer or group that does not exist".into())?,
            }
        }
        Ok(())
    }

    fn generations(&self) -> Result<Vec<Generation>, Error> {
        let sql = "SELECT id, x, y, width, height, provenance, chosen FROM generations ORDER BY id";
        let mut generations = self.query("generation", sql, |row| {
            Ok(Generation {
                id: GenerationId::from_raw(id(row, 0)?),
                rect: rect(row, 1)?,
                provenance: json(row, 5)?,
                takes: Vec::new(),
                chosen: TakeId::from_raw(id(row, 6)?),
            })
        })?;
        let places: HashMap<u64, usize> =
            generations.iter().enumerate().map(|(at, found)| (found.id.get(), at)).collect();
        let sql = "SELECT generation, id, seed, image, mask, seconds FROM takes ORDER BY generation, position, id";
        let takes = self.query("take", sql, |row| {
            let take = Take {
                id: TakeId::from_raw(id(row, 1)?),
                seed: row.get::<_, i64>(2)? as u64,
                image: BlobId::from_bytes(row.get(3)?),
                mask: row.get::<_, Option<[u8; 32]>>(4)?.map(BlobId::from_bytes),
                seconds: row.get(5)?,
            };
            Ok((id(row, 0)?, take))
        })?;
        for (owner, take) in takes {
            match places.get(&owner) {
                Some(at) => generations[*at].takes.push(take),
                None => self.orphan(orphan("take", take.id, "generation", owner))?,
            }
        }
        Ok(generations)
    }

    fn patches(&self, document: &mut Document) -> Result<(), Error> {
        let places: HashMap<u64, usize> =
            document.layers.iter().enumerate().map(|(at, layer)| (layer.id.get(), at)).collect();
        let sql = "SELECT layer, id, name, x, y, width, height, image, mask, origin, generation
                   FROM patches ORDER BY layer, position, id";
        let patches = self.query("patch", sql, |row| {
            let content = match row.get::<_, Option<[u8; 32]>>(7)? {
                Some(image) => PatchContent::Image(Box::new(PatchImage {
                    image: BlobId::from_bytes(image),
                    mask: row.get::<_, Option<[u8; 32]>>(8)?.map(BlobId::from_bytes),
                    origin: json(row, 9)?,
                })),
                None => PatchContent::Generation(GenerationId::from_raw(id(row, 10)?)),
            };
            let patch = Patch { id: PatchId::from_raw(id(row, 1)?), name: row.get(2)?, rect: rect(row, 3)?, content };
            Ok((id(row, 0)?, patch))
        })?;
        for (owner, patch) in patches {
            match places.get(&owner) {
                Some(at) => document.layers[*at].patches.push(patch),
                None => self.orphan(orphan("patch", patch.id, "layer", owner))?,
            }
        }
        Ok(())
    }

    fn shots(&self) -> Result<Vec<Shot>, Error> {
        let sql = "SELECT id, name, frame, width, height, rate_numerator, rate_denominator, frames, moves, keyframes,
                          settings
                   FROM shots ORDER BY position, id";
        self.query("shot", sql, |row| {
            Ok(Shot {
                id: ShotId::from_raw(id(row, 0)?),
                name: row.get(1)?,
                frame: FrameId::from_raw(id(row, 2)?),
                width: row.get(3)?,
                height: row.get(4)?,
                rate: FrameRate { numerator: row.get(5)?, denominator: row.get(6)? },
                frames: row.get(7)?,
                moves: json(row, 8)?,
                keyframes: json(row, 9)?,
                settings: json(row, 10)?,
            })
        })
    }

    fn sequences(&self) -> Result<Vec<Sequence>, Error> {
        let mut sequences = self.query("sequence", "SELECT id, name FROM sequences ORDER BY position, id", |row| {
            Ok(Sequence { id: SequenceId::from_raw(id(row, 0)?), name: row.get(1)?, shots: Vec::new() })
        })?;
        let sql = "SELECT sequence, shot FROM sequence_shots ORDER BY sequence, position";
        let shots = self.query("entry of a sequence", sql, |row| Ok((id(row, 0)?, ShotId::from_raw(id(row, 1)?))))?;
        for (owner, shot) in shots {
            match sequences.iter_mut().find(|sequence| sequence.id.get() == owner) {
                Some(sequence) => sequence.shots.push(shot),
                None => self.orphan(orphan("entry", shot, "sequence", owner))?,
            }
        }
        Ok(sequences)
    }

    fn notes(&self) -> Result<BTreeMap<NoteId, Note>, Error> {
        let notes = self.query("note", "SELECT id, text, x, y, width, height FROM notes", |row| {
            let place = row.get::<_, Option<i64>>(2)?.map(|_| rect(row, 2)).transpose()?;
            Ok(Note { id: NoteId::from_raw(id(row, 0)?), text: row.get(1)?, place })
        })?;
        Ok(notes.into_iter().map(|note| (note.id, note)).collect())
    }

    fn models(&self) -> Result<BTreeMap<BlobId, ModelRef>, Error> {
        let models = self.query("model", "SELECT hash, name, family FROM models", |row| {
            Ok((BlobId::from_bytes(row.get(0)?), ModelRef { name: row.get(1)?, family: row.get(2)? }))
        })?;
        Ok(models.into_iter().collect())
    }

    /// Something whose owner is missing.
    fn orphan(&self, what: String) -> Result<(), Error> {
        match self.lost {
            Some(lost) => {
                lost.borrow_mut().push(what);
                Ok(())
            }
            None => Err(Error::damaged(what)),
        }
    }

    fn query<T>(
        &self,
        what: &str,
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            match (read(row), self.lost) {
                (Ok(item), _) => items.push(item),
                (Err(error), Some(lost)) => lost.borrow_mut().push(format!("a {what} is unreadable: {error}")),
                (Err(error), None) => return Err(error),
            }
        }
        Ok(items)
    }
}

fn orphan(kind: &str, id: impl std::fmt::Display, owner_kind: &str, owner: u64) -> String {
    format!("{kind} {id} belongs to {owner_kind} {owner}, which does not exist")
}

fn blend(row: &Row<'_>, column: usize) -> Result<BlendMode, Error> {
    let name: String = row.get(column)?;
    BlendMode::from_name(&name).ok_or_else(|| Error::damaged(format!("{name:?} is not a blend mode")))
}

/// Negative numbers become numbers that validation refuses.
fn id(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    Ok(row.get::<_, i64>(column)? as u64)
}

/// The columns x, y, width and height.
fn rect(row: &Row<'_>, first: usize) -> Result<Rect, Error> {
    Ok(Rect { x: row.get(first)?, y: row.get(first + 1)?, width: row.get(first + 2)?, height: row.get(first + 3)? })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Error> {
    let text = row.get_ref(column)?.as_str().map_err(|error| Error::damaged(error.to_string()))?;
    from_json(text)
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::damaged(format!("unreadable JSON: {error}")))
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::invalid(error.to_string()))
}

fn color_to_sql(color: Color) -> u32 {
    u32::from_be_bytes([color.r, color.g, color.b, color.a])
}
