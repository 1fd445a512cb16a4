//! `ComfyUI`'s node graphs: which texts and numbers led to the picture.
//!
//! The graph is walked from the node that saves the picture back to the first sampler, and from there along its inputs. A graph
//! may be of any size and may loop: every walk carries the set of nodes that it has seen, and their number is bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::{
    GenerationMetadata,
    json::{number, small, text, whole},
};
use crate::Limits;

/// Most bytes of a prompt that is put together from several nodes.
const MAX_PROMPT: usize = 64 << 10;

/// A node: its class and its inputs, each a plain value or a link `[node, slot]`.
struct Node<'a> {
    class: &'a str,
    inputs: BTreeMap<&'a str, Value>,
}

struct Graph<'a> {
    nodes: BTreeMap<String, Node<'a>>,
}

/// Reads the graph as it was run (`prompt`).
pub(super) fn of_prompt(value: &Value, limits: &Limits) -> Option<GenerationMetadata> {
    let object = value.as_object()?;
    // Some programs wrap it as they send it.
    let object = object.get("prompt").and_then(Value::as_object).unwrap_or(object);
    let nodes = object
        .iter()
        .take(limits.max_items)
        .filter_map(|(id, node)| {
            let class = node.get("class_type")?.as_str()?;
            let inputs = node.get("inputs")?.as_object()?;
            let inputs = inputs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            Some((id.clone(), Node { class, inputs }))
        })
        .collect();
    Graph { nodes }.read()
}

/// Reads the graph as it was drawn (`workflow`), in which values have places instead of names; those of the usual nodes are
/// known.
pub(super) fn of_workflow(value: &Value, limits: &Limits) -> Option<GenerationMetadata> {
    // [id, from node, from slot, to node, to slot, type]
    let links: BTreeMap<u64, (String, u64)> = value
        .get("links")?
        .as_array()?
        .iter()
        .take(limits.max_items.saturating_mul(8))
        .filter_map(|link| {
            let from = id(link.get(1)?)?;
            Some((whole(link.get(0)?)?, (from, whole(link.get(2)?)?)))
        })
        .collect();
    let nodes = value
        .get("nodes")?
        .as_array()?
        .iter()
        .take(limits.max_items)
        // 2 = muted, 4 = bypassed.
        .filter(|node| !matches!(node.get("mode").and_then(whole), Some(2 | 4)))
        .filter_map(|node| {
            let class = node.get("type")?.as_str()?;
            let mut inputs = widgets(class, node.get("widgets_values"));
            for input in node.get("inputs").and_then(Value::as_array).into_iter().flatten().take(256) {
                if let Some(name) = input.get("name").and_then(Value::as_str)
                    && let Some((from, slot)) = input.get("link").and_then(whole).and_then(|link| links.get(&link))
                {
                    inputs.insert(name, Value::Array(vec![from.as_str().into(), (*slot).into()]));
                }
            }
            Some((id(node.get("id")?)?, Node { class, inputs }))
        })
        .collect();
    Graph { nodes }.read()
}

fn id(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|id| id.to_string()))
}

/// The names of a usual node's values, in the order in which they are drawn; "" is one that is not needed.
fn widgets<'a>(class: &str, values: Option<&Value>) -> BTreeMap<&'a str, Value> {
    let names: &[&'a str] = match class {
        "KSampler" => &["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
        "KSamplerAdvanced" => &["add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"],
        "SamplerCustom" => &["add_noise", "noise_seed", "", "cfg"],
        "CLIPTextEncode" | "String" | "PrimitiveString" | "PrimitiveStringMultiline" => &["text"],
        "CLIPTextEncodeFlux" => &["clip_l", "t5xxl", "guidance"],
        "CheckpointLoaderSimple" | "CheckpointLoader" => &["ckpt_name"],
        "UNETLoader" => &["unet_name"],
        "EmptyLatentImage" | "EmptySD3LatentImage" | "EmptyHunyuanLatentVideo" => &["width", "height"],
        "RandomNoise" => &["noise_seed"],
        "KSamplerSelect" => &["sampler_name"],
        "BasicScheduler" => &["scheduler", "steps", "denoise"],
        "CFGGuider" => &["cfg"],
        "LoraLoader" => &["lora_name", "strength_model", "strength_clip"],
        "LoraLoaderModelOnly" => &["lora_name", "strength_model"],
        _ => &[],
    };
    match values {
        Some(Value::Array(values)) => {
            names.iter().copied().zip(values.iter().cloned()).filter(|(name, _)| !name.is_empty()).collect()
        }
        // Some nodes name their values.
        Some(Value::Object(values)) => named(names, values),
        _ => BTreeMap::new(),
    }
}

fn named<'a>(names: &[&'a str], values: &Map<String, Value>) -> BTreeMap<&'a str, Value> {
    names.iter().filter_map(|name| Some((*name, values.get(*name)?.clone()))).collect()
}

/// Which of two prompts is being looked for, where a node passes both on.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Positive,
    Negative,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// Under which names nodes hold a plain value, the likeliest first.
const VALUES: [&str; 12] =
    ["value", "seed", "noise_seed", "int", "float", "text", "string", "String", "Text", "number", "steps", "cfg"];

fn link(value: &Value) -> Option<(String, u64)> {
    match value.as_array()?.as_slice() {
        [node, slot] => Some((id(node)?, whole(slot)?)),
        _ => None,
    }
}

impl Graph<'_> {
    fn read(&self) -> Option<GenerationMetadata> {
        let sampler = self.sampler()?;
        let mut generation = GenerationMetadata { source: "comfyui".into(), ..GenerationMetadata::default() };
        let look = |names: &[&str]| names.iter().find_map(|name| self.value(sampler.inputs.get(name)?));
        generation.seed = look(&["seed", "noise_seed"]).as_ref().and_then(whole);
        generation.steps = look(&["steps"]).as_ref().and_then(small);
        generation.cfg = look(&["cfg", "guidance"]).as_ref().and_then(number);
        generation.sampler = look(&["sampler_name"]).as_ref().and_then(text);
        generation.scheduler = look(&["scheduler"]).as_ref().and_then(text);
        generation.denoising_strength = look(&["denoise"]).as_ref().and_then(number);
        // The custom samplers have these in nodes of their own.
        if let Some(node) = self.input_node(sampler, "noise") {
            generation.seed = generation.seed.or_else(|| whole(&self.value(node.inputs.get("noise_seed")?)?));
        }
        if let Some(node) = self.input_node(sampler, "sampler") {
            generation.sampler = generation.sampler.or_else(|| text(&self.value(node.inputs.get("sampler_name")?)?));
        }
        if let Some(node) = self.input_node(sampler, "sigmas") {
            let get = |name: &str| self.value(node.inputs.get(name)?);
            generation.scheduler = generation.scheduler.or_else(|| text(&get("scheduler")?));
            generation.steps = generation.steps.or_else(|| small(&get("steps")?));
            generation.denoising_strength = generation.denoising_strength.or_else(|| number(&get("denoise")?));
        }
        let guider = self.input_node(sampler, "guider").unwrap_or(sampler);
        generation.cfg = generation.cfg.or_else(|| number(&self.value(guider.inputs.get("cfg")?)?));
        for (role, names) in [(Role::Positive, ["positive", "conditioning"]), (Role::Negative, ["negative", ""])] {
            let found = names
                .iter()
                .find_map(|name| link(guider.inputs.get(name)?))
                .map(|start| self.conditioning(start, role))
                .unwrap_or_default();
            *(if role == Role::Positive { &mut generation.prompt } else { &mut generation.negative }) = found;
        }
        let model_from = if guider.inputs.contains_key("model") { guider } else { sampler };
        self.model(model_from, &mut generation);
        generation.size = self.size(sampler);
        let says_something = !generation.prompt.is_empty() || generation.seed.is_some() || generation.steps.is_some();
        says_something.then_some(generation)
    }

    /// The sampler that is nearest to the saved picture; of several outputs the one with the lowest number.
    fn sampler(&self) -> Option<&Node<'_>> {
        let is_output = |node: &Node<'_>| {
            node.class.starts_with("Save") || node.class.contains("Preview") || node.class.contains("SaveImage")
        };
        for (start, _) in self.nodes.iter().filter(|(_, node)| is_output(node)) {
            let mut seen = BTreeSet::new();
            let mut queue = VecDeque::from([start.clone()]);
            while let Some(id) = queue.pop_front() {
                if !seen.insert(id.clone()) {
                    continue;
                }
                let Some(node) = self.nodes.get(&id) else { continue };
                if is_sampler(node) {
                    return Some(node);
                }
                queue.extend(node.inputs.values().filter_map(link).map(|(id, _)| id));
            }
        }
        self.nodes.values().find(|node| is_sampler(node))
    }

    fn input_node(&self, node: &Node<'_>, name: &str) -> Option<&Node<'_>> {
        self.nodes.get(&link(node.inputs.get(name)?)?.0)
    }

    /// The plain value at the end of a link, or the value itself.
    fn value(&self, value: &Value) -> Option<Value> {
        let mut value = value.clone();
        let mut seen = BTreeSet::new();
        while let Some((id, _)) = link(&value) {
            if !seen.insert(id.clone()) {
                return None;
            }
            let node = self.nodes.get(&id)?;
            value = VALUES.iter().find_map(|name| node.inputs.get(name))?.clone();
        }
        (!value.is_array() && !value.is_object()).then_some(value)
    }

    /// The texts that a conditioning is made of, nearest first.
    fn conditioning(&self, start: (String, u64), role: Role) -> String {
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([start]);
        let mut found: Vec<String> = Vec::new();
        let mut length = 0;
        while let Some((id, slot)) = queue.pop_front() {
            if !seen.insert((id.clone(), slot)) || seen.len() > self.nodes.len().saturating_mul(4) {
                continue;
            }
            let Some(node) = self.nodes.get(&id) else { continue };
            // A picture of nothing: the negative prompt that Flux graphs make from the positive one.
            if node.class == "ConditioningZeroOut" {
                continue;
            }
            let mut texts = Vec::new();
            for name in ["text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "text_positive", "text_negative"] {
                let other = match role {
                    Role::Positive => "text_negative",
                    Role::Negative => "text_positive",
                };
                if name != other
                    && let Some(value) = node.inputs.get(name)
                    && let Some(text) = self.text(value)
                    && !texts.contains(&text)
                {
                    texts.push(text);
                }
            }
            if !texts.is_empty() {
                for text in texts {
                    length += text.len();
                    if length <= MAX_PROMPT && !found.contains(&text) {
                        found.push(text);
                    }
                }
                continue;
            }
            // Nodes such as ControlNetApplyAdvanced pass both prompts on, by slot 0 and 1.
            if node.inputs.contains_key("positive") && node.inputs.contains_key("negative") {
                let name = match slot {
                    0 => "positive",
                    1 => "negative",
                    _ => role.name(),
                };
                queue.extend(node.inputs.get(name).and_then(link));
            } else {
                let through = node.inputs.iter().filter(|(name, _)| {
                    name.starts_with("conditioning")
                        || matches!(**name, "positive" | "negative" | "base_positive" | "cond")
                });
                queue.extend(through.filter_map(|(_, value)| link(value)));
            }
        }
        found.join("\n")
    }

    /// A text, or the texts that nodes put together to one.
    fn text(&self, value: &Value) -> Option<String> {
        if let Some(text) = value.as_str() {
            return super::some(text);
        }
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([link(value)?.0]);
        let mut parts: Vec<&str> = Vec::new();
        let mut length = 0;
        while let Some(id) = queue.pop_front() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let Some(node) = self.nodes.get(&id) else { continue };
            for (name, value) in &node.inputs {
                let name = name.to_ascii_lowercase();
                if !(name.contains("text") || name.contains("string") || name.contains("prompt") || name == "value") {
                    continue;
                }
                if let Some(text) = value.as_str() {
                    length += text.len();
                    if length <= MAX_PROMPT && !text.trim().is_empty() {
                        parts.push(text.trim());
                    }
                } else if let Some((id, _)) = link(value) {
                    queue.push_back(id);
                }
            }
        }
        super::some(&parts.join(", "))
    }

    fn model(&self, from: &Node<'_>, generation: &mut GenerationMetadata) {
        let mut seen = BTreeSet::new();
        let mut loras = Vec::new();
        let mut next = from.inputs.get("model").and_then(link);
        while let Some((id, _)) = next {
            if !seen.insert(id.clone()) {
                break;
            }
            let Some(node) = self.nodes.get(&id) else { break };
            let get = |name: &str| text(&self.value(node.inputs.get(name)?)?);
            if let Some(lora) = get("lora_name")
                && loras.len() < 64
            {
                let strength = node.inputs.get("strength_model").and_then(|value| number(&self.value(value)?));
                loras.push(strength.map_or(lora.clone(), |strength| format!("{lora}: {strength}")));
            }
            if let Some(name) = ["ckpt_name", "unet_name", "model_name"].iter().find_map(|name| get(name)) {
                generation.model = Some(name);
                break;
            }
            next = node.inputs.get("model").and_then(link);
        }
        if !loras.is_empty() {
            // The one that is applied first stands first.
            loras.reverse();
            generation.extra.insert("Loras".into(), loras.join(", "));
        }
    }

    fn size(&self, sampler: &Node<'_>) -> Option<(u32, u32)> {
        let mut seen = BTreeSet::new();
        let mut next = ["latent_image", "samples", "latent"].iter().find_map(|name| link(sampler.inputs.get(name)?));
        while let Some((id, _)) = next {
            if !seen.insert(id.clone()) {
                return None;
            }
            let node = self.nodes.get(&id)?;
            let get = |name: &str| small(&self.value(node.inputs.get(name)?)?);
            if let (Some(width), Some(height)) = (get("width"), get("height")) {
                return Some((width, height));
            }
            next = ["samples", "latent", "latent_image"].iter().find_map(|name| link(node.inputs.get(name)?));
        }
        None
    }
}

/// The usual samplers, and any other node that takes what a sampler takes.
fn is_sampler(node: &Node<'_>) -> bool {
    matches!(node.class, "KSampler" | "KSamplerAdvanced" | "SamplerCustom" | "SamplerCustomAdvanced")
        || (node.class.contains("Sampler")
            && (node.inputs.contains_key("positive") || node.inputs.contains_key("guider"))
            && (node.inputs.contains_key("latent_image") || node.inputs.contains_key("steps")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain() -> Value {
        json!({
            "3": {"class_type": "KSampler", "inputs": {"seed": 156_680_208_700_286_u64, "steps": 20, "cfg": 8, "sampler_name": "euler",
                "scheduler": "normal", "denoise": 1.0, "model": ["10", 0], "positive": ["20", 0], "negative": ["20", 1],
                "latent_image": ["5", 0]}},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
            "10": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "clip": ["4", 1], "lora_name": "ink.safetensors", "strength_model": 0.8}},
            "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["30", 0], "clip": ["4", 1]}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "watermark", "clip": ["4", 1]}},
            "20": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0}},
            "30": {"class_type": "PrimitiveString", "inputs": {"value": "a glass bottle"}},
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
        })
    }

    #[test]
    fn a_graph_with_a_controlnet_and_a_text_node() {
        let read = of_prompt(&plain(), &Limits::default()).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str()), ("a glass bottle", "watermark"));
        assert_eq!((read.seed, read.steps, read.cfg), (Some(156_680_208_700_286), Some(20), Some(8.0)));
        assert_eq!((read.sampler.as_deref(), read.scheduler.as_deref()), (Some("euler"), Some("normal")));
        assert_eq!(read.model.as_deref(), Some("v1-5.safetensors"));
        assert_eq!(read.extra["Loras"], "ink.safetensors: 0.8");
        assert_eq!(read.size, Some((512, 768)));
    }

    #[test]
    fn the_custom_sampler_has_its_values_in_other_nodes() {
        let graph = json!({
            "1": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
            "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 99}},
            "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
            "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
            "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 0.5, "model": ["7", 0]}},
            "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": ["12", 0], "height": 1024}},
            "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux.safetensors"}},
            "8": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["9", 0]}},
            "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "a heron", "clip": ["10", 0]}},
            "12": {"class_type": "PrimitiveInt", "inputs": {"value": 832}},
        });
        let read = of_prompt(&graph, &Limits::default()).unwrap();
        assert_eq!((read.prompt.as_str(), read.seed, read.steps), ("a heron", Some(99), Some(4)));
        assert_eq!((read.sampler.as_deref(), read.scheduler.as_deref()), (Some("dpmpp_2m"), Some("simple")));
        assert_eq!((read.model.as_deref(), read.size), (Some("flux.safetensors"), Some((832, 1024))));
        assert_eq!(read.denoising_strength, Some(0.5));
    }

    #[test]
    fn a_drawn_graph_is_read_by_places() {
        let graph = json!({
            "nodes": [
                {"id": 3, "type": "KSampler", "widgets_values": [7, "fixed", 12, 5.5, "euler", "karras", 1],
                 "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 2}, {"name": "negative", "link": 3}]},
                {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["sdxl.safetensors"]},
                {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a lighthouse"], "inputs": []},
                {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["text"]},
            ],
            "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"], [3, 7, 0, 3, 2, "CONDITIONING"]],
        });
        let read = of_workflow(&graph, &Limits::default()).unwrap();
        assert_eq!((read.prompt.as_str(), read.negative.as_str()), ("a lighthouse", "text"));
        assert_eq!((read.seed, read.steps, read.cfg), (Some(7), Some(12), Some(5.5)));
        assert_eq!((read.scheduler.as_deref(), read.model.as_deref()), (Some("karras"), Some("sdxl.safetensors")));
    }

    #[test]
    fn loops_end() {
        let graph = json!({
            "1": {"class_type": "KSampler", "inputs": {"seed": ["2", 0], "steps": 3, "model": ["1", 0], "positive": ["3", 0],
                "negative": ["1", 0], "latent_image": ["1", 0]}},
            "2": {"class_type": "Seed", "inputs": {"seed": ["2", 0]}},
            "3": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0], "conditioning_2": ["4", 0]}},
            "4": {"class_type": "CLIPTextEncode", "inputs": {"text": ["5", 0]}},
            "5": {"class_type": "Concat", "inputs": {"text_a": ["5", 0], "text_b": "end"}},
        });
        let read = of_prompt(&graph, &Limits::default()).unwrap();
        assert_eq!((read.seed, read.steps, read.prompt.as_str()), (None, Some(3), "end"));
        assert_eq!(of_prompt(&json!({"1": 5, "2": {"class_type": 1}}), &Limits::default()), None);
    }
}
