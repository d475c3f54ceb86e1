"""Oobleck's profile: time, memory and all-reduce of each layer, tensor parallel over a whole VM.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Oobleck, which reads `profile_{gpus_per_vm}.json`.
Seconds and bytes.
"""

import warnings
from collections.abc import Mapping

from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Extra, Inputs
from sailor_exp.exporters.needs import layers, of_profile
from sailor_exp.exporters.network.fits import Fit
from sailor_exp.exporters.readers.oobleck import READER
from sailor_exp.files import json_file
from sailor_exp.profiles.oobleck.profile import ActivationBytes, read_file
from sailor_exp.units import readable_bytes, readable_seconds


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile_{gpus_per_vm}.json`: {mbs: {..., data: {layer: {forward, backward, ar_across, mem_required}}}}.

    `ar_across`: the time to all-reduce the layer's parameters, by the number of VMs. `mem_required`: the bytes of the
    parameters, and those of the microbatch's activations at tp 1 divided by the VM's GPUs, as in the published profiles
    of the reader.

    Raises MissingCellError, MissingInputError, or FitError where no time follows from the bandwidth fit. Warns where
    messages are smaller than the `least_bytes` of the fit.
    """
    tp = inputs.gpus_per_vm
    inputs.times(tp=tp, mbs=1)
    inputs.require_whole_grid([tp])
    activations = inputs.extra("oobleck", read_file)
    fit = inputs.fit_between_machines(inputs.network())
    params_bytes = {layer: counts["params_bytes"] for layer, counts in inputs.memory(tp=tp).items()}
    _warn_of_small_messages(fit, params_bytes, inputs.max_nodes)
    across = {size: _all_reduce_s(fit, size, inputs.max_nodes) for size in set(params_bytes.values())}
    activation_bytes = _activation_bytes(inputs, activations)
    content = {
        str(mbs): {
            "min_num_nodes": 1,
            "max_num_nodes": inputs.max_nodes,
            "num_gpus_per_node": inputs.gpus_per_vm,
            "num_layers": len(inputs.kinds),
            "data": {
                str(layer): {
                    "ar_node": 0,
                    "forward": phases.forward_s,
                    "backward": phases.backward_s,
                    "ar_across": across[params_bytes[layer]],
                    "mem_required": [params_bytes[layer], activation_bytes[layer] * mbs],
                }
                for layer, phases in inputs.times(tp=tp, mbs=mbs).items()
            },
        }
        for mbs, cells in inputs.database.times.items()
        if tp in cells
    }
    return {f"profile_{inputs.gpus_per_vm}.json": json_file.bytes_of(content)}


def _all_reduce_s(fit: Fit, size: int, max_nodes: int) -> dict[str, float]:
    return {str(nodes): fit.all_reduce_s(size, nodes) for nodes in range(1, max_nodes + 1)}


def _warn_of_small_messages(fit: Fit, params_bytes: Mapping[int, int], max_nodes: int) -> None:
    small = [size / max_nodes for size in params_bytes.values() if 0 < size / max_nodes < fit.least_bytes]
    if small:
        warnings.warn(
            f"Oobleck: all-reduces of {len(small)} layers send messages of down to {readable_bytes(int(min(small)))}, "
            f"where the {fit.name} is no good: each counts as {readable_seconds(fit.seconds(fit.least_bytes))}, what "
            f"the fit gives for {readable_bytes(int(fit.least_bytes))}",
            stacklevel=3,
        )


def _activation_bytes(inputs: Inputs, activations: Extra[ActivationBytes]) -> dict[int, float]:
    measured = activations.content.get(1, {})
    for layer in inputs.kinds:
        if layer not in measured:
            raise activations.missing(f"the activation of layer {layer} at tp=1")
    return {layer: measured[layer] / inputs.gpus_per_vm for layer in inputs.kinds}


EXPORTER = planner(READER, files, needs=lambda asked: [layers([asked.vm], [1]), *of_profile("oobleck", asked)])
