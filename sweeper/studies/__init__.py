"""Optuna at run time: studies, their journal, samplers, pruners and draws. A resume starts from what is here.

In: whatever asks or tells Optuna. Out of here: Ray, torch, how trials are trained.
"""
