"""Command line: ``python -m recipe {prepare,train,eval,export,sample,sheet,train-vae}``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

FIRST_SEED = 5_000_000


def prepare(options: argparse.Namespace):
    """Render and encode the training set; complete shards are skipped."""
    from .data import encode_shards, render_shards

    pictures = options.work / 'img'
    for name in render_shards(
        pictures, options.first, options.pictures, 256, options.processes, options.shard
    ):
        print('rendered', name, flush=True)
    if options.render_only:
        return
    for name in encode_shards(
        pictures,
        options.work / 'lat',
        options.res,
        options.captions,
        options.model,
        options.processes,
        options.device,
    ):
        print('encoded', name, flush=True)


def _prepare_arguments(parser: argparse.ArgumentParser):
    from .models import MODEL_DIR

    add = parser.add_argument
    add('--work', type=Path, required=True, help='cache folder: 5 GB for 12,000 pictures')
    add('--pictures', type=int, default=12_000)
    add('--first', type=int, default=FIRST_SEED, help='first seed')
    add('--shard', type=int, default=500, help='pictures in a shard')
    add('--captions', type=int, default=6, help='captions of each picture')
    add('--res', type=int, nargs='*', default=[128, 256])
    add('--model', type=Path, default=MODEL_DIR, help='auto-encoder and text encoder to use')
    add('--processes', type=int, default=os.cpu_count())
    add('--device', default='cpu')
    add('--render-only', action='store_true')


def sheet(options: argparse.Namespace):
    """A contact sheet of renders, to look at the training data."""
    import numpy as np
    from PIL import Image

    from .captions import make_captions
    from .landscapes import render, sample_attrs

    tiles, seed = [], options.seed
    while len(tiles) < options.rows * options.columns:
        if not options.terrain or sample_attrs(seed)['terrain'] == options.terrain:
            picture, attrs = render(seed, options.size)
            tiles.append(picture)
            print(seed, make_captions(attrs, seed, 1)[0])
        seed += 1
    rows = [
        np.concatenate(tiles[i : i + options.columns], 1)
        for i in range(0, len(tiles), options.columns)
    ]
    Image.fromarray(np.concatenate(rows, 0)).save(options.out)


def _sheet_arguments(parser: argparse.ArgumentParser):
    add = parser.add_argument
    add('--out', default='sheet.png')
    add('--seed', type=int, default=0)
    add('--rows', type=int, default=6)
    add('--columns', type=int, default=8)
    add('--size', type=int, default=256)
    add('--terrain', default='')


def main():
    """Parse the command line and run one command."""
    from . import evaluate, export, sample, train, train_vae

    parser = argparse.ArgumentParser(prog='recipe', description='The starter model\'s recipe.')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    table = {
        'prepare': ('render and encode the training set', _prepare_arguments, prepare),
        'train': ('train the UNet until stopped', train.add_arguments, train.train),
        'train-vae': ('train the auto-encoder', train_vae.add_arguments, train_vae.train_vae),
        'eval': ('numbers and contact sheets', evaluate.add_arguments, evaluate.evaluate),
        'export': ('write a model folder', export.add_arguments, export.export),
        'sample': ('paint from a prompt', sample.add_arguments, sample.sample),
        'sheet': ('contact sheet of renders', _sheet_arguments, sheet),
    }
    for name, (text, arguments, function) in table.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        arguments(command)
        command.set_defaults(run=function)
    options = parser.parse_args()
    options.run(options)


if __name__ == '__main__':
    main()
