"""Ray as machines: the session, its nodes and processes, its capacity, its autoscaler.

In: what a sweep must know about a cluster before and during its run. Out of here: Tune's hooks, studies, training.
"""
