//! The `position` column: items of a list are ordered by integers with gaps, so that an insertion writes one row.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;

/// The gap between neighbours at the ends of a list. It can be halved 32 times, and a list can be extended 2^31 times.
const GAP: i128 = 1 << 32;
/// The least gap that renumbering leaves, so that it pays for many later insertions.
const ROOM: i128 = 1 << 8;

/// A list of rows that have an order.
pub(crate) struct List<'a, T> {
    /// The table that holds the rows, by `id`.
    pub table: &'static str,
    /// The items in order, the new or moved one included.
    pub items: &'a [T],
    /// The id of an item.
    pub id: fn(&T) -> u64,
}

impl<T> List<'_, T> {
    /// The position for the item at `index`, whose own row, if any, is disregarded. Renumbers as few neighbours as
    /// give room when there is none.
    pub(crate) fn rank(&self, connection: &Connection, index: usize) -> Result<i64, Error> {
        let before = index.checked_sub(1).map(|i| self.read(connection, i)).transpose()?;
        let after = (index + 1 < self.items.len()).then(|| self.read(connection, index + 1)).transpose()?;
        let rank = match (before, after) {
            (None, None) => 0,
            (Some(before), None) => before + GAP,
            (None, Some(after)) => after - GAP,
            (Some(before), Some(after)) if after - before >= 2 => before.midpoint(after),
            (Some(_), Some(_)) => return self.renumber(connection, index),
        };
        match i64::try_from(rank) {
            Ok(rank) => Ok(rank),
            Err(_) => self.renumber(connection, index),
        }
    }

    /// Spreads a window around `index` evenly, doubling it until it has room, at last over the whole list.
    fn renumber(&self, connection: &Connection, index: usize) -> Result<i64, Error> {
        let mut reach = 4_usize;
        let (first, start, gap, count) = loop {
            let first = index.saturating_sub(reach);
            let end = index.saturating_add(reach).saturating_add(1).min(self.items.len());
            let count = end - first;
            if first == 0 && end == self.items.len() {
                break (0, 0, GAP, count);
            }
            let before = if first > 0 { Some(self.read(connection, first - 1)?) } else { None };
            let after = if end < self.items.len() { Some(self.read(connection, end)?) } else { None };
            let (start, gap) = match (before, after) {
                (Some(before), Some(after)) => {
                    let gap = (after - before) / (count as i128 + 1);
                    (before + gap, gap)
                }
                (Some(before), None) => (before + GAP, GAP),
                (None, Some(after)) => (after - GAP * count as i128, GAP),
                (None, None) => (0, GAP),
            };
            let fits = |rank: i128| i64::try_from(rank).is_ok();
            if gap >= ROOM && fits(start) && fits(start + gap * count as i128) {
                break (first, start, gap, count);
            }
            reach = reach.saturating_mul(2);
        };
        let mut own = 0;
        let mut update =
            connection.prepare_cached(&format!("UPDATE {} SET position = ?2 WHERE id = ?1", self.table))?;
        for i in first..first + count {
            let rank = i64::try_from(start + gap * (i - first) as i128)
                .map_err(|_| Error::invalid("the list has too many items"))?;
            if i == index {
                own = rank;
            } else {
                update.execute(params![(self.id)(&self.items[i]) as i64, rank])?;
            }
        }
        Ok(own)
    }

    fn read(&self, connection: &Connection, index: usize) -> Result<i128, Error> {
        let id = (self.id)(&self.items[index]);
        let mut query = connection.prepare_cached(&format!("SELECT position FROM {} WHERE id = ?1", self.table))?;
        let position: Option<i64> = query.query_row(params![id as i64], |row| row.get(0)).optional()?;
        position.map(i128::from).ok_or_else(|| Error::damaged(format!("row {id} of {} is missing", self.table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(connection: &Connection) -> Vec<u64> {
        let mut query = connection.prepare("SELECT id FROM items ORDER BY position").unwrap();
        query.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|id| id.unwrap() as u64).collect()
    }

    fn insert(connection: &Connection, list: &mut Vec<u64>, index: usize, id: u64) {
        list.insert(index, id);
        let rank = List { table: "items", items: list, id: |id| *id }.rank(connection, index).unwrap();
        connection.execute("INSERT INTO items VALUES (?1, ?2)", params![id as i64, rank]).unwrap();
    }

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY, position INTEGER)").unwrap();
        connection
    }

    #[test]
    fn order_holds_wherever_is_inserted() {
        for place in [0.0, 0.3, 0.5, 1.0] {
            let connection = table();
            let mut list = Vec::new();
            for id in 1..=600 {
                let index = (list.len() as f64 * place) as usize;
                insert(&connection, &mut list, index, id);
            }
            assert_eq!(order(&connection), list, "{place}");
        }
    }

    #[test]
    fn inserting_at_one_spot_seldom_renumbers() {
        let connection = table();
        let mut list = Vec::new();
        for id in 1..=2000 {
            insert(&connection, &mut list, 0, id);
        }
        let before = connection.total_changes();
        for id in 2001..=3000 {
            insert(&connection, &mut list, 1000, id);
        }
        assert_eq!(order(&connection), list);
        let per_insertion = (connection.total_changes() - before) as f64 / 1000.0;
        assert!(per_insertion < 10.0, "{per_insertion} rows written per insertion");
    }

    #[test]
    fn positions_at_the_edge_of_the_numbers_are_moved() {
        let connection = table();
        connection.execute("INSERT INTO items VALUES (1, ?1), (2, ?2)", params![i64::MIN, i64::MAX]).unwrap();
        let mut list = vec![1, 2];
        insert(&connection, &mut list, 0, 3);
        insert(&connection, &mut list, 3, 4);
        insert(&connection, &mut list, 2, 5);
        assert_eq!(order(&connection), list);
    }
}
