"""How large the models and products of a run are: as published, or so small that a CPU rehearses them."""

from dataclasses import dataclass

_SMALL = (
    "model.num_layers=2", "model.hidden_size=64", "model.num_attention_heads=4", "model.ffn_hidden_size=256",
    "model.seq_length=32", "model.max_position_embeddings=32", "model.vocab_size=1024",
)  # fmt: skip
_FEW_STEPS = ("sampling.warmup=2", "sampling.min_steps=4", "sampling.max_steps=4", "sampling.budget_s=5")


@dataclass(frozen=True, kw_only=True)
class Size:
    """opt, llama: overrides of the two models. product: rows of a square product. microbatches: of the grid.

    growing: microbatches of which the last does not fit into `growing_gb`, by default the whole device; limited_gb:
    memory in which only the first of `limited` fit.
    """

    name: str
    opt: tuple[str, ...]
    llama: tuple[str, ...]
    sampling: tuple[str, ...]
    product: int
    products: int
    microbatches: tuple[int, ...]
    growing: tuple[int, ...]
    growing_gb: float | None
    limited: tuple[int, ...]
    limited_gb: float


FULL = Size(
    name="full",
    opt=("model=opt-350",),
    llama=("model=llama-3-8",),
    sampling=("sampling.budget_s=4", "sampling.max_steps=40"),
    product=8192,
    products=20,
    microbatches=(1, 2, 4, 8),
    growing=(16, 256),
    growing_gb=None,
    limited=(1, 2, 4, 8, 16),
    limited_gb=8,
)
SMALL = Size(
    name="small",
    opt=("model=opt-350", *_SMALL),
    llama=("model=llama-3-8", "model.num_query_groups=4", *_SMALL),
    sampling=_FEW_STEPS,
    product=2048,
    products=400,
    microbatches=(1, 2),
    growing=(1, 4096),
    growing_gb=1,
    limited=(1, 4096),
    limited_gb=0.9,
)
SIZES = {size.name: size for size in (FULL, SMALL)}
