"""Makes the fixture of the tiny decoder for previews: a random AutoencoderTiny of Python diffusers, and the same weights under
the names of TAESD's own file.

    python make_fixtures_tiny.py       (a second; writes fixtures/tiny)
"""
import os

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from make_fixtures import OUT, randomise, save, seeded

torch.set_grad_enabled(False)
folder = os.path.join(OUT, 'tiny', 'taesd')
net = randomise(AutoencoderTiny(encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
                                num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(2, 1, 1, 1)), 900)
save(net, folder)
latents = seeded(1, 4, 5, 7, seed=901) * 2
save_file({'latents': latents, 'decoded': net.decode(latents).sample.contiguous()}, os.path.join(OUT, 'tiny', 'io.safetensors'))
weights = load_file(os.path.join(folder, 'diffusion_pytorch_model.safetensors'))
own = {}
for name, tensor in weights.items():
    if name.startswith('decoder.layers.'):
        number, rest = name.removeprefix('decoder.layers.').split('.', 1)
        own[f'{int(number) + 1}.{rest}'] = tensor
save_file(own, os.path.join(OUT, 'tiny', 'taesd_decoder.safetensors'))
