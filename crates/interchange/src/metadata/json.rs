//! Descriptions in JSON: bounded parsing, `InvokeAI`'s and `NovelAI`'s.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{GenerationMetadata, some};

/// Most bytes of one JSON text: a parsed value needs many times the memory of its text.
const MAX_JSON: usize = 4 << 20;

/// Parses JSON of bounded size. The parser itself refuses more than 128 levels of nesting.
///
/// `ComfyUI` writes bare `NaN` and `Infinity`, which is not JSON; they are read as null.
pub(super) fn parse(text: &str) -> Option<Value> {
    if text.len() > MAX_JSON {
        return None;
    }
    let text = text.trim_end_matches('\0');
    serde_json::from_str(text).ok().or_else(|| {
        (text.contains("NaN") || text.contains("Infinity"))
            .then(|| serde_json::from_str(&without_nan(text)).ok())
            .flatten()
    })
}

fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !quoted
            && let Some((word, after)) =
                ["-Infinity", "Infinity", "NaN"].iter().find_map(|word| Some((word, rest.strip_prefix(word)?)))
        {
            let _ = word;
            out.push_str("null");
            rest = after;
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// A whole number, also one written as text or as 7.0.
pub(super) fn whole(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|v| v.fract() == 0.0 && (0.0..9.0e15).contains(v)).map(|v| v as u64))
        .or_else(|| value.as_str()?.trim().parse().ok())
}

pub(super) fn small(value: &Value) -> Option<u32> {
    whole(value)?.try_into().ok()
}

/// A number, also one written as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|v| v.is_finite())
}

pub(super) fn text(value: &Value) -> Option<String> {
    some(value.as_str()?)
}

fn size(object: &Value) -> Option<(u32, u32)> {
    Some((small(object.get("width")?)?, small(object.get("height")?)?))
}

/// What is not understood but short, as text.
fn rest(object: &Value, known: &[&str]) -> BTreeMap<String, String> {
    let Some(object) = object.as_object() else { return BTreeMap::new() };
    object
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()))
        .filter_map(|(key, value)| {
            let value = match value {
                Value::String(value) => value.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return None,
            };
            (value.len() <= 4096).then(|| (key.clone(), value))
        })
        .collect()
}

/// `InvokeAI`'s `invokeai_metadata`, and its older `sd-metadata`.
pub(super) fn invokeai(value: &Value) -> Option<GenerationMetadata> {
    let get = |key: &str| value.get(key);
    if let Some(image) = get("image") {
        return invokeai_2(value, image);
    }
    // Version 3.0 wrote names that later versions do not.
    let model = get("model").or_else(|| get("model_weights"));
    let name =
        |model: &Value| ["name", "model_name"].iter().find_map(|key| text(model.get(key)?)).or_else(|| text(model));
    let generation = GenerationMetadata {
        prompt: get("positive_prompt").and_then(text).unwrap_or_default(),
        negative: get("negative_prompt").and_then(text).unwrap_or_default(),
        seed: get("seed").and_then(whole),
        steps: get("steps").and_then(small),
        cfg: get("cfg_scale").and_then(number),
        // InvokeAI has one name for both.
        sampler: get("scheduler").and_then(text),
        scheduler: None,
        model: model.and_then(name),
        model_hash: model.and_then(|model| text(model.get("hash")?)),
        size: size(value),
        denoising_strength: get("strength").and_then(number),
        source: "invokeai".into(),
        extra: rest(
            value,
            &[
                "positive_prompt",
                "negative_prompt",
                "seed",
                "steps",
                "cfg_scale",
                "scheduler",
                "width",
                "height",
                "strength",
                "model_weights",
            ],
        ),
    };
    (!generation.prompt.is_empty() || generation.seed.is_some()).then_some(generation)
}

fn invokeai_2(value: &Value, image: &Value) -> Option<GenerationMetadata> {
    let get = |key: &str| image.get(key);
    let prompt = match get("prompt")? {
        Value::String(prompt) => prompt.clone(),
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(|part| part.get("prompt")?.as_str()).collect();
            parts.join("\n")
        }
        _ => return None,
    };
    // The negative prompt stands in square brackets inside the prompt.
    let (mut positive, mut negative) = (String::new(), String::new());
    let mut inside = false;
    for c in prompt.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            _ if inside => negative.push(c),
            _ => positive.push(c),
        }
    }
    Some(GenerationMetadata {
        prompt: positive.trim().to_owned(),
        negative: negative.trim().to_owned(),
        seed: get("seed").and_then(whole),
        steps: get("steps").and_then(small),
        cfg: get("cfg_scale").and_then(number),
        sampler: get("sampler").and_then(text),
        scheduler: None,
        model: value.get("model_weights").and_then(text),
        model_hash: value.get("model_hash").and_then(text),
        size: size(image),
        denoising_strength: get("strength").and_then(number),
        source: "invokeai".into(),
        extra: BTreeMap::new(),
    })
}

/// The comment that `NovelAI` writes beside the prompt in `Description`.
pub(super) fn novelai(value: &Value, description: Option<&str>) -> Option<GenerationMetadata> {
    let get = |key: &str| value.get(key);
    let seed = get("seed").and_then(whole);
    let negative = get("uc").and_then(text);
    if seed.is_none() || (negative.is_none() && get("scale").is_none()) {
        return None;
    }
    Some(GenerationMetadata {
        prompt: get("prompt").and_then(text).or_else(|| some(description?)).unwrap_or_default(),
        negative: negative.unwrap_or_default(),
        seed,
        steps: get("steps").and_then(small),
        cfg: get("scale").and_then(number),
        sampler: get("sampler").and_then(text),
        scheduler: get("noise_schedule").and_then(text),
        model: None,
        model_hash: None,
        size: size(value),
        denoising_strength: get("strength").and_then(number),
        source: "novelai".into(),
        extra: rest(
            value,
            &[
                "seed",
                "uc",
                "scale",
                "steps",
                "sampler",
                "noise_schedule",
                "width",
                "height",
                "strength",
                "prompt",
                "signed_hash",
            ],
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_null_outside_texts_only() {
        let value = parse(r#"{"is_changed":[NaN,-Infinity],"text":"NaN \" Infinity"}"#).unwrap();
        assert!(value["is_changed"][0].is_null() && value["is_changed"][1].is_null());
        assert_eq!(value["text"], "NaN \" Infinity");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(200_000);
        assert_eq!(parse(&deep), None);
        let closed = format!("{}{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(parse(&closed), None);
    }

    #[test]
    fn invokeai_of_both_ages_is_read() {
        let new = parse(
            r#"{"positive_prompt":"a fox","negative_prompt":"fog","seed":7,"steps":30,"cfg_scale":7.5,"scheduler":"euler_a",
            "width":512,"height":768,"model":{"name":"dreamshaper","hash":"blake3:ab"},"app_version":"5.0"}"#,
        )
        .unwrap();
        let read = invokeai(&new).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str(), read.seed), ("a fox", "fog", Some(7)));
        assert_eq!(read.model.as_deref(), Some("dreamshaper"));
        assert_eq!(read.extra["app_version"], "5.0");
        let old = parse(
            r#"{"model_weights":"sd-1.4","model_hash":"fe43","image":{"prompt":[{"prompt":"a fox [fog]","weight":1}],"steps":50,
            "cfg_scale":7.5,"seed":9,"sampler":"k_lms","width":512,"height":512}}"#,
        )
        .unwrap();
        let read = invokeai(&old).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str(), read.steps), ("a fox", "fog", Some(50)));
    }

    #[test]
    fn novelai_is_read() {
        let comment =
            parse(r#"{"steps":28,"sampler":"k_euler","seed":42,"scale":11.0,"uc":"bad hands","strength":0.7}"#)
                .unwrap();
        let read = novelai(&comment, Some("a lake")).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str(), read.cfg), ("a lake", "bad hands", Some(11.0)));
        assert_eq!(novelai(&parse("{\"a\":1}").unwrap(), None), None);
    }
}
