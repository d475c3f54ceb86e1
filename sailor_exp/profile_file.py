"""The published raw profile file of a cell, `profile_{model}_{gpu}_{tp}_{mbs}.json`.

Format: eth-easl/sailor at cf2c8e3, written by third_party/Megatron-DeepSpeed's profiler and read by
sailor/profiling/gather_profs.py: `timing` maps a layer id to [forward, backward, update] in seconds, `memory` to
counts of one rank's whole microbatch. Readers ignore other keys; `record` names the record that it was made from.
"""

import json
from pathlib import Path

from sailor_exp.record import Record
from sailor_exp.storage import write_whole

MEMORY_KEYS = (
    "params_floats",
    "act_output_floats",
    "act_input_floats",
    "act_mem_floats",
    "params_bytes",
    "act_output_bytes",
    "act_input_bytes",
    "act_mem_bytes",
)


def file_name(record: Record) -> str:
    """Return the name that the published tools look for."""
    identity = record.identity
    return f"profile_{identity.model['name']}_{identity.gpu['name']}_{identity.tp}_{identity.mbs}.json"


def content(record: Record) -> dict[str, object]:
    """All layer ids of an ok record, each with the numbers of the kind that stands for it.

    Raises ValueError for a record without numbers.
    """
    if record.layers is None or record.statistics is None or record.memory is None:
        raise ValueError(f"the record of {file_name(record)} is {record.outcome}: it has no numbers")
    timing, memory = {}, {}
    for layer, kind in record.layers.items():
        phases = record.statistics.kinds[kind]
        timing[layer] = [phases.forward.value_s, phases.backward.value_s, phases.update.value_s]
        counts = record.memory.kinds[kind]
        memory[layer] = {key: getattr(counts, key) for key in MEMORY_KEYS}
    return {"timing": timing, "memory": memory, "record": record.file_name}


def write(record: Record, profile_dir: Path) -> Path:
    """Write the file whole. Raises StorageError."""
    path = profile_dir / file_name(record)
    write_whole(path, (json.dumps(content(record), indent=1) + "\n").encode())
    return path
