//! CLIP's vocabulary, for checkpoints in one file, which come without a tokenizer.

use std::io::Read;

use serde_json::{Map, Value};

/// The merges of CLIP's byte-pair encoding with their licence in `models/tokenizers/clip`.
const MERGES: &[u8] = include_bytes!("../../../../models/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz");

/// The file has more merges than CLIP uses: 49 408 tokens are twice 256 bytes, the merges, begin and end.
const TOKENS: usize = 49_408;

/// The tokens with their numbers, and the merges, one a line.
pub(super) fn clip() -> std::io::Result<(Value, String)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(MERGES).take(16 << 20).read_to_string(&mut text)?;
    let merges: Vec<&str> = text.lines().skip(1).take(TOKENS - 2 * 256 - 2).collect();
    let letters = byte_letters();
    let words = letters.iter().map(char::to_string);
    let ends = letters.iter().map(|letter| format!("{letter}</w>"));
    let merged = merges.iter().map(|pair| pair.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = words.chain(ends).chain(merged).chain(special);
    let vocabulary: Map<String, Value> = tokens.enumerate().map(|(id, token)| (token, Value::from(id))).collect();
    Ok((Value::Object(vocabulary), merges.join("\n")))
}

/// The printable letters that stand for the 256 bytes in byte-level byte-pair encoding, in the order of their numbers.
fn byte_letters() -> Vec<char> {
    let printable = (33..=126).chain(161..=172).chain(174..=255_u32);
    printable.chain(256..256 + 68).filter_map(char::from_u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tokens_have_their_numbers() {
        let (vocabulary, merges) = clip().unwrap();
        assert_eq!(vocabulary.as_object().unwrap().len(), TOKENS);
        assert_eq!(merges.lines().count(), 48_894);
        for (token, id) in
            [("!", 0), ("a</w>", 320), ("the</w>", 518), ("<|startoftext|>", 49_406), ("<|endoftext|>", 49_407)]
        {
            assert_eq!(vocabulary[token], id, "{token}");
        }
    }
}
