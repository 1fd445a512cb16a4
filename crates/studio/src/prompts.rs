//! One prompt that stands for several: `{a,b}` makes one prompt for each alternative, `__name__` is replaced by a line
//! of a list that a seed chooses.
//!
//! Pure text, no files: the caller brings the lists. A backslash before `{`, `}`, `,`, `_` or `\` takes the character
//! at its word and is dropped; before anything else it stays, so that the weights' own escapes (`\(`) pass through.

use std::fmt;

/// More prompts than this are refused: nobody waits for them.
pub const MAX_PROMPTS: usize = 1000;

/// Longer texts are refused before they are read.
pub const MAX_BYTES: usize = 100_000;

/// Braces inside braces, and lists inside lists, at most this deep.
const MAX_DEPTH: usize = 16;

/// Why a prompt cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptError {
    /// A brace is not closed, or closed without being opened; the byte where.
    Unbalanced(usize),
    /// Braces or lists are nested deeper than 16.
    TooDeep,
    /// It makes more prompts than [`MAX_PROMPTS`], or a longer text than [`MAX_BYTES`].
    TooMany,
    /// There is no list of this name.
    NoList(String),
    /// The list of this name has no lines.
    EmptyList(String),
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbalanced(at) => write!(
                f,
                "The brace at character {at} of the prompt has no counterpart. Write \\{{ or \\}} for a brace that means \
                 itself."
            ),
            Self::TooDeep => write!(f, "The prompt's braces or lists are nested deeper than {MAX_DEPTH}. Use fewer."),
            Self::TooMany => {
                write!(
                    f,
                    "The prompt stands for more than {MAX_PROMPTS} prompts or is too long. Use fewer alternatives."
                )
            }
            Self::NoList(name) => {
                write!(f, "There is no list named {name}. Add it, or write \\__{name}__ for the text.")
            }
            Self::EmptyList(name) => write!(f, "The list {name} is empty. Add a line to it."),
        }
    }
}

impl std::error::Error for PromptError {}

/// A piece of a prompt.
enum Piece {
    Text(String),
    /// One of these, each a prompt of its own.
    Choice(Vec<Vec<Piece>>),
}

/// Every prompt that `text` stands for, in reading order: the last braces change fastest.
///
/// `{}` is nothing, `{a}` is `a`, `{a,}` is `a` or nothing; braces may be nested.
///
/// # Errors
/// When braces are not balanced or there are too many prompts.
///
/// # Examples
/// `a {red,blue} {car,bus}` gives `a red car`, `a red bus`, `a blue car`, `a blue bus`.
pub fn permutations(text: &str) -> Result<Vec<String>, PromptError> {
    if text.len() > MAX_BYTES {
        return Err(PromptError::TooMany);
    }
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    let mut alternatives = parse(&characters, &mut at, 0)?;
    expand(&alternatives.pop().unwrap_or_default())
}

/// Alternatives up to the closing brace; at depth 0 there is one, up to the end.
fn parse(characters: &[char], at: &mut usize, depth: usize) -> Result<Vec<Vec<Piece>>, PromptError> {
    if depth > MAX_DEPTH {
        return Err(PromptError::TooDeep);
    }
    let opened = at.saturating_sub(1);
    let mut all = Vec::new();
    let mut current = Vec::new();
    let mut text = String::new();
    while let Some(&character) = characters.get(*at) {
        *at += 1;
        match character {
            '\\' => match characters.get(*at) {
                Some(&next @ ('{' | '}' | ',')) => {
                    text.push(next);
                    *at += 1;
                }
                // Two backslashes stay two, so that `\\(` means the same to whoever reads the weights.
                Some('\\') => {
                    text.push_str("\\\\");
                    *at += 1;
                }
                _ => text.push('\\'),
            },
            '{' => {
                current.push(Piece::Text(std::mem::take(&mut text)));
                current.push(Piece::Choice(parse(characters, at, depth + 1)?));
            }
            '}' if depth == 0 => return Err(PromptError::Unbalanced(*at - 1)),
            '}' => {
                current.push(Piece::Text(text));
                all.push(current);
                return Ok(all);
            }
            ',' if depth > 0 => {
                current.push(Piece::Text(std::mem::take(&mut text)));
                all.push(std::mem::take(&mut current));
            }
            other => text.push(other),
        }
    }
    if depth > 0 {
        return Err(PromptError::Unbalanced(opened));
    }
    current.push(Piece::Text(text));
    all.push(current);
    Ok(all)
}

fn expand(pieces: &[Piece]) -> Result<Vec<String>, PromptError> {
    let mut prompts = vec![String::new()];
    for piece in pieces {
        match piece {
            Piece::Text(text) => prompts.iter_mut().for_each(|prompt| prompt.push_str(text)),
            Piece::Choice(alternatives) => {
                let mut endings = Vec::new();
                for alternative in alternatives {
                    endings.extend(expand(alternative)?);
                    if endings.len().saturating_mul(prompts.len()) > MAX_PROMPTS {
                        return Err(PromptError::TooMany);
                    }
                }
                prompts = prompts
                    .iter()
                    .flat_map(|prompt| endings.iter().map(move |ending| format!("{prompt}{ending}")))
                    .collect();
            }
        }
    }
    Ok(prompts)
}

/// Replaces every `__name__` by a line of the list that `lines` gives for the name, chosen by `seed` and by the place's
/// number in the text: the same seed chooses the same lines. Lines may hold wildcards of their own.
///
/// Names are letters, digits, `-`, `/` and single `_`. `\__name__` is the text `__name__`.
///
/// # Errors
/// When a list is unknown or empty, or refers to itself without end.
pub fn wildcards(text: &str, seed: u64, lines: &dyn Fn(&str) -> Option<Vec<String>>) -> Result<String, PromptError> {
    let mut number = 0;
    replace(text, seed, lines, &mut number, 0)
}

/// A text that [`permutations`] and [`wildcards`] take at its word, so that what they made once is made again. A backslash
/// right before a brace cannot be kept from being doubled.
pub fn literal(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(name) = name(rest) {
            // Its underscores are as good as its braces would be; those of the name's end belong to the escape.
            result.push('\\');
            result.push_str(&rest[..name.len() + 4]);
            rest = &rest[name.len() + 4..];
            continue;
        }
        if matches!(next, '{' | '}') {
            result.push('\\');
        }
        result.push(next);
        rest = &rest[next.len_utf8()..];
    }
    result
}

fn replace(
    text: &str,
    seed: u64,
    lines: &dyn Fn(&str) -> Option<Vec<String>>,
    number: &mut u64,
    depth: usize,
) -> Result<String, PromptError> {
    if depth > MAX_DEPTH {
        return Err(PromptError::TooDeep);
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("__") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('\\') {
            result.push_str(before);
            // The name's closing underscores belong to the same escape.
            let whole = name(from).map_or(2, |name| name.len() + 4);
            result.push_str(&from[..whole]);
            rest = &from[whole..];
        } else if let Some(name) = name(from) {
            result.push_str(before);
            let list = lines(name).ok_or_else(|| PromptError::NoList(name.to_owned()))?;
            let chosen = usize::try_from(mix(seed, *number) % (list.len() as u64).max(1)).unwrap_or(0);
            let line = list.get(chosen).ok_or_else(|| PromptError::EmptyList(name.to_owned()))?;
            *number += 1;
            if *number > MAX_PROMPTS as u64 {
                return Err(PromptError::TooMany);
            }
            result.push_str(&replace(line, seed, lines, number, depth + 1)?);
            rest = &from[name.len() + 4..];
        } else {
            result.push_str(before);
            result.push('_');
            rest = &from[1..];
        }
        if result.len() > MAX_BYTES {
            return Err(PromptError::TooMany);
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The name at the start of `__name__...`.
fn name(from: &str) -> Option<&str> {
    let inner = from.strip_prefix("__")?;
    let name = &inner[..inner.find("__")?];
    let good = |character: char| character.is_alphanumeric() || matches!(character, '-' | '/' | '_');
    (!name.is_empty() && !name.starts_with('_') && name.chars().all(good)).then_some(name)
}

/// A well-mixed number for a seed and a counter (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// OOPSLA 2014; the constants of Stafford's variant 13).
fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add((counter + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        permutations(text).unwrap()
    }

    #[test]
    fn braces_make_one_prompt_for_each_alternative() {
        assert_eq!(all("a lake"), ["a lake"]);
        assert_eq!(all(""), [""]);
        assert_eq!(all("a {red,blue} {car,bus}"), ["a red car", "a red bus", "a blue car", "a blue bus"]);
        assert_eq!(all("{a,{b,c} d}, e"), ["a, e", "b d, e", "c d, e"]);
        assert_eq!(all("x{,y}{}{z}"), ["xz", "xyz"]);
    }

    #[test]
    fn escapes_are_taken_at_their_word() {
        assert_eq!(all(r"\{a,b\}"), ["{a,b}"]);
        assert_eq!(all(r"{a\,b,c}"), ["a,b", "c"]);
        assert_eq!(all(r"\(a\)"), [r"\(a\)"]);
        assert_eq!(all(r"\\{a,b}"), [r"\\a", r"\\b"]);
        assert_eq!(all("a\\"), ["a\\"]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(permutations("a {b"), Err(PromptError::Unbalanced(2)));
        assert_eq!(permutations("a} b"), Err(PromptError::Unbalanced(1)));
        assert_eq!(permutations(&"{".repeat(100)), Err(PromptError::TooDeep));
        assert_eq!(permutations(&"{a,b}".repeat(10)), Err(PromptError::TooMany));
        assert_eq!(all(&"{a,b}".repeat(9)).len(), 512);
        assert_eq!(permutations(&"x".repeat(MAX_BYTES + 1)), Err(PromptError::TooMany));
        for error in [PromptError::Unbalanced(3), PromptError::TooDeep, PromptError::NoList("a".into())] {
            assert!(error.to_string().ends_with('.'), "{error}");
        }
    }

    fn lists(name: &str) -> Option<Vec<String>> {
        let list: &[&str] = match name {
            "colour" => &["red", "green", "blue"],
            "big_thing" => &["a __colour__ whale"],
            "loop" => &["__loop__"],
            "empty" => &[],
            _ => return None,
        };
        Some(list.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_seed_chooses_the_same_lines_again() {
        let text = "__colour__ and __colour__, __big_thing__";
        let drawn: Vec<String> = (0..50).map(|seed| wildcards(text, seed, &lists).unwrap()).collect();
        assert_eq!(drawn, (0..50).map(|seed| wildcards(text, seed, &lists).unwrap()).collect::<Vec<_>>());
        assert!(drawn.iter().all(|prompt| !prompt.contains("__") && prompt.contains("whale")));
        for colour in ["red", "green", "blue"] {
            assert!(drawn.iter().any(|prompt| prompt.starts_with(colour)), "{colour}");
        }
        // Two places of one list are drawn apart.
        assert!(drawn.iter().any(|prompt| prompt.starts_with("red and blue")), "{drawn:?}");
        // Every line about equally often.
        let red = (0..3000).filter(|&seed| wildcards("__colour__", seed, &lists).unwrap() == "red").count();
        assert!((850..1150).contains(&red), "{red}");
    }

    #[test]
    fn what_was_made_once_is_made_again_at_its_word() {
        for text in
            ["a {b", "x}", "{a,b}", "__colour__", "a __colour__ {x} __", "plain, (words:1.2)", "é__ü__", "a_b__c"]
        {
            let again = permutations(&literal(text)).unwrap();
            assert_eq!(again.len(), 1, "{text}");
            assert_eq!(wildcards(&again[0], 5, &lists).unwrap(), text);
        }
    }

    #[test]
    fn wildcards_that_are_none_stay() {
        for text in ["a_b", "a __ b", "____", "__a b__", "_", "__", "x __not closed"] {
            assert_eq!(wildcards(text, 1, &lists).unwrap(), text);
        }
        assert_eq!(wildcards(r"\__colour__ x", 1, &lists).unwrap(), "__colour__ x");
        assert_eq!(wildcards("__nothing__", 1, &lists), Err(PromptError::NoList("nothing".into())));
        assert_eq!(wildcards("__empty__", 1, &lists), Err(PromptError::EmptyList("empty".into())));
        assert_eq!(wildcards("__loop__", 1, &lists), Err(PromptError::TooDeep));
    }

    /// Texts of the characters that matter, by a counter: nothing panics, and prompts without braces stay.
    #[test]
    fn nothing_panics() {
        let alphabet: Vec<char> = "{},\\_aé ".chars().collect();
        for n in 0..60_000_u64 {
            let length = mix(n, 0) % 12;
            let text: String = (1..=length).map(|i| alphabet[(mix(n, i) % alphabet.len() as u64) as usize]).collect();
            if let Ok(prompts) = permutations(&text) {
                assert!(!prompts.is_empty());
            }
            let _ = wildcards(&text, n, &lists);
            if !text.contains(['{', '}', '\\']) {
                assert_eq!(permutations(&text).unwrap(), [text]);
            }
        }
    }
}
