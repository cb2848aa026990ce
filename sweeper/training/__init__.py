"""The engine: trains packs of members on one device; configurations in, metrics out.

In: models, losses, optimiser, evaluation; each device's kernels in :mod:`.cpu` and :mod:`.gpu`. Out of here: Ray, Optuna, files, click.
"""
