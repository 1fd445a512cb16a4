//! Splitting prompts into tokens, and saying what got lost.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenizers::{AddedToken, Tokenizer};

use crate::Error;
use crate::config::{Config, read_small};

/// A tokenizer.json with a large vocabulary has a few megabytes.
const MAX_BYTES: u64 = 64 << 20;

/// Longer prompts are refused before they are split: no model looks at more than a few hundred words.
const MAX_PROMPT: usize = 100_000;

/// How CLIP splits a text into words (Radford et al., "Learning transferable visual models from natural language
/// supervision", 2021): contractions, runs of letters, single digits, runs of anything else.
const CLIP_WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A tokenizer with a fixed length.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    path: PathBuf,
    limit: usize,
    vocabulary: i64,
    unknown: Option<u32>,
    padding: Option<u32>,
    /// The tokenizer without taught words, while there are some.
    plain: Option<Tokenizer>,
    /// Taught words and the tokens that they are written as, long words first.
    taught: Vec<(String, String)>,
}

/// A tokenizer that knows more words.
#[derive(Debug)]
pub(crate) struct Taught {
    /// None to know no more than at first.
    tokenizer: Option<Tokenizer>,
    words: Vec<(String, String)>,
}

/// A prompt in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// Begin, words and end; at most the limit, without padding.
    pub(crate) ids: Vec<i64>,
    /// What got lost, in plain words.
    pub(crate) warnings: Vec<String>,
}

/// Words in tokens, without begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) ids: Vec<i64>,
    /// The words that the tokenizer does not know.
    pub(crate) unknown: Vec<String>,
}

impl Tokens {
    /// Reads `tokenizer.json`, or builds CLIP's tokenizer out of `vocab.json` and `merges.txt`.
    pub(crate) fn load(folder: &Path, limit: usize) -> Result<Self, Error> {
        let path = folder.join("tokenizer.json");
        let (path, bytes) = if path.exists() {
            let bytes = read_small(&path, MAX_BYTES)?;
            (path, bytes)
        } else if folder.join("vocab.json").exists() && folder.join("merges.txt").exists() {
            (folder.to_path_buf(), clip_from_parts(folder)?)
        } else {
            let problem = "there is neither tokenizer.json nor vocab.json with merges.txt".to_owned();
            return Err(Error::Tokenizer { path: folder.to_path_buf(), problem });
        };
        let pad = special_token(folder, "pad_token")?;
        Self::build(&bytes, path, pad.as_deref(), limit)
    }

    /// CLIP's own tokenizer, whose vocabulary is part of this program; `pad` is the token that fills up short prompts.
    pub(crate) fn clip(pad: &str, limit: usize) -> Result<Self, Error> {
        let path = PathBuf::from("CLIP's built-in vocabulary");
        let (vocabulary, merges) = super::vocabulary::clip()
            .map_err(|error| Error::Tokenizer { path: path.clone(), problem: error.to_string() })?;
        let merges: Vec<&str> = merges.lines().collect();
        let bytes = clip_json(&vocabulary, &merges, Some(pad), &path)?;
        Self::build(&bytes, path, Some(pad), limit)
    }

    fn build(bytes: &[u8], path: PathBuf, pad: Option<&str>, limit: usize) -> Result<Self, Error> {
        let failed = |error: tokenizers::Error| Error::Tokenizer { path: path.clone(), problem: error.to_string() };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(failed)?;
        // The file may ask for padding and truncation of its own; both are done here, where the loss can be told.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        let vocabulary = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| i64::from(id) + 1);
        let unknown = tokenizer.token_to_id("[UNK]");
        let padding = pad.and_then(|pad| tokenizer.token_to_id(pad));
        Ok(Self { tokenizer, path, limit, vocabulary, unknown, padding, plain: None, taught: Vec::new() })
    }

    /// The number of tokens that a context has.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The token that fills up short prompts, when the tokenizer names one.
    pub(crate) fn padding(&self) -> Option<i64> {
        self.padding.map(i64::from)
    }

    /// The largest token number plus one: the rows that the network's table of words must have.
    pub(crate) fn vocabulary(&self) -> i64 {
        self.vocabulary
    }

    /// The begin and the end token.
    pub(crate) fn ends(&self) -> Result<(i64, i64), Error> {
        if let [begin, end] = self.split("")?.ids[..] {
            return Ok((begin, end));
        }
        let problem = "its post_processor must add one begin and one end token".to_owned();
        Err(Error::Tokenizer { path: self.path.clone(), problem })
    }

    /// The tokens of a part of a prompt, however many.
    pub(crate) fn words(&self, text: &str) -> Result<Words, Error> {
        check_length(text)?;
        let text = &*self.expand(text);
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|error| Error::Tokenizer { path: self.path.clone(), problem: error.to_string() })?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        let spans = encoding.get_ids().iter().zip(encoding.get_offsets());
        let unknown = spans
            .filter(|(id, _)| Some(**id) == self.unknown)
            .filter_map(|(_, span)| text.get(span.0..span.1))
            .filter(|word| !word.is_empty())
            .map(shortened)
            .collect();
        Ok(Words { ids, unknown })
    }

    /// A tokenizer with these words, each as so many tokens, and no others; and the tokens' numbers.
    pub(crate) fn teach(&self, words: &[(&str, i64)]) -> Result<(Taught, Vec<Vec<i64>>), Error> {
        if words.is_empty() {
            return Ok((Taught { tokenizer: None, words: Vec::new() }, Vec::new()));
        }
        let failed = |problem: String| Error::Tokenizer { path: self.path.clone(), problem };
        let mut tokenizer = self.plain.as_ref().unwrap_or(&self.tokenizer).clone();
        let (mut list, mut ids) = (Vec::new(), Vec::new());
        for (i, (word, count)) in words.iter().enumerate() {
            // Names that nobody types, so that a word is only ever recognised here, whole and whatever its capitals.
            let names: Vec<String> = (0..*count).map(|row| format!("<|word-{i}-{row}|>")).collect();
            let tokens = names.iter().map(|name| AddedToken::from(name.clone(), true));
            tokenizer.add_special_tokens(tokens).map_err(|error| failed(error.to_string()))?;
            let numbers: Option<Vec<i64>> =
                names.iter().map(|name| tokenizer.token_to_id(name).map(i64::from)).collect();
            ids.push(numbers.ok_or_else(|| failed(format!("it did not take the word `{word}`")))?);
            list.push(((*word).to_owned(), names.join(" ")));
        }
        list.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        Ok((Taught { tokenizer: Some(tokenizer), words: list }, ids))
    }

    /// Puts in force what [`Tokens::teach`] made.
    pub(crate) fn install(&mut self, taught: Taught) {
        let plain = self.plain.take();
        match (taught.tokenizer, plain) {
            (Some(tokenizer), plain) => {
                let before = std::mem::replace(&mut self.tokenizer, tokenizer);
                self.plain = Some(plain.unwrap_or(before));
            }
            (None, Some(plain)) => self.tokenizer = plain,
            (None, None) => {}
        }
        self.taught = taught.words;
    }

    /// The text with each taught word written as its tokens. Must be called on every text before it is split.
    fn expand<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.taught.is_empty() {
            return Cow::Borrowed(text);
        }
        let inner = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let (mut out, mut at, mut before) = (String::new(), 0, None::<char>);
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let found = self.taught.iter().find(|(word, _)| {
                let open =
                    |edge: Option<char>, next: Option<char>| !(edge.is_some_and(inner) && next.is_some_and(inner));
                rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
                    && open(word.chars().next(), before)
                    && open(word.chars().next_back(), rest[word.len()..].chars().next())
            });
            let step = if let Some((word, tokens)) = found {
                out.push_str(tokens);
                word.len()
            } else {
                out.push(c);
                c.len_utf8()
            };
            before = text[at..at + step].chars().next_back();
            at += step;
        }
        Cow::Owned(out)
    }

    /// Splits a prompt; a too long one keeps its beginning and the end token.
    pub(crate) fn split(&self, prompt: &str) -> Result<Split, Error> {
        check_length(prompt)?;
        let prompt = &*self.expand(prompt);
        let encoding = self
            .tokenizer
            .encode(prompt, true)
            .map_err(|error| Error::Tokenizer { path: self.path.clone(), problem: error.to_string() })?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        if ids.is_empty() {
            let problem = "it gave no tokens; its post_processor must add a begin and an end token".to_owned();
            return Err(Error::Tokenizer { path: self.path.clone(), problem });
        }
        let offsets = encoding.get_offsets();
        let mut warnings = Vec::new();

        let mut kept_up_to = prompt.len();
        if ids.len() > self.limit
            && let Some(&end) = ids.last()
        {
            let kept = self.limit - 1;
            ids.truncate(kept);
            ids.push(end);
            let cut = offsets.get(kept).map_or(prompt.len(), |span| word_start(prompt, span.0));
            kept_up_to = cut;
            let lost = prompt.get(cut..).unwrap_or_default().trim();
            let lost = shortened(lost);
            warnings.push(format!(
                "The prompt is longer than the {} tokens that this model reads; left out: \u{201c}{lost}\u{201d}",
                self.limit
            ));
        }
        if let Some(unknown) = self.unknown {
            let mut words: Vec<&str> = encoding
                .get_ids()
                .iter()
                .zip(offsets)
                .filter(|(id, span)| **id == unknown && span.1 <= kept_up_to)
                .filter_map(|(_, span)| prompt.get(span.0..span.1))
                .filter(|word| !word.is_empty())
                .collect();
            words.dedup();
            if !words.is_empty() {
                let words: Vec<String> =
                    words.iter().take(10).map(|word| format!("\u{201c}{}\u{201d}", shortened(word))).collect();
                warnings.push(format!("This model does not know: {}", words.join(", ")));
            }
        }
        Ok(Split { ids, warnings })
    }
}

/// Refuses a prompt that is too long to be one.
pub(crate) fn check_length(prompt: &str) -> Result<(), Error> {
    if prompt.len() > MAX_PROMPT {
        return Err(Error::Request(format!(
            "the prompt has {} bytes; at most {MAX_PROMPT} are accepted",
            prompt.len()
        )));
    }
    Ok(())
}

/// The start of the word that the byte `at` lies in.
fn word_start(text: &str, at: usize) -> usize {
    text.get(..at).map_or(at, |before| {
        before
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + before[space..].chars().next().map_or(1, char::len_utf8))
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// A special token's text from the files beside the tokenizer; it is a text or an object with `content`.
fn special_token(folder: &Path, key: &str) -> Result<Option<String>, Error> {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let Some(config) = Config::read_optional(&folder.join(name))? else { continue };
        let token = config.get(key).and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
        if let Some(token) = token {
            return Ok(Some(token.to_owned()));
        }
    }
    Ok(None)
}

/// CLIP's byte-pair tokenizer in the form of a tokenizer.json.
fn clip_from_parts(folder: &Path) -> Result<Vec<u8>, Error> {
    let vocabulary_path = folder.join("vocab.json");
    let failed = |path: &Path, problem: String| Error::Tokenizer { path: path.to_path_buf(), problem };
    let vocabulary: Value = serde_json::from_slice(&read_small(&vocabulary_path, MAX_BYTES)?)
        .map_err(|error| failed(&vocabulary_path, error.to_string()))?;
    let merges_path = folder.join("merges.txt");
    let merges = String::from_utf8(read_small(&merges_path, MAX_BYTES)?)
        .map_err(|error| failed(&merges_path, error.to_string()))?;
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let pad = special_token(folder, "pad_token")?;
    clip_json(&vocabulary, &merges, pad.as_deref(), &vocabulary_path)
}

/// The tokenizer.json of a CLIP tokenizer; `path` is for messages.
fn clip_json(vocabulary: &Value, merges: &[&str], pad: Option<&str>, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |problem: String| Error::Tokenizer { path: path.to_path_buf(), problem };
    let id = |token: &str| {
        vocabulary.get(token).and_then(Value::as_u64).ok_or_else(|| failed(format!("it lacks the token {token}")))
    };
    let (begin, end) = (id("<|startoftext|>")?, id("<|endoftext|>")?);
    let special = |id: u64, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let mut added = vec![special(begin, "<|startoftext|>"), special(end, "<|endoftext|>")];
    // Stable Diffusion 2.x pads with `!`, which thereby becomes a special token within prompts, too; so it was trained.
    if let Some(pad) = pad.filter(|pad| *pad != "<|endoftext|>") {
        added.push(special(id(pad)?, pad));
    }
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": CLIP_WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", end], "cls": ["<|startoftext|>", begin],
                           "trim_offsets": false, "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary, "merges": merges},
    });
    serde_json::to_vec(&tokenizer).map_err(|error| failed(error.to_string()))
}
