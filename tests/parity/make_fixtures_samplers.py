"""Makes the fixtures for samplers and conditioning, with Python's own schedulers, pipelines and transformers.

    python make_fixtures_samplers.py   (after make_fixtures.py, whose tiny models it uses; seconds)
"""
import importlib
import json
import os

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

from make_fixtures import OUT, picture, seeded, to_float

S = 'diffusers.schedulers.'
SAMPLERS = {
    'ddim': ('DDIMScheduler', 'scheduling_ddim', {}),
    'dpmpp-2m': ('DPMSolverMultistepScheduler', 'scheduling_dpmsolver_multistep', {}),
    'dpmpp-2m-karras': ('DPMSolverMultistepScheduler', 'scheduling_dpmsolver_multistep', {'use_karras_sigmas': True}),
    'dpmpp-2m-sde': ('DPMSolverMultistepScheduler', 'scheduling_dpmsolver_multistep', {'algorithm_type': 'sde-dpmsolver++'}),
    'dpmpp-2m-sde-karras': ('DPMSolverMultistepScheduler', 'scheduling_dpmsolver_multistep',
                            {'algorithm_type': 'sde-dpmsolver++', 'use_karras_sigmas': True}),
    'euler': ('EulerDiscreteScheduler', 'scheduling_euler_discrete', {}),
    'euler-karras': ('EulerDiscreteScheduler', 'scheduling_euler_discrete', {'use_karras_sigmas': True}),
    'euler-a': ('EulerAncestralDiscreteScheduler', 'scheduling_euler_ancestral_discrete', {}),
    'heun': ('HeunDiscreteScheduler', 'scheduling_heun_discrete', {}),
    'unipc': ('UniPCMultistepScheduler', 'scheduling_unipc_multistep', {}),
    'lcm': ('LCMScheduler', 'scheduling_lcm', {}),
    'tcd': ('TCDScheduler', 'scheduling_tcd', {}),
}


class Noise:
    """Stands in for the modules' random numbers: the noise of the step of the moment."""

    def __init__(self, noises):
        self.noises, self.step = noises, 0
        for _, module, _ in SAMPLERS.values():
            importlib.import_module(S + module).randn_tensor = lambda *a, **k: self.noises[self.step].clone()


def scheduler(name, config):
    cls, _, own = SAMPLERS[name]
    return getattr(diffusers, cls).from_config(config, **own)


def exploding(s):
    """Whether the latents of this scheduler are `picture + sigma * noise`."""
    return hasattr(s, 'is_scale_input_called') or type(s).__name__ == 'HeunDiscreteScheduler'


def preserving(s, x, index):
    """Latents in the variance-preserving form, at the level `index` of the sigmas."""
    return x / (float(s.sigmas[index]) ** 2 + 1) ** .5 if exploding(s) else x


def trajectory(name, config, steps, first, outputs, noise, start, picture):
    """Times of the network and the latents after each step, from step `first` on."""
    s = scheduler(name, config)
    s.set_timesteps(steps)
    times = s.timesteps[first * s.order:]
    if hasattr(s, 'set_begin_index'):
        s.set_begin_index(first * s.order)
    x = s.add_noise(picture, start, times[:1]) if first else start * s.init_noise_sigma
    path = []
    for i, t in enumerate(times):
        at = first * s.order + i
        noise.step = at // s.order
        s.scale_model_input(x, t)  # the given outputs depend on no input; some schedulers want the call
        x = s.step(outputs[i], t, x).prev_sample
        # Heun's second evaluation ends a step; its last step has only one.
        if s.order == 1 or at % 2 == 1 or i + 1 == len(times):
            path.append(preserving(s, x, at + 1))
    return times, path


def schedules():
    outputs, noises = seeded(40, 1, 1, 2, 2, seed=1700), seeded(20, 1, 1, 2, 2, seed=1701)
    start, picture = seeded(1, 1, 2, 2, seed=1702), seeded(1, 1, 2, 2, seed=1703)
    noise = Noise(noises)
    tensors, cases = {'outputs': outputs, 'noises': noises, 'start': start, 'picture': picture}, []
    base = {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear', 'clip_sample': False,
            'set_alpha_to_one': False, 'steps_offset': 1}
    configs = [{**base, 'prediction_type': p, **({'timestep_spacing': s} if s else {})}
               for p, s in (('epsilon', None), ('epsilon', 'leading'), ('epsilon', 'trailing'), ('v_prediction', 'linspace'),
                            ('v_prediction', 'leading'), ('sample', 'trailing'), ('sample', None))]
    configs += [{**base, 'prediction_type': 'v_prediction', 'rescale_betas_zero_snr': True, 'timestep_spacing': 'trailing'},
                {**base, 'prediction_type': 'epsilon', 'final_sigmas_type': 'sigma_min'},
                {**base, 'prediction_type': 'epsilon', 'clip_sample': True, 'clip_sample_range': 1.5},
                {**base, 'prediction_type': 'v_prediction', 'use_karras_sigmas': True},
                {**base, 'prediction_type': 'v_prediction', 'use_exponential_sigmas': True},
                {**base, 'prediction_type': 'epsilon', 'lower_order_final': False},
                {**base, 'prediction_type': 'epsilon', 'original_inference_steps': 40, 'timestep_scaling': 8.0},
                {'beta_schedule': 'squaredcos_cap_v2', 'prediction_type': 'v_prediction', 'clip_sample': False}]
    for config in configs:
        for name in SAMPLERS:
            cls, own = getattr(diffusers, SAMPLERS[name][0]), SAMPLERS[name][2]
            known = set(cls().config)
            special = set(config) - set(base) - {'prediction_type', 'timestep_spacing'}
            if special - known or (special and own.get('use_karras_sigmas')):
                continue  # a key that this scheduler does not have, or that its name already decides
            if name == 'euler-a' and config['prediction_type'] == 'sample':
                continue  # not built in Python
            if name == 'unipc' and config.get('lower_order_final') is False:
                continue  # Python's last step of second order to no noise is 0/0
            # Times are cut off there, not rounded: the last bit of an f32 decides.
            if config.get('use_exponential_sigmas') and name.split('-')[0] in ('dpmpp', 'unipc'):
                continue
            # Likewise; and levels of up to 20000 in f32 have few digits at the end of the cosine schedule.
            if config['beta_schedule'] == 'squaredcos_cap_v2' and own.get('use_karras_sigmas'):
                continue
            for steps, first in ((5, 0), (5, 2), (20, 0), (20, 8)):
                times, path = trajectory(name, config, steps, first, outputs, noise, start, picture)
                taken = steps - first
                assert len(path) == taken and all(p.isfinite().all() for p in path), (name, config, steps, first)
                key = f'path_{len(cases)}'
                tensors[key] = torch.cat([path[i] for i in (0, 1, taken // 2, taken - 1)]).contiguous()
                cases.append({'config': configs.index(config), 'sampler': name, 'steps': steps, 'first': first, 'path': key,
                              'timesteps': [round(float(t), 3) for t in times]})
    folder = os.path.join(OUT, 'samplers')
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, 'paths.safetensors'))
    with open(os.path.join(folder, 'cases.json'), 'w') as f:
        rows = [',\n'.join(json.dumps(c, sort_keys=True) for c in part) for part in (configs, cases)]
        f.write('{"configs": [\n' + rows[0] + '\n], "cases": [\n' + rows[1] + '\n]}\n')
    print(len(cases), 'trajectories')


# ---------------------------------------------------------------- whole loops

def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011) on arrays of counters."""
    c, k = [np.asarray(x, np.uint64) for x in counter], list(key)
    low = np.uint64(0xFFFFFFFF)
    for i in range(10):
        if i:
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & low, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & low]
    return c


def engine_noise(shape, word, seed=0, take=0):
    """The engine's own noise: word 0 is what sampling starts from, n + 1 the fresh noise of step n."""
    n = int(np.prod(shape))
    blocks = np.arange((n + 3) // 4)
    z = [np.full_like(blocks, v) for v in (word, take & 0xFFFFFFFF, take >> 32)]
    w = [x.astype(np.float64) for x in philox([blocks, *z], (seed & 0xFFFFFFFF, seed >> 32))]
    out = []
    for u, v in ((w[0], w[1]), (w[2], w[3])):
        radius, angle = np.sqrt(-2 * np.log((u + 1) / 2 ** 32)), 2 * np.pi * v / 2 ** 32
        out += [radius * np.cos(angle), radius * np.sin(angle)]
    return torch.from_numpy(np.stack(out, 1).ravel()[:n].astype(np.float32)).reshape(shape)


def loops():
    """Python's pipelines with every sampler on the tiny painter: 20 steps from noise, and img2img."""
    import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img as img2img
    from transformers import CLIPTextModel, CLIPTokenizer
    folder = os.path.join(OUT, 'models', 'painter')
    parts = (diffusers.AutoencoderKL.from_pretrained(folder + '/vae').float().eval(),
             CLIPTextModel.from_pretrained(folder + '/text_encoder').float().eval(),
             CLIPTokenizer.from_pretrained(folder + '/tokenizer'),
             diffusers.UNet2DConditionModel.from_pretrained(folder + '/unet').float().eval())
    object.__setattr__(parts[1], 'text_model', parts[1])  # where diffusers looks for the last norm
    config = json.load(open(folder + '/scheduler/scheduler_config.json'))
    shape = (1, 4, 8, 12)
    start = engine_noise(shape, 0, seed=7)
    calls = []

    def fresh(*args, **kwargs):
        calls.append(0)
        return engine_noise(shape, len(calls), seed=7)
    for _, module, _ in SAMPLERS.values():
        importlib.import_module(S + module).randn_tensor = fresh
    img2img.randn_tensor = lambda *a, **k: start.clone()
    common = {'prompt': 'a snowy lake at dusk', 'negative_prompt': 'the blue light', 'guidance_scale': 4.0, 'output_type': 'latent'}
    known = parts[0].encode(to_float(picture(16, 24))).latent_dist.mean * 0.18215
    out = {}

    def pipeline(cls, name):
        pipe = cls(*parts, scheduler(name, config), None, None, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe
    for name in SAMPLERS:
        calls.clear()
        # The pipelines hand their own eta of 0 to every scheduler that takes one: TCD's is told here.
        common['eta'] = 0.3 if name == 'tcd' else 0.0
        pipe = pipeline(diffusers.StableDiffusionPipeline, name)
        out[f'generate_{name}'] = pipe(height=16, width=24, num_inference_steps=20, latents=start.clone(), **common).images
        for strength in (1.0, 0.63):
            first = 10 - int(10 * strength)
            calls[:] = [0] * first
            pipe = pipeline(diffusers.StableDiffusionImg2ImgPipeline, name)
            out[f'img2img_{name}_{strength}'] = pipe(image=known, num_inference_steps=10, strength=strength, **common).images
    common['eta'] = 0.0
    pipe = pipeline(diffusers.StableDiffusionPipeline, 'ddim')
    out['rescaled'] = pipe(height=16, width=24, num_inference_steps=10, latents=start.clone(), guidance_rescale=0.7, **common).images
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(OUT, 'samplers', 'loops.safetensors'))


def contexts():
    """Long and weighted prompts: chunks beside each other, weights with the mean restored, layers left out."""
    from tokenizers import Tokenizer
    from transformers import BertModel, CLIPTextModel, CLIPTokenizer
    long = ', '.join(['snowy mountains and the blue lake at dusk'] * 5)
    cases = [('long', long, [(long, 1.0)], 0, 1), ('skipped', 'a snowy lake', [('a snowy lake', 1.0)], 1, 2),
             ('weighted', 'a (snowy:1.4) lake [at] ((dusk))',
              [('a ', 1), ('snowy', 1.4), (' lake ', 1), ('at', 1 / 1.1), (' ', 1), ('dusk', 1.21)], 0, 1),
             ('broken', 'the lake BREAK (light)', [('the lake ', 1), None, (' ', 1), ('light', 1.1)], 0, 3),
             ('long_weighted', f'({long}:0.8) the lake', [(long, .8), (' the lake', 1)], 0, 1)]
    out = {}
    for model, limit in (('painter', 24), ('clip_gelu', 24), ('filler', 16)):
        folder = os.path.join(OUT, 'models', model)
        if model == 'filler':
            net = BertModel.from_pretrained(folder + '/text_encoder', add_pooling_layer=False).float().eval()
            tok = Tokenizer.from_file(folder + '/tokenizer/tokenizer.json')
            words = lambda text: tok.encode(text, add_special_tokens=False).ids
            begin, end = tok.encode('').ids
        else:
            net = CLIPTextModel.from_pretrained(folder + '/text_encoder').float().eval()
            tok = CLIPTokenizer.from_pretrained(folder + '/tokenizer')
            words = lambda text: tok(text, add_special_tokens=False).input_ids
            begin, end = tok.bos_token_id, tok.eos_token_id

        def states(ids, skip):
            if model == 'filler':
                h = net(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1 - skip]
                return torch.nn.functional.pad(h, (0, 0, 0, limit - len(ids)))
            ids = ids + [tok.pad_token_id] * (limit - len(ids))
            r = net(torch.tensor([ids]), output_hidden_states=True)
            return net.final_layer_norm(r.hidden_states[-1 - skip]) if skip else r.last_hidden_state
        for name, _, spans, skip, least in cases:
            chunks = [[]]
            for span in spans:
                if span is None:
                    chunks.append([])
                    continue
                for token in words(span[0]):
                    if len(chunks[-1]) == limit - 2:
                        chunks.append([])
                    chunks[-1].append((token, span[1]))
            chunks += [[]] * (least - len(chunks))
            parts = []
            for chunk in chunks:
                z = states([begin] + [t for t, _ in chunk] + [end], skip)
                weights = torch.ones(limit)
                weights[1:1 + len(chunk)] = torch.tensor([w for _, w in chunk])
                weighed = z * weights[None, :, None]
                parts.append(weighed * (z.mean() / weighed.mean()) if (weights != 1).any() else z)
            out[f'{model}_{name}'] = torch.cat(parts, 1)
    folder = os.path.join(OUT, 'prompts')
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, 'contexts.safetensors'))
    with open(os.path.join(folder, 'cases.json'), 'w') as f:
        json.dump([{'name': n, 'prompt': p, 'skip': s, 'least': m} for n, p, _, s, m in cases], f, indent=1)
        f.write('\n')


if __name__ == '__main__':
    schedules()
    loops()
    contexts()
