"""The level of a verdict's tests, and the fewest searches or seeds that can reach it: for the report, and for the advice on a space."""

from __future__ import annotations

import math
from itertools import count

SIGNIFICANCE = 0.05

NEEDED_SEEDS = next(n for n in count(2) if 2 / 2**n <= SIGNIFICANCE)
"""The fewest seeds with which the smallest possible p is at most 0.05: six, 2 / 2^6 = 0.031."""

NEEDED_SEARCHES = next(n for n in count(2) if 2 / math.comb(2 * n, n) <= SIGNIFICANCE)
"""The fewest searches of each arm with which the smallest possible p is at most 0.05: four, 2 / 70 = 0.029."""
