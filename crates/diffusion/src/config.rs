//! Reading a model's JSON files with errors that name the file, the key and the value.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;

/// Configuration files are a few kilobytes; whatever is larger than this is something else.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a whole file that must be small, checking its size before allocating.
pub(crate) fn read_small(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Error> {
    let read = |source| Error::Read { path: path.to_path_buf(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > max_bytes {
        let source = std::io::Error::other(format!("{size} bytes are too many, at most {max_bytes} are expected here"));
        return Err(read(source));
    }
    std::fs::read(path).map_err(read)
}

/// One JSON object from a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    path: PathBuf,
    map: serde_json::Map<String, Value>,
}

impl Config {
    /// Reads a file that must hold a JSON object.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_small(path, MAX_BYTES)?;
        let invalid = |why: String| Error::Read { path: path.to_path_buf(), source: std::io::Error::other(why) };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Self { path: path.to_path_buf(), map }),
            Ok(_) => Err(invalid("it holds JSON, but no object".to_owned())),
            Err(error) => Err(invalid(format!("it is no valid JSON: {error}"))),
        }
    }

    /// A configuration that no file holds; `path` is the file that it was derived from, for messages.
    pub(crate) fn derived(path: &Path, value: Value) -> Self {
        let map = if let Value::Object(map) = value { map } else { serde_json::Map::new() };
        Self { path: path.to_path_buf(), map }
    }

    /// Reads a file that may be absent.
    pub(crate) fn read_optional(path: &Path) -> Result<Option<Self>, Error> {
        if path.exists() { Self::read(path).map(Some) } else { Ok(None) }
    }

    /// The value of a key; JSON's null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// An error about the value of a key.
    pub(crate) fn refuse(&self, key: &str, expected: impl Into<String>) -> Error {
        let value = self.map.get(key).map_or_else(|| "absent".to_owned(), |value| shortened(&value.to_string()));
        Error::Config { path: self.path.clone(), key: key.to_owned(), value, expected: expected.into() }
    }

    /// A whole number within 1..=2^20 (channels, heads, layers, sizes), or the default when absent.
    pub(crate) fn count(&self, key: &str, default: Option<i64>) -> Result<i64, Error> {
        match (self.get(key), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value.and_then(as_count).ok_or_else(|| self.refuse(key, COUNT)),
        }
    }

    /// A whole number that may be zero or negative.
    pub(crate) fn integer(&self, key: &str, default: i64) -> Result<i64, Error> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_i64().filter(|n| n.abs() <= 1 << 20).ok_or_else(|| self.refuse(key, "a whole number is expected"))
        })
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, Error> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_f64().filter(|n| n.is_finite()).ok_or_else(|| self.refuse(key, "a number is expected"))
        })
    }

    /// true or false.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        self.get(key)
            .map_or(Ok(default), |value| value.as_bool().ok_or_else(|| self.refuse(key, "true or false is expected")))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.refuse(key, "a text is expected"))).transpose()
    }

    /// A list of counts, at most 16 long.
    pub(crate) fn counts(&self, key: &str) -> Result<Vec<i64>, Error> {
        self.get(key)
            .and_then(Value::as_array)
            .filter(|list| (1..=16).contains(&list.len()))
            .and_then(|list| list.iter().map(as_count).collect())
            .ok_or_else(|| self.refuse(key, "a list of 1 to 16 whole numbers of at least 1 is expected"))
    }

    /// A list of texts, at most 16 long.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>, Error> {
        self.get(key)
            .and_then(Value::as_array)
            .filter(|list| (1..=16).contains(&list.len()))
            .and_then(|list| list.iter().map(Value::as_str).collect())
            .ok_or_else(|| self.refuse(key, "a list of 1 to 16 texts is expected"))
    }

    /// One count for all of `n` blocks, or a list with one count for each.
    pub(crate) fn count_per_block(&self, key: &str, n: usize, default: i64) -> Result<Vec<i64>, Error> {
        match self.get(key) {
            None => Ok(vec![default; n]),
            Some(Value::Array(_)) => {
                let list = self.counts(key)?;
                if list.len() == n {
                    Ok(list)
                } else {
                    Err(self.refuse(key, format!("one number for each of the {n} blocks is expected")))
                }
            }
            Some(_) => Ok(vec![self.count(key, None)?; n]),
        }
    }

    /// Refuses every value but the given one (or an absent key): for features that are not built.
    pub(crate) fn only(&self, key: &str, supported: &Value) -> Result<(), Error> {
        match self.get(key) {
            None => Ok(()),
            Some(value) if value == supported => Ok(()),
            Some(value) if value.as_f64().is_some() && value.as_f64() == supported.as_f64() => Ok(()),
            Some(_) if supported.is_null() => Err(self.refuse(key, "this engine does not support it yet")),
            Some(_) => Err(self.refuse(key, format!("this engine supports only {supported}"))),
        }
    }

    /// The same file with other values.
    pub(crate) fn with(&self, map: serde_json::Map<String, Value>) -> Self {
        Self { path: self.path.clone(), map }
    }

    /// The whole object.
    pub(crate) fn map(&self) -> &serde_json::Map<String, Value> {
        &self.map
    }
}

const COUNT: &str = "a whole number of at least 1 is expected";

fn as_count(value: &Value) -> Option<i64> {
    value.as_i64().filter(|n| (1..=1 << 20).contains(n))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        Config::read(&path).unwrap()
    }

    #[test]
    fn values_are_checked_and_errors_name_them() {
        let config = config(r#"{"a": 3, "b": [1, 2], "c": -1, "d": null, "e": "silu", "f": 1.0, "g": [0]}"#);
        assert_eq!(config.count("a", None).unwrap(), 3);
        assert_eq!(config.count("d", Some(5)).unwrap(), 5);
        assert_eq!(config.count_per_block("a", 2, 1).unwrap(), [3, 3]);
        assert_eq!(config.count_per_block("b", 2, 1).unwrap(), [1, 2]);
        assert!(config.count_per_block("b", 3, 1).is_err());
        assert!(config.only("f", &Value::from(1)).is_ok());
        assert!(config.counts("g").is_err());
        let error = config.count("c", None).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("`c`") && error.contains("-1"), "{error}");
        assert!(config.only("e", &Value::Null).unwrap_err().to_string().contains("silu"));
    }

    #[test]
    fn files_that_are_no_objects_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for text in ["", "[]", "{", "3", "{\"a\": }", "\u{0}"] {
            std::fs::write(&path, text).unwrap();
            assert!(Config::read(&path).is_err(), "{text:?}");
        }
        std::fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        assert!(Config::read(&path).unwrap_err().to_string().contains("too many"));
    }
}
