"""Makes the fixtures that the Rust engine is compared with: tiny random models, run by Python diffusers.

    python make_fixtures.py            (about a minute; writes fixtures/, less than 6 MB)

Weights are random but rounded to f16, so that small files hold them exactly. Everything is seeded: running this again
with the versions of requirements.txt gives the same files.
"""
import json
import os
import shutil

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, 'fixtures')
STARTER = os.path.join(HERE, '..', '..', 'models', 'starter')
torch.set_grad_enabled(False)
torch.set_num_threads(1)
SAMPLERS = {'ddim': DDIMScheduler, 'dpmpp-2m': DPMSolverMultistepScheduler}


def seeded(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomise(model, seed):
    """Random weights of a size that keeps activations near 1, on the f16 grid; norms and biases too."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if p.dim() > 1 and 'embed' not in name:
            r *= 1.2 / (p[0].numel() ** 0.5)
        elif name.endswith('weight') and p.dim() == 1:
            r = 1 + 0.2 * r
        else:
            r *= 0.2
        p.copy_(r.half().float())
    return model.eval()


def write_json(path, value):
    with open(path, 'w') as f:
        json.dump(value, f, indent=1, sort_keys=True)
        f.write('\n')


def save(model, folder, half=True):
    """save_pretrained, with f16 weights when asked (exact, see randomise) and without environment in the config."""
    model.save_pretrained(folder, safe_serialization=True)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith('.safetensors') and half:
            save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()}, path, {'format': 'pt'})
        if name == 'config.json':
            config = json.load(open(path))
            config.pop('_name_or_path', None)
            write_json(path, config)
        if name == 'generation_config.json':
            os.remove(path)


# ---------------------------------------------------------------- single networks

def unets():
    common = {'sample_size': 8, 'out_channels': 4}
    cases = {
        # linear projection, heads, layers and depths per block, odd sizes, as in SD 2.x
        'linear_lists': ({'in_channels': 4, 'block_out_channels': (32, 32, 32), 'layers_per_block': (1, 2, 1),
                          'norm_num_groups': 32, 'use_linear_projection': True, 'attention_head_dim': (2, 4, 8),
                          'down_block_types': ('CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'),
                          'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'),
                          'transformer_layers_per_block': (1, 2, 1), 'cross_attention_dim': 40}, (1, 9, 13)),
        # no attention in the middle, sines before cosines
        'plain_mid': ({'in_channels': 4, 'block_out_channels': (16, 32), 'layers_per_block': 2, 'norm_num_groups': 8,
                       'down_block_types': ('DownBlock2D', 'CrossAttnDownBlock2D'),
                       'up_block_types': ('CrossAttnUpBlock2D', 'UpBlock2D'), 'mid_block_type': 'UNetMidBlock2D',
                       'flip_sin_to_cos': False, 'freq_shift': 1, 'norm_eps': 1e-6,
                       'attention_head_dim': 2, 'cross_attention_dim': 16}, (1, 7, 5)),
    }
    for seed, (name, (config, size)) in enumerate(cases.items()):
        folder = os.path.join(OUT, 'unets', name)
        net = randomise(UNet2DConditionModel(**common, **config), 100 + seed)
        save(net, folder)
        unet_io(net, folder, size, 200 + seed)


def unet_io(net, folder, size, seed):
    n, h, w = size
    x = seeded(n, net.config.in_channels, h, w, seed=seed)
    context = seeded(n, 6, net.config.cross_attention_dim, seed=seed + 50)
    out = {'input': x, 'context': context}
    for t in (1, 500, 981):
        out[f'output_{t}'] = net(x, t, context).sample
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'io.safetensors'))


def vaes():
    down, up = 'DownEncoderBlock2D', 'UpDecoderBlock2D'
    cases = {
        # f32 on disk: used where it lies, without a copy
        'groups32': {'block_out_channels': (32, 32), 'layers_per_block': 1, 'norm_num_groups': 32, 'latent_channels': 8,
                     'scaling_factor': 1.5},
        'factor4_shifted': {'block_out_channels': (16, 16, 32), 'layers_per_block': 1, 'norm_num_groups': 4,
                            'latent_channels': 3, 'scaling_factor': 0.5, 'shift_factor': 0.1,
                            'use_quant_conv': False, 'use_post_quant_conv': False},
    }
    for seed, (name, config) in enumerate(cases.items()):
        n = len(config['block_out_channels'])
        folder = os.path.join(OUT, 'vaes', name)
        net = randomise(AutoencoderKL(down_block_types=(down,) * n, up_block_types=(up,) * n, **config), 400 + seed)
        save(net, folder, half=name != 'groups32')
        vae_io(net, folder, 500 + seed)


def vae_io(net, folder, seed):
    factor = 2 ** (len(net.config.block_out_channels) - 1)
    pixels = seeded(1, 3, 8 * factor, 12 * factor, seed=seed).clamp(-1, 1)
    latents = seeded(1, net.config.latent_channels, 6, 10, seed=seed + 50)
    scale, shift = net.config.scaling_factor, net.config.shift_factor or 0
    out = {'pixels': pixels, 'encoded': (net.encode(pixels).latent_dist.mean - shift) * scale,
           'latents': latents, 'decoded': net.decode(latents / scale + shift).sample}
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'io.safetensors'))


# ---------------------------------------------------------------- text encoders

WORDS = ['a', 'the', 'snowy', 'mountains', 'at', 'dusk', 'blue', 'lake', 'and', 'forest', 'sun', '##set', '##s', ',', '.',
         'light', '##house', 'n', '##ight', 'c', '##af', '##e', "'"]
PROMPTS = ['', 'a snowy lake at dusk', 'the blue mountains, and the sunsets.', 'zebra lighthouse at qqq night',
           'a Café at NIGHT', "the lake's   light\n\tat 12 o'clock!", ' '.join(['snowy mountains and lake'] * 8)]


def bert(folder, tokens, seed):
    vocabulary = {w: i for i, w in enumerate(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + WORDS)}
    tok = Tokenizer(models.WordPiece(vocabulary, unk_token='[UNK]'))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.post_processor = processors.TemplateProcessing(single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 2), ('[SEP]', 3)])
    tok.add_special_tokens(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'])
    os.makedirs(os.path.join(folder, 'tokenizer'), exist_ok=True)
    tok.save(os.path.join(folder, 'tokenizer', 'tokenizer.json'))
    write_json(os.path.join(folder, 'tokenizer', 'special_tokens_map.json'), {'unk_token': '[UNK]', 'pad_token': '[PAD]'})
    net = BertModel(BertConfig(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                               intermediate_size=64, max_position_embeddings=40), add_pooling_layer=False)
    save(randomise(net, seed), os.path.join(folder, 'text_encoder'))
    tok.enable_truncation(tokens)

    def encode(prompt):
        ids = tok.encode(prompt).ids
        h = net(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).last_hidden_state
        return ids, torch.nn.functional.pad(h, (0, 0, 0, tokens - len(ids)))
    return encode


def byte_letters():
    """The 256 printable letters that stand for bytes in byte-level BPE."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def clip(folder, act, pad, seed):
    """A tokenizer in CLIP's own two files; merges are learnt by hand: each word of WORDS from its letters."""
    letters = byte_letters()
    vocabulary = letters + [c + '</w>' for c in letters]
    merges = []
    for word in ['snowy', 'mountains', 'at', 'dusk', 'blue', 'lake', 'and', 'the', 'light']:
        parts = list(word[:-1]) + [word[-1] + '</w>']
        while len(parts) > 1:
            pair, parts = parts[:2], [parts[0] + parts[1]] + parts[2:]
            if ' '.join(pair) not in merges:
                merges.append(' '.join(pair))
                vocabulary.append(''.join(pair))
    vocabulary = list(dict.fromkeys(vocabulary)) + ['<|startoftext|>', '<|endoftext|>']
    where = os.path.join(folder, 'tokenizer')
    os.makedirs(where, exist_ok=True)
    with open(os.path.join(where, 'vocab.json'), 'w') as f:
        json.dump({w: i for i, w in enumerate(vocabulary)}, f)
    with open(os.path.join(where, 'merges.txt'), 'w') as f:
        f.write('#version: 0.2\n' + '\n'.join(merges) + '\n')
    special = {'bos_token': '<|startoftext|>', 'eos_token': '<|endoftext|>', 'unk_token': '<|endoftext|>', 'pad_token': pad}
    write_json(os.path.join(where, 'special_tokens_map.json'), special)
    write_json(os.path.join(where, 'tokenizer_config.json'), {'tokenizer_class': 'CLIPTokenizer', 'model_max_length': 24, **special})
    n = len(vocabulary)
    net = CLIPTextModel(CLIPTextConfig(vocab_size=n, hidden_size=24, intermediate_size=48, num_hidden_layers=2,
                                       num_attention_heads=3, max_position_embeddings=24, hidden_act=act,
                                       bos_token_id=n - 2, eos_token_id=n - 1, pad_token_id=vocabulary.index('!') if pad == '!' else n - 1))
    save(randomise(net, seed), os.path.join(folder, 'text_encoder'))
    tok = CLIPTokenizer.from_pretrained(where)

    def encode(prompt):
        ids = tok(prompt, padding='max_length', max_length=24, truncation=True).input_ids
        return ids, net(torch.tensor([ids])).last_hidden_state
    return encode, net, tok


def prompts(folder, encode):
    out, ids = {}, []
    for i, prompt in enumerate(PROMPTS):
        tokens, states = encode(prompt)
        out[f'context_{i}'] = states.contiguous()
        ids.append({'prompt': prompt, 'ids': tokens})
    save_file(out, os.path.join(folder, 'prompts.safetensors'))
    write_json(os.path.join(folder, 'prompts.json'), ids)


# ---------------------------------------------------------------- samplers

def schedules():
    """Trajectories for given outputs: any difference in times, levels or coefficients shows."""
    outputs, start = seeded(30, 1, 1, 2, 2, seed=700), seeded(1, 1, 2, 2, seed=701)
    tensors, cases = {'outputs': outputs, 'start': start}, []
    base = {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear', 'clip_sample': False,
            'set_alpha_to_one': False, 'steps_offset': 1}
    configs = [{**base, 'prediction_type': p, **({'timestep_spacing': s} if s else {})}
               for p in ('epsilon', 'v_prediction', 'sample') for s in (None, 'leading', 'linspace', 'trailing')]
    configs += [{**base, 'prediction_type': 'v_prediction', 'rescale_betas_zero_snr': True, 'timestep_spacing': 'trailing'},
                {'beta_schedule': 'linear', 'clip_sample': True, 'prediction_type': 'epsilon'},
                {'beta_schedule': 'squaredcos_cap_v2', 'prediction_type': 'v_prediction', 'clip_sample': False},
                {**base, 'prediction_type': 'epsilon', 'final_sigmas_type': 'sigma_min'}]
    karras = {'dpmpp-2m-karras': DPMSolverMultistepScheduler}
    for config in configs:
        for name, cls in {**SAMPLERS, **karras}.items():
            # Times are cut off there, not rounded: the last bit of an f32 decides between 998 and 999.
            if name in karras and config['beta_schedule'] == 'squaredcos_cap_v2':
                continue
            for steps in (10, 15, 20, 25, 30):
                s = cls.from_config(config, **({'use_karras_sigmas': True} if name in karras else {}))
                s.set_timesteps(steps)
                if name in karras:  # times may repeat, so a step cannot be found by its time
                    s.set_begin_index(0)
                x, path = start, []
                for i, t in enumerate(s.timesteps):
                    x = s.step(outputs[i], t, x).prev_sample
                    path.append(x)
                key = f'path_{len(cases)}'
                tensors[key] = torch.cat(path)[[0, 1, steps // 2, steps - 2, steps - 1]].contiguous()
                cases.append({'config': config, 'sampler': name, 'steps': steps, 'path': key,
                              'timesteps': [int(t) for t in s.timesteps]})
    folder = os.path.join(OUT, 'schedules')
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, 'paths.safetensors'))
    with open(os.path.join(folder, 'cases.json'), 'w') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c, sort_keys=True) for c in cases) + '\n]\n')


# ---------------------------------------------------------------- whole loops

def picture(h, w):
    """A plain 8-bit picture with gradients and an edge."""
    y, x = np.mgrid[0:h, 0:w]
    rgb = np.stack([x * 255 // w, y * 255 // h, np.where(x > w // 3, 200, 40)], 2)
    return rgb.astype(np.uint8)


def to_float(rgb):
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1


def guided(net, x, extra, t, ctx, null, guidance):
    inp = x if extra is None else torch.cat([x, extra], 1)
    u, c = net(torch.cat([inp, inp]), t, torch.cat([null, ctx])).sample.chunk(2)
    return u + guidance * (c - u)


def loop(net, config, sampler, steps, noise, extra, ctx, null, guidance, known=None, mask=None, strength=1.0):
    """Sampling with the known latents, noised to the level of the moment, put back after every step. With a strength
    below 1 the schedule is finer and only its last `steps` steps are walked."""
    s = SAMPLERS[sampler].from_config(config)
    total = round(steps / strength)
    s.set_timesteps(total)
    acp = s.alphas_cumprod.double()

    def level(i, t, after):
        if sampler == 'dpmpp-2m':
            sigma = float(s.sigmas[i + 1 if after else i])
            return (1 / (sigma ** 2 + 1)) ** .5, sigma / (sigma ** 2 + 1) ** .5
        k = int(t) - (1000 // total if after else 0)
        a = float(acp[k]) if k >= 0 else float(s.final_alpha_cumprod)
        return a ** .5, (1 - a) ** .5
    first = total - steps
    x = noise
    if first:
        a, b = level(first, s.timesteps[first], False)
        x = a * known + b * noise
        if sampler == 'dpmpp-2m':
            s.set_begin_index(first)
    for i, t in list(enumerate(s.timesteps))[first:]:
        x = s.step(guided(net, x, extra, t, ctx, null, guidance), t, x).prev_sample
        if known is not None:
            a, b = (1.0, 0.0) if i + 1 == total else level(i, t, True)
            x = torch.where(mask > 0, x, a * known + b * noise)
    return x


def mini(folder, unet_config, vae_config, scheduler, index, seed):
    net = randomise(UNet2DConditionModel(sample_size=8, out_channels=4, **unet_config), seed)
    n = len(vae_config['block_out_channels'])
    vae = randomise(AutoencoderKL(down_block_types=('DownEncoderBlock2D',) * n, up_block_types=('UpDecoderBlock2D',) * n,
                                  **vae_config), seed + 1)
    save(net, os.path.join(folder, 'unet'))
    save(vae, os.path.join(folder, 'vae'))
    unet_io(net, os.path.join(folder, 'unet'), (2, 8, 12), seed + 2)
    vae_io(vae, os.path.join(folder, 'vae'), seed + 3)
    os.makedirs(os.path.join(folder, 'scheduler'))
    write_json(os.path.join(folder, 'scheduler', 'scheduler_config.json'), scheduler)
    write_json(os.path.join(folder, 'model_index.json'), index)
    return net, vae


def painter():
    """4 channels, CLIP, epsilon: text to image by StableDiffusionPipeline itself, fill by the loop above."""
    folder = os.path.join(OUT, 'models', 'painter')
    scheduler = {'_class_name': 'PNDMScheduler', 'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear',
                 'clip_sample': False, 'set_alpha_to_one': False, 'skip_prk_steps': True, 'steps_offset': 1}
    encode, text, tok = clip(folder, 'quick_gelu', '<|endoftext|>', 800)
    net, vae = mini(folder, {'in_channels': 4, 'block_out_channels': (32, 32), 'layers_per_block': 1, 'norm_num_groups': 32,
                             'down_block_types': ('CrossAttnDownBlock2D', 'DownBlock2D'),
                             'up_block_types': ('UpBlock2D', 'CrossAttnUpBlock2D'), 'attention_head_dim': 4, 'cross_attention_dim': 24},
                    {'block_out_channels': (16, 32), 'layers_per_block': 1, 'norm_num_groups': 8, 'latent_channels': 4,
                     'scaling_factor': 0.18215}, scheduler, {'_class_name': 'StableDiffusionPipeline'}, 810)
    prompts(folder, encode)
    noise = seeded(1, 4, 8, 12, seed=820)
    prompt, negative = 'a snowy lake at dusk', 'the blue light'
    out = {'noise': noise}
    for name, cls in SAMPLERS.items():
        pipe = StableDiffusionPipeline(vae, text, tok, net, cls.from_config(scheduler), None, None, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        z = pipe(prompt, negative_prompt=negative, height=16, width=24, num_inference_steps=10, guidance_scale=4.0,
                 latents=noise.clone(), output_type='latent').images
        out[f'generate_{name}'] = z
        out[f'pixels_{name}'] = vae.decode(z / 0.18215).sample
    rgb = picture(16, 24)
    mask = torch.zeros(1, 1, 8, 12)
    mask[..., 7:] = 1
    known = vae.encode(to_float(rgb)).latent_dist.mean * 0.18215
    for name in SAMPLERS:
        for strength in (1.0, 0.5):
            out[f'fill_{name}_{strength}'] = loop(net, scheduler, name, 8, noise, None, encode(prompt)[1], encode(negative)[1],
                                                  3.0, known, mask, strength)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'loops.safetensors'))


def filler():
    """9 channels, BERT, v-prediction: text to image and fill."""
    folder = os.path.join(OUT, 'models', 'filler')
    scheduler = {'_class_name': 'DDIMScheduler', 'beta_start': 0.00085, 'beta_end': 0.02, 'beta_schedule': 'scaled_linear',
                 'prediction_type': 'v_prediction', 'clip_sample': False, 'set_alpha_to_one': False, 'steps_offset': 1,
                 'timestep_spacing': 'leading'}
    encode = bert(folder, 16, 900)
    net, vae = mini(folder, {'in_channels': 9, 'block_out_channels': (16, 32, 32), 'layers_per_block': 1, 'norm_num_groups': 8,
                             'down_block_types': ('DownBlock2D', 'DownBlock2D', 'CrossAttnDownBlock2D'),
                             'up_block_types': ('CrossAttnUpBlock2D', 'UpBlock2D', 'UpBlock2D'), 'attention_head_dim': 4,
                             'cross_attention_dim': 32},
                    {'block_out_channels': (8, 16, 16), 'layers_per_block': 1, 'norm_num_groups': 2, 'latent_channels': 4,
                     'scaling_factor': 1.0}, scheduler, {'_class_name': 'StableDiffusionInpaintPipeline', 'tokens': 16, 'native_size': 32}, 910)
    prompts(folder, encode)
    noise = seeded(1, 4, 8, 12, seed=920)
    ctx, null = encode('the blue mountains, and the sunsets.')[1], encode('')[1]
    rgb = picture(32, 48)
    mask = torch.zeros(1, 1, 32, 48)
    mask[..., 28:] = 1
    small = torch.nn.functional.interpolate(mask, scale_factor=1 / 4)
    x = to_float(rgb)
    known = vae.encode(x).latent_dist.mean
    fill = torch.cat([small, vae.encode(x * (mask < .5)).latent_dist.mean], 1)
    empty = torch.cat([torch.ones(1, 1, 8, 12), vae.encode(x * 0).latent_dist.mean], 1)
    out = {'noise': noise}
    for name in SAMPLERS:
        out[f'generate_{name}'] = loop(net, scheduler, name, 10, noise, empty, ctx, null, 3.0)
        for strength in (1.0, 0.7):
            out[f'fill_{name}_{strength}'] = loop(net, scheduler, name, 10, noise, fill, ctx, null, 2.0, known, small, strength)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'loops.safetensors'))


def clip_gelu():
    """CLIP as in SD 2.x: gelu, `!` as padding. Only the text half."""
    folder = os.path.join(OUT, 'models', 'clip_gelu')
    prompts(folder, clip(folder, 'gelu', '!', 1000)[0])


def starter():
    """The real starter model: latents of one picture and one fill, and the picture's statistics."""
    net = UNet2DConditionModel.from_pretrained(STARTER + '/unet').float().eval()
    vae = AutoencoderKL.from_pretrained(STARTER + '/vae').float().eval()
    text = BertModel.from_pretrained(STARTER + '/text_encoder', add_pooling_layer=False).float().eval()
    tok = Tokenizer.from_file(STARTER + '/tokenizer/tokenizer.json')
    tok.no_padding()
    tok.enable_truncation(32)
    scheduler = json.load(open(STARTER + '/scheduler/scheduler_config.json'))

    def encode(prompt):
        ids = torch.tensor([tok.encode(prompt).ids])
        h = text(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.nn.functional.pad(h, (0, 0, 0, 32 - h.shape[1]))
    noise = seeded(1, 4, 16, 24, seed=1100)
    ctx, null = encode('snowy mountains at sunset, clear sky'), encode('')
    rgb = picture(128, 192)
    mask = torch.zeros(1, 1, 128, 192)
    mask[..., 96:] = 1
    small = torch.nn.functional.interpolate(mask, scale_factor=1 / 8)
    x = to_float(rgb)
    known = vae.encode(x).latent_dist.mean
    fill = torch.cat([small, vae.encode(x * (mask < .5)).latent_dist.mean], 1)
    empty = torch.cat([torch.ones(1, 1, 16, 24), vae.encode(x * 0).latent_dist.mean], 1)
    z = loop(net, scheduler, 'dpmpp-2m', 12, noise, empty, ctx, null, 3.0)
    pixels = vae.decode(z).sample
    out = {'noise': noise, 'generate_dpmpp-2m': z, 'context': ctx,
           'pixels_mean': pixels.mean((2, 3)), 'pixels_std': pixels.std((2, 3)),
           'fill_dpmpp-2m_0.7': loop(net, scheduler, 'dpmpp-2m', 12, noise, fill, ctx, null, 2.0, known, small, 0.7)}
    folder = os.path.join(OUT, 'models', 'starter')
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'loops.safetensors'))


if __name__ == '__main__':
    shutil.rmtree(OUT, ignore_errors=True)
    for make in (unets, vaes, schedules, painter, filler, clip_gelu, starter):
        print(make.__name__)
        make()
