"""Everything of Optuna at run time: studies, their journal, samplers, pruners and draws. The truth that a resume starts from.

In: whatever asks or tells Optuna. Out of here: Ray, torch, who trains the trials.
"""
