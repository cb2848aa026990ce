"""What the driver of a sweep decides and writes: which trials form a pack, what a result means, which rows are stored.

In: decisions and records. Out of here: Ray, so that they can be tested without it, and torch.
"""
