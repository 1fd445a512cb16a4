#!/usr/bin/env python3
"""Write a checkpoint of the true size of Stable Diffusion 1.5 or SDXL with random weights.

    full_size.py sd15|sdxl folder|single OUT [--kind f16|bf16|f32] [--extras]

`folder` writes the layout of diffusers, `single` one .safetensors file in the original layout, with the names that
tests/parity/make_fixtures_families.py checks against diffusers' own conversion. `--extras` adds what real files carry
beside the model (averaged weights of the training, constants). Nobody can paint with these weights; they show that real
files load, how long that takes and how much memory it needs. They are scaled so that activations stay near 1, and
streamed, so writing needs little memory. Needs the packages of tests/parity/requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "parity"))
from make_fixtures_families import OPEN, ldm_unet, ldm_vae, renamed, tokenizer  # noqa: E402

BLOCK = 4_194_301  # random numbers drawn; a prime, so that the rows of a matrix made of repetitions differ
SIZES = {"f16": ("F16", 2), "bf16": ("BF16", 2), "f32": ("F32", 4)}
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {
        "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, "sample_size": 64,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "sample_size": 128,
        "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip


def clip(width: int, layers: int, act: str, projection: int | None) -> torch.nn.Module:
    """A text encoder: CLIP ViT-L's, or OpenCLIP ViT-bigG's with its projection."""
    more = {} if projection is None else {"projection_dim": projection}
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, max_position_embeddings=77, hidden_act=act,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407, **more,
    )  # fmt: skip
    return (CLIPTextModel if projection is None else CLIPTextModelWithProjection)(config)


def networks(family: str) -> dict[str, torch.nn.Module]:
    """The networks of a family, without memory for their weights."""
    with torch.device("meta"):
        nets: dict[str, torch.nn.Module] = {
            "unet": UNet2DConditionModel(**UNETS[family]),
            "vae": AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                sample_size=512 if family == "sd15" else 1024,
                scaling_factor=0.18215 if family == "sd15" else 0.13025,
            ),
            "text_encoder": clip(768, 12, "quick_gelu", None),
        }  # fmt: skip
        if family == "sdxl":
            nets["text_encoder_2"] = clip(1280, 32, "gelu", 1280)
    return nets


def shapes(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes, without the constants that files no longer hold."""
    return {name: tuple(p.shape) for name, p in net.state_dict().items() if not name.endswith("position_ids")}


def single_names(part: str, family: str, net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a network in the original layout."""
    out: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(net).items():
        if part == "unet":
            attends = ["Cross" in kind for kind in net.config.up_block_types]
            out["model.diffusion_model." + ldm_unet(name, 2, attends)] = shape
        elif part == "vae":
            conv = ".to_" in name and name.endswith("weight")
            out["first_stage_model." + ldm_vae(name, 4)] = (*shape, 1, 1) if conv else shape
        elif part == "text_encoder":
            at = "cond_stage_model" if family == "sd15" else "conditioner.embedders.0"
            inner = name if name.startswith("text_model.") else f"text_model.{name}"
            out[f"{at}.transformer.{inner}"] = shape
        else:
            at = "conditioner.embedders.1.model."
            if name == "text_projection.weight":
                out[at + "text_projection"] = shape[::-1]
            elif ".q_proj." in name:
                out[at + renamed(name, [*OPEN, ("self_attn.q_proj.", "attn.in_proj_")])] = (3 * shape[0], *shape[1:])
            elif ".k_proj." not in name and ".v_proj." not in name:
                out[at + renamed(name, OPEN)] = shape
    return out


def write(path: Path, tensors: dict[str, tuple[int, ...]], kind: str) -> int:
    """Stream random tensors into a SafeTensors file; its number of tensors."""
    dtype, width = SIZES[kind]
    header: dict[str, Any] = {}
    end = 0
    for name, shape in tensors.items():
        start, end = end, end + width * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(1)
    block = torch.from_numpy(random.standard_normal(BLOCK, dtype=np.float32))
    torch_kind = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors.items():
            centre, scale = 0.0, 0.2
            if len(shape) > 1:
                scale = 0.02 if "embedding" in name else 1.2 / math.prod(shape[1:]) ** 0.5
            elif name.endswith("weight"):
                centre = 1.0
            left = math.prod(shape)
            while left > 0:
                part = block[int(random.integers(BLOCK // 2)) :][:left]
                part.mul(scale).add_(centre).to(torch_kind).view(torch.uint8).numpy().tofile(file)
                left -= len(part)
    return len(tensors)


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("family", choices=UNETS)
    parser.add_argument("layout", choices=("folder", "single"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=SIZES, default="f16")
    parser.add_argument("--extras", action="store_true")
    options = parser.parse_args()
    nets = networks(options.family)
    sdxl = options.family == "sdxl"
    if options.layout == "single":
        tensors: dict[str, tuple[int, ...]] = {}
        for part, net in nets.items():
            tensors |= single_names(part, options.family, net)
        if options.extras:
            at = "conditioner.embedders.0" if sdxl else "cond_stage_model"
            tensors |= {"model_ema.decay": (1,), "alphas_cumprod": (1000,), "betas": (1000,),
                        "model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3),
                        f"{at}.transformer.text_model.embeddings.position_ids": (1, 77)}  # fmt: skip
        print(f"{write(options.out, tensors, options.kind)} tensors, {options.out.stat().st_size} bytes")
        return
    count = 0
    for part, net in nets.items():
        text = part.startswith("text")
        config = json.loads(json.dumps(net.config.to_dict() if text else dict(net.config), default=str))
        if text:
            config["model_type"] = "clip_text_model"
        folder = options.out / part
        name = "model" if text else "diffusion_pytorch_model"
        count += write(folder / f"{name}.safetensors", shapes(net), options.kind)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
    library = {"unet": "diffusers", "vae": "diffusers", "scheduler": "diffusers"}
    classes = {part: type(net).__name__ for part, net in nets.items()} | {"scheduler": "DDIMScheduler", "tokenizer": "CLIPTokenizer"}
    if sdxl:
        classes["tokenizer_2"] = "CLIPTokenizer"
    index: dict[str, Any] = {"_class_name": "StableDiffusionXLPipeline" if sdxl else "StableDiffusionPipeline"}
    index |= {part: [library.get(part, "transformers"), name] for part, name in classes.items()}
    if sdxl:
        index["force_zeros_for_empty_prompt"] = True
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (options.out / "model_index.json").write_text(json.dumps(index, indent=2))
    scheduler = {
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading",
        "prediction_type": "epsilon",
    }  # fmt: skip
    (options.out / "scheduler").mkdir(exist_ok=True)
    (options.out / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2))
    for name, pad in [("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")][: 2 if sdxl else 1]:
        tokenizer(pad).save_pretrained(options.out / name)
        write_vocabulary(options.out / name)
    print(f"{count} tensors")


def write_vocabulary(folder: Path) -> None:
    """The old two files beside tokenizer.json, which every program reads."""
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        return
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "\n".join(pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


if __name__ == "__main__":
    main()
