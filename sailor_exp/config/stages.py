"""The layers of each stage of a pipeline.

They depend only on the model and the number of stages. The ranks build these stages, and predictions use them.
"""

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import ModelConfig


def stage_layer_ids(model: ModelConfig, pp: int) -> list[list[int]]:
    """Return the layer ids of each stage, first stage first: shape (pp,), every id once and in order.

    The transformer layers are distributed evenly; where pp does not divide them, the last stages have one more. The
    embedding is on the first stage, (final norm and) head on the last. Raises ValueError for fewer layers than pp - 1,
    which leave a stage empty: `too_few_layers` checks this beforehand.
    """
    if too_few_layers(model, pp):
        raise ValueError(f"{model.num_layers} layers leave one of {pp} stages empty")
    tail = list(range(model.num_layers + 1, len(kinds_by_layer_id(model))))
    few, more = divmod(model.num_layers, pp)
    stages, first = [], 1
    for stage in range(pp):
        count = few + (stage >= pp - more)
        stages.append(list(range(first, first + count)))
        first += count
    stages[0].insert(0, 0)
    stages[-1] += tail
    return stages


def too_few_layers(model: ModelConfig, pp: int) -> bool:
    """Whether one of pp stages would be empty: the first has the embedding, all others need a transformer layer."""
    return model.num_layers < pp - 1


def beyond_one_machine(pp: int, tp: int, gpus: int) -> str | None:
    """Return why one machine has too few GPUs for a pipeline, or None where it has enough."""
    ranks = pp * tp
    return f"pp={pp} tp={tp} takes {ranks} GPUs; vm={gpus} has {gpus}" if ranks > gpus else None


def profiled_num_layers(pp: int) -> tuple[int, int]:
    """Return two numbers of transformer layers: the models differ by one layer on the first stage, no stage is empty.

    One stage: one layer, then two. More stages: the embedding alone on the first stage and a layer on every other, then
    a layer on every stage. Galvatron itself runs the larger model: as many layers as stages.
    """
    return (1, 2) if pp == 1 else (pp - 1, pp)
