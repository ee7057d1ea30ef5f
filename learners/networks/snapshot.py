"""Parameters as numpy arrays, for transport between processes and for checkpoints."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def parameters_to_arrays(params: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Return read-only float32 copies, independent of later changes of `params`."""
    arrays = {name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous().numpy() for name, tensor in params.items()}
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def arrays_to_parameters(arrays: dict[str, np.ndarray], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return float32 tensors on `device` that own their memory (the arrays may be read-only shared memory)."""
    return {name: torch.tensor(array, dtype=torch.float32, device=device) for name, array in arrays.items()}
