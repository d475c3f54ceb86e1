"""What ranks send, built in sight."""

from sailor_exp.profiles.layers.measurement import ChainShare, Memory, PartMemory, PartSamples, Samples
from sailor_exp.records.provenance import DeviceFacts

COUNTS = tuple(PartMemory.model_fields)
DEVICE = DeviceFacts(name="a processor", uuid=None, driver=None, memory_bytes=None, clock_mhz={})


def part(name, kind, seconds, steps=5):
    """All phases of a part, each step `seconds` long, or as long as its place in a given list."""
    times = list(seconds) if isinstance(seconds, list) else [seconds] * steps
    return PartSamples(
        part=name,
        kind=kind,
        forward_s=[times],
        backward_s=[times],
        update_s=[times],
        overhead_s=[[0.0] * len(times)],
        accumulate_s=[times],
    )


def share(parts, *, size=100, peak_bytes=1000, reserved_bytes=None, warmup=2):
    """What one rank sends of a chain: every count of its memory is `size`."""
    memory = PartMemory(**dict.fromkeys(COUNTS, size))
    return ChainShare(
        samples=Samples(warmup=warmup, parts=parts, calibration_s=[[0.001] * len(parts[0].forward_s[0])]),
        memory=Memory(
            kinds={each.kind: memory for each in parts},
            peak_bytes=peak_bytes,
            reserved_bytes=reserved_bytes,
            device_used_bytes=None,
        ),
    )
