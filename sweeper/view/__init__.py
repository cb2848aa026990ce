"""The progress and content of a sweep, pushed (panel, lines) or pulled (list, status, show). Imports neither torch nor Ray.

In: what a person watches or looks up. Out of here: statistics, verdicts, and anything that writes to the sweep.
"""
