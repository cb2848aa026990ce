"""The hooks of Ray Tune: searcher, scheduler, trainable, loggers, and the run that joins them.

In: what Tune calls. Out of here: decisions, which :mod:`sweeper.driver` makes.
"""
