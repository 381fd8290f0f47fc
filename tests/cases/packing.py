"""Weights packed as quantized checkpoints keep them, one number at a time: the formats, written down a second time."""

import numpy as np
import torch

AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)


def words(columns, bits, order=None):
    """Packs each row of unsigned numbers into int32, the first number (or the first of `order`) lowest."""
    count = 32 // bits
    rows, width = columns.shape
    packed = np.zeros((rows, width // count), np.uint32)
    for row in range(rows):
        for word in range(width // count):
            for place in range(count):
                column = word * count + (place if order is None else order[place])
                packed[row, word] |= np.uint32(int(columns[row, column]) << (bits * place))
    return torch.from_numpy(packed.view(np.int32))


def gptq(name, grid, bits, *, version=1):
    """What a GPTQ checkpoint holds of one layer: `steps[in, out]`, `zeros` and `scales[groups, out]`, `groups[in]`."""
    steps, zeros, scales, groups = grid
    return {
        f"{name}.qweight": words(steps.T, bits).T.contiguous(),
        f"{name}.qzeros": words(zeros - (2 - version), bits),
        f"{name}.scales": torch.from_numpy(scales),
        f"{name}.g_idx": torch.from_numpy(groups.astype(np.int32)),
    }


def awq(name, steps, zeros, scales):
    """The same of an AWQ checkpoint."""
    return {
        f"{name}.qweight": words(steps, 4, AWQ_COLUMNS),
        f"{name}.qzeros": words(zeros, 4, AWQ_COLUMNS),
        f"{name}.scales": torch.from_numpy(scales),
    }


def grid(inputs, outputs, group, bits, seed=0):
    """Random steps, zero points and float16 scales, and the groups of the inputs in an order of their own."""
    rng = np.random.default_rng(seed)
    count = inputs // group
    steps = rng.integers(0, 2**bits, (inputs, outputs))
    zeros = rng.integers(1, 2**bits - 1, (count, outputs))
    scales = rng.uniform(0.01, 0.1, (count, outputs)).astype(np.float16)
    return steps, zeros, scales, rng.permutation(np.arange(inputs) // group)


def weight(steps, zeros, scales, groups):
    """`[out, in]`, by the definition: the scale of its group times the distance from the zero of its group."""
    made = [
        [(int(steps[i, o]) - int(zeros[groups[i], o])) * float(scales[groups[i], o]) for i in range(len(steps))]
        for o in range(steps.shape[1])
    ]
    return torch.tensor(made, dtype=torch.float32)
