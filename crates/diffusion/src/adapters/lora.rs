//! `LoRA` (Hu et al., "Low-rank adaptation of large language models", 2021): a small file that shifts a model's
//! weights by products of two narrow matrices, `W + weight * alpha / rank * up * down`; for convolutions with a third,
//! the core of a Tucker decomposition (Yeh et al., "Navigating text-to-image customization", ICLR 2024, "`LoCon`").
//!
//! Files name the layers in several ways, which all lead to the same slot: by kohya (`lora_unet_..._to_q`), by the
//! original code's block numbers (`lora_unet_input_blocks_4_1_...`), by diffusers and PEFT (`unet....to_q.lora_A`), and
//! by old diffusers (`...processor.to_q_lora.down`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::slot::{Slot, Slots};
use crate::Error;
use crate::config::Config;
use crate::weights::Weights;

/// Weights beyond this are a slip of the keyboard; pictures fall apart long before.
const MAX_WEIGHT: f64 = 100.0;

/// More adapters at once are refused.
const MAX_LORAS: usize = 64;

/// A `LoRA` file and how strongly it counts.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Lora {
    /// The `SafeTensors` file.
    pub path: PathBuf,
    /// 1 as it was trained, 0 not at all, negative the other way; -100 to 100.
    pub weight: f64,
}

/// The adapters in force.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    loras: Vec<(Lora, Stamp)>,
    warnings: Vec<String>,
}

/// What tells that a file is still the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// One of the model's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    UNet,
    Text(usize),
}

/// Which factor of the product a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Down,
    Up,
    Mid,
    Alpha,
}

/// The tensors of one layer, by their names in the file.
type Factors = BTreeMap<Part, String>;

impl Applied {
    /// Whether nothing is in force.
    pub(crate) fn none(&self) -> bool {
        self.loras.is_empty()
    }

    /// Puts exactly these adapters in force, and tells what a person should know. Nothing is done when they are in force
    /// already; when one fails, those from before stay.
    pub(crate) fn set(&mut self, loras: &[Lora], unet: &Slots, texts: &[&Slots]) -> Result<Vec<String>, Error> {
        if loras.len() > MAX_LORAS {
            return Err(Error::Request(format!("{} LoRAs at once are too many; at most {MAX_LORAS} are", loras.len())));
        }
        let mut wanted = Vec::new();
        for lora in loras {
            if !(lora.weight.is_finite() && lora.weight.abs() <= MAX_WEIGHT) {
                let (path, weight) = (lora.path.display(), lora.weight);
                return Err(Error::Request(format!(
                    "a weight of {weight} for {path} is impossible; -{MAX_WEIGHT} to {MAX_WEIGHT} are"
                )));
            }
            let found =
                std::fs::metadata(&lora.path).map_err(|source| Error::Read { path: lora.path.clone(), source })?;
            wanted.push((lora.clone(), Stamp { bytes: found.len(), modified: found.modified().ok() }));
        }
        if self.loras == wanted {
            return Ok(self.warnings.clone());
        }
        let (patched, warnings) = compute(loras, unet, texts)?;
        let all = std::iter::once((Network::UNet, unet))
            .chain(texts.iter().enumerate().map(|(i, slots)| (Network::Text(i), *slots)));
        let mut patched = patched;
        for (network, slots) in all {
            for (path, slot) in slots {
                slot.patch(patched.remove(&(network, path.as_str())));
            }
        }
        (self.loras, self.warnings) = (wanted, warnings.clone());
        Ok(warnings)
    }
}

/// The sum of base and adapters for each slot that any of them changes.
#[allow(clippy::type_complexity, reason = "used in one place")]
fn compute<'a>(
    loras: &[Lora],
    unet: &'a Slots,
    texts: &[&'a Slots],
) -> Result<(BTreeMap<(Network, &'a str), Tensor>, Vec<String>), Error> {
    let places = Places::new(unet, texts);
    let (mut sums, mut warnings) = (BTreeMap::new(), Vec::new());
    for lora in loras {
        // The factors are multiplied where the model is, once, in f32.
        let device = unet.values().next().map_or(Device::Cpu, |slot| slot.base().device());
        let file = File::open(&lora.path, device)?;
        file.check_family(&places)?;
        let mut unmapped = Vec::new();
        let mut count = 0_usize;
        for (module, factors) in &file.modules {
            let Some((key, slot)) = places.find(module) else {
                unmapped.push(module.as_str());
                continue;
            };
            count += 1;
            if lora.weight == 0.0 {
                file.check(module, factors, &slot.base().size(), &places)?;
                continue;
            }
            let change = file.change(module, factors, &slot.base(), lora.weight, &places)?;
            let sum = match sums.remove(&key) {
                Some(sum) => change.f_add(&sum)?,
                None => change,
            };
            sums.insert(key, sum);
        }
        if count == 0 {
            let some = unmapped.first().copied().unwrap_or("none");
            return Err(file.bad(format!(
                "none of its {} layers exists in the model (the first is `{some}`); it is for another kind of model, or no LoRA",
                file.modules.len()
            )));
        }
        if !unmapped.is_empty() {
            let name = lora.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            warnings.push(format!(
                "{} of the {} layers of the LoRA {name} do not exist in this model and were left out: {}{}",
                unmapped.len(),
                file.modules.len(),
                unmapped[..unmapped.len().min(5)].join(", "),
                if unmapped.len() > 5 { ", ..." } else { "" }
            ));
        }
    }
    let mut patched = BTreeMap::new();
    for (key, sum) in sums {
        if let Some(slot) = places.slots.get(&key) {
            let base = slot.base();
            patched.insert(key, base.f_to_kind(Kind::Float)?.f_add(&sum)?.f_to_kind(base.kind())?);
        }
    }
    Ok((patched, warnings))
}

/// Where the names in files lead. Dots are underscores here, as in kohya's names: no two layers differ in that alone.
struct Places<'a> {
    slots: BTreeMap<(Network, &'a str), &'a Slot>,
    names: BTreeMap<(Network, String), &'a str>,
    /// The length of a prompt's vectors, which tells the families of models apart.
    width: Option<i64>,
}

impl<'a> Places<'a> {
    fn new(unet: &'a Slots, texts: &[&'a Slots]) -> Self {
        let (mut slots, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (i, &text) in texts.iter().enumerate() {
            for (path, slot) in text {
                let bare = path.strip_prefix("text_model.").unwrap_or(path);
                slots.insert((Network::Text(i), path.as_str()), slot);
                names.insert((Network::Text(i), bare.replace('.', "_")), path.as_str());
            }
        }
        for (path, slot) in unet {
            slots.insert((Network::UNet, path.as_str()), slot);
            names.insert((Network::UNet, path.replace('.', "_")), path.as_str());
        }
        for (alias, path) in original_names(unet) {
            names.entry((Network::UNet, alias)).or_insert(path);
        }
        let width = unet
            .iter()
            .find(|(path, _)| path.ends_with("attn2.to_k"))
            .and_then(|(_, slot)| slot.base().size().get(1).copied());
        Self { slots, names, width }
    }

    /// The slot of a layer's name in a file.
    fn find(&self, module: &str) -> Option<((Network, &'a str), &'a Slot)> {
        let (network, name) = network_of(module)?;
        let mut name = name.replace(".processor.", ".").replace('.', "_");
        if let (Network::Text(_), Some((layer, old))) = (network, name.split_once("_self_attn_to_")) {
            // The oldest diffusers files call CLIP's layers by the UNet's names.
            name = format!("{layer}_self_attn_{old}_proj");
        }
        let path = self.names.get(&(network, name.clone())).or_else(|| {
            // Old diffusers files leave out that the output is the first of a list.
            name.ends_with("_to_out").then(|| self.names.get(&(network, format!("{name}_0")))).flatten()
        })?;
        let key = (network, *path);
        self.slots.get(&key).map(|slot| (key, *slot))
    }
}

/// Which network a layer's name belongs to, and the rest of the name.
fn network_of(module: &str) -> Option<(Network, &str)> {
    let module = module.strip_prefix("base_model.model.").unwrap_or(module);
    for (prefix, network) in [
        ("lora_unet_", Network::UNet),
        ("unet.", Network::UNet),
        ("lora_te_", Network::Text(0)),
        ("lora_te1_", Network::Text(0)),
        ("text_encoder.", Network::Text(0)),
        ("lora_te2_", Network::Text(1)),
        ("text_encoder_2.", Network::Text(1)),
    ] {
        if let Some(rest) = module.strip_prefix(prefix) {
            let rest = match network {
                Network::UNet => rest,
                Network::Text(_) => {
                    rest.strip_prefix("text_model_").or_else(|| rest.strip_prefix("text_model.")).unwrap_or(rest)
                }
            };
            return Some((network, rest));
        }
    }
    if let Some(rest) = module.strip_prefix("text_model.") {
        return Some((Network::Text(0), rest));
    }
    // Without a prefix: a file for the UNet alone.
    ["down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.", "add_embedding."]
        .iter()
        .any(|start| module.starts_with(start))
        .then_some((Network::UNet, module))
}

/// The names of a UNet's layers in the original code, which numbers the blocks of each half through.
fn original_names(unet: &Slots) -> Vec<(String, &str)> {
    // Layers in each block of each half, and whether they attend.
    let mut layers: BTreeMap<(bool, usize), usize> = BTreeMap::new();
    let mut attends: BTreeSet<(bool, usize)> = BTreeSet::new();
    let split = |path: &str| -> Option<(bool, usize, String, usize, String)> {
        let mut parts = path.splitn(5, '.');
        let up = match parts.next()? {
            "down_blocks" => false,
            "up_blocks" => true,
            _ => return None,
        };
        let block = parts.next()?.parse().ok()?;
        let kind = parts.next()?.to_owned();
        let layer = parts.next()?.parse().ok()?;
        Some((up, block, kind, layer, parts.next()?.to_owned()))
    };
    for path in unet.keys() {
        if let Some((up, block, kind, layer, _)) = split(path) {
            match kind.as_str() {
                "resnets" => {
                    let count = layers.entry((up, block)).or_default();
                    *count = (*count).max(layer + 1);
                }
                "attentions" => {
                    attends.insert((up, block));
                }
                _ => {}
            }
        }
    }
    let count = |up: bool, block: usize| layers.get(&(up, block)).copied().unwrap_or_default();
    let first = |up: bool, block: usize| -> usize {
        // On the way down, the first place is the first convolution's and each step to the next size has its own.
        let before: usize = (0..block).map(|b| count(up, b) + usize::from(!up)).sum();
        before + usize::from(!up)
    };
    let within = |rest: &str| -> String {
        for (ours, theirs) in [
            ("conv1", "in_layers_2"),
            ("time_emb_proj", "emb_layers_1"),
            ("conv2", "out_layers_3"),
            ("conv_shortcut", "skip_connection"),
        ] {
            if rest == ours {
                return theirs.to_owned();
            }
        }
        rest.replace('.', "_")
    };
    let mut names = Vec::new();
    for path in unet.keys() {
        let fixed = match path.as_str() {
            "conv_in" => Some("input_blocks_0_0"),
            "conv_out" => Some("out_2"),
            "time_embedding.linear_1" => Some("time_embed_0"),
            "time_embedding.linear_2" => Some("time_embed_2"),
            "add_embedding.linear_1" => Some("label_emb_0_0"),
            "add_embedding.linear_2" => Some("label_emb_0_2"),
            _ => None,
        };
        let alias = if let Some(fixed) = fixed {
            fixed.to_owned()
        } else if let Some(rest) = path.strip_prefix("mid_block.resnets.0.") {
            format!("middle_block_0_{}", within(rest))
        } else if let Some(rest) = path.strip_prefix("mid_block.attentions.0.") {
            format!("middle_block_1_{}", within(rest))
        } else if let Some(rest) = path.strip_prefix("mid_block.resnets.1.") {
            format!("middle_block_2_{}", within(rest))
        } else if let Some((up, block, kind, layer, rest)) = split(path) {
            let half = if up { "output_blocks" } else { "input_blocks" };
            match kind.as_str() {
                "resnets" => format!("{half}_{}_0_{}", first(up, block) + layer, within(&rest)),
                "attentions" => format!("{half}_{}_1_{}", first(up, block) + layer, within(&rest)),
                "downsamplers" => format!("{half}_{}_0_op", first(up, block) + count(up, block)),
                "upsamplers" => {
                    let place = if attends.contains(&(up, block)) { 2 } else { 1 };
                    format!("{half}_{}_{place}_conv", (first(up, block) + count(up, block)).saturating_sub(1))
                }
                _ => continue,
            }
        } else {
            continue;
        };
        names.push((alias, path.as_str()));
    }
    names
}

/// An open adapter's file.
struct File {
    path: PathBuf,
    weights: Weights,
    /// The layers by the names that the file gives them.
    modules: BTreeMap<String, Factors>,
    alphas: Alphas,
}

impl File {
    fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let weights = Weights::open(path, device, Kind::Float)?;
        let bad = |problem: String| Error::Adapter { path: path.to_path_buf(), problem };
        let mut modules: BTreeMap<String, Factors> = BTreeMap::new();
        for (name, _) in weights.tensors() {
            if let Some(kind) = unsupported(name) {
                return Err(bad(format!(
                    "it is a {kind} (`{name}`), which is not supported; LoRA and LoCon are, and tools can convert to them"
                )));
            }
            let Some((module, part)) = split_name(name) else {
                return Err(bad(format!(
                    "`{name}` is no part of a LoRA that is known here; it may be another kind of file"
                )));
            };
            if let Some(twice) = modules.entry(module.to_owned()).or_default().insert(part, name.to_owned()) {
                return Err(bad(format!("it has `{twice}` and `{name}`, which are the same part of the same layer")));
            }
        }
        for (module, factors) in &modules {
            if !(factors.contains_key(&Part::Down) && factors.contains_key(&Part::Up)) {
                return Err(bad(format!(
                    "the layer `{module}` has only one of its two factors; the file is incomplete"
                )));
            }
        }
        let alphas = Alphas::read(path, &weights)?;
        Ok(Self { path: path.to_path_buf(), weights, modules, alphas })
    }

    fn bad(&self, problem: String) -> Error {
        Error::Adapter { path: self.path.clone(), problem }
    }

    fn shape(&self, name: &str) -> Vec<i64> {
        self.weights.shape(name).unwrap_or_default().to_vec()
    }

    /// The length of a prompt's vectors in the model that it was made for.
    fn width(&self) -> Option<(&str, i64)> {
        self.modules.iter().find_map(|(module, factors)| {
            let (network, name) = network_of(module)?;
            let cross =
                network == Network::UNet && name.replace('.', "_").replace("_processor", "").ends_with("attn2_to_k");
            let name = cross.then(|| factors.get(&Part::Down)).flatten()?;
            self.shape(name).get(1).map(|&width| (name.as_str(), width))
        })
    }

    /// Refuses what was made for another family of models.
    fn check_family(&self, places: &Places<'_>) -> Result<(), Error> {
        match (self.width(), places.width) {
            (Some((name, made)), Some(is)) if made != is => Err(self.bad(format!(
                "`{name}` takes prompts of {made} numbers a word: it was made for {}, this model is {}",
                family(made),
                family(is)
            ))),
            _ => Ok(()),
        }
    }

    /// Checks a layer's shapes; gives the rank.
    fn check(&self, module: &str, factors: &Factors, base: &[i64], places: &Places<'_>) -> Result<i64, Error> {
        let part = |part| factors.get(&part).map_or("", String::as_str);
        let (down_name, up_name) = (part(Part::Down), part(Part::Up));
        let (down, up) = (self.shape(down_name), self.shape(up_name));
        let mid = factors.get(&Part::Mid).map(|name| self.shape(name));
        let wrong = |name: &str, shape: &[i64]| {
            let hint = places.width.map_or_else(String::new, |width| format!("; this model is {}", family(width)));
            self.bad(format!(
                "`{name}` has shape {shape:?}, which does not fit the weight of shape {base:?} that `{module}` means{hint}"
            ))
        };
        let plain = |shape: &[i64]| -> Vec<i64> { shape.iter().copied().filter(|&n| n != 1).collect() };
        let (Some((&rank, down_rest)), Some((&outputs, inputs))) = (down.split_first(), base.split_first()) else {
            return Err(wrong(down_name, &down));
        };
        if up.len() < 2 || up[0] != outputs || up[2..].iter().any(|&n| n != 1) {
            return Err(wrong(up_name, &up));
        }
        match mid {
            // up [o, a], mid [a, b, k, k], down [b, i].
            Some(mid) => {
                let name = part(Part::Mid);
                if base.len() != 4 || mid.len() != 4 || mid[0] != up[1] || mid[1] != rank || mid[2..] != base[2..] {
                    return Err(wrong(name, &mid));
                }
                if down.len() < 2 || down[1] != inputs[0] || down[2..].iter().any(|&n| n != 1) {
                    return Err(wrong(down_name, &down));
                }
            }
            None => {
                if rank != up[1] || down.len() < 2 || plain(down_rest) != plain(inputs) {
                    return Err(wrong(down_name, &down));
                }
            }
        }
        Ok(rank)
    }

    /// What is added to a weight, in f32 and of its shape.
    fn change(
        &self,
        module: &str,
        factors: &Factors,
        base: &Tensor,
        weight: f64,
        places: &Places<'_>,
    ) -> Result<Tensor, Error> {
        let shape = base.size();
        let rank = self.check(module, factors, &shape, places)?;
        let take = |part: Part| -> Result<Option<Tensor>, Error> {
            let Some(name) = factors.get(&part) else { return Ok(None) };
            self.weights.take(name, &self.shape(name)).map(Some)
        };
        let (Some(down), Some(up)) = (take(Part::Down)?, take(Part::Up)?) else {
            return Err(self.bad(format!("the layer `{module}` is incomplete")));
        };
        let (up, down) = (up.f_flatten(1, -1)?, down.f_flatten(1, -1)?);
        let product = match take(Part::Mid)? {
            Some(mid) => Tensor::f_einsum("oa,abhw,bi->oihw", &[up, mid, down], None::<&[i64]>)?,
            None => up.f_matmul(&down)?.f_reshape(&shape)?,
        };
        let scale = match take(Part::Alpha)? {
            Some(alpha) if alpha.numel() == 1 => alpha.f_double_value(&[])? / rank as f64,
            Some(alpha) => return Err(self.bad(format!("the alpha of `{module}` has the shape {:?}", alpha.size()))),
            None => self.alphas.scale(module, rank),
        };
        let change = product.f_mul_scalar(scale * weight)?;
        if i64::try_from(change.f_isfinite()?.f_all()?)? == 0 {
            return Err(self.bad(format!("the layer `{module}` holds numbers that are none; the file is damaged")));
        }
        Ok(change)
    }
}

/// The strengths that PEFT keeps beside the tensors: in the header (diffusers), or in a file of their own.
#[derive(Debug, Default)]
struct Alphas(serde_json::Map<String, Value>);

impl Alphas {
    fn read(path: &Path, weights: &Weights) -> Result<Self, Error> {
        let bad = |problem: String| Error::Adapter { path: path.to_path_buf(), problem };
        let map = if let Some(note) = weights.metadata("lora_adapter_metadata") {
            match serde_json::from_str(note) {
                Ok(Value::Object(map)) => map,
                _ => return Err(bad("the settings in its header are damaged (`lora_adapter_metadata`)".to_owned())),
            }
        } else if path.file_name().is_some_and(|name| name == "adapter_model.safetensors") {
            let beside = Config::read_optional(&path.with_file_name("adapter_config.json"))?;
            beside.map_or_else(serde_json::Map::new, |config| config.map().clone())
        } else {
            serde_json::Map::new()
        };
        for (key, value) in &map {
            if key.rsplit('.').next() == Some("use_dora") && value.as_bool() == Some(true) {
                return Err(bad("it is a DoRA, which is not supported; LoRA and LoCon are".to_owned()));
            }
        }
        Ok(Self(map))
    }

    /// `alpha / rank` of a layer, 1 where nothing is said.
    fn scale(&self, module: &str, rank: i64) -> f64 {
        let bare = module.strip_prefix("base_model.model.").unwrap_or(module);
        let prefix = ["unet.", "text_encoder.", "text_encoder_2."].into_iter().find(|prefix| bare.starts_with(prefix));
        let get = |key: &str| {
            let prefixed = prefix.and_then(|prefix| self.0.get(&format!("{prefix}{key}")));
            prefixed.or_else(|| self.0.get(key))
        };
        let special = get("alpha_pattern").and_then(Value::as_object).and_then(|patterns| {
            patterns
                .iter()
                .find(|(layer, _)| bare == layer.as_str() || bare.ends_with(&format!(".{layer}")))
                .and_then(|(_, alpha)| alpha.as_f64())
        });
        let Some(alpha) = special.or_else(|| get("lora_alpha").and_then(Value::as_f64)) else { return 1.0 };
        // Rank-stabilised (Kalajdzievski: "A rank stabilization scaling factor for fine-tuning with LoRA", 2023).
        let stabilised = get("use_rslora").and_then(Value::as_bool) == Some(true);
        alpha / if stabilised { (rank as f64).sqrt() } else { rank as f64 }
    }
}

/// A tensor's name as its layer and its part in it.
fn split_name(name: &str) -> Option<(&str, Part)> {
    for (end, part) in [
        (".lora_down.weight", Part::Down),
        (".lora_up.weight", Part::Up),
        (".lora_mid.weight", Part::Mid),
        (".alpha", Part::Alpha),
        (".lora_A.weight", Part::Down),
        (".lora_B.weight", Part::Up),
        (".lora_A.default.weight", Part::Down),
        (".lora_B.default.weight", Part::Up),
        (".lora.down.weight", Part::Down),
        (".lora.up.weight", Part::Up),
        (".lora_linear_layer.down.weight", Part::Down),
        (".lora_linear_layer.up.weight", Part::Up),
        ("_lora.down.weight", Part::Down),
        ("_lora.up.weight", Part::Up),
    ] {
        if let Some(module) = name.strip_suffix(end) {
            return (!module.is_empty()).then_some((module, part));
        }
    }
    None
}

/// Relatives of `LoRA` that compute something else.
fn unsupported(name: &str) -> Option<&'static str> {
    [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector", "DoRA"),
        ("hada_", "LoHa"),
        ("lokr_", "LoKr"),
        ("oft_", "OFT"),
        (".diff_b", "full difference"),
        (".w_norm", "norm difference"),
        (".b_norm", "norm difference"),
        (".a1.weight", "GLoRA"),
        ("on_input", "IA3"),
    ]
    .into_iter()
    .find_map(|(sign, kind)| name.contains(sign).then_some(kind))
    .or_else(|| (name.rsplit('.').next() == Some("diff")).then_some("full difference"))
}

/// The family of models whose prompts have vectors of this length.
fn family(width: i64) -> String {
    match width {
        768 => "SD 1.x".to_owned(),
        1024 => "SD 2.x".to_owned(),
        2048 => "SDXL".to_owned(),
        other => format!("one with {other} numbers a word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UNet's slots with the layers in each block of the way down, and whether they attend (mirrored on the way up).
    fn unet(layers: usize, attends: &[bool]) -> Slots {
        let mut paths = vec!["conv_in".to_owned()];
        let n = attends.len();
        for (i, &attending) in attends.iter().enumerate() {
            for (half, block, count) in [("down", i, layers), ("up", n - 1 - i, layers + 1)] {
                for layer in 0..count {
                    paths.push(format!("{half}_blocks.{block}.resnets.{layer}.conv1"));
                    if attending {
                        paths.push(format!("{half}_blocks.{block}.attentions.{layer}.proj_in"));
                    }
                }
                if block + 1 < n {
                    paths.push(format!("{half}_blocks.{block}.{half}samplers.0.conv"));
                }
            }
        }
        paths.into_iter().map(|path| (path, Slot::new(Tensor::from(0.0)))).collect()
    }

    /// The block numbers of the original code for SD 1.x and SDXL, as published checkpoints have them.
    #[test]
    fn original_names_of_the_real_models() {
        let one = unet(2, &[true, true, true, false]);
        let xl = unet(2, &[false, true, true]);
        for (slots, list) in [
            (
                &one,
                [
                    ("input_blocks_1_1_proj_in", "down_blocks.0.attentions.0.proj_in"),
                    ("input_blocks_8_1_proj_in", "down_blocks.2.attentions.1.proj_in"),
                    ("input_blocks_9_0_op", "down_blocks.2.downsamplers.0.conv"),
                    ("input_blocks_11_0_in_layers_2", "down_blocks.3.resnets.1.conv1"),
                    ("output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"),
                    ("output_blocks_3_1_proj_in", "up_blocks.1.attentions.0.proj_in"),
                    ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
                    ("output_blocks_11_1_proj_in", "up_blocks.3.attentions.2.proj_in"),
                ]
                .as_slice(),
            ),
            (
                &xl,
                &[
                    ("input_blocks_4_1_proj_in", "down_blocks.1.attentions.0.proj_in"),
                    ("input_blocks_8_1_proj_in", "down_blocks.2.attentions.1.proj_in"),
                    ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
                    ("output_blocks_0_1_proj_in", "up_blocks.0.attentions.0.proj_in"),
                    ("output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"),
                    ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
                    ("output_blocks_8_0_in_layers_2", "up_blocks.2.resnets.2.conv1"),
                ],
            ),
        ] {
            let places = Places::new(slots, &[]);
            for (theirs, ours) in list {
                let found = places.find(&format!("lora_unet_{theirs}")).map(|((_, path), _)| path);
                assert_eq!(found, Some(*ours), "{theirs}");
                let found = places.find(&format!("lora_unet_{}", ours.replace('.', "_"))).map(|((_, path), _)| path);
                assert_eq!(found, Some(*ours));
            }
        }
    }

    #[test]
    fn strengths_beside_the_tensors() {
        let is = |ours: f64, expected: f64| assert!((ours - expected).abs() < 1e-12, "{ours}");
        let alphas = |text: &str| Alphas(serde_json::from_str(text).unwrap());
        let header =
            alphas(r#"{"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_q": 2}, "text_encoder.lora_alpha": 1}"#);
        is(header.scale("unet.mid_block.attn1.to_k", 4), 1.5);
        is(header.scale("unet.mid_block.attn1.to_q", 4), 0.5);
        is(header.scale("text_encoder.x", 4), 0.25);
        is(alphas(r#"{"lora_alpha": 8, "use_rslora": true}"#).scale("base_model.model.x", 16), 2.0);
        is(Alphas::default().scale("unet.x", 16), 1.0);
    }
}
