"""Galvatron's memory profile, from strategies that were run with fewer and with more layers.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Galvatron, `memory_profile.json`. All figures are MiB of
one rank at one sample; `ms` is model states. `parameter_size` is that of a layer's parameters at tp 1: the reader
(core/cost_model.py) divides it by tp, and takes it for the layer's gradients and also for its model states. It uses
`other_memory_*` as the memory outside the layers at tp 1.

Legend: pp pipeline stages, tp tensor parallel degree, dp replicas; a strategy is named `{pp}_{tp}_{dp}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sailor_exp.errors import DamagedFileError
from sailor_exp.exporters.inputs import Extra

Strategies = Extra[dict[str, dict[str, float]]]
"""MiB by strategy and `layernum[n]_bsz1_rank{r}_{ms|act|act_peak}`."""

_STRATEGY = re.compile(r"(\d+)_(\d+)_1")
_LAYERS = re.compile(r"layernum\[(\d+)\]_bsz1_rank\d+_(?:ms|act|act_peak)")


def memory_profile(strategies: Strategies, parameter_share: float) -> dict[str, Any]:
    """Return the strategies, and from them the memory of a layer and the memory outside the layers, in MiB.

    The memory of a layer is the difference between runs with more and with fewer layers, on a rank of one strategy: a
    strategy runs one sample on its own world size, pp x tp ranks.

    parameter_share: share of the parameters in the model states (config/parameter_bytes.py).

    Raises MissingInputError for a missing strategy or value, DamagedFileError where a rank holds less than its layers
    or where its memory does not grow with them.
    """
    runs = _runs(strategies)
    whole = _strategy(strategies, runs, pp=1, tp=1)
    first, last = _stages(_strategy(strategies, runs, pp=2, tp=1), whole.layer_states, whole.layer_activation)
    around = whole.around(0, whole.fewest, whole.layer_states, whole.layer_activation)
    return {
        **{run.name: dict(run.values) for run in runs.values()},
        "layertype_0": {
            "parameter_size": whole.layer_states * parameter_share,
            "tp_activation_per_bsz_dict": {str(tp): run.layer_activation for (pp, tp), run in runs.items() if pp == 1},
        },
        "other_memory_pp_off": around,
        "other_memory_pp_on_first": first,
        "other_memory_pp_on_last": last,
    }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A strategy without replicas, and the fewest and most layers that it was run with."""

    file: Strategies
    name: str
    values: Mapping[str, float]
    fewest: int
    most: int

    @property
    def layer_states(self) -> float:
        return self._per_layer("ms")

    @property
    def layer_activation(self) -> float:
        return self._per_layer("act")

    def value(self, layers: int, rank: int, quantity: str) -> float:
        key = f"layernum[{layers}]_bsz1_rank{rank}_{quantity}"
        if key not in self.values:
            raise self.file.missing(f"{self.name}.{key}")
        return self.values[key]

    def around(self, rank: int, layers: int, layer_states: float, layer_activation: float) -> dict[str, float]:
        """Return the MiB that a rank with so many layers holds beyond them, in the run with the fewest layers."""
        activation = max(self.value(self.fewest, rank, quantity) for quantity in ("act", "act_peak"))
        beyond = {
            "model_states": self.value(self.fewest, rank, "ms") - layers * layer_states,
            "activation": activation - layers * layer_activation,
        }
        if min(beyond.values()) < 0:
            raise DamagedFileError(
                self.file.path,
                f"{self.name}: rank {rank} holds less than its {layers} layers (beyond them, MiB: {beyond})",
            )
        return beyond

    def _per_layer(self, quantity: str) -> float:
        growth = self.value(self.most, 0, quantity) - self.value(self.fewest, 0, quantity)
        per_layer = growth / (self.most - self.fewest)
        if per_layer <= 0:
            raise DamagedFileError(
                self.file.path, f"{self.name}: {quantity} does not grow with the layers ({per_layer} MiB each)"
            )
        return per_layer


def _stages(run: _Run, layer_states: float, layer_activation: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the MiB that the first and the last of two stages hold beyond their layers.

    The runner balances stages by their parameters, so all layers may be on the last one. The first stage has as many
    layers as fit into its activations; the embedding keeps far less than a layer.
    """
    on_first = min(run.fewest, int(run.value(run.fewest, 0, "act") / layer_activation))
    first = run.around(0, on_first, layer_states, layer_activation)
    return first, run.around(1, run.fewest - on_first, layer_states, layer_activation)


def _runs(strategies: Strategies) -> dict[tuple[int, int], _Run]:
    """Return the strategies by (pp, tp), in rising order, without the keys that are results of another exporter."""
    runs = {}
    for name, values in strategies.content.items():
        if match := _STRATEGY.fullmatch(name):
            runs[int(match[1]), int(match[2])] = _run(strategies, name, values)
    return dict(sorted(runs.items()))


def _run(strategies: Strategies, name: str, values: Mapping[str, float]) -> _Run:
    layers = {int(match[1]) for key in values if (match := _LAYERS.fullmatch(key))}
    if len(layers) < 2:  # noqa: PLR2004
        raise strategies.missing(f"{name} with two numbers of layers (layernum[n]_bsz1_...)")
    return _Run(
        file=strategies,
        name=name,
        values=values,
        fewest=min(layers),
        most=max(layers),
    )


def _strategy(strategies: Strategies, runs: Mapping[tuple[int, int], _Run], *, pp: int, tp: int) -> _Run:
    if (pp, tp) not in runs:
        raise strategies.missing(f"the strategy {pp}_{tp}_1")
    return runs[pp, tp]
