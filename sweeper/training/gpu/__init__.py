"""Training on any device but the CPU: PyTorch's own operators over all members at once.

In: what only such devices need. Out of here: losses, optimiser, anything that the CPU shares.
"""
