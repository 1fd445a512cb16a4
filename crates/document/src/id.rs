//! Names of things: numbers for what a document holds, hashes for the bytes of pictures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Unique within a project over all its history: numbers of removed things are not given out again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The id with this number, as read from the user or from another program.
            pub const fn from_raw(number: u64) -> Self {
                Self(number)
            }

            /// The number, at least 1 and at most `i64::MAX` in a valid project.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// Names a [`Layer`](crate::Layer).
    LayerId;
    /// Names a [`Patch`](crate::Patch).
    PatchId;
    /// Names a [`Generation`](crate::Generation).
    GenerationId;
    /// Names a [`Take`](crate::Take).
    TakeId;
    /// Names a [`Frame`](crate::Frame).
    FrameId;
    /// Names a [`Group`](crate::Group).
    GroupId;
    /// Names a [`Shot`](crate::Shot).
    ShotId;
    /// Names a [`Sequence`](crate::Sequence).
    SequenceId;
    /// Names a [`Note`](crate::Note).
    NoteId;
    /// Names a step of the history. The root, which is the new project, is step 1 unless it has been
    /// purged; a step's number exceeds its parent's.
    StepId;
}

/// The BLAKE3 hash of a blob's bytes, by which the project file stores it. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The id with this hash.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl FromStr for BlobId {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

impl Serialize for BlobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_ids_are_written_as_hex() {
        let id = BlobId::of(b"pixels");
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<BlobId>(&text).unwrap(), id);
        assert!(serde_json::from_str::<BlobId>("\"short\"").is_err());
    }

    #[test]
    fn numbers_parse() {
        assert_eq!("17".parse::<LayerId>().unwrap(), LayerId::from_raw(17));
        assert!("-1".parse::<LayerId>().is_err());
    }
}
