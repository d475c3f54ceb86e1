"""Names the times of a grid that the GPU cannot have taken, or that are far from what it needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sailor_exp.config.architecture import Kind, kinds_by_layer_id
from sailor_exp.config.peaks import Peak, peak_of
from sailor_exp.config.schema import GatherConfig, Precision
from sailor_exp.config.work import Phase, Training, Work, work_of
from sailor_exp.exporters.plausible.rating import SLOW, Rating, Verdict, rated
from sailor_exp.profiles.layers.published import CellKey, LayerTimes

_PHASES = (Phase.forward, Phase.backward, Phase.update)
_NAMED_CELLS = 3
_TF32 = "tf32"
_HUNDRED = 100.0


@dataclass(frozen=True, kw_only=True)
class JudgedTime:
    """One phase of one layer of a cell: its measured time, its work, and how both compare with the peak."""

    key: CellKey
    layer: int
    kind: Kind
    phase: Phase
    seconds: float
    work: Work
    rating: Rating


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What is said of all times with one verdict. `details`: a line for each part and phase; `cells`: where."""

    verdict: Verdict
    title: str
    details: tuple[str, ...]
    advice: str
    cells: tuple[CellKey, ...]

    @property
    def text(self) -> str:
        """The suspicion with a line for each detail."""
        return "\n  ".join([f"{self.title}:", *self.details, self.advice])


def configured_peak(config: GatherConfig) -> Peak | None:
    """Return the peak of the configured kind of GPU; None where it has none."""
    return peak_of(config.gpu.name, config.gpu.device.value)


def judged(config: GatherConfig, cells: Mapping[CellKey, LayerTimes]) -> Iterator[JudgedTime]:
    """Yield every time of some cells of the configured model, as measured with the configured precision.

    A cell whose tp does not divide the architecture is left out.
    """
    kinds, peak = kinds_by_layer_id(config.model), configured_peak(config)
    for key, layers in cells.items():
        training = Training(
            model=config.model,
            tp=key.tp,
            mbs=key.mbs,
            precision=config.precision,
            optimizer=config.optimizer,
            attention=config.attention,
        )
        works = {
            (kind, phase): work_of(training, Kind(kind), phase) for kind in set(kinds.values()) for phase in _PHASES
        }
        ratings: dict[
            tuple[Kind, Phase, float], Rating
        ] = {}  # most layers of a cell are of one kind, with the same times
        for layer, times in layers.items():
            for phase, seconds in zip(_PHASES, times, strict=True):
                kind = Kind(kinds[str(layer)])
                if (work := works[kind, phase]) is not None:
                    if (known := (kind, phase, seconds)) not in ratings:
                        ratings[known] = rated(work, seconds, peak, config.precision.value)
                    rating = ratings[known]
                    yield JudgedTime(
                        key=key, layer=layer, kind=kind, phase=phase, seconds=seconds, work=work, rating=rating
                    )


def suspicions_of(config: GatherConfig, cells: Mapping[CellKey, LayerTimes]) -> list[Suspicion]:
    """Return what is said of the times of some cells. Arguments are those of `judged`."""
    return suspicions(config, judged(config, cells))


def suspicions(config: GatherConfig, times: Iterable[JudgedTime]) -> list[Suspicion]:
    """Return what is said of the times that have a verdict: first of those above the peak, then of the slow ones.

    times: those of `judged` with the same configuration.
    """
    peak = configured_peak(config)
    if peak is None:
        return []
    suspects = [time for time in times if time.rating.verdict is not None]
    found = {verdict: [time for time in suspects if time.rating.verdict is verdict] for verdict in Verdict}
    return [_suspicion(config, peak, verdict, of) for verdict, of in found.items() if of]


def _suspicion(config: GatherConfig, peak: Peak, verdict: Verdict, times: list[JudgedTime]) -> Suspicion:
    groups: dict[tuple[Kind, Phase], list[JudgedTime]] = {}
    for time in times:
        groups.setdefault((time.kind, time.phase), []).append(time)
    cells = tuple(dict.fromkeys(time.key for time in times))
    of_cells = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    gpu, precision = config.gpu.name, config.precision.value
    if verdict is Verdict.above:
        title = f"Times of {of_cells} are shorter than {gpu} can take in {precision}"
        advice = (
            "Tensor cores computed in another precision, a part was not measured whole, or a number was edited: find "
            "the cause before a plan rests on it."
        )
        details = tuple(_too_fast(config, peak, group) for group in groups.values())
    else:
        title = f"Times of {of_cells} are more than {SLOW:g} times what arithmetic and memory of {gpu} need"
        advice = (
            "Such a part waits, for Python to launch its kernels (small parts), for collectives (tp > 1) or for "
            "another process, or the time is that of something larger."
        )
        details = tuple(_too_slow(group) for group in groups.values())
    return Suspicion(verdict=verdict, title=title, details=details, advice=advice, cells=cells)


def _too_fast(config: GatherConfig, peak: Peak, times: list[JudgedTime]) -> str:
    """Return the rates of one part and phase beside the peak that they are above."""
    by_arithmetic = [time for time in times if (time.rating.share_of_peak or 0.0) > 1.0]
    if by_arithmetic:
        rates = [time.rating.flops_per_s or 0.0 for time in by_arithmetic]
        known = _known_rates(config.precision, peak, max(rates))
        return f"{_part(times)}: {_tera(rates)} TFLOP/s, where the data sheet has {known}{_where(by_arithmetic)}"
    rates = [time.rating.bytes_per_s for time in times]
    return f"{_part(times)}: {_tera(rates)} TB/s, where the memory has {peak.bytes_per_s / 1e12:g}{_where(times)}"


def _known_rates(precision: Precision, peak: Peak, rate: float) -> str:
    """Return the peak at the precision, and that of TF32 where only it explains the rate."""
    known, tf32 = f"{peak.flops_per_s[precision.value] / 1e12:g}", peak.flops_per_s.get(_TF32)
    if precision is Precision.fp32 and tf32 is not None and rate <= tf32:
        return f"{known}, and {tf32 / 1e12:g} with TF32"
    return known


def _too_slow(times: list[JudgedTime]) -> str:
    """Return how many times one part and phase takes what it needs."""
    return f"{_part(times)}: {_span([time.rating.times_its_limit or 0.0 for time in times])} times{_where(times)}"


def _part(times: list[JudgedTime]) -> str:
    return f"{times[0].kind.value} {times[0].phase.value}"


def _where(times: list[JudgedTime]) -> str:
    keys = list(dict.fromkeys(time.key for time in times))
    rest = f" and {len(keys) - _NAMED_CELLS} more" if len(keys) > _NAMED_CELLS else ""
    return f" ({', '.join(str(key) for key in keys[:_NAMED_CELLS])}{rest})"


def _tera(rates: Iterable[float]) -> str:
    return _span([rate / 1e12 for rate in rates])


def _span(numbers: Iterable[float]) -> str:
    """Return the least and the largest number, or the one of both, with three digits."""
    shown = dict.fromkeys(f"{number:.0f}" if number >= _HUNDRED else f"{number:.3g}" for number in sorted(numbers))
    first, *others = shown
    return f"{first} to {others[-1]}" if others else first
