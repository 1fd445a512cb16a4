"""Makes the fixtures of ControlNet and of networks that are told the guidance scale: what Python diffusers computes with tiny
ones beside the models of `make_fixtures_families.py`.

    python make_fixtures_control.py             (writes fixtures/control; after make_fixtures_families.py)

As there, weights are formulas of their names. The names in the original layout are checked against diffusers' own
conversion. With opencv-python-headless installed it also writes the edges that OpenCV finds.
"""
import json
import os
import shutil

import numpy as np
import torch
from diffusers import (AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline, StableDiffusionPipeline,
                       StableDiffusionXLControlNetPipeline, UNet2DConditionModel)
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers import MultiControlNetModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from make_fixtures import HERE, picture, seeded, to_float
from make_fixtures_families import NEGATIVE, PROMPT, clip, filled, ldm_unet, sinks, tokenizer

OUT = os.path.join(HERE, 'fixtures', 'control')
SIZE = (32, 48)  # pixels


def drawing(width, height, seed):
    """A picture with soft and hard edges; the Rust test computes it, too."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    disc = ((x - width // 2) ** 2 + (y - height // 2) ** 2) * 9 < min(width, height) ** 2
    r = (x * 255 // width + seed * 40) % 256
    g = np.where(disc, 220, y * 255 // height)
    b = np.where((x // 9 + y // 7 + seed) % 3 == 0, 255, 30)
    return np.stack([r, g, b], 2).astype(np.uint8)


def ldm_control(name, layers, hints=4):
    """`hints` is the number of convolutions that the picture goes through."""
    p = name.split('.')
    if p[0] == 'controlnet_down_blocks':
        return f'zero_convs.{p[1]}.0.{p[2]}'
    if p[0] == 'controlnet_mid_block':
        return f'middle_block_out.0.{p[1]}'
    if p[0] == 'controlnet_cond_embedding':
        i = {'conv_in': 0, 'conv_out': hints - 1}.get(p[1], 1 + int(p[2]) if p[1] == 'blocks' else 0)
        return f'input_hint_block.{2 * i}.{p[-1]}'
    return ldm_unet(name, layers, [])


def control(part, base, **more):
    """A control network for a UNet's configuration."""
    config = {k: v for k, v in base.items() if k not in ('out_channels', 'sample_size', 'up_block_types')}
    config.update(in_channels=4, conditioning_embedding_out_channels=(16, 32), **more)
    return filled(part, ControlNetModel(**config))


def describe(nets):
    """Configurations, shapes and original names of control networks."""
    told = {}
    for name, net in nets.items():
        config = json.loads(json.dumps(dict(net.config), default=str))
        for key in ('_name_or_path', '_use_default_values'):
            config.pop(key, None)
        config['_class_name'] = 'ControlNetModel'
        state = net.state_dict()
        ldm = {ldm_control(k, net.config.layers_per_block): k for k in state}
        assert len(ldm) == len(state)
        told[name] = {'config': config, 'shapes': {k: list(v.shape) for k, v in state.items()}, 'ldm': ldm}
    return told


def check_names(base):
    """diffusers' own conversion must give back what the names came from; it knows only the usual eight convolutions."""
    net = control('x', base)
    net = ControlNetModel.from_config({**net.config, 'conditioning_embedding_out_channels': (16, 32, 96, 256)})
    state = net.state_dict()
    one = {'control_model.' + ldm_control(k, net.config.layers_per_block, 8): v for k, v in state.items()}
    back = convert_controlnet_checkpoint(one, dict(net.config))
    assert back.keys() == state.keys(), back.keys() ^ state.keys()
    assert all(torch.equal(back[k], v) for k, v in state.items())


SCHEDULER = {'_class_name': 'DDIMScheduler', 'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear', 'clip_sample': False,
             'set_alpha_to_one': False, 'steps_offset': 1, 'timestep_spacing': 'leading', 'prediction_type': 'epsilon'}
PICTURES = [Image.fromarray(drawing(70, 50, 1)), Image.fromarray(drawing(30, 40, 2))]
HOW = dict(controlnet_conditioning_scale=[0.8, 0.5], control_guidance_start=[0.0, 0.25], control_guidance_end=[0.65, 1.0])


def keep(i, n):
    """The scales of both networks in step i of n."""
    return [s * (1 - float(i / n < a or (i + 1) / n > b)) for s, a, b in
            zip(HOW['controlnet_conditioning_scale'], HOW['control_guidance_start'], HOW['control_guidance_end'])]


def vae_of(sdxl):
    return filled('vae', AutoencoderKL(down_block_types=('DownEncoderBlock2D',) * 2, up_block_types=('UpDecoderBlock2D',) * 2,
                                       block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=32, latent_channels=4,
                                       scaling_factor=0.13025 if sdxl else 0.18215))


def hinted(images):
    processor = VaeImageProcessor(vae_scale_factor=2, do_convert_rgb=True, do_normalize=False)
    return [processor.preprocess(image, *SIZE) for image in images]


def steered(out, key, pipe, unet, nets, ctx, null, added, extra, start, timesteps):
    """A guided loop by hand, for what no pipeline of diffusers does alike: fills and img2img from the mean."""
    z = start
    for i, t in enumerate(timesteps):
        scales = keep(i, len(timesteps))
        two = torch.cat([z, z])
        down, mid = None, None
        for net, hint, scale in zip(nets, hinted(PICTURES), scales):
            if scale > 0:
                d, m = net(two, t, torch.cat([null, ctx]), torch.cat([hint, hint]), scale, added_cond_kwargs=added, return_dict=False)
                down, mid = (d, m) if down is None else ([a + b for a, b in zip(down, d)], mid + m)
        inp = two if extra is None else torch.cat([two, torch.cat([extra, extra])], 1)
        u, c = unet(inp, t, torch.cat([null, ctx]), added_cond_kwargs=added, down_block_additional_residuals=down,
                    mid_block_additional_residual=mid).sample.chunk(2)
        z = pipe(i, t, u + 3.0 * (c - u), z)
    out[key] = z


def sd1():
    base = sinks(64, False, 4)
    check_names(base)
    unet, vae = filled('unet', UNet2DConditionModel(**base)), vae_of(False)
    text, tok = filled('text_encoder', clip(CLIPTextModel, 64, 64, 2, 'quick_gelu', 49407)), tokenizer('<|endoftext|>')
    nets = {'edges': control('edges', base), 'depth': control('depth', base, controlnet_conditioning_channel_order='bgr'),
            'shuffle': control('shuffle', base, global_pool_conditions=True)}
    out = {}

    def pipe(which):
        net = which[0] if len(which) == 1 else MultiControlNetModel(which)
        p = StableDiffusionControlNetPipeline(vae, text, tok, unet, net, DDIMScheduler.from_config(SCHEDULER), None, None,
                                              requires_safety_checker=False)
        p.vae_scale_factor = 2
        p.control_image_processor = VaeImageProcessor(vae_scale_factor=2, do_convert_rgb=True, do_normalize=False)
        p.set_progress_bar_config(disable=True)
        return p
    noise = seeded(1, 4, 16, 24, seed=1500)
    p = pipe([nets['edges'], nets['depth']])
    ctx, null = p.encode_prompt(PROMPT, 'cpu', 1, True, NEGATIVE)
    both = torch.cat([null, ctx])
    out['context'], out['input'], out['pixels'] = both, seeded(2, 4, 4, 6, seed=1701), torch.sigmoid(seeded(1, 3, 8, 12, seed=1702))
    for name in ('edges', 'depth', 'shuffle'):
        d, m = nets[name](out['input'], 500, both, out['pixels'].expand(2, -1, -1, -1), 0.7, guess_mode=False, return_dict=False)
        if name == 'shuffle':
            # Without a prompt's half nothing is steered, as the pipelines do it for this network.
            d, m = nets[name](out['input'][1:], 500, ctx, out['pixels'], 0.7, guess_mode=True, return_dict=False)
            d, m = [torch.cat([torch.zeros_like(x), x]) for x in d], torch.cat([torch.zeros_like(m), m])
        for i, x in enumerate([*d, m]):
            out[f'{name}_residual_{i}'] = x
        out[f'{name}_output'] = unet(out['input'], 500, both, down_block_additional_residuals=d, mid_block_additional_residual=m).sample
    how = dict(height=SIZE[0], width=SIZE[1], num_inference_steps=20, guidance_scale=4.0, output_type='latent')
    out['generate_one'] = pipe([nets['edges']])(PROMPT, PICTURES[0], negative_prompt=NEGATIVE, latents=noise.clone(), **how).images
    out['generate_two'] = p(PROMPT, PICTURES, negative_prompt=NEGATIVE, latents=noise.clone(), **HOW, **how).images
    out['generate_shuffle'] = pipe([nets['shuffle']])(PROMPT, PICTURES[0], negative_prompt=NEGATIVE, latents=noise.clone(), **how).images
    # img2img from the mean, strength 0.6.
    s = DDIMScheduler.from_config(SCHEDULER)
    s.set_timesteps(20)
    known = vae.encode(to_float(picture(*SIZE))).latent_dist.mean * vae.config.scaling_factor
    times = s.timesteps[8:]
    steered(out, 'img2img_two', lambda i, t, e, z: s.step(e, t, z).prev_sample, unet, [nets['edges'], nets['depth']], ctx, null, None, None,
            s.add_noise(known, noise, times[:1]), times)
    finish('sd1', nets, out)


def sdxl():
    base = sinks(96, True, 4)
    unet, fill = filled('unet', UNet2DConditionModel(**base)), filled('unet', UNet2DConditionModel(**sinks(96, True, 9)))
    vae = vae_of(True)
    texts = [filled('text_encoder', clip(CLIPTextModel, 32, 64, 2, 'quick_gelu', 49407)),
             filled('text_encoder_2', clip(CLIPTextModelWithProjection, 64, 96, 2, 'gelu', 49407, projection_dim=40))]
    toks = [tokenizer('<|endoftext|>'), tokenizer('!')]
    small = {**base, 'down_block_types': ('DownBlock2D',) * 2, 'transformer_layers_per_block': 1}
    nets = {'edges': control('edges', base), 'small': control('small', small, mid_block_type='UNetMidBlock2D')}
    out = {}
    p = StableDiffusionXLControlNetPipeline(vae, *texts, *toks, unet, MultiControlNetModel(list(nets.values())), DDIMScheduler.from_config(SCHEDULER),
                                            add_watermarker=False)
    p.vae_scale_factor = 2
    p.control_image_processor = VaeImageProcessor(vae_scale_factor=2, do_convert_rgb=True, do_normalize=False)
    p.set_progress_bar_config(disable=True)
    noise = seeded(1, 4, 16, 24, seed=1500)
    ctx, null, pooled, zeros = p.encode_prompt(PROMPT, negative_prompt=NEGATIVE, device='cpu')
    both = torch.cat([null, ctx])
    added = {'text_embeds': torch.cat([zeros, pooled]), 'time_ids': torch.tensor([[32., 48, 0, 0, 32, 48]]).expand(2, 6)}
    out['context'], out['pooled'], out['input'] = both, added['text_embeds'], seeded(2, 4, 4, 6, seed=1701)
    out['pixels'] = torch.sigmoid(seeded(1, 3, 8, 12, seed=1702))
    for name, net in nets.items():
        d, m = net(out['input'], 500, both, out['pixels'].expand(2, -1, -1, -1), 0.7, added_cond_kwargs=added, return_dict=False)
        for i, x in enumerate([*d, m]):
            out[f'{name}_residual_{i}'] = x
        out[f'{name}_output'] = unet(out['input'], 500, both, added_cond_kwargs=added, down_block_additional_residuals=d,
                                     mid_block_additional_residual=m).sample
    out['generate_two'] = p(PROMPT, image=PICTURES, negative_prompt=NEGATIVE, height=SIZE[0], width=SIZE[1], num_inference_steps=20,
                            guidance_scale=4.0, latents=noise.clone(), output_type='latent', **HOW).images
    # A fill by nine channels, as in make_fixtures_families.py.
    s = DDIMScheduler.from_config(SCHEDULER)
    s.set_timesteps(20)
    rgb, mask = to_float(picture(*SIZE)), torch.zeros(1, 1, *SIZE)
    mask[..., 28:] = 1
    small = torch.nn.functional.interpolate(mask, scale_factor=1 / 2)
    known = vae.encode(rgb).latent_dist.mean * vae.config.scaling_factor
    extra = torch.cat([small, vae.encode(rgb * (mask < .5)).latent_dist.mean * vae.config.scaling_factor], 1)

    def step(i, t, e, z):
        z, k = s.step(e, t, z).prev_sample, int(t) - 50
        a = 1.0 if i == 19 else float(s.alphas_cumprod.double()[k])
        return torch.where(small > 0, z, a ** .5 * known + (1 - a) ** .5 * noise)
    steered(out, 'fill_two', step, fill, list(nets.values()), ctx, null, added, extra, noise, s.timesteps)
    finish('sdxl', nets, out)


def distilled():
    """A UNet of SD 1.x that is told the guidance scale, as latent consistency models are."""
    config = sinks(64, False, 4)
    unet, vae = filled('unet', UNet2DConditionModel(**config, time_cond_proj_dim=32)), vae_of(False)
    text, tok = filled('text_encoder', clip(CLIPTextModel, 64, 64, 2, 'quick_gelu', 49407)), tokenizer('<|endoftext|>')
    p = StableDiffusionPipeline(vae, text, tok, unet, DDIMScheduler.from_config(SCHEDULER), None, None, requires_safety_checker=False)
    p.vae_scale_factor = 2
    p.set_progress_bar_config(disable=True)
    out = {'input': seeded(1, 4, 4, 6, seed=1703)}
    out['context'] = p.encode_prompt(PROMPT, 'cpu', 1, False)[0]
    for scale in (1.0, 4.0, 8.5):
        cond = p.get_guidance_scale_embedding(torch.tensor([scale - 1]), embedding_dim=32)
        out[f'output_{scale}'] = unet(out['input'], 500, out['context'], timestep_cond=cond).sample
    out['generate'] = p(PROMPT, height=SIZE[0], width=SIZE[1], num_inference_steps=20, guidance_scale=4.0,
                        latents=seeded(1, 4, 16, 24, seed=1500), output_type='latent').images
    os.makedirs(os.path.join(OUT, 'distilled'))
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(OUT, 'distilled', 'io.safetensors'))
    print('distilled', {k: float(v.abs().max()) for k, v in out.items()})


def finish(name, nets, out):
    folder = os.path.join(OUT, name)
    os.makedirs(folder)
    with open(os.path.join(folder, 'case.json'), 'w') as f:
        json.dump(describe(nets), f, sort_keys=True, separators=(',', ':'))
        f.write('\n')
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'io.safetensors'))
    print(name, {k: float(v.abs().max()) for k, v in out.items()})


def pictures():
    """What Pillow stretches pictures to, and the edges that OpenCV finds in them."""
    out = {}
    image = Image.fromarray(drawing(70, 50, 1))
    for width, height in [(48, 32), (140, 100), (33, 75)]:
        out[f'stretched_{width}x{height}'] = torch.from_numpy(np.array(image.resize((width, height), Image.LANCZOS)))
    try:
        import cv2
        for seed, (low, high) in enumerate([(100, 200), (50, 150), (20, 300)]):
            out[f'edges_{seed}_{low}_{high}'] = torch.from_numpy(cv2.Canny(drawing(96, 64, seed), low, high))
        noisy = np.random.default_rng(5).integers(0, 256, (48, 64, 3)).astype(np.uint8)
        noisy = cv2.blur(noisy, (3, 3))
        out['noisy'], out['edges_noisy'] = torch.from_numpy(noisy), torch.from_numpy(cv2.Canny(noisy, 100, 200))
    except ImportError:
        print('without OpenCV: no edges')
    os.makedirs(os.path.join(OUT, 'pictures'))
    save_file(out, os.path.join(OUT, 'pictures', 'io.safetensors'))


if __name__ == '__main__':
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    with torch.no_grad():
        sd1()
        sdxl()
        distilled()
        pictures()
