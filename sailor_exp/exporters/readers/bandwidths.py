"""The bandwidth files that planners and simulators open, and the counts that they look up.

Source: eth-easl/sailor at cf2c8e3. sailor/Planner/simulations/runtime_simulator.py opens multizone_bandwidths_het.json
(`InterNodeNetworkInfo`) and intra_node_bandwidths.json, of which it takes the keys alone, so do AMP, Piper, Varuna and
Metis with the first (`[zone][gpu][gpus][zone][gpu][gpus]`) and Metis with the second (gpu_cluster.py). The simulators
that Piper and Metis bring open multizone_bandwidths.json. A missing key is a KeyError.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sailor_exp.exporters.network.bandwidth_files import End, Pair, intra_in, pairs_in
from sailor_exp.exporters.readers.reader import Case, File, Hole, Reader, json_holes

INTRA = Path("sailor/providers/intra_node_bandwidths.json")
MEASURED = Path("sailor/providers/multizone_bandwidths.json")
EVERY = Path("sailor/providers/multizone_bandwidths_het.json")


def files(case: Case, reader: Reader) -> Iterator[File]:
    """Yield the bandwidth files that a planner's plans need."""
    vm = case.inputs.gpus_per_vm
    yield _between(case, case.root / EVERY, reader.counts(case))
    if reader.opens_measured_pairs:
        yield _between(case, case.root / MEASURED, {vm: 1})
    path = case.root / INTRA
    ranks = vm if reader.asks_inside and vm > 1 else None
    yield File(
        path=path,
        command=case.commands.fit("intra" if vm > 1 else "inter", vm),
        holes=json_holes(path, lambda content: _intra(case, path, content, ranks)),
        merged=True,
    )


def _between(case: Case, path: Path, counts: Mapping[int, int]) -> File:
    return File(
        path=path,
        command=_fit(case, counts),
        holes=json_holes(path, lambda content: _pairs(case, path, content, counts)),
        merged=True,
    )


def _fit(case: Case, counts: Mapping[int, int]) -> str:
    return case.commands.fit("inter", max(case.inputs.gpus_per_vm, *counts))


def _pairs(case: Case, path: Path, content: Mapping[str, Any], counts: Mapping[int, int]) -> Iterator[Hole]:
    pairs, zone, gpu = pairs_in(path, content), case.inputs.config.exporter.zone, case.inputs.gpu
    if zone not in content:
        command = f"{_fit(case, counts)} exporter.new_zone=true"
        choices = ", ".join(content) or "none"
        text = f"no zone {zone}; exporter.zone=... names another: it has {choices}"
        yield Hole(text=text, command=command if content else None)
        return
    for gpus, nodes in sorted(counts.items()):
        end = End(zone, gpu, gpus)
        if Pair(end, end) not in pairs:
            yield Hole(text=f"no bandwidth of {end}", nodes=nodes)


def _intra(case: Case, path: Path, content: Mapping[str, Any], ranks: int | None) -> Iterator[Hole]:
    fits = intra_in(path, content)
    if ranks is not None and ranks not in fits.get(case.inputs.gpu, {}):
        yield Hole(text=f"no bandwidth among {ranks} x {case.inputs.gpu} in a VM")
