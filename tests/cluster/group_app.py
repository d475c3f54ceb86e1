"""A Hydra application of one task a node: the tasks form a gloo group and add up their ranks."""

import os
import socket

import hydra
from omegaconf import DictConfig

from sailor_exp.slurm import rendezvous


@hydra.main(version_base="1.3", config_path=None)
def main(_: DictConfig) -> None:
    import torch
    import torch.distributed

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    met = rendezvous.of_this_task()
    torch.distributed.init_process_group("gloo", init_method=met.init_method, rank=met.rank, world_size=met.world_size)
    total = torch.tensor([met.rank + 1.0])
    torch.distributed.all_reduce(total)
    node = os.environ["SLURMD_NODENAME"]
    print(f"rank {met.rank} of {met.world_size} on {node} ({socket.gethostname()}): sum {total.item():g}", flush=True)


if __name__ == "__main__":
    main()
