//! The header of a SafeTensors file: names, types and shapes of its tensors and its free metadata, without the weights.
//!
//! Format: eight bytes, the header's length (little endian), then that much JSON, then the tensors' bytes.
//! (<https://huggingface.co/docs/safetensors>, “Format”.)

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

/// More is no header of a real model: the largest checkpoints have some 3,000 tensors, and metadata with a thumbnail.
const MAX_HEADER: u64 = 32 << 20;
/// Tensors have at most this many axes.
const MAX_AXES: usize = 8;

/// Type, shape and place of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct TensorInfo {
    /// `F16`, `F32`, `BF16`, and so on.
    pub(crate) dtype: String,
    /// Sizes of the axes, outermost first.
    pub(crate) shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl TensorInfo {
    /// Bytes of its data.
    pub(crate) fn bytes(&self) -> u64 {
        self.data_offsets.1.saturating_sub(self.data_offsets.0)
    }
}

/// What a SafeTensors file says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The tensors by name.
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
    /// The free metadata.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads the header alone; the error says in words what is wrong with the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let about = path.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
        if !about.is_file() {
            return Err("it is no file".into());
        }
        let mut file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| "it is too short for a SafeTensors file".to_owned())?;
        let length = u64::from_le_bytes(length);
        let rest = about.len().saturating_sub(8);
        if length > MAX_HEADER || length > rest {
            return Err("its header's length is impossible: it is cut off, damaged, or no SafeTensors file".into());
        }
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text).map_err(|error| format!("it cannot be read: {error}"))?;
        Self::parse(&text, rest - length)
    }

    /// The header out of its JSON; `data` is the number of bytes that follow it.
    fn parse(text: &[u8], data: u64) -> Result<Self, String> {
        let header: Self =
            serde_json::from_slice(text).map_err(|error| format!("its header cannot be understood: {error}"))?;
        let mut places = Vec::with_capacity(header.tensors.len());
        for (name, tensor) in &header.tensors {
            let (begin, end) = tensor.data_offsets;
            if begin > end || end > data {
                return Err(format!("the tensor “{name}” ends past the file: the file is cut off or damaged"));
            }
            let sized = tensor.shape.len() <= MAX_AXES
                && bits(&tensor.dtype).is_none_or(|bits| {
                    let count = tensor.shape.iter().try_fold(bits, |product, &side| product.checked_mul(side));
                    count.is_some_and(|bits| bits.div_ceil(8) == end - begin)
                });
            if !sized {
                return Err(format!("the tensor “{name}” has a shape that its bytes do not fit: the file is damaged"));
            }
            places.push((begin, end));
        }
        places.sort_unstable();
        if places.windows(2).any(|pair| matches!(pair, [before, after] if after.0 < before.1)) {
            return Err("its tensors overlap: the file is damaged".into());
        }
        Ok(header)
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[u64]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The type that most of the bytes have, as people write it: `f16`.
    pub(crate) fn precision(&self) -> Option<String> {
        let mut by_type: BTreeMap<&str, u64> = BTreeMap::new();
        for tensor in self.tensors.values() {
            let sum = by_type.entry(&tensor.dtype).or_default();
            *sum = sum.saturating_add(tensor.bytes());
        }
        by_type.into_iter().max_by_key(|entry| entry.1).map(|(dtype, _)| dtype.to_lowercase())
    }
}

/// Bits of an element; nothing for types that this version does not know.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" => 64,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tensors by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else if header.tensors.insert(name, map.next_value()?).is_some() {
                        return Err(A::Error::custom("two tensors have one name"));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Whole)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A SafeTensors file of zeros with these tensors and this metadata.
    pub(crate) fn file(tensors: &[(&str, &[u64])], metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut json = serde_json::Map::new();
        let about: BTreeMap<_, _> = metadata.iter().copied().collect();
        json.insert("__metadata__".into(), serde_json::json!(about));
        let mut at = 0;
        for (name, shape) in tensors {
            let end = at + 2 * shape.iter().product::<u64>();
            json.insert((*name).into(), serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
            at = end;
        }
        let json = serde_json::to_vec(&json).unwrap();
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json);
        bytes.resize(bytes.len() + at as usize, 0);
        bytes
    }

    /// The names that tell a whole checkpoint; the text is this wide, the UNet takes this many inputs.
    pub(crate) fn checkpoint(width: u64, inputs: u64) -> Vec<u8> {
        file(
            &[
                ("model.diffusion_model.input_blocks.0.0.weight", &[1, inputs, 3, 3]),
                ("model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", &[1, width]),
                ("first_stage_model.decoder.conv_in.weight", &[1, 4, 3, 3]),
                ("cond_stage_model.transformer.text_model.final_layer_norm.weight", &[1]),
            ],
            &[],
        )
    }

    fn read(bytes: &[u8]) -> Result<Header, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Header::read(file.path())
    }

    #[test]
    fn a_header_is_read_without_the_weights() {
        let header = read(&file(&[("a", &[2, 3]), ("b", &[4])], &[("modelspec.title", "Meadow")])).unwrap();
        assert_eq!(header.shape("a"), Some(&[2, 3][..]));
        assert_eq!(header.metadata["modelspec.title"], "Meadow");
        assert_eq!(header.precision().as_deref(), Some("f16"));
    }

    #[test]
    fn impossible_headers_are_refused_in_words() {
        let good = file(&[("a", &[2, 3])], &[]);
        assert!(read(&good[..good.len() - 1]).unwrap_err().contains("cut off"));
        assert!(read(&u64::MAX.to_le_bytes()).unwrap_err().contains("length"));
        assert!(read(b"PK").unwrap_err().contains("too short"));
        let with = |json: &str| {
            let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
            bytes.extend(json.bytes());
            bytes.extend([0; 8]);
            read(&bytes).unwrap_err()
        };
        let huge = u64::MAX;
        assert!(
            with(&format!(r#"{{"a":{{"dtype":"F32","shape":[{huge},{huge}],"data_offsets":[0,4]}}}}"#))
                .contains("shape")
        );
        let two = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
        assert!(with(two).contains("overlap"));
        assert!(with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#).contains("ends past"));
        assert!(with(&"[".repeat(100_000)).contains("understood"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// Damaged files give a header or an error; never a panic, and what is kept is no larger than the file.
        #[test]
        fn damaged_headers_are_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<prop::sample::Index>(), cuts in any::<bool>(),
        ) {
            let mut bytes = file(
                &[("model.diffusion_model.input_blocks.0.0.weight", &[1, 9]), ("b.attn2.to_k.weight", &[1, 768])],
                &[("modelspec.license", "MIT")],
            );
            for (at, value) in changes {
                let at = at.index(bytes.len().min(300));
                bytes[at] = value;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(header) = read(&bytes) {
                prop_assert!(header.tensors.values().map(TensorInfo::bytes).sum::<u64>() <= bytes.len() as u64);
                let _ = super::super::kind::Sort::of(&header);
            }
        }
    }
}
