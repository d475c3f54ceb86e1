import pytest
import torch

from sailor_exp.errors import NoTensorFloat32Error, TooFewDevicesError
from sailor_exp.sweep.messages import Cause
from sailor_exp.sweep.rank_process import cause_of


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), Cause.out_of_memory),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            Cause.out_of_memory,
        ),
        (MemoryError(), Cause.out_of_memory),
        (RuntimeError("[pair.cc:537] Connection closed by peer [127.0.0.1]:3521"), Cause.lost_peer),
        (RuntimeError("NCCL error: remote process exited or there was a network error"), Cause.lost_peer),
        (ValueError("out of memory"), Cause.error),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), Cause.out_of_memory),
        (RuntimeError("Resource temporarily unavailable"), Cause.error),
        (TooFewDevicesError(asked=2, visible=0), Cause.refused),
        (NoTensorFloat32Error(found="Tesla T4", capability=(7, 5)), Cause.refused),
        (RuntimeError("shape mismatch"), Cause.error),
    ],
)
def test_running_out_of_memory_and_losing_a_peer_are_told_from_other_errors(error, cause):
    assert cause_of(error) is cause
