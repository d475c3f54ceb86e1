"""One process that stands for rank 0 of a tensor parallel group: shapes are right, nothing is sent."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from megatron.core import parallel_state
from torch.testing._internal.distributed.fake_pg import FakeStore

from sailor_exp.training import libraries


@contextmanager
def fake_group(tp: int) -> Iterator[None]:
    libraries.apply()
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=tp)
    parallel_state.initialize_model_parallel(tp, create_gloo_process_groups=False)
    try:
        yield
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()
