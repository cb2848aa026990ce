"""Training on the CPU: convolutions and image cropping, compiled with Numba.

In: kernels and the model that calls them. Out of here: losses, optimiser, anything that other devices share.
"""
