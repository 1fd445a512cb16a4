"""Makes the fixtures for adapters: LoRA files in every key style for the tiny models of make_fixtures.py, and what Python
diffusers with PEFT computes with them.

    python make_fixtures_adapters.py   (half a minute, after make_fixtures.py; writes fixtures/adapters, about 450 kB)
"""
import json
import os
import shutil

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders import TextualInversionLoaderMixin
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from make_fixtures import OUT, seeded

HERE = os.path.join(OUT, 'adapters')
PAINTER = os.path.join(OUT, 'models', 'painter')
PROMPT = 'a snowy lake at dusk'
UNET = ['to_q', 'to_k', 'to_v', 'to_out.0', 'ff.net.0.proj', 'ff.net.2', 'proj_in', 'proj_out']
CONVS = ['conv1', 'conv2', 'conv_shortcut', 'time_emb_proj', 'downsamplers.0.conv', 'upsamplers.0.conv', 'conv_in', 'conv_out',
         'time_embedding.linear_1']
TEXT = ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2']


def networks():
    return (UNet2DConditionModel.from_pretrained(os.path.join(PAINTER, 'unet'), torch_dtype=torch.float32).eval(),
            CLIPTextModel.from_pretrained(os.path.join(PAINTER, 'text_encoder'), dtype=torch.float32).eval())


def compute(net, text):
    io = load_file(os.path.join(PAINTER, 'unet', 'io.safetensors'))
    ids = CLIPTokenizer.from_pretrained(os.path.join(PAINTER, 'tokenizer'))(
        PROMPT, padding='max_length', max_length=24, truncation=True).input_ids
    return {'unet': net(io['input'], 500, io['context']).sample.contiguous(),
            'text': text(torch.tensor([ids])).last_hidden_state.contiguous()}


def fresh(model, targets, rank, alpha, seed):
    """A LoRA with random factors (PEFT starts with zeros); returned by layer: (down, up), on the f16 grid."""
    model.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights='gaussian'), adapter_name='a')
    g, layers = torch.Generator().manual_seed(seed), {}
    for name, p in sorted(model.named_parameters()):
        if '.lora_A.a.weight' in name or '.lora_B.a.weight' in name:
            value = torch.randn(p.shape, generator=g) * (1.0 if 'lora_B' in name else 1.0 / p[0].numel() ** 0.5) * 0.3
            p.copy_(value.half().float())
            layers.setdefault(name.split('.lora_')[0], {})['A' if 'lora_A' in name else 'B'] = p.detach().half().clone()
    return {k: (v['A'], v['B']) for k, v in layers.items()}


def load(net, text, path, name):
    state, alphas, *rest = StableDiffusionPipeline.lora_state_dict(path, unet_config=net.config, return_lora_metadata=True)
    metadata = rest[0] if rest else None
    StableDiffusionPipeline.load_lora_into_unet(state, network_alphas=alphas, unet=net, adapter_name=name, metadata=metadata)
    StableDiffusionPipeline.load_lora_into_text_encoder(state, network_alphas=alphas, text_encoder=text, adapter_name=name,
                                                        metadata=metadata)


def weigh(net, text, names, weights):
    from diffusers.utils import set_weights_and_activate_adapters
    set_weights_and_activate_adapters(net, names, weights)
    set_weights_and_activate_adapters(text, names, weights)


# The original code's names for the painter's blocks, written by hand.
ORIGINAL = [('down_blocks.0.resnets.0', 'input_blocks.1.0'), ('down_blocks.0.attentions.0', 'input_blocks.1.1'),
            ('down_blocks.0.downsamplers.0.conv', 'input_blocks.2.0.op'), ('down_blocks.1.resnets.0', 'input_blocks.3.0'),
            ('mid_block.resnets.0', 'middle_block.0'), ('mid_block.attentions.0', 'middle_block.1'),
            ('mid_block.resnets.1', 'middle_block.2'), ('up_blocks.0.resnets.0', 'output_blocks.0.0'),
            ('up_blocks.0.resnets.1', 'output_blocks.1.0'), ('up_blocks.0.upsamplers.0.conv', 'output_blocks.1.1.conv'),
            ('up_blocks.1.resnets.0', 'output_blocks.2.0'), ('up_blocks.1.attentions.0', 'output_blocks.2.1'),
            ('up_blocks.1.resnets.1', 'output_blocks.3.0'), ('up_blocks.1.attentions.1', 'output_blocks.3.1'),
            ('conv_in', 'input_blocks.0.0'), ('conv_out', 'out.2'), ('time_embedding.linear_1', 'time_embed.0'),
            ('conv1', 'in_layers.2'), ('time_emb_proj', 'emb_layers.1'), ('conv2', 'out_layers.3'),
            ('conv_shortcut', 'skip_connection')]


def original(name):
    for ours, theirs in ORIGINAL:
        if name == ours or name.startswith(ours + '.') or name.endswith('.' + ours):
            name = name.replace(ours, theirs)
    return name


def kohya(unet, text, alphas, rename=lambda name: name):
    out = {}
    for start, layers, alpha in (('lora_unet_', unet, alphas[0]), ('lora_te_text_model_', text, alphas[1])):
        for name, (down, up) in layers.items():
            if start != 'lora_unet_':
                name = name.removeprefix('text_model.')
            key = start + (rename(name) if start == 'lora_unet_' else name).replace('.', '_')
            out[key + '.lora_down.weight'], out[key + '.lora_up.weight'] = down, up
            out[key + '.alpha'] = torch.tensor(float(alpha)).half()
    return {k: v.contiguous() for k, v in out.items()}


def full(name):
    return name if name.startswith('text_model.') else 'text_model.' + name


def loras():
    out = {}
    # PEFT: rank 2, alpha 4, so that the scale in the header counts.
    net, text = networks()
    unet_a, text_a = fresh(net, UNET + CONVS, 2, 4, 900), fresh(text, TEXT, 2, 1, 901)
    out |= {f'peft_{k}': v for k, v in compute(net, text).items()}
    state = {f'unet.{k}.lora_{s}.weight': t for k, v in unet_a.items() for s, t in zip('AB', v)}
    state |= {f'text_encoder.{full(k)}.lora_{s}.weight': t for k, v in text_a.items() for s, t in zip('AB', v)}
    settings = {'unet.r': 2, 'unet.lora_alpha': 4, 'unet.target_modules': UNET + CONVS, 'text_encoder.r': 2,
                'text_encoder.lora_alpha': 1, 'text_encoder.target_modules': TEXT}
    meta = json.dumps(settings)
    save_file(state, os.path.join(HERE, 'peft.safetensors'), {'lora_adapter_metadata': meta})
    # The same under other names: the old ones have no alpha, so it goes into the factors.
    save_file(kohya(unet_a, text_a, (4, 1), original), os.path.join(HERE, 'original.safetensors'))
    old = {}
    for name, (down, up) in unet_a.items():
        parts = name.removesuffix('.0').rsplit('.', 1)
        if parts[-1] in ('to_q', 'to_k', 'to_v', 'to_out'):
            key = f'unet.{parts[0]}.processor.{parts[1]}_lora'
        else:
            key = f'unet.{name}.lora'
        old[key + '.down.weight'], old[key + '.up.weight'] = down, (up.float() * 2).half()
    for name, (down, up) in text_a.items():
        key = f'text_encoder.{full(name)}.lora_linear_layer'
        if '.layers.0.self_attn.' in name:  # the oldest names, which call CLIP's layers by the UNet's names
            parts = full(name).rsplit('.', 1)
            key = f"text_encoder.{parts[0]}.to_{parts[1].split('_')[0]}_lora"
        old[key + '.down.weight'], old[key + '.up.weight'] = down, (up.float() * 0.5).half()
    save_file(old, os.path.join(HERE, 'processor.safetensors'))
    base = {f'base_model.model.{k}.lora_{s}.weight': t for k, v in unet_a.items() for s, t in zip('AB', v)}
    os.makedirs(os.path.join(HERE, 'peft_folder'))
    save_file(base, os.path.join(HERE, 'peft_folder', 'adapter_model.safetensors'))
    with open(os.path.join(HERE, 'peft_folder', 'adapter_config.json'), 'w') as f:
        f.write('{"r": 2, "lora_alpha": 4, "peft_type": "LORA"}\n')

    # kohya: read by diffusers itself; alone, and with the first at weights.
    net, text = networks()
    unet_b, text_b = fresh(net, UNET + CONVS[:6], 2, 1, 910), fresh(text, TEXT, 2, 1, 911)
    direct = compute(net, text)
    save_file(kohya(unet_b, text_b, (1, 1)), os.path.join(HERE, 'kohya.safetensors'))
    net, text = networks()
    out |= {f'base_{k}': v for k, v in compute(net, text).items()}
    load(net, text, os.path.join(HERE, 'kohya.safetensors'), 'b')
    out |= {f'kohya_{k}': v for k, v in compute(net, text).items()}
    for k, v in direct.items():
        assert (v - out[f'kohya_{k}']).abs().max() < 1e-4, k
    load(net, text, os.path.join(HERE, 'peft.safetensors'), 'a')
    weigh(net, text, ['a', 'b'], [0.7, -0.4])
    out |= {f'both_{k}': v for k, v in compute(net, text).items()}
    for k in ('unet', 'text'):
        moved = [(out[f'{n}_{k}'] - out[f'base_{k}']).abs().max().item() for n in ('peft', 'kohya', 'both')]
        print(k, 'moved by', moved)
        assert min(moved) > 0.05

    # LoCon with a core: diffusers does not read it; its meaning is three convolutions beside the layer's own.
    net, text = networks()
    tucker, g = {}, torch.Generator().manual_seed(920)
    for name, layer in net.named_modules():
        if name.endswith(('conv1', 'conv2', 'downsamplers.0.conv', 'conv_shortcut')):
            o, i, k, _ = layer.weight.shape
            make = lambda *shape: (torch.randn(shape, generator=g) * 0.5 / (shape[1] ** 0.5)).half()
            down, up = make(3, i, 1, 1), make(o, 2, 1, 1)
            key = 'lora_unet_' + name.replace('.', '_')
            if k == 3:
                mid = make(2, 3, 3, 3)
                tucker[key + '.lora_mid.weight'] = mid
            else:
                down, mid = make(2, i, 1, 1), None
            tucker |= {key + '.lora_down.weight': down, key + '.lora_up.weight': up, key + '.alpha': torch.tensor(1.5).half()}

            def hook(layer, args, result, down=down.float(), up=up.float(), mid=mid):
                x = torch.nn.functional.conv2d(args[0], down)
                if mid is not None:
                    x = torch.nn.functional.conv2d(x, mid.float(), stride=layer.stride, padding=layer.padding)
                return result + torch.nn.functional.conv2d(x, up) * 1.5 / down.shape[0]
            layer.register_forward_hook(hook)
    out['tucker_unet'] = compute(net, text)['unet']
    save_file(tucker, os.path.join(HERE, 'tucker.safetensors'))
    save_file(out, os.path.join(HERE, 'loras.safetensors'))


# ---------------------------------------------------------------- textual inversion

TAUGHT = 'a <cat-toy> at dusk, my-style lake'


def embeddings():
    """A token of two vectors in diffusers' own layout, and one of three as `emb_params`; read by diffusers."""
    net, text = networks()
    tok = CLIPTokenizer.from_pretrained(os.path.join(PAINTER, 'tokenizer'))
    one, three = seeded(2, 24, seed=930) * 0.3, seeded(3, 24, seed=931) * 0.3
    save_file({'<cat-toy>': one.contiguous()}, os.path.join(HERE, 'cat-toy.safetensors'))
    save_file({'emb_params': three.half().contiguous()}, os.path.join(HERE, 'style.safetensors'))

    class Teacher(TextualInversionLoaderMixin):
        components, tokenizer, text_encoder, hf_device_map = {}, tok, text, None
    teacher = Teacher()
    teacher.load_textual_inversion({'<cat-toy>': one}, tokenizer=tok, text_encoder=text)
    teacher.load_textual_inversion({'my-style': three.half().float()}, tokenizer=tok, text_encoder=text)
    ids = tok(teacher.maybe_convert_prompt(TAUGHT, tok), padding='max_length', max_length=24, truncation=True).input_ids
    save_file({'context': text(torch.tensor([ids])).last_hidden_state.contiguous()}, os.path.join(HERE, 'words.safetensors'))


if __name__ == '__main__':
    torch.set_grad_enabled(False)
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    loras()
    embeddings()
