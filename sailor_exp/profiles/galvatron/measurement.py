"""What `profile=galvatron` puts into a record."""

from sailor_exp.records.base import Count, Frozen


class StageMemory(Frozen):
    """Bytes of one rank in a training step whose optimizer has its states.

    `model_states_bytes`: parameters, gradients and optimizer states, after the backward. `activation_bytes`: what the
    forward adds. `activation_peak_bytes`: the highest of forward and backward, above the model states.
    """

    model_states_bytes: Count
    activation_bytes: Count
    activation_peak_bytes: Count


StageShare = dict[str, StageMemory]
"""What one rank sends of its stage, by the model's number of layers."""


class StagesMeasurement(Frozen):
    """Memory of models of a few transformer layers at one sample: by their number of layers, one entry a rank."""

    by_num_layers: dict[str, list[StageMemory]]
