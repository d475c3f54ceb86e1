"""One cell the way it is usually measured: a process of its own for every rank, under DeepSpeed's launcher.

Started by tests/bench/bench_sweep.py. It measures with the same code as a sweep, so that only the start-up differs:
the libraries are imported as any program imports them.
"""

import json
import os
import sys

import deepspeed
import megatron.core.models.gpt

from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.device import rank_device
from sailor_exp.profiles.layers.rank import LayersRank
from sailor_exp.training.process_group import join_group
from tests.build.cells import cell


class Silent:
    def progress(self, phase: str, steps: int = 0) -> None:
        pass

    def entering(self, phase: str) -> None:
        pass


def main() -> None:
    overrides, rendezvous = json.loads(sys.argv[-1])
    asked, rank = cell(*overrides), int(os.environ["RANK"])
    device = rank_device(asked, rank)
    join_group(rank, asked, f"file://{rendezvous}")
    share = LayersRank(asked, device, Silent()).measure(asked)
    RankAgreement(device).maximum([0.0])
    (calibration_s,) = share.samples.calibration_s
    assert len(calibration_s) == asked.sampling.warmup + asked.sampling.max_steps
    os._exit(0)  # gloo's threads may outlive the interpreter, and then abort it


AS_ANY_PROGRAM_DOES = (deepspeed, megatron.core.models.gpt)

if __name__ == "__main__":
    main()
