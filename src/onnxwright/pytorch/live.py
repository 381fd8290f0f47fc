"""Adds up the bytes of the tensors that are alive while code runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.dispatching import OperatorMode


class LiveBytes(OperatorMode):
    """Follows the memory of every tensor that an operator answers, while it is entered; `peak` is the most at once.

    The weights and buffers of the module don't count, nor does what operators take for themselves.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.peak = 0
        # Held, not only named: the id of a tensor that is gone may be that of another one.
        self._own = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        answer = func(*args, **kwargs)
        if not func.is_view:
            self._take_in(one for one in tree_leaves(answer) if isinstance(one, Tensor) and id(one) not in self._own)
        return answer

    def _take_in(self, tensors: Any) -> None:
        self._live = {key: kept for key, kept in self._live.items() if not kept[0].expired()}  # type: ignore[no-untyped-call]  # torch's
        for tensor in tensors:
            if tensor.layout is torch.strided:
                storage = tensor.untyped_storage()
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]  # torch's
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
