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

from make_fixtures import OUT, seeded

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


if __name__ == '__main__':
    schedules()
