//! CLIP's text half (Radford et al., "Learning transferable visual models from natural language supervision", 2021),
//! as in Stable Diffusion 1.x (`quick_gelu`) and 2.x (`OpenCLIP`, `gelu`, one layer fewer in its config.json).

use tch::{Device, Kind, Tensor};

use super::tokens::{Taught, Tokens};
use super::{TextEncoder, TextNetwork, layers_without};
use crate::Error;
use crate::adapters::slot::{Slot, Slots};
use crate::config::Config;
use crate::layers::{LayerNorm, Linear, attend, split_heads};
use crate::weights::{Keep, Source, Weights};

/// The network with its tokenizer.
#[derive(Debug)]
pub(crate) struct Clip {
    words: Slot,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    heads: i64,
    activation: Activation,
    tokens: Tokens,
    padding: i64,
    /// From the end token's last state to the pooled prompt.
    projection: Option<Linear>,
    output: Output,
    device: Device,
    /// Last, because fields are dropped in order: the tensors above may lie in this map.
    keep: Keep,
}

/// Which of the network's states the denoising network was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The last ones, normalised: Stable Diffusion 1.x and 2.x.
    Last,
    /// Those before the last layer, not normalised: SDXL's first encoder.
    Penultimate,
    /// Those before the last layer, and the end token's last one, projected: SDXL's second encoder.
    PenultimateAndPooled,
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    Gelu,
    /// `x * sigmoid(1.702 x)`, the approximation that CLIP was trained with.
    QuickGelu,
}

#[derive(Debug)]
struct Layer {
    norm_1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm_2: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

impl Clip {
    pub(crate) fn load(
        config: &Config,
        source: &Source,
        tokens: Tokens,
        output: Output,
        (device, kind): (Device, Kind),
    ) -> Result<Self, Error> {
        let activation = match config.text("hidden_act")? {
            None | Some("quick_gelu") => Activation::QuickGelu,
            Some("gelu") => Activation::Gelu,
            _ => return Err(config.refuse("hidden_act", "gelu and quick_gelu are supported")),
        };
        let width = config.count("hidden_size", None)?;
        let heads = config.count("num_attention_heads", None)?;
        if width % heads != 0 {
            return Err(config.refuse("num_attention_heads", format!("hidden_size ({width}) is not a multiple of it")));
        }
        let inner = config.count("intermediate_size", None)?;
        let vocabulary = config.count("vocab_size", Some(49_408))?;
        if tokens.vocabulary() > vocabulary {
            return Err(config.refuse("vocab_size", format!("the tokenizer's tokens need {}", tokens.vocabulary())));
        }
        let places = config.count("max_position_embeddings", Some(77))?;
        let eps = config.number("layer_norm_eps", 1e-5)?;
        // Short prompts are filled up with real tokens that the network sees: `!` in 2.x, the end token in 1.x.
        let padding = match tokens.padding() {
            Some(padding) => padding,
            None => tokens.split("")?.ids.last().copied().unwrap_or(0),
        };
        let weights = Weights::open_source(source, device, kind)?;
        let root = weights.root();
        let root = if weights.has("text_model.final_layer_norm.weight") { root.at("text_model") } else { root };
        let embeddings = root.at("embeddings");
        let mut layers = Vec::new();
        for i in 0..config.count("num_hidden_layers", None)? {
            let at = root.at("encoder.layers").at(i);
            layers.push(Layer {
                norm_1: LayerNorm::load(&at.at("layer_norm1"), width, eps)?,
                query: Linear::load(&at.at("self_attn.q_proj"), width, width)?,
                key: Linear::load(&at.at("self_attn.k_proj"), width, width)?,
                value: Linear::load(&at.at("self_attn.v_proj"), width, width)?,
                out: Linear::load(&at.at("self_attn.out_proj"), width, width)?,
                norm_2: LayerNorm::load(&at.at("layer_norm2"), width, eps)?,
                wide: Linear::load(&at.at("mlp.fc1"), width, inner)?,
                narrow: Linear::load(&at.at("mlp.fc2"), inner, width)?,
            });
        }
        let projection = if output == Output::PenultimateAndPooled {
            let projected = config.count("projection_dim", Some(512))?;
            Some(Linear::load_without_bias(&weights.root().at("text_projection"), width, projected)?)
        } else {
            None
        };
        Ok(Self {
            projection,
            output,
            words: Slot::new(embeddings.take("token_embedding.weight", &[vocabulary, width])?),
            positions: embeddings.take("position_embedding.weight", &[places, width])?,
            layers,
            norm: LayerNorm::load(&root.at("final_layer_norm"), width, eps)?,
            heads,
            activation,
            tokens,
            padding,
            device,
            keep: weights.finish(|name| super::unused(name).is_some())?,
        })
    }

    /// The length of a word's vector.
    pub(crate) fn width(&self) -> Result<i64, Error> {
        Ok(self.words.base().size2()?.1)
    }

    /// The tokenizer and the table of words with these new words, each with its vectors `[n, width]`, and no others.
    pub(crate) fn learn(&self, list: &[(String, Tensor)]) -> Result<(Taught, Option<Tensor>), Error> {
        let counts = list.iter().map(|(word, vectors)| (word.as_str(), vectors.size().first().copied().unwrap_or(0)));
        let (taught, ids) = self.tokens.teach(&counts.collect::<Vec<_>>())?;
        if list.is_empty() {
            return Ok((taught, None));
        }
        let base = self.words.base();
        let (rows, width) = base.size2()?;
        let most = ids.iter().flatten().copied().max().unwrap_or(0) + 1;
        let table = Tensor::f_zeros([most.max(rows), width], (base.kind(), base.device()))?;
        table.f_narrow(0, 0, rows)?.f_copy_(&base)?;
        for ((_, vectors), ids) in list.iter().zip(&ids) {
            for (row, &id) in ids.iter().enumerate() {
                table.f_select(0, id)?.f_copy_(&vectors.f_select(0, row as i64)?)?;
            }
        }
        Ok((taught, Some(table)))
    }

    /// Puts in force what [`Clip::learn`] made.
    pub(crate) fn install(&mut self, (taught, table): (Taught, Option<Tensor>)) {
        self.tokens.install(taught);
        self.words.patch(table);
    }

    /// Encodes `n` tokens, each seeing only those before it: the context `[1, n, width]`, and the pooled prompt
    /// `[1, projection_dim]` where this encoder has one. `skip` layers at the end of those that give the context are left
    /// out.
    pub(crate) fn forward(&self, tokens: &[i64], skip: usize) -> Result<(Tensor, Option<Tensor>), Error> {
        let all = self.layers.len();
        let context_layers = layers_without(all, usize::from(self.output != Output::Last), skip)?;
        let length = tokens.len() as i64;
        let ids = Tensor::f_from_slice(tokens)?.f_unsqueeze(0)?.f_to_device(self.device)?;
        let words = Tensor::f_embedding(&self.words.weight(), &ids, -1, false, false)?;
        let mut x = words.f_add(&self.positions.f_narrow(0, 0, length)?)?;
        let mut context = x.shallow_clone();
        let run = if self.projection.is_some() { all } else { context_layers };
        for (i, layer) in self.layers[..run].iter().enumerate() {
            let normed = layer.norm_1.forward(&x)?;
            let split = |linear: &Linear| split_heads(&linear.forward(&normed)?, self.heads);
            let mixed = attend(&split(&layer.query)?, &split(&layer.key)?, &split(&layer.value)?, true)?;
            x = x.f_add(&layer.out.forward(&mixed)?)?;
            let inner = layer.wide.forward(&layer.norm_2.forward(&x)?)?;
            let inner = match self.activation {
                Activation::Gelu => inner.f_gelu("none")?,
                Activation::QuickGelu => inner.f_mul(&inner.f_mul_scalar(1.702)?.f_sigmoid()?)?,
            };
            x = x.f_add(&layer.narrow.forward(&inner)?)?;
            if i + 1 == context_layers {
                context = x.shallow_clone();
            }
        }
        if self.output == Output::Last {
            context = self.norm.forward(&context)?;
        }
        let Some(projection) = &self.projection else { return Ok((context, None)) };
        // The first end token closes the prompt; more of them may follow as padding.
        let (_, end) = self.tokens.ends()?;
        let place = tokens.iter().position(|&id| id == end).unwrap_or(tokens.len().saturating_sub(1));
        let state = self.norm.forward(&x)?.f_select(1, place as i64)?;
        Ok((context, Some(projection.forward(&state)?)))
    }
}

impl TextEncoder for Clip {
    fn networks(&self) -> Vec<&dyn TextNetwork> {
        vec![self]
    }

    fn clips(&mut self) -> Vec<&mut Clip> {
        vec![self]
    }

    fn slots(&self) -> Vec<&Slots> {
        vec![&self.keep.slots]
    }
}

impl TextNetwork for Clip {
    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn states(&self, ids: &[i64], skip: usize) -> Result<(Tensor, Option<Tensor>), Error> {
        let mut ids = ids.to_vec();
        ids.resize(self.tokens.limit().max(ids.len()), self.padding);
        self.forward(&ids, skip)
    }
}
