"""What an error in a rank means: out of the device's memory, a lost peer, or neither; and what to say of it.

PyTorch, cuBLAS, NCCL and gloo raise RuntimeError for most of it, so the text decides. The texts and their sources
are in tests/instruments/test_failures.py.
"""

import re
from collections.abc import Callable

import torch

from sailor_exp.config.schema import Device
from sailor_exp.errors import SailorExpError
from sailor_exp.instruments.memory_limit import limited
from sailor_exp.units import GIB

LITTLE_FREE_BYTES = GIB // 2
"""Free bytes of a GPU below which cuBLAS and NCCL lack memory: handles, kernels and buffers take some hundred MiB."""

_OF_THE_GPU = re.compile(r"out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation", re.IGNORECASE)

_OF_THE_GPU_IF_LITTLE_IS_FREE = re.compile(
    r"(CUBLAS|CUDNN)_STATUS_(NOT_INITIALIZED|ALLOC_FAILED)|Failed to CUDA (malloc|calloc)"
)
"""Also the texts of a driver that does not fit, and of an error that came before."""

_OF_THE_HOST = re.compile(
    r"can't allocate memory|std::bad_alloc|Cannot allocate memory|could not create a memory|out of memory",
    re.IGNORECASE,
)

_NO_STACK = re.compile("Resource temporarily unavailable")
"""Message of a thread that gets no stack: out of memory where memory is limited, else a limit of the system."""

_LOST_PEER = re.compile(
    r"connection (was likely )?(closed|reset|refused|aborted)|caused connection abort|Broken pipe|remote p(rocess|eer)"
    r"|from peer|exceeded error retry count|Socket recv failed|Proxy Call to rank|communicator was aborted|Watchdog"
    r"|Timed out waiting|waiting for clients|wait timeout|Connect timeout|timeout caused pair closure|connectFullMesh",
    re.IGNORECASE,
)

_LAST_ERROR = re.compile(r"^Last error:\s*(\S.*)$", re.MULTILINE)
"""NCCL's own cause, below the line that says in which call it failed."""


def device_free_bytes() -> int | None:
    """Return the free bytes of the current GPU; None where the driver does not answer, after an error of its own."""
    try:
        return torch.cuda.mem_get_info()[0]
    except (RuntimeError, AssertionError):
        return None


def ran_out_of_memory(
    error: BaseException, device: Device, free_bytes: Callable[[], int | None] = device_free_bytes
) -> bool:
    """Return whether the memory that gpu.memory_gb bounds did not suffice: of the GPU, or of a rank on a CPU.

    The memory of the machine around a GPU is not part of the result. free_bytes: called for texts that may have
    another cause.
    """
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if device is Device.cpu:
        return isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError | OSError)
            and bool(_OF_THE_HOST.search(text) or (limited() and _NO_STACK.search(text)))
        )
    if not isinstance(error, RuntimeError):
        return False
    return bool(_OF_THE_GPU.search(text)) or (
        bool(_OF_THE_GPU_IF_LITTLE_IS_FREE.search(text)) and _is_little(free_bytes())
    )


def _is_little(free_bytes: int | None) -> bool:
    return free_bytes is not None and free_bytes < LITTLE_FREE_BYTES


def lost_a_peer(error: BaseException, world_size: int) -> bool:
    """Return whether the error only follows from the end of another rank. A rank alone has none to lose."""
    return world_size > 1 and isinstance(error, RuntimeError | OSError) and bool(_LOST_PEER.search(str(error)))


def told(error: BaseException) -> str:
    """Return the first line and NCCL's own cause, with the type of an error that is not ours: ours are complete."""
    text = str(error).strip()
    first_line = text.partition("\n")[0] or repr(error)
    if isinstance(error, SailorExpError):
        return first_line
    cause = _LAST_ERROR.search(text)
    return f"{type(error).__name__}: {first_line}" + (f" Last error: {cause[1].strip()}" if cause else "")
