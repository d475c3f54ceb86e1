"""A fixed piece of work, whose time shows how fast the machine is at this moment."""

import torch

from sailor_exp.config.schema import Device

_CALIBRATION_SIZE = {Device.cpu: 256, Device.cuda: 2048}


class Calibration:
    """A fixed matrix product."""

    def __init__(self, kind: Device, device: torch.device) -> None:
        size = _CALIBRATION_SIZE[kind]
        self._left, self._right = (torch.ones(size, size, device=device) for _ in range(2))
        self._product = torch.empty(size, size, device=device)

    @property
    def bytes(self) -> int:
        """Bytes of the operands, which belong to no cell."""
        return sum(tensor.nbytes for tensor in (self._left, self._right, self._product))

    def run(self) -> None:
        """Run the product once; the caller marks the time."""
        torch.mm(self._left, self._right, out=self._product)
