"""Makes the fixtures of the checkpoint families: what Python diffusers computes with tiny SDXL, SD 1.x and SD 2.x models.

    python make_fixtures_families.py            (writes fixtures/families)

No weights are stored: each tensor is a formula of its name (`fill`), which the Rust test computes, too. A case holds the
configurations, the shapes of all tensors, their names in the original one-file layout, and the results. The names are
written down here by hand and checked against diffusers' own conversion.
"""
import gzip
import json
import os
import shutil

import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline,
                       StableDiffusionXLPipeline, UNet2DConditionModel)
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from make_fixtures import HERE, byte_letters, picture, seeded, to_float, write_json

OUT = os.path.join(HERE, 'fixtures', 'families')
VOCABULARY = os.path.join(HERE, '..', '..', 'models', 'tokenizers', 'clip', 'bpe_simple_vocab_16e6.txt.gz')
PROMPT, NEGATIVE = 'a snowy lake at dusk, 2 lighthouses!', 'the blue light'


def fnv(text):
    h = 0x811c9dc5
    for b in text.encode():
        h = ((h ^ b) * 0x01000193) & 0xffffffff
    return h


def fill(name, shape):
    """Numbers on the f16 grid from the name and the place: hash, 12 bits, times a power of two."""
    n = int(np.prod(shape))
    x = (np.arange(n, dtype=np.uint64) * 2654435761 + fnv(name)) & 0xffffffff
    x ^= x >> 16
    x = (x * 0x85ebca6b) & 0xffffffff
    x ^= x >> 13
    x = (x * 0xc2b2ae35) & 0xffffffff
    x ^= x >> 16
    unit = ((x >> 20).astype(np.int64) - 2048).astype(np.float64) / 2048
    if len(shape) > 1 and 'embed' not in name.rsplit('.', 2)[-2]:
        scale = 2.0 ** np.floor(np.log2(2 / np.sqrt(n / shape[0])))
    else:
        scale = 0.25
    value = unit * scale
    if len(shape) == 1 and name.endswith('weight'):
        value = 1 + np.round(unit * 64) / 256
    return torch.from_numpy(value.astype(np.float32)).reshape(shape)


def filled(part, net):
    for name, p in net.named_parameters():
        p.copy_(fill(f'{part}/{name}', tuple(p.shape)))
    return net.eval()


def tokenizer(pad):
    where = os.path.join(HERE, '.tokenizer')
    os.makedirs(where, exist_ok=True)
    merges = gzip.open(VOCABULARY, 'rt', encoding='utf-8').read().split('\n')[1:49408 - 512 - 2 + 1]
    letters = byte_letters()
    words = letters + [c + '</w>' for c in letters] + [m.replace(' ', '') for m in merges] + ['<|startoftext|>', '<|endoftext|>']
    json.dump({w: i for i, w in enumerate(words)}, open(os.path.join(where, 'vocab.json'), 'w'))
    with open(os.path.join(where, 'merges.txt'), 'w', encoding='utf-8') as f:
        f.write('#version: 0.2\n' + '\n'.join(merges) + '\n')
    write_json(os.path.join(where, 'tokenizer_config.json'), {
        'tokenizer_class': 'CLIPTokenizer', 'model_max_length': 77, 'bos_token': '<|startoftext|>', 'eos_token': '<|endoftext|>',
        'unk_token': '<|endoftext|>', 'pad_token': pad})
    tok = CLIPTokenizer.from_pretrained(where)
    shutil.rmtree(where)
    return tok


def clip(cls, width, inner, layers, act, pad, **more):
    return cls(CLIPTextConfig(vocab_size=49408, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
                              num_attention_heads=max(1, width // 64), max_position_embeddings=77, hidden_act=act,
                              bos_token_id=49406, eos_token_id=49407, pad_token_id=pad, **more))


# ---------------------------------------------------------------- names in the original layout

def renamed(name, pairs):
    for a, b in pairs:
        name = name.replace(a, b)
    return name


RESNET = [('norm1.', 'in_layers.0.'), ('conv1.', 'in_layers.2.'), ('time_emb_proj.', 'emb_layers.1.'),
          ('norm2.', 'out_layers.0.'), ('conv2.', 'out_layers.3.'), ('conv_shortcut.', 'skip_connection.')]


def ldm_unet(name, layers, attends):
    """`attends` says for each level of the way up whether it has transformers."""
    top = {'time_embedding.linear_1': 'time_embed.0', 'time_embedding.linear_2': 'time_embed.2', 'conv_in': 'input_blocks.0.0',
           'add_embedding.linear_1': 'label_emb.0.0', 'add_embedding.linear_2': 'label_emb.0.2', 'conv_norm_out': 'out.0', 'conv_out': 'out.2'}
    for a, b in top.items():
        if name.startswith(a + '.'):
            return b + name[len(a):]
    p = name.split('.')
    if p[0] == 'mid_block':
        rest = '.'.join(p[3:])
        return f'middle_block.1.{rest}' if p[1] == 'attentions' else f'middle_block.{2 * int(p[2])}.{renamed(rest, RESNET)}'
    level, kind, i, rest = int(p[1]), p[2], int(p[3]), '.'.join(p[4:])
    if p[0] == 'down_blocks':
        block = 1 + level * (layers + 1) + (layers if kind == 'downsamplers' else i)
        return {'resnets': f'input_blocks.{block}.0.{renamed(rest, RESNET)}', 'attentions': f'input_blocks.{block}.1.{rest}',
                'downsamplers': f'input_blocks.{block}.0.op.{rest[5:]}'}[kind]
    block = level * (layers + 1) + (layers if kind == 'upsamplers' else i)
    return {'resnets': f'output_blocks.{block}.0.{renamed(rest, RESNET)}', 'attentions': f'output_blocks.{block}.1.{rest}',
            'upsamplers': f'output_blocks.{block}.{2 if attends[level] else 1}.{rest}'}[kind]


def ldm_vae(name, n):
    p = name.split('.')
    if p[1] in ('down_blocks', 'up_blocks'):
        way = p[1][:-7]
        level = int(p[2]) if way == 'down' else n - 1 - int(p[2])
        if p[3] == 'resnets':
            return f'{p[0]}.{way}.{level}.block.{p[4]}.' + renamed('.'.join(p[5:]), [('conv_shortcut', 'nin_shortcut')])
        return f'{p[0]}.{way}.{level}.{way}sample.conv.{p[-1]}'
    return renamed(name, [('mid_block.resnets.0', 'mid.block_1'), ('mid_block.resnets.1', 'mid.block_2'),
                          ('mid_block.attentions.0.group_norm', 'mid.attn_1.norm'), ('mid_block.attentions.0.to_q', 'mid.attn_1.q'),
                          ('mid_block.attentions.0.to_k', 'mid.attn_1.k'), ('mid_block.attentions.0.to_v', 'mid.attn_1.v'),
                          ('mid_block.attentions.0.to_out.0', 'mid.attn_1.proj_out'), ('conv_norm_out', 'norm_out')])


OPEN = [('text_model.', ''), ('embeddings.token_embedding.weight', 'token_embedding.weight'),
        ('embeddings.position_embedding.weight', 'positional_embedding'), ('final_layer_norm', 'ln_final'),
        ('encoder.layers', 'transformer.resblocks'), ('layer_norm1', 'ln_1'), ('layer_norm2', 'ln_2'), ('self_attn.out_proj', 'attn.out_proj'),
        ('mlp.fc1', 'mlp.c_fc'), ('mlp.fc2', 'mlp.c_proj')]


def ldm_names(nets, family, unet, vae):
    """For each key of the one file: the operation and the tensors it is made of."""
    out = {}
    layers = unet.config.layers_per_block
    attends = ['Cross' in kind for kind in unet.config.up_block_types]
    for part, net in nets.items():
        for name in net.state_dict():
            if name.endswith('position_ids'):
                continue
            tensor = f'{part}/{name}'
            if part == 'unet':
                out['model.diffusion_model.' + ldm_unet(name, layers, attends)] = ['same', tensor]
            elif part == 'vae':
                op = 'conv' if '.to_' in name and name.endswith('weight') else 'same'
                out['first_stage_model.' + ldm_vae(name, len(vae.config.block_out_channels))] = [op, tensor]
            elif family == 'sd1' or (family == 'sdxl' and part == 'text_encoder'):
                text = name if name.startswith('text_model.') else 'text_model.' + name
                out[('cond_stage_model' if family == 'sd1' else 'conditioner.embedders.0') + '.transformer.' + text] = ['same', tensor]
            else:
                at = 'cond_stage_model.model.' if family == 'sd2' else 'conditioner.embedders.1.model.'
                if name == 'text_projection.weight':
                    out[at + 'text_projection'] = ['transposed', tensor]
                elif '.q_proj.' in name:
                    key = at + renamed(name, OPEN + [('self_attn.q_proj.', 'attn.in_proj_')])
                    out[key] = ['stacked'] + [tensor.replace('.q_proj.', f'.{c}_proj.') for c in 'qkv']
                elif '.k_proj.' not in name and '.v_proj.' not in name:
                    out[at + renamed(name, OPEN)] = ['same', tensor]
    # diffusers' own conversion must give back what these names came from.
    state = {f'{p}/{k}': v for p, net in nets.items() for k, v in net.state_dict().items()}
    one = {k: state[v[1]][..., None, None] if v[0] == 'conv' else state[v[1]] for k, v in out.items() if v[0] in ('same', 'conv')}
    back = convert_ldm_unet_checkpoint(dict(one), dict(unet.config))
    assert back.keys() == unet.state_dict().keys() and all(torch.equal(back[k], v) for k, v in unet.state_dict().items())
    back = convert_ldm_vae_checkpoint(dict(one), dict(vae.config))
    assert back.keys() == vae.state_dict().keys() and all(torch.equal(back[k].reshape(v.shape), v) for k, v in vae.state_dict().items())
    return out


# ---------------------------------------------------------------- cases

def sinks(cross, sdxl, in_channels):
    config = {'in_channels': in_channels, 'out_channels': 4, 'sample_size': 128 if sdxl else 64, 'block_out_channels': (32, 64),
              'layers_per_block': 1, 'norm_num_groups': 32, 'cross_attention_dim': cross, 'attention_head_dim': (4, 8) if sdxl else 4}
    if sdxl:
        config.update(down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'), up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'),
                      transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type='text_time',
                      addition_time_embed_dim=8, projection_class_embeddings_input_dim=40 + 48)
    else:
        config.update(down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'))
    return config


def case(name, family, in_channels):
    sdxl = family == 'sdxl'
    folder = os.path.join(OUT, name)
    os.makedirs(folder)
    config = sinks(96 if sdxl else 64, sdxl, in_channels)
    if family == 'sd2':
        config.update(use_linear_projection=True, attention_head_dim=(4, 8))
    net = filled('unet', UNet2DConditionModel(**config))
    vae = filled('vae', AutoencoderKL(down_block_types=('DownEncoderBlock2D',) * 2, up_block_types=('UpDecoderBlock2D',) * 2,
                                      block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=32, latent_channels=4,
                                      scaling_factor=0.13025 if sdxl else 0.18215))
    scheduler = {'_class_name': 'DDIMScheduler', 'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear',
                 'clip_sample': False, 'set_alpha_to_one': False, 'steps_offset': 1, 'timestep_spacing': 'leading',
                 'prediction_type': 'v_prediction' if family == 'sd2' else 'epsilon'}
    first = 'gelu' if family == 'sd2' else 'quick_gelu'
    pads = ['!' if family == 'sd2' else '<|endoftext|>']
    nets = {'unet': net, 'vae': vae, 'text_encoder': filled('text_encoder', clip(CLIPTextModel, 32 if sdxl else 64, 64, 2, first, 49407))}
    index = {'_class_name': 'StableDiffusionXLPipeline' if sdxl else 'StableDiffusionPipeline'}
    if sdxl:
        nets['text_encoder_2'] = filled('text_encoder_2', clip(CLIPTextModelWithProjection, 64, 96, 2, 'gelu', 49407, projection_dim=40))
        pads.append('!')
        index.update(text_encoder_2=['transformers', 'CLIPTextModelWithProjection'], force_zeros_for_empty_prompt=True)
    toks = [tokenizer(pad) for pad in pads]
    configs = {'model_index.json': index, 'scheduler/scheduler_config.json': scheduler}
    for part, n in nets.items():
        c = json.loads(json.dumps(n.config.to_dict() if part.startswith('text') else dict(n.config), default=str))
        for key in ('_name_or_path', '_use_default_values'):  # the last has another order each time
            c.pop(key, None)
        if part.startswith('text'):
            c['model_type'] = 'clip_text_model'
        configs[f'{part}/config.json'] = c
    shapes = {f'{p}/{k}': list(v.shape) for p, n in nets.items() for k, v in n.state_dict().items() if not k.endswith('position_ids')}
    with open(os.path.join(folder, 'case.json'), 'w') as f:
        json.dump({'configs': configs, 'pads': pads, 'shapes': shapes, 'ldm': ldm_names(nets, family, net, vae)}, f,
                  sort_keys=True, separators=(',', ':'))
        f.write('\n')

    out = {}
    size = (32, 48)  # pixels
    noise = seeded(1, 4, 16, 24, seed=1500)
    out['noise'] = noise

    def pipe(cls):
        s = cls.from_config(scheduler)
        if sdxl:
            p = StableDiffusionXLPipeline(vae, nets['text_encoder'], nets['text_encoder_2'], toks[0], toks[1], net, s, add_watermarker=False)
        else:
            p = StableDiffusionPipeline(vae, nets['text_encoder'], toks[0], net, s, None, None, requires_safety_checker=False)
        p.vae_scale_factor = 2
        p.set_progress_bar_config(disable=True)
        return p
    pooled, zeros = None, None
    p = pipe(DDIMScheduler)
    if sdxl:
        ctx, null, pooled, zeros = p.encode_prompt(PROMPT, negative_prompt=NEGATIVE, device='cpu')
        out['pooled'], out['negative_pooled'] = pooled, zeros
    else:
        ctx, null = p.encode_prompt(PROMPT, 'cpu', 1, True, NEGATIVE)
    out['context'], out['negative_context'] = ctx, null
    sizes = torch.tensor([[32., 48, 0, 0, 32, 48]])

    def added(n):
        return {'text_embeds': torch.cat([zeros, pooled])[-n:], 'time_ids': sizes.expand(n, 6)} if sdxl else None
    x = seeded(2, in_channels, 8, 12, seed=1501)
    out['input'] = x
    for t in (1, 500, 981):
        out[f'output_{t}'] = net(x, t, torch.cat([null, ctx]), added_cond_kwargs=added(2)).sample
    if in_channels == 4:
        for key, cls in {'ddim': DDIMScheduler, 'dpmpp-2m': DPMSolverMultistepScheduler}.items():
            q = pipe(cls)
            out[f'generate_{key}'] = q(PROMPT, negative_prompt=NEGATIVE, height=size[0], width=size[1], num_inference_steps=20,
                                       guidance_scale=4.0, latents=noise.clone(), output_type='latent').images
        if sdxl:
            out['generate_zeros'] = pipe(DDIMScheduler)(PROMPT, height=size[0], width=size[1], num_inference_steps=20, guidance_scale=4.0,
                                                        latents=noise.clone(), output_type='latent').images
    else:
        s = DDIMScheduler.from_config(scheduler)
        s.set_timesteps(20)
        scale = vae.config.scaling_factor
        rgb = to_float(picture(*size))
        mask = torch.zeros(1, 1, *size)
        mask[..., 28:] = 1
        small = torch.nn.functional.interpolate(mask, scale_factor=1 / 2)
        known = vae.encode(rgb).latent_dist.mean * scale
        extra = torch.cat([small, vae.encode(rgb * (mask < .5)).latent_dist.mean * scale], 1)
        z = noise
        for i, t in enumerate(s.timesteps):
            inp = torch.cat([z, extra], 1)
            u, c = net(torch.cat([inp, inp]), t, torch.cat([null, ctx]), added_cond_kwargs=added(2)).sample.chunk(2)
            z = s.step(u + 3.0 * (c - u), t, z).prev_sample
            k = int(t) - 50
            a = 1.0 if i == 19 else float(s.alphas_cumprod.double()[k])
            z = torch.where(small > 0, z, a ** .5 * known + (1 - a) ** .5 * noise)
        out['fill_ddim'] = z
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'io.safetensors'))
    print(name, {k: float(v.abs().max()) for k, v in out.items()})


if __name__ == '__main__':
    shutil.rmtree(OUT, ignore_errors=True)
    for args in [('sdxl', 'sdxl', 4), ('sdxl_inpaint', 'sdxl', 9), ('sd1', 'sd1', 4), ('sd2', 'sd2', 4)]:
        case(*args)
