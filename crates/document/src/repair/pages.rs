//! Rows out of the pages of an SQLite file, without the help of its structure.
//!
//! The format is described at <https://sqlite.org/fileformat2.html>: every row of a table lies in a leaf page, whose cells
//! say how long they are. Where the pages above are damaged, the leaves are found by looking at each page of the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::validate::MAX_BLOB_BYTES;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// The kind of a column's value, as a cell's header tells it before the value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Integer,
    Real,
    Text,
    /// Of so many bytes.
    Blob(u64),
}

/// The largest row that is looked at, in bytes: the largest blob and its other columns.
const MOST_BYTES: u64 = MAX_BLOB_BYTES as u64 + (1 << 20);
/// The type of a page that holds rows of a table.
const TABLE_LEAF: u8 = 13;

/// Calls `visit` with the number and the values of every row in the file whose kinds of values `wanted` accepts. Rows may
/// come that have been deleted or changed since. Stops at an error of reading the file.
pub(super) fn scan(
    path: &Path,
    wanted: impl Fn(&[Kind]) -> bool,
    mut visit: impl FnMut(i64, Vec<Value>),
) -> std::io::Result<()> {
    let mut pages = Pages::open(path)?;
    for number in 1..=pages.count {
        let page = pages.read(number)?;
        let start = if number == 1 { 100 } else { 0 };
        if page.get(start) != Some(&TABLE_LEAF) {
            continue;
        }
        let count = u16_at(&page, start + 3).unwrap_or(0);
        for cell in 0..usize::from(count) {
            let Some(at) = u16_at(&page, start + 8 + 2 * cell) else { break };
            if let Some((row, values)) = pages.cell(&page, usize::from(at), &wanted) {
                visit(row, values);
            }
        }
    }
    Ok(())
}

struct Pages {
    file: File,
    /// The size of a page, in bytes.
    size: usize,
    /// What of a page is used, in bytes.
    usable: usize,
    count: u64,
}

impl Pages {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; 100];
        // Shorter files are all zeros from there on.
        let _ = file.read_exact(&mut header);
        let stored = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        // What this program writes, where the header does not say.
        let size = if stored.is_power_of_two() && stored >= 512 { stored } else { 4096 };
        let reserved = usize::from(header[20]);
        let usable = if reserved <= 32 { size - reserved } else { size };
        Ok(Self { file, size, usable, count: length.div_ceil(size as u64) })
    }

    /// The page of this number, from 1; zeros where the file ends within it.
    fn read(&mut self, number: u64) -> std::io::Result<Vec<u8>> {
        let mut page = Vec::with_capacity(self.size);
        self.file.seek(SeekFrom::Start((number - 1) * self.size as u64))?;
        Read::by_ref(&mut self.file).take(self.size as u64).read_to_end(&mut page)?;
        page.resize(self.size, 0);
        Ok(page)
    }

    /// The row in the cell at `at`; `None` when there is none that makes sense, or that is wanted.
    fn cell(&mut self, page: &[u8], at: usize, wanted: &impl Fn(&[Kind]) -> bool) -> Option<(i64, Vec<Value>)> {
        let mut at = at;
        let length = varint(page, &mut at)?;
        let row = varint(page, &mut at)? as i64;
        if length > MOST_BYTES || length > self.count * self.size as u64 {
            return None;
        }
        let length = length as usize;
        let most = self.usable - 35;
        let local = if length <= most {
            length
        } else {
            let least = (self.usable - 12) * 32 / 255 - 23;
            let rest = least + (length - least) % (self.usable - 4);
            if rest <= most { rest } else { least }
        };
        let here = page.get(at..at + local)?;
        let kinds = kinds(here, length)?;
        if !wanted(&kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()) {
            return None;
        }
        let mut payload = here.to_vec();
        if local < length {
            let mut next = u32_at(page, at + local)?;
            // Each page brings something, so that a chain which leads back to itself ends too.
            while payload.len() < length {
                if next == 0 || u64::from(next) > self.count {
                    return None;
                }
                let page = self.read(u64::from(next)).ok()?;
                next = u32_at(&page, 0)?;
                let part = (length - payload.len()).min(self.usable - 4);
                payload.extend_from_slice(page.get(4..4 + part)?);
            }
        }
        Some((row, values(&payload, &kinds)?))
    }
}

/// The kinds of a row's values, each with the type as it is written, out of the beginning of the row.
fn kinds(payload: &[u8], length: usize) -> Option<Vec<(Kind, u64)>> {
    let mut at = 0;
    let header = varint(payload, &mut at)?;
    let end = usize::try_from(header).ok().filter(|end| *end <= payload.len())?;
    let mut kinds = Vec::new();
    let mut total = header;
    while at < end {
        let written = varint(payload, &mut at)?;
        let kind = match written {
            0 => Kind::Null,
            1..=6 | 8 | 9 => Kind::Integer,
            7 => Kind::Real,
            10 | 11 => return None,
            blob if blob % 2 == 0 => Kind::Blob((blob - 12) / 2),
            _ => Kind::Text,
        };
        total = total.checked_add(size(written))?;
        kinds.push((kind, written));
    }
    (at == end && total == length as u64).then_some(kinds)
}

/// How many bytes a value of this written type has.
fn size(written: u64) -> u64 {
    match written {
        0 | 8 | 9 => 0,
        1..=4 => written,
        5 => 6,
        6 | 7 => 8,
        other => (other - 12) / 2,
    }
}

fn values(payload: &[u8], kinds: &[(Kind, u64)]) -> Option<Vec<Value>> {
    let mut at = 0;
    at += usize::try_from(varint(payload, &mut at)?).ok()? - at;
    let mut values = Vec::with_capacity(kinds.len());
    for (kind, written) in kinds {
        let length = usize::try_from(size(*written)).ok()?;
        let bytes = payload.get(at..at.checked_add(length)?)?;
        at += length;
        values.push(match kind {
            Kind::Null => Value::Null,
            Kind::Integer if *written == 8 => Value::Integer(0),
            Kind::Integer if *written == 9 => Value::Integer(1),
            Kind::Integer => Value::Integer(integer(bytes)),
            Kind::Real => Value::Real(f64::from_bits(integer(bytes) as u64)),
            Kind::Text => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
            Kind::Blob(_) => Value::Blob(bytes.to_vec()),
        });
    }
    Some(values)
}

/// A big-endian integer of up to 8 bytes, with its sign.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| (number << 8) | i64::from(*byte))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for count in 1..=9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if count == 9 {
            return Some((number << 8) | u64::from(byte));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Connection, params};

    #[test]
    fn all_rows_are_found_with_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY, b, c, d); BEGIN").unwrap();
        let numbers = [0, 1, -1, 127, -129, 70_000, -9_000_000, 1 << 40, i64::MAX, i64::MIN];
        for row in 0..400_i64 {
            let blob = vec![row as u8; (row * row) as usize];
            let text = "ä".repeat(row as usize);
            let number = numbers[row as usize % numbers.len()];
            connection.execute("INSERT INTO t VALUES (?1, ?2, ?3, ?4)", params![row - 5, number, text, blob]).unwrap();
        }
        connection.execute("INSERT INTO t VALUES (?1, ?2, NULL, NULL)", params![1_i64 << 50, 0.125]).unwrap();
        connection.execute_batch("COMMIT").unwrap();
        connection.close().unwrap();
        let mut found = std::collections::BTreeMap::new();
        scan(&path, |kinds| kinds.len() == 4, |row, values| drop(found.insert(row, values))).unwrap();
        for row in 0..400_i64 {
            let values = found.remove(&(row - 5)).unwrap();
            assert_eq!(values[1], Value::Integer(numbers[row as usize % numbers.len()]));
            assert_eq!(values[2], Value::Text("ä".repeat(row as usize)));
            assert_eq!(values[3], Value::Blob(vec![row as u8; (row * row) as usize]));
        }
        assert_eq!(found.remove(&(1 << 50)).unwrap(), [Value::Null, Value::Real(0.125), Value::Null, Value::Null]);
        assert!(found.is_empty());
    }
}
