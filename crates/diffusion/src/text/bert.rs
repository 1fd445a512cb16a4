//! BERT (Devlin et al., 2019) as a token-level text encoder; the starter model uses the `MiniLM` that came out of it.

use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::tokens::Tokens;
use super::{TextEncoder, TextNetwork, layers_without};
use crate::Error;
use crate::config::Config;
use crate::layers::{LayerNorm, Linear, attend, split_heads};
use crate::weights::{Keep, Source, Weights};

/// The network with its tokenizer. The context is `[CLS] words [SEP]`, then zeros up to the token limit.
#[derive(Debug)]
pub(crate) struct Bert {
    words: Tensor,
    positions: Tensor,
    first_type: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: i64,
    tokens: Tokens,
    device: Device,
    /// Last, because fields are dropped in order: the tensors above may lie in this map.
    _keep: Keep,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm_1: LayerNorm,
    wide: Linear,
    narrow: Linear,
    norm_2: LayerNorm,
}

impl Bert {
    pub(crate) fn load(
        config: &Config,
        source: &Source,
        tokens: Tokens,
        device: Device,
        kind: Kind,
    ) -> Result<Self, Error> {
        for (key, value) in [("hidden_act", json!("gelu")), ("position_embedding_type", json!("absolute"))] {
            config.only(key, &value)?;
        }
        let width = config.count("hidden_size", None)?;
        let heads = config.count("num_attention_heads", None)?;
        if width % heads != 0 {
            return Err(config.refuse("num_attention_heads", format!("hidden_size ({width}) is not a multiple of it")));
        }
        let inner = config.count("intermediate_size", None)?;
        let vocabulary = config.count("vocab_size", None)?;
        if tokens.vocabulary() > vocabulary {
            return Err(config.refuse("vocab_size", format!("the tokenizer's tokens need {}", tokens.vocabulary())));
        }
        let eps = config.number("layer_norm_eps", 1e-12)?;
        let weights = Weights::open_source(source, device, kind)?;
        let root = weights.root();
        let root = if weights.has("bert.embeddings.word_embeddings.weight") { root.at("bert") } else { root };
        let embeddings = root.at("embeddings");
        let positions = config.count("max_position_embeddings", Some(512))?;
        let types = config.count("type_vocab_size", Some(2))?;
        let mut layers = Vec::new();
        for i in 0..config.count("num_hidden_layers", None)? {
            let at = root.at("encoder.layer").at(i);
            layers.push(Layer {
                query: Linear::load(&at.at("attention.self.query"), width, width)?,
                key: Linear::load(&at.at("attention.self.key"), width, width)?,
                value: Linear::load(&at.at("attention.self.value"), width, width)?,
                out: Linear::load(&at.at("attention.output.dense"), width, width)?,
                norm_1: LayerNorm::load(&at.at("attention.output.LayerNorm"), width, eps)?,
                wide: Linear::load(&at.at("intermediate.dense"), width, inner)?,
                narrow: Linear::load(&at.at("output.dense"), inner, width)?,
                norm_2: LayerNorm::load(&at.at("output.LayerNorm"), width, eps)?,
            });
        }
        let types = embeddings.take("token_type_embeddings.weight", &[types, width])?;
        Ok(Self {
            words: embeddings.take("word_embeddings.weight", &[vocabulary, width])?,
            positions: embeddings.take("position_embeddings.weight", &[positions, width])?,
            first_type: types.f_narrow(0, 0, 1)?,
            norm: LayerNorm::load(&embeddings.at("LayerNorm"), width, eps)?,
            layers,
            heads,
            tokens,
            device,
            // The pooler summarises a sentence in one vector, which nothing here asks for.
            _keep: weights.finish(|name| super::unused(name).is_some())?,
        })
    }

    /// Last hidden states `[1, n, width]` of `n` tokens; `skip` layers at the end are left out.
    pub(crate) fn forward(&self, ids: &[i64], skip: usize) -> Result<Tensor, Error> {
        let layers = layers_without(self.layers.len(), 0, skip)?;
        let length = ids.len() as i64;
        let ids = Tensor::f_from_slice(ids)?.f_unsqueeze(0)?.f_to_device(self.device)?;
        let words = Tensor::f_embedding(&self.words, &ids, -1, false, false)?;
        let x = words.f_add(&self.positions.f_narrow(0, 0, length)?)?.f_add(&self.first_type)?;
        let mut x = self.norm.forward(&x)?;
        for layer in &self.layers[..layers] {
            // One prompt at a time, without padding: there is nothing to mask.
            let split = |linear: &Linear| split_heads(&linear.forward(&x)?, self.heads);
            let mixed = attend(&split(&layer.query)?, &split(&layer.key)?, &split(&layer.value)?, false)?;
            let attended = layer.norm_1.forward(&layer.out.forward(&mixed)?.f_add(&x)?)?;
            let inner = layer.wide.forward(&attended)?.f_gelu("none")?;
            x = layer.norm_2.forward(&layer.narrow.forward(&inner)?.f_add(&attended)?)?;
        }
        Ok(x)
    }
}

impl TextEncoder for Bert {
    fn networks(&self) -> Vec<&dyn TextNetwork> {
        vec![self]
    }
}

impl TextNetwork for Bert {
    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn states(&self, ids: &[i64], skip: usize) -> Result<(Tensor, Option<Tensor>), Error> {
        let missing = self.tokens.limit() as i64 - ids.len() as i64;
        Ok((self.forward(ids, skip)?.f_constant_pad_nd([0, 0, 0, missing.max(0)])?, None))
    }
}
