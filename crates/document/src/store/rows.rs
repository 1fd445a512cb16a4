//! The current state in the tables: written edit by edit, read when a project opens.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rank::List;
use crate::document::{
    BlendMode, Canvas, Color, Document, Frame, Generation, Layer, Patch, PatchContent, PatchImage, Take,
};
use crate::edit::Edit;
use crate::error::Error;
use crate::geometry::Rect;
use crate::id::{BlobId, FrameId, GenerationId, LayerId, PatchId, TakeId};
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
            "INSERT INTO layers (id, position, name, visible, locked, opacity, blend, depth)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                layer.id.get() as i64,
                position,
                layer.name,
                layer.visible,
                layer.locked,
                layer.opacity,
                layer.blend.as_str(),
                layer.depth
            ],
        )?;
        for (patch, position) in layer.patches.iter().zip(fresh_positions()) {
            self.write_patch(layer.id, position, patch)?;
        }
        Ok(())
    }

    fn update_layer(&self, id: LayerId) -> Result<(), Error> {
        let layer = self.layer(id)?;
        self.update(
            "UPDATE layers SET name = ?2, visible = ?3, locked = ?4, opacity = ?5, blend = ?6, depth = ?7 WHERE id = ?1",
            params![
                id.get() as i64,
                layer.name,
                layer.visible,
                layer.locked,
                layer.opacity,
                layer.blend.as_str(),
                layer.depth
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
    let mut document = Document {
        canvas: Canvas { background: load_background(connection)? },
        layers: load_layers(connection)?,
        generations: load_generations(connection)?.into_iter().map(|found| (found.id, found)).collect(),
        frames: query(connection, "SELECT id, name, x, y, width, height FROM frames ORDER BY position, id", |row| {
            Ok(Frame { id: FrameId::from_raw(id(row, 0)?), name: row.get(1)?, rect: rect(row, 2)? })
        })?,
        meta: query(connection, "SELECT key, value FROM meta", |row| Ok((row.get(0)?, json(row, 1)?)))?
            .into_iter()
            .collect(),
    };
    load_patches(connection, &mut document)?;
    validate::document(&document).map_err(Error::damaged)?;
    Ok(document)
}

fn load_background(connection: &Connection) -> Result<Option<Color>, Error> {
    let number: Option<u32> = connection.query_row("SELECT background FROM project", [], |row| row.get(0))?;
    Ok(number.map(|number| {
        let [r, g, b, a] = number.to_be_bytes();
        Color { r, g, b, a }
    }))
}

fn load_layers(connection: &Connection) -> Result<Vec<Layer>, Error> {
    let sql = "SELECT id, name, visible, locked, opacity, blend, depth FROM layers ORDER BY position, id";
    query(connection, sql, |row| {
        let blend: String = row.get(5)?;
        Ok(Layer {
            id: LayerId::from_raw(id(row, 0)?),
            name: row.get(1)?,
            visible: row.get(2)?,
            locked: row.get(3)?,
            opacity: row.get(4)?,
            blend: BlendMode::from_name(&blend)
                .ok_or_else(|| Error::damaged(format!("{blend:?} is not a blend mode")))?,
            depth: row.get(6)?,
            patches: Vec::new(),
        })
    })
}

fn load_generations(connection: &Connection) -> Result<Vec<Generation>, Error> {
    let sql = "SELECT id, x, y, width, height, provenance, chosen FROM generations ORDER BY id";
    let mut generations = query(connection, sql, |row| {
        Ok(Generation {
            id: GenerationId::from_raw(id(row, 0)?),
            rect: rect(row, 1)?,
            provenance: json(row, 5)?,
            takes: Vec::new(),
            chosen: TakeId::from_raw(id(row, 6)?),
        })
    })?;
    let places: HashMap<u64, usize> = generations.iter().enumerate().map(|(at, found)| (found.id.get(), at)).collect();
    let sql = "SELECT generation, id, seed, image, mask, seconds FROM takes ORDER BY generation, position, id";
    let takes = query(connection, sql, |row| {
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
        let at = places.get(&owner).ok_or_else(|| orphan("take", take.id, "generation", owner))?;
        generations[*at].takes.push(take);
    }
    Ok(generations)
}

fn load_patches(connection: &Connection, document: &mut Document) -> Result<(), Error> {
    let places: HashMap<u64, usize> =
        document.layers.iter().enumerate().map(|(at, layer)| (layer.id.get(), at)).collect();
    let sql = "SELECT layer, id, name, x, y, width, height, image, mask, origin, generation
               FROM patches ORDER BY layer, position, id";
    let patches = query(connection, sql, |row| {
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
        let at = places.get(&owner).ok_or_else(|| orphan("patch", patch.id, "layer", owner))?;
        document.layers[*at].patches.push(patch);
    }
    Ok(())
}

fn orphan(kind: &str, id: impl std::fmt::Display, owner_kind: &str, owner: u64) -> Error {
    Error::damaged(format!("{kind} {id} belongs to {owner_kind} {owner}, which does not exist"))
}

fn query<T>(
    connection: &Connection,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    Ok(items)
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
