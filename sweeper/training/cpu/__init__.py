"""The CPU's way of training: convolutions and cutting of images, compiled with Numba.

In: kernels and the model that calls them. Out of here: losses, optimiser, anything that other devices share.
"""
