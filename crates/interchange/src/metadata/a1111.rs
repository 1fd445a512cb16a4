//! The text that AUTOMATIC1111's web UI writes as `parameters`, which has become the format that every program and gallery
//! reads:
//!
//! ```text
//! the prompt, in any number of lines
//! Negative prompt: likewise
//! Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: name, Quoted: "a, b: c"
//! ```

use std::fmt::Write as _;

use super::GenerationMetadata;

/// Most pairs of a settings line; the rest is left out.
const MAX_PAIRS: usize = 512;

/// Whether a free text is most likely in this format.
pub(crate) fn looks_like(text: &str) -> bool {
    text.contains("Steps: ") && (text.contains("Sampler: ") || text.contains("Seed: ") || text.contains("CFG scale: "))
}

/// Reads the format. Returns `None` for an empty text; any other text is at least a prompt.
pub fn parse(text: &str) -> Option<GenerationMetadata> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if text.is_empty() {
        return None;
    }
    let mut lines: Vec<&str> = text.split('\n').collect();
    // As in the web UI: the last line holds settings if it has three of them, and is a part of the prompt otherwise. One that
    // begins with the steps is one however short it is.
    let mut settings = Vec::new();
    if let Some(last) = lines.last().copied() {
        let pairs = pairs(last);
        if pairs.len() >= 3 || (last.trim_start().starts_with("Steps: ") && !pairs.is_empty()) {
            settings = pairs;
            lines.pop();
        }
    }
    let mut generation = GenerationMetadata { source: "a1111".into(), ..GenerationMetadata::default() };
    let mut negative = false;
    for line in lines {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix("Negative prompt:") {
            negative = true;
            line = rest.trim();
        }
        let part = if negative { &mut generation.negative } else { &mut generation.prompt };
        if !part.is_empty() {
            part.push('\n');
        }
        part.push_str(line);
    }
    for (key, value) in settings {
        set(&mut generation, key, value);
    }
    Some(generation)
}

fn set(generation: &mut GenerationMetadata, key: &str, value: String) {
    // A value that is not what the name promises is kept as text.
    let understood = match key {
        "Steps" => put(&mut generation.steps, value.parse().ok()),
        "Sampler" => put(&mut generation.sampler, Some(value.clone())),
        "Schedule type" => put(&mut generation.scheduler, Some(value.clone())),
        "CFG scale" => put(&mut generation.cfg, value.parse().ok().filter(|cfg: &f64| cfg.is_finite())),
        "Seed" => put(&mut generation.seed, value.parse().ok()),
        "Size" => put(&mut generation.size, size(&value)),
        "Model" => put(&mut generation.model, Some(value.clone())),
        "Model hash" => put(&mut generation.model_hash, Some(value.clone())),
        "Denoising strength" => {
            put(&mut generation.denoising_strength, value.parse().ok().filter(|strength: &f64| strength.is_finite()))
        }
        _ => false,
    };
    if !understood {
        generation.extra.insert(key.to_owned(), value);
    }
}

fn put<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let understood = value.is_some();
    if understood {
        *slot = value;
    }
    understood
}

fn size(value: &str) -> Option<(u32, u32)> {
    let (width, height) = value.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// The `key: value` pairs of a settings line. A quoted value is a JSON string; a value in brackets ends where they close,
/// because some galleries put bare JSON there.
fn pairs(line: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && pairs.len() < MAX_PAIRS {
        let Some((key, value)) = key(rest) else {
            // Not a pair: what follows the next comma may be one.
            rest = rest.split_once(',').map_or("", |(_, after)| after).trim_start();
            continue;
        };
        let (value, after) = value_of(value);
        pairs.push((key, value));
        rest = after.trim_start();
    }
    pairs
}

/// The key at the start and what follows its colon: a word character, then word characters, spaces, hyphens and slashes.
fn key(text: &str) -> Option<(&str, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if !text.starts_with(word) {
        return None;
    }
    let end = text.find(|c: char| !(word(c) || matches!(c, ' ' | '-' | '/')))?;
    // The web UI's own pattern wants two characters.
    (end >= 2 && text[end..].starts_with(':')).then(|| (text[..end].trim_end(), text[end + 1..].trim_start()))
}

/// The value at the start, and what follows the comma after it.
fn value_of(text: &str) -> (String, &str) {
    let end = match text.as_bytes().first() {
        Some(b'"') => closing_quote(text).filter(|&end| ends_here(text, end)),
        Some(b'[' | b'{') => closing_bracket(text).filter(|&end| ends_here(text, end)),
        _ => None,
    };
    if let Some(end) = end {
        let raw = &text[..end];
        let after = text[end..].trim_start().strip_prefix(',').unwrap_or("");
        return (serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()), after);
    }
    let (value, after) = text.split_once(',').unwrap_or((text, ""));
    (value.trim_end().to_owned(), after)
}

fn ends_here(text: &str, end: usize) -> bool {
    let after = text[end..].trim_start();
    after.is_empty() || after.starts_with(',')
}

/// Just behind the quote that closes the one at the start.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Just behind the bracket that closes the one at the start.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Writes the format.
///
/// Reading it again gives the same values, except where the format itself cannot tell: lines of a prompt lose the spaces
/// around them, a line of the prompt that begins with "Negative prompt:" begins the negative one, and a prompt without any
/// settings whose last line looks like settings is taken for them. Outframe's own chunk beside it has none of these limits.
pub fn format(generation: &GenerationMetadata) -> String {
    let mut text = generation.prompt.clone();
    if !generation.negative.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("Negative prompt: ");
        text.push_str(&generation.negative);
    }
    let mut line = String::new();
    let mut pair = |key: &str, value: &str| {
        if !line.is_empty() {
            line.push_str(", ");
        }
        // Writing into a string cannot fail.
        let _ = write!(line, "{key}: {}", quote(value));
    };
    let g = generation;
    if let Some(steps) = g.steps {
        pair("Steps", &steps.to_string());
    }
    if let Some(sampler) = &g.sampler {
        pair("Sampler", sampler);
    }
    if let Some(scheduler) = &g.scheduler {
        pair("Schedule type", scheduler);
    }
    if let Some(cfg) = g.cfg {
        pair("CFG scale", &cfg.to_string());
    }
    if let Some(seed) = g.seed {
        pair("Seed", &seed.to_string());
    }
    if let Some((width, height)) = g.size {
        pair("Size", &format!("{width}x{height}"));
    }
    if let Some(hash) = &g.model_hash {
        pair("Model hash", hash);
    }
    if let Some(model) = &g.model {
        pair("Model", model);
    }
    if let Some(strength) = g.denoising_strength {
        pair("Denoising strength", &strength.to_string());
    }
    for (key, value) in &g.extra {
        if is_key(key) {
            pair(key, value);
        }
    }
    if !line.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text
}

/// Whether the format can hold the name.
fn is_key(name: &str) -> bool {
    key(&format!("{name}: ")).is_some_and(|(key, rest)| key == name && rest.is_empty())
}

/// As the web UI quotes: only what would be misread bare.
fn quote(value: &str) -> String {
    let bare = !value.is_empty()
        && !value.contains([',', '\n', '\r', ':'])
        && !value.starts_with(['"', '[', '{'])
        && value.trim() == value;
    if bare { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_web_ui_writes_is_read() {
        let text = "a castle on a hill,\n<lora:detail:0.8> (sunset:1.2)\nNegative prompt: blurry, low quality\nwatermark\n\
            Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4294967296, Size: 832x1216, \
            Model hash: 31e35c80fc, Model: sd_xl_base_1.0, Denoising strength: 0.35, Hires upscale: 2, \
            Lora hashes: \"detail: 7c6bad76eb54, other: 12\", Version: v1.9.4";
        let read = parse(text).unwrap();
        assert_eq!(read.prompt, "a castle on a hill,\n<lora:detail:0.8> (sunset:1.2)");
        assert_eq!(read.negative, "blurry, low quality\nwatermark");
        assert_eq!((read.steps, read.seed, read.cfg), (Some(28), Some(4_294_967_296), Some(6.5)));
        assert_eq!(read.sampler.as_deref(), Some("DPM++ 2M"));
        assert_eq!(read.scheduler.as_deref(), Some("Karras"));
        assert_eq!(read.size, Some((832, 1216)));
        assert_eq!(read.model.as_deref(), Some("sd_xl_base_1.0"));
        assert_eq!(read.model_hash.as_deref(), Some("31e35c80fc"));
        assert_eq!(read.denoising_strength, Some(0.35));
        assert_eq!(read.extra["Lora hashes"], "detail: 7c6bad76eb54, other: 12");
        assert_eq!(read.extra["Version"], "v1.9.4");
        assert_eq!(parse(&format(&read)).unwrap(), read);
    }

    #[test]
    fn bare_json_does_not_swallow_the_rest() {
        let text =
            "cat\nSteps: 20, Civitai resources: [{\"type\":\"checkpoint\",\"id\":1}], Civitai metadata: {}, Seed: 5";
        let read = parse(text).unwrap();
        assert_eq!(read.seed, Some(5));
        assert_eq!(read.extra["Civitai resources"], "[{\"type\":\"checkpoint\",\"id\":1}]");
        assert_eq!(read.extra["Civitai metadata"], "{}");
    }

    #[test]
    fn a_prompt_alone_stays_a_prompt() {
        assert_eq!(parse("a cat, style: ink").unwrap().prompt, "a cat, style: ink");
        assert_eq!(parse(" \n\0"), None);
        let read = parse("Negative prompt: fog\nSteps: 1").unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str(), read.steps), ("", "fog", Some(1)));
    }

    #[test]
    fn values_of_the_wrong_kind_are_kept_as_text() {
        let read = parse("x\nSteps: many, Seed: -1, Size: large, CFG scale: NaN").unwrap();
        assert_eq!((read.steps, read.seed, read.size, read.cfg), (None, None, None, None));
        assert_eq!(read.extra["Seed"], "-1");
        assert_eq!(read.extra["Size"], "large");
    }
}
