"""Galvatron's profiles of computation, memory and hardware.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Galvatron, which reads `compute_profile.json`,
`memory_profile.json` and `hw_prof.json` (the last one holds one VM size). Memory is in MiB, activations are per sample.
What it tries is in readers/galvatron.py.
"""

import warnings
from collections.abc import Callable, Collection

from sailor_exp.config.architecture import uneven_split
from sailor_exp.config.parameter_bytes import parameter_share_of_states
from sailor_exp.errors import DamagedFileError
from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.galvatron.memory import Strategies, memory_profile
from sailor_exp.exporters.inputs import Extra, Inputs
from sailor_exp.exporters.needs import OVERLAP, Asked, Need, layers, of_profile
from sailor_exp.exporters.network.fits import LARGEST_MESSAGE_BYTES, Fit, Network
from sailor_exp.exporters.readers.galvatron import DEGREES, READER, smaller_file
from sailor_exp.files import json_file
from sailor_exp.profiles.galvatron.profile import read_file
from sailor_exp.units import GIB, readable_bytes

_MS = 1e3
_MESSAGES_BYTES = tuple(LARGEST_MESSAGE_BYTES // part for part in (16, 8, 4, 2, 1))


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return the three profiles.

    A tp that the reader asks for and that a VM of so few GPUs cannot measure may be missing. Raises MissingCellError
    without tp=1 mbs=1, MissingInputError where any other strategy, or a fit or overlap coefficient, is missing,
    FitError where a fit gives no bandwidth, DamagedFileError where strategies contradict each other or a coefficient is
    below 1.
    """
    strategies = inputs.extra("galvatron", read_file)
    share = parameter_share_of_states(inputs.config.precision, inputs.config.optimizer)
    memory = memory_profile(strategies, share)
    _require_degrees(inputs, strategies, memory["layertype_0"]["tp_activation_per_bsz_dict"])
    contents = {
        "compute_profile.json": compute_profile(inputs),
        "memory_profile.json": memory,
        "hw_prof.json": hardware_profile(inputs),
    }
    return {name: json_file.bytes_of(content) for name, content in contents.items()}


def _require_degrees(inputs: Inputs, strategies: Strategies, measured: Collection[str]) -> None:
    """Refuse a tp that is missing although the VM can measure it.

    The reader has no bandwidth of groups above `max_nodes`, so no cluster of more GPUs asks for anything.
    """
    for tp in DEGREES:
        measurable = tp <= inputs.gpus_per_vm and uneven_split(inputs.model, tp) is None
        if measurable and tp <= inputs.max_nodes and str(tp) not in measured:
            what = f"the strategy 1_{tp}_1, which Galvatron asks for where there are {tp} GPUs or more"
            fewer = smaller_file(tp)
            raise strategies.missing(f"{what}{f' ({fewer})' if fewer else ''},")


def compute_profile(inputs: Inputs) -> dict[str, float]:
    """Return the forward milliseconds of one sample at tp 1: a transformer layer, and embedding and head together."""
    times = inputs.times(tp=1, mbs=1)
    first, last = inputs.transformer_layers[0], max(inputs.kinds)
    return {
        "layertype_0": times[first].forward_s * _MS,
        "layertype_other_0": (times[0].forward_s + times[last].forward_s) * _MS,
    }


def hardware_profile(inputs: Inputs) -> dict[str, float]:
    """Return the GiB/s of all-reduces and transfers among n GPUs, n up to `max_nodes`, and the overlap coefficient.

    A consecutive group is inside a machine as long as it fits; every other group has one member per machine. The
    reader computes MiB x 2(n-1)/n / bandwidth, so the figure is bus bandwidth.
    """
    network = inputs.network()
    between = inputs.fit_between_machines(network)
    overlap = _overlap(inputs)
    figures = {}
    for ranks in range(2, inputs.max_nodes + 1):
        consecutive = _fit_within_machine(inputs, network, ranks) if ranks <= inputs.gpus_per_vm else between
        figures[f"allreduce_size_{ranks}_consec_0"] = _bus_bandwidth(between, ranks)
        figures[f"allreduce_size_{ranks}_consec_1"] = _bus_bandwidth(consecutive, ranks)
        figures[f"p2p_size_{ranks}"] = _mean_bandwidth(between.seconds)
    smallest = min(_MESSAGES_BYTES) / inputs.max_nodes
    if smallest < between.least_bytes:
        warnings.warn(
            f"Galvatron: all-reduces send messages of down to {readable_bytes(int(smallest))}, where the "
            f"{between.name} is no good: those count as if of {readable_bytes(int(between.least_bytes))}",
            stacklevel=3,
        )
    return {**figures, "overlap_coe": overlap}


def _bus_bandwidth(fit: Fit, ranks: int) -> float:
    return 2 * (ranks - 1) / ranks * _mean_bandwidth(lambda size: fit.all_reduce_s(size, ranks))


def _mean_bandwidth(seconds: Callable[[float], float]) -> float:
    return sum(size / GIB / seconds(size) for size in _MESSAGES_BYTES) / len(_MESSAGES_BYTES)


def _fit_within_machine(inputs: Inputs, network: Extra[Network], ranks: int) -> Fit:
    """Return the fit of that many ranks, or of the next fewer that were measured."""
    fits = network.content.intra
    fewer = [count for count in fits if count <= ranks]
    if not fewer:
        raise inputs.missing_fit(network, "intra", ranks)
    return fits[max(fewer)]


def _overlap(inputs: Inputs) -> float:
    """Return the coefficient; one GPU has nothing to overlap with, so 1 needs no file (network/merge.py)."""
    path = inputs.file("overlap_file")
    if inputs.gpus_per_vm == 1 and (path is None or not path.exists()):
        return 1.0
    overlap, place = inputs.overlap(), f"{inputs.gpu}.{inputs.gpus_per_vm}"
    coefficient = overlap.content.get(inputs.gpus_per_vm)
    if coefficient is None:
        raise overlap.missing(place)
    if coefficient < 1:
        raise DamagedFileError(overlap.path, f"{place} is {coefficient}, below 1")
    return coefficient


def _needs(asked: Asked) -> list[Need]:
    tps = [tp for tp in DEGREES if tp <= asked.vm and uneven_split(asked.model, tp) is None]
    plans = [layers([tp], READER.microbatches(tp)) for tp in tps]
    return [*plans, *of_profile("galvatron", asked), *of_profile(OVERLAP, asked)]


EXPORTER = planner(
    READER,
    files,
    needs=_needs,
)
