"""Fits of pairs that nobody measured, by the rule that filled the published multizone_bandwidths_het.json.

Rule: eth-easl/sailor at cf2c8e3, sailor/providers/gcp/model_heterogeneous.py, get_config. It reads measured pairs whose
two ends have the same GPU and the same number of GPUs in a VM, between the two zones in question. The script knows no
measured pairs of other kinds; the published files do, and have them as measured.

    measured                  as measured
    same GPU, other counts    that of the smaller count
    other GPU                 of the two ends' own fits the one with the smaller maximum; the receiver's where they tie
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sailor_exp.exporters.network.bandwidth_files import End, FitEntry, Pair


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """What the rule says of the pairs of one GPU.

    `derived`: pairs that were not there. `differing`: pairs that are there and stay, with another fit than the rule
    gives. `holes`: pairs for which there is no fit.
    """

    derived: Mapping[Pair, FitEntry]
    differing: tuple[Pair, ...]
    holes: tuple[Pair, ...]


def derive(gpu: str, *, measured: Mapping[Pair, FitEntry], there: Mapping[Pair, FitEntry]) -> Derivation:
    """Apply the rule to the pairs with the GPU at one end or both, among all ends of both mappings.

    measured: what the rule reads. there: all that the file has, with what was measured now.
    """
    by_pair = {pair: by_rule(measured, pair) for pair in _pairs_of(gpu, [*there, *measured])}
    derived = {pair: entry for pair, entry in by_pair.items() if entry is not None}
    return Derivation(
        derived={pair: entry for pair, entry in derived.items() if pair not in there},
        differing=tuple(pair for pair, entry in derived.items() if there.get(pair, entry) != entry),
        holes=tuple(pair for pair, entry in by_pair.items() if entry is None and pair not in there),
    )


def by_rule(measured: Mapping[Pair, FitEntry], pair: Pair) -> FitEntry | None:
    """Return the fit that the rule gives a pair; None where a fit that it needs was not measured."""
    sender, receiver = pair
    if pair in measured:
        return measured[pair]
    if sender.gpu == receiver.gpu:
        gpus = min(sender.gpus, receiver.gpus)
        return measured.get(_alike(sender, receiver.zone, gpus))
    of_sender = measured.get(_alike(sender, receiver.zone, sender.gpus))
    of_receiver = measured.get(_alike(receiver, sender.zone, receiver.gpus))
    if of_sender is None or of_receiver is None:
        return None
    return of_sender if of_sender[1] < of_receiver[1] else of_receiver


def _alike(end: End, zone: str, gpus: int) -> Pair:
    """Return the pair of an end and its like in a zone, with so many GPUs in a VM."""
    return Pair(end._replace(gpus=gpus), End(zone, end.gpu, gpus))


def _pairs_of(gpu: str, pairs: Iterable[Pair]) -> list[Pair]:
    ends = list(dict.fromkeys(end for pair in pairs for end in pair))
    return [Pair(one, other) for one in ends for other in ends if gpu in {one.gpu, other.gpu}]
