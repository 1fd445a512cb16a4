"""Everything that made the starter model: renderer, training, evaluation and export.

Run it as ``python -m recipe`` from the folder above, or through ``run.sh``.
"""
