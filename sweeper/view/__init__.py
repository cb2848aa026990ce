"""How far a sweep is and what it holds, pushed (panel, lines) or pulled (list, status, show). Knows no torch and no Ray.

In: what a person watches or looks up. Out of here: statistics and verdicts, and anything that writes to the sweep.
"""
