"""Ray as machines: the session, its nodes and processes, its capacity, its autoscaler.

In: what must be known of a cluster before and while it works. Out of here: Tune's hooks, studies, training.
"""
