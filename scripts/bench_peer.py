"""The Python side of `bench.py`: diffusers under command, one JSON object a line in, one answer a line out.

Runs in the virtual environment that `bench.py` prepares. What is timed here is what `bench.py` also times in Outframe;
processor time and memory are measured by `bench.py` from outside, alike for both.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

# The UNet of Stable Diffusion 1.5, by its public configuration.
SD15 = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}
TIME = 500
BLOCK = 4_194_301  # random numbers drawn; a prime, so that the rows of a matrix made of repetitions differ


def write_unet(folder: Path) -> dict[str, Any]:
    """Write an SD-1.5-sized UNet with random weights as `folder/unet`, and inputs for it as `folder/inputs.safetensors`.

    The weights are scaled so that activations stay near 1: no infinities and no denormal numbers, which would
    distort the timing. The file is streamed, so this needs little memory.
    """
    import numpy as np
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    unet = folder / "unet"
    unet.mkdir(parents=True, exist_ok=True)
    (unet / "config.json").write_text(json.dumps(SD15, indent=2))
    with torch.device("meta"):
        shapes = {name: list(p.shape) for name, p in UNet2DConditionModel.from_config(SD15).state_dict().items()}
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(1)
    block = random.standard_normal(BLOCK, dtype=np.float32)
    path = unet / "diffusion_pytorch_model.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            centre, scale = 0.0, 0.2
            if len(shape) > 1:
                scale = 1.2 / float(np.prod(shape[1:])) ** 0.5
            elif name.endswith("weight"):
                centre = 1.0
            left = int(np.prod(shape))
            while left > 0:
                start = int(random.integers(BLOCK // 2))
                part = block[start : start + left]
                (part * np.float32(scale) + np.float32(centre)).tofile(file)
                left -= len(part)
    generator = torch.Generator().manual_seed(2)
    sample, context = torch.randn(1, 4, 64, 64, generator=generator), torch.randn(2, 77, 768, generator=generator)
    sample = sample.repeat(2, 1, 1, 1)  # guidance asks about the same latents twice
    save_file({"sample": sample, "context": context}, folder / "inputs.safetensors")
    return {"bytes": path.stat().st_size, "parameters": end // 4}


class UNetBench:
    """A UNet of diffusers with the inputs that Outframe's gets too."""

    def __init__(self, folder: str, inputs: str, threads: int, kind: str = "f32") -> None:
        import torch
        from diffusers import UNet2DConditionModel
        from safetensors.torch import load_file

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        started = time.perf_counter()
        kinds = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
        self.kind = kinds[kind]
        self.net = UNet2DConditionModel.from_pretrained(folder, torch_dtype=self.kind).eval()
        self.seconds = time.perf_counter() - started
        self.inputs = load_file(inputs)
        self.layout = torch.contiguous_format
        self.output = None

    def channels_last(self) -> None:
        """Turn weights and input into the memory format that suits convolutions best."""
        import torch

        self.layout = torch.channels_last
        self.net = self.net.to(memory_format=self.layout)

    def step(self, side: int, alike: bool) -> None:
        """One evaluation on a square of latents; `alike` tells Outframe's side that both of the batch are the same."""
        sample = self.inputs["sample"][:, :, :side, :side].contiguous(memory_format=self.layout)
        context = self.inputs["context"].to(self.kind)
        self.output = self.net(sample.to(self.kind), TIME, encoder_hidden_states=context).sample

    def compare(self, path: str) -> float:
        """The largest difference between the last output and one in a file."""
        from safetensors.torch import load_file

        return (load_file(path)["output"] - self.output.float()).abs().max().item()


class StarterBench:
    """The starter model painted by diffusers: the same weights, sampler, steps and guidance."""

    def __init__(self, folder: str, threads: int) -> None:
        import torch
        from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
        from tokenizers import Tokenizer
        from transformers import BertModel

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        started = time.perf_counter()
        path = Path(folder)
        self.tokens = json.loads((path / "model_index.json").read_text())["tokens"]
        self.net = UNet2DConditionModel.from_pretrained(path / "unet", torch_dtype=torch.float32).eval()
        self.vae = AutoencoderKL.from_pretrained(path / "vae", torch_dtype=torch.float32).eval()
        self.text = BertModel.from_pretrained(
            path / "text_encoder", add_pooling_layer=False, dtype=torch.float32
        ).eval()
        self.tokenizer = Tokenizer.from_file(str(path / "tokenizer" / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.tokens)
        self.scheduler = DPMSolverMultistepScheduler.from_pretrained(path / "scheduler")
        self.empty = None
        self.seconds = time.perf_counter() - started

    def encode(self, prompt: str):
        """The prompt's vectors, padded with zeros."""
        import torch

        ids = torch.tensor([self.tokenizer.encode(prompt).ids])
        hidden = self.text(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.nn.functional.pad(hidden, (0, 0, 0, self.tokens - hidden.shape[1]))

    def paint(self, prompt: str, size: int, steps: int, guidance: float, seed: int, path: str | None) -> None:
        """One picture, written as a PNG file when a path is given."""
        import torch

        scale = self.vae.config.scaling_factor
        side = size // 2 ** (len(self.vae.config.block_out_channels) - 1)
        context = torch.cat([self.encode(""), self.encode(prompt)])
        latents = torch.randn(1, self.vae.config.latent_channels, side, side, generator=torch.manual_seed(seed))
        if self.empty is None:  # what a model made for filling sees of an empty picture; Outframe keeps it, too
            grey = self.vae.encode(torch.zeros(1, 3, size, size)).latent_dist.mean * scale
            self.empty = torch.cat([torch.ones(1, 1, side, side), grey], 1)
        self.scheduler.set_timesteps(steps)
        for when in self.scheduler.timesteps:
            both = torch.cat([latents, self.empty], 1).repeat(2, 1, 1, 1)
            away, toward = self.net(both, when, encoder_hidden_states=context).sample.chunk(2)
            latents = self.scheduler.step(away + guidance * (toward - away), when, latents).prev_sample
        pixels = self.vae.decode(latents / scale).sample[0]
        pixels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        if path is not None:
            from PIL import Image

            Image.fromarray(pixels).save(path)


class ModelBench:
    """A whole pipeline of diffusers, as `bench_model` is one of Outframe."""

    def __init__(self, path: str, precision: str, threads: int, channels_last: bool) -> None:
        import torch
        from diffusers import DiffusionPipeline

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        started = time.perf_counter()
        kind = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.pipe = DiffusionPipeline.from_pretrained(path, torch_dtype=kind, local_files_only=True)
        # As Outframe's: the autoencoder computes in f32.
        self.pipe.vae.to(torch.float32)
        if channels_last:
            self.pipe.unet.to(memory_format=torch.channels_last)
        self.pipe.set_progress_bar_config(disable=True)
        self.seconds = time.perf_counter() - started

    def paint(self, prompt: str, size: int, steps: int, guidance: float) -> list[tuple[float, float]]:
        """Clock and processor seconds at the beginning, after each step and at the end."""
        import torch

        started = time.perf_counter()
        marks = [(0.0, time.process_time())]

        def mark(*_: Any) -> dict[str, Any]:
            marks.append((time.perf_counter() - started, time.process_time()))
            return {}

        latents = self.pipe(
            prompt, height=size, width=size, num_inference_steps=steps, guidance_scale=guidance, output_type="latent",
            generator=torch.manual_seed(1), callback_on_step_end=lambda pipe, step, when, tensors: mark(),
        ).images  # fmt: skip
        self.pipe.vae.decode(latents.float() / self.pipe.vae.config.scaling_factor)
        mark()
        return marks


def main() -> None:
    """Obey commands until the input ends."""
    bench: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        answer: dict[str, Any] = {}
        started = time.perf_counter()
        try:
            if what == "write":
                answer = write_unet(Path(command["folder"]))
            elif what == "load":
                bench = UNetBench(**command)
                answer = {"seconds": bench.seconds}
            elif what == "load-starter":
                bench = StarterBench(**command)
                answer = {"seconds": bench.seconds}
            elif what == "load-model":
                bench = ModelBench(**command)
                answer = {"seconds": bench.seconds}
            elif what == "paint-model":
                answer = {"marks": bench.paint(**command)}
            elif what == "compare":
                answer = {"difference": bench.compare(**command)}
            else:
                {"step": "step", "channels-last": "channels_last", "paint": "paint"}[what]
                getattr(bench, what.replace("-", "_"))(**command)
                answer = {"seconds": time.perf_counter() - started}
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver reports it and stops
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
