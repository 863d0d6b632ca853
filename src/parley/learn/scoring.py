"""From directions to margins: how rows run through a finished model.

Directions are packed bits: ``uint8[splits, bytes]``, row i in bit i mod 8 (lowest first) of byte i div 8.
Leaf values are added in the order of training, so a score equals the training margin bit for bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parley.learn.trees import ROOT, SplitRule, Tree

Packed = NDArray[np.uint8]
Floats = NDArray[np.float64]


def directions(rules: Sequence[SplitRule], codes: NDArray[np.uint8]) -> Packed:
    """Which rows go left at each of an owner's splits.

    Args:
        rules: what the splits test.
        codes: ``uint8[columns, rows]``.

    Returns:
        ``uint8[splits, ceil(rows / 8)]``.
    """
    packed = np.zeros((len(rules), -(-codes.shape[1] // 8)), dtype=np.uint8)
    for number, rule in enumerate(rules):
        packed[number] = np.packbits(rule.goes_left(codes[rule.column]), bitorder="little")
    return packed


def margins(trees: Sequence[Tree], initial: Sequence[float], left: Sequence[Packed], rows: int) -> Floats:
    """Add up the leaf values of each row.

    Args:
        trees: of the model.
        initial: starting margin of each output.
        left: per owner the directions at its splits.
        rows: how many.

    Returns:
        ``float64[outputs, rows]``.
    """
    total = np.repeat(np.array(initial, dtype=np.float64)[:, None], rows, axis=1)
    everyone = np.full(-(-rows // 8), 0xFF, dtype=np.uint8)
    for tree in trees:
        here = {ROOT: everyone}
        for split in tree.splits:
            standing = here.pop(split.node)
            going = left[split.owner][split.split]
            here[split.left], here[split.left + 1] = standing & going, standing & ~going
        for leaf in tree.leaves:
            chosen = np.unpackbits(here[leaf.node], count=rows, bitorder="little").view(np.bool_)
            total[tree.output, chosen] += leaf.value
    return total
