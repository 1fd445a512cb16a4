//! The language of prompts: weights, alternatives and changes over the steps, and long prompts in chunks.
//!
//! - `(words)` weighs 1.1 times, `(words:1.3)` 1.3 times, `[words]` 1/1.1 times; brackets may be nested.
//! - `[a|b]` is `a` in the first step, `b` in the second, `a` in the third and so on.
//! - `[a:b:0.4]` is `a` for the first 0.4 of the steps, then `b`; `[b:0.4]` and `[a::0.4]` leave one of them out. A number
//!   without a point counts steps.
//! - `BREAK` begins a new chunk.
//! - `\(`, `\)`, `\[`, `\]`, `\|`, `\:` and `\\` are the characters themselves. A bracket without a counterpart is a
//!   character, too.
//!
//! These are the conventions of the AUTOMATIC1111 web UI.

use tch::Tensor;

use super::tokens::Tokens;
use super::{Encoded, TextEncoder, add_new};
use crate::Error;

/// Brackets deeper than this are plain characters.
const MAX_DEPTH: usize = 32;

/// Longer prompts lose their end: a context of so many chunks is already far from anything that a model was trained on.
const MAX_CHUNKS: usize = 16;

/// Weights beyond this only destroy the picture.
const MAX_WEIGHT: f64 = 10.0;

/// Words with their weight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) weight: f64,
}

/// A prompt that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompt(Vec<Node>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Weighted(Vec<Node>, f64),
    Alternating(Vec<Vec<Node>>),
    Changing { from: Vec<Node>, to: Vec<Node>, when: When },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Part(f64),
    Step(f64),
}

impl Prompt {
    /// Reads a prompt; every text is one.
    pub(crate) fn parse(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let partners = partners(&characters);
        Self(Reader { characters: &characters, partners: &partners }.nodes(0, characters.len()))
    }

    /// What it says in step `step` of `steps`, neighbours of the same weight joined.
    pub(crate) fn at(&self, step: usize, steps: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        flatten(&self.0, 1.0, (step, steps), &mut spans);
        spans
    }
}

fn flatten(nodes: &[Node], weight: f64, at: (usize, usize), spans: &mut Vec<Span>) {
    for node in nodes {
        match node {
            Node::Text(text) => match spans.last_mut() {
                Some(last) if (last.weight - weight).abs() < 1e-12 => last.text.push_str(text),
                _ => spans.push(Span { text: text.clone(), weight }),
            },
            Node::Weighted(inner, factor) => {
                let weight = (weight * factor).clamp(-MAX_WEIGHT, MAX_WEIGHT);
                flatten(inner, weight, at, spans);
            }
            Node::Alternating(all) => {
                if let Some(inner) = all.get(at.0 % all.len().max(1)) {
                    flatten(inner, weight, at, spans);
                }
            }
            Node::Changing { from, to, when } => {
                let change = match when {
                    When::Part(part) => part * at.1 as f64,
                    When::Step(step) => *step,
                };
                flatten(if (at.0 as f64) < change { from } else { to }, weight, at, spans);
            }
        }
    }
}

/// Whether the character at `at` is taken at its word because of the backslash before it.
fn escapes(characters: &[char], at: usize) -> bool {
    characters[at] == '\\'
        && characters.get(at + 1).is_some_and(|next| matches!(next, '(' | ')' | '[' | ']' | '|' | ':' | '\\'))
}

/// The closing bracket of each opening one that has one.
fn partners(characters: &[char]) -> Vec<Option<usize>> {
    let mut partners = vec![None; characters.len()];
    let mut open: Vec<usize> = Vec::new();
    // How many of the open ones are round: a bracket that cannot have a counterpart is not searched for.
    let mut round = 0;
    let mut at = 0;
    while at < characters.len() {
        if escapes(characters, at) {
            at += 2;
            continue;
        }
        match characters[at] {
            opening @ ('(' | '[') => {
                round += usize::from(opening == '(');
                open.push(at);
            }
            closing @ (')' | ']') => {
                let (opening, count) = if closing == ')' { ('(', round) } else { ('[', open.len() - round) };
                // Brackets of the other kind that are still open within stay characters.
                if count > 0
                    && let Some(place) = open.iter().rposition(|&start| characters[start] == opening)
                {
                    if place < MAX_DEPTH {
                        partners[open[place]] = Some(at);
                    }
                    round -= open.drain(place..).filter(|&start| characters[start] == '(').count();
                }
            }
            _ => {}
        }
        at += 1;
    }
    partners
}

struct Reader<'a> {
    characters: &'a [char],
    partners: &'a [Option<usize>],
}

impl Reader<'_> {
    /// The nodes of a stretch that holds whole pairs of brackets.
    fn nodes(&self, start: usize, end: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut text = String::new();
        let mut at = start;
        while at < end {
            if at + 1 < end && escapes(self.characters, at) {
                text.push(self.characters[at + 1]);
                at += 2;
            } else if let Some(close) = self.partners[at].filter(|&close| close < end) {
                if !text.is_empty() {
                    nodes.push(Node::Text(std::mem::take(&mut text)));
                }
                let round = self.characters[at] == '(';
                nodes.push(if round { self.round(at + 1, close) } else { self.square(at + 1, close) });
                at = close + 1;
            } else {
                text.push(self.characters[at]);
                at += 1;
            }
        }
        if !text.is_empty() {
            nodes.push(Node::Text(text));
        }
        nodes
    }

    /// The places of a character outside of inner brackets.
    fn places(&self, start: usize, end: usize, character: char) -> Vec<usize> {
        let mut places = Vec::new();
        let mut at = start;
        while at < end {
            if escapes(self.characters, at) {
                at += 2;
            } else if let Some(close) = self.partners[at] {
                at = close + 1;
            } else {
                if self.characters[at] == character {
                    places.push(at);
                }
                at += 1;
            }
        }
        places
    }

    /// A plain number in digits.
    fn number(&self, start: usize, end: usize) -> Option<(f64, bool)> {
        let text: String = self.characters[start..end].iter().collect();
        let text = text.trim();
        let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
        let number = text.parse().ok().filter(|number: &f64| plain && number.is_finite())?;
        Some((number, text.contains('.')))
    }

    fn round(&self, start: usize, end: usize) -> Node {
        if let Some(&colon) = self.places(start, end, ':').last()
            && let Some((weight, _)) = self.number(colon + 1, end)
        {
            return Node::Weighted(self.nodes(start, colon), weight);
        }
        Node::Weighted(self.nodes(start, end), 1.1)
    }

    fn square(&self, start: usize, end: usize) -> Node {
        let bars = self.places(start, end, '|');
        if !bars.is_empty() {
            let starts = std::iter::once(start).chain(bars.iter().map(|bar| bar + 1));
            let ends = bars.iter().copied().chain([end]);
            return Node::Alternating(starts.zip(ends).map(|(start, end)| self.nodes(start, end)).collect());
        }
        let colons = self.places(start, end, ':');
        if let Some(&last) = colons.last()
            && colons.len() <= 2
            && let Some((when, pointed)) = self.number(last + 1, end)
        {
            let when = if pointed { When::Part(when) } else { When::Step(when) };
            let (from, to) = if colons.len() == 2 {
                (self.nodes(start, colons[0]), self.nodes(colons[0] + 1, last))
            } else {
                (Vec::new(), self.nodes(start, last))
            };
            return Node::Changing { from, to, when };
        }
        Node::Weighted(self.nodes(start, end), 1.0 / 1.1)
    }
}

/// One piece of a long prompt: word tokens and their weights, without begin and end.
type Chunk = (Vec<i64>, Vec<f64>);

/// Splits spans into chunks of at most `room` tokens; at least one, which may be empty.
fn chunks(tokens: &Tokens, spans: &[Span], room: usize) -> Result<(Vec<Chunk>, Vec<String>), Error> {
    let mut all: Vec<Chunk> = vec![Chunk::default()];
    let mut unknown: Vec<String> = Vec::new();
    for span in spans {
        for (i, text) in breaks(&span.text).into_iter().enumerate() {
            if i > 0 {
                all.push(Chunk::default());
            }
            let words = tokens.words(text)?;
            unknown.extend(words.unknown);
            for id in words.ids {
                if all.last().is_none_or(|chunk| chunk.0.len() >= room) {
                    all.push(Chunk::default());
                }
                if let Some(chunk) = all.last_mut() {
                    chunk.0.push(id);
                    chunk.1.push(span.weight);
                }
            }
        }
    }
    let mut warnings = Vec::new();
    if all.len() > MAX_CHUNKS {
        let lost: usize = all.drain(MAX_CHUNKS..).map(|chunk| chunk.0.len()).sum();
        let kept = MAX_CHUNKS * room;
        warnings.push(format!("The prompt is longer than {kept} tokens; the last {lost} were left out."));
    }
    unknown.dedup();
    if !unknown.is_empty() {
        let words: Vec<String> = unknown.iter().take(10).map(|word| format!("\u{201c}{word}\u{201d}")).collect();
        warnings.push(format!("This model does not know: {}", words.join(", ")));
    }
    Ok((all, warnings))
}

/// Splits a text at the word `BREAK`.
fn breaks(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, word) in text.match_indices("BREAK") {
        let end = at + word.len();
        let inner = |c: char| c.is_alphanumeric() || c == '_';
        if !text[..at].ends_with(inner) && !text[end..].starts_with(inner) {
            parts.push(&text[start..at]);
            start = end;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Encodes spans as one context `[1, chunks * token_limit, width]`, with at least `least` chunks; also says how many there
/// are. `skip` layers at the end of the text encoder are left out. Two encoders split the words each by its own tokenizer
/// into equally many chunks; the pooled prompt is the first chunk's.
pub(crate) fn encode(
    encoder: &dyn TextEncoder,
    spans: &[Span],
    skip: usize,
    least: usize,
) -> Result<(Encoded, usize), Error> {
    let (mut count, mut warnings, mut split) = (least, Vec::new(), Vec::new());
    for network in encoder.networks() {
        let room = network.tokens().limit().saturating_sub(2).max(1);
        let (all, told) = chunks(network.tokens(), spans, room)?;
        count = count.max(all.len());
        add_new(&mut warnings, told);
        split.push((network, all));
    }
    let (mut contexts, mut pooled) = (Vec::new(), None);
    for (network, mut all) in split {
        let (begin, end) = network.tokens().ends()?;
        all.resize_with(count, Chunk::default);
        let mut parts = Vec::new();
        for (words, weights) in all {
            let ids: Vec<i64> = [begin].into_iter().chain(words).chain([end]).collect();
            let (states, vector) = network.states(&ids, skip)?;
            parts.push(weigh(&states, &weights)?);
            pooled = pooled.or(vector);
        }
        contexts.push(Tensor::f_cat(&parts, 1)?);
    }
    Ok((Encoded { context: Tensor::f_cat(&contexts, -1)?, pooled, warnings }, count))
}

/// Multiplies the vectors of the words, which come after the begin token, and restores the mean of all.
fn weigh(states: &Tensor, weights: &[f64]) -> Result<Tensor, Error> {
    if weights.iter().all(|weight| (weight - 1.0).abs() < 1e-12) {
        return Ok(states.shallow_clone());
    }
    let length = states.size()[1] as usize;
    let factors: Vec<f32> = [1.0]
        .into_iter()
        .chain(weights.iter().map(|&weight| weight as f32))
        .chain(std::iter::repeat(1.0))
        .take(length)
        .collect();
    let factors = Tensor::f_from_slice(&factors)?.f_view([1, length as i64, 1])?;
    let factors = factors.f_to_device(states.device())?.f_to_kind(states.kind())?;
    let weighed = states.f_mul(&factors)?;
    let mean = |tensor: &Tensor| -> Result<f64, Error> { Ok(f64::try_from(tensor.f_mean(tch::Kind::Float)?)?) };
    let ratio = mean(states)? / mean(&weighed)?;
    Ok(if ratio.is_finite() { weighed.f_mul_scalar(ratio)? } else { weighed })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str, step: usize) -> Vec<(String, f64)> {
        let spans = Prompt::parse(text).at(step, 10);
        spans.into_iter().map(|span| (span.text, (span.weight * 1e6).round() / 1e6)).collect()
    }

    fn text(prompt: &str, step: usize) -> String {
        Prompt::parse(prompt).at(step, 10).into_iter().map(|span| span.text).collect()
    }

    #[test]
    fn weights() {
        let is = |prompt: &str, expected: &[(&str, f64)]| {
            let expected: Vec<(String, f64)> = expected.iter().map(|(text, w)| ((*text).to_owned(), *w)).collect();
            assert_eq!(at(prompt, 0), expected, "{prompt}");
        };
        is("a lake", &[("a lake", 1.0)]);
        is("a (blue) lake", &[("a ", 1.0), ("blue", 1.1), (" lake", 1.0)]);
        is("((a)) (b:1.5)[c]", &[("a", 1.21), (" ", 1.0), ("b", 1.5), ("c", 0.909_091)]);
        is("(a (b:2) c:0.5)", &[("a ", 0.5), ("b", 1.0), (" c", 0.5)]);
        is(r"a \(b\) \\", &[(r"a (b) \", 1.0)]);
        is("(a:b) x:1.5", &[("a:b", 1.1), (" x:1.5", 1.0)]);
        is("(a:nan)(b:1e9)", &[("a:nanb:1e9", 1.1)]);
        is("(a:99)", &[("a", 10.0)]);
        is("a ) ( b ]", &[("a ) ( b ]", 1.0)]);
        is("(a [b) c]", &[("a [b", 1.1), (" c]", 1.0)]);
        is("", &[]);
    }

    #[test]
    fn prompts_change_over_the_steps() {
        let all: Vec<String> = (0..4).map(|step| text("a [cow|horse|pig]", step)).collect();
        assert_eq!(all, ["a cow", "a horse", "a pig", "a cow"]);
        assert_eq!((text("[a:b:0.4]", 3), text("[a:b:0.4]", 4)), ("a".into(), "b".into()));
        assert_eq!((text("[a:b:7]", 6), text("[a:b:7]", 7)), ("a".into(), "b".into()));
        assert_eq!((text("x[b:0.5]", 4), text("x[b:0.5]", 5)), ("x".into(), "xb".into()));
        assert_eq!((text("[a::0.5]x", 4), text("[a::0.5]x", 5)), ("ax".into(), "x".into()));
        assert_eq!(at("([a|b]:1.5)", 1), [("b".to_owned(), 1.5)]);
        assert_eq!(text("[a:b]", 0), "a:b");
    }

    #[test]
    fn breaks_are_words() {
        assert_eq!(breaks("a BREAK b"), ["a ", " b"]);
        assert_eq!(breaks("BREAKFAST aBREAK"), ["BREAKFAST aBREAK"]);
        assert_eq!(breaks("BREAK"), ["", ""]);
    }

    #[test]
    fn deep_brackets_and_long_texts_are_read_in_time() {
        let deep = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
        assert!(text(&deep, 0).contains('a'));
        assert_eq!(text(&"([".repeat(50_000), 0).len(), 100_000);
    }

    proptest! {
        /// Whatever is written in escapes comes back as it was.
        #[test]
        fn escaped_texts_come_back(plain in r"[a-z()\[\]|:\\ é]{0,60}") {
            let mut escaped = String::new();
            for character in plain.chars() {
                if "()[]|:\\".contains(character) {
                    escaped.push('\\');
                }
                escaped.push(character);
            }
            let spans = Prompt::parse(&escaped).at(0, 1);
            prop_assert!(spans.iter().all(|span| (span.weight - 1.0).abs() < 1e-12));
            prop_assert_eq!(spans.into_iter().map(|span| span.text).collect::<String>(), plain);
        }

        /// No text breaks the reader; letters are never invented, and all weights are bounded.
        #[test]
        fn every_text_is_a_prompt(prompt in r"[ab()\[\]|:.0-9\\ ]{0,80}", step in 0_usize..5) {
            let spans = Prompt::parse(&prompt).at(step, 5);
            let letters = |text: &str| text.chars().filter(char::is_ascii_alphabetic).count();
            prop_assert!(spans.iter().map(|span| letters(&span.text)).sum::<usize>() <= letters(&prompt));
            prop_assert!(spans.iter().all(|span| span.weight.abs() <= MAX_WEIGHT));
            if !prompt.contains('[') {
                // Only square brackets leave words out.
                prop_assert_eq!(spans.iter().map(|span| letters(&span.text)).sum::<usize>(), letters(&prompt));
            }
        }
    }
}
