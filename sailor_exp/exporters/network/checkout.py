"""Whether the export root is a checkout of Sailor, and what its constants lack.

Source: eth-easl/sailor at cf2c8e3, sailor/Planner/simulations/constants.py: `GPU_MEMORY_GB` is {gpu: 2^30 bytes},
`GPU_PRICES` {gpu: {zone: $ per hour}}. Planners end in KeyError for a GPU or a zone that is not there. The file is read
as text, and never run or changed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from sailor_exp.errors import NotACheckoutError

CONSTANTS = Path("sailor/Planner/simulations/constants.py")

MEMORY, PRICES = "GPU_MEMORY_GB", "GPU_PRICES"

PRICE = "DOLLARS_PER_HOUR"
"""Stands for a price that we do not know. Nothing defines it, so Python stops at the line until it is replaced."""


def lines_to_add(root: Path, *, gpu: str, memory_gb: float, zone: str) -> list[str]:
    """Return the lines of Python that a checkout's constants lack; none where the root is no checkout.

    memory_gb: in 2^30 bytes. Raises NotACheckoutError where the constants cannot be read.
    """
    if not is_checkout(root):
        return []
    known = _known(root / CONSTANTS)
    return [
        *([] if (MEMORY, gpu) in known else [f"{MEMORY}[{gpu!r}] = {memory_gb:.15g}"]),
        *([] if (PRICES, gpu, zone) in known else [_price_line(gpu, zone, there=(PRICES, gpu) in known)]),
    ]


def _price_line(gpu: str, zone: str, *, there: bool) -> str:
    return f"{PRICES}[{gpu!r}][{zone!r}] = {PRICE}" if there else f"{PRICES}[{gpu!r}] = {{{zone!r}: {PRICE}}}"


def is_checkout(root: Path) -> bool:
    """Whether the root is a checkout of Sailor, and not a directory for the files alone."""
    return (root / CONSTANTS).is_file()


def refuse_a_wrong_root(root: Path) -> None:
    """Raise NotACheckoutError where a checkout of Sailor is above or below the root: no planner would find a file."""
    if is_checkout(root):
        return
    if (root / "sailor" / CONSTANTS).is_file():
        raise NotACheckoutError(root, f"is the directory above a checkout, {root / 'sailor'}")
    if (root / CONSTANTS.relative_to("sailor")).is_file():
        raise NotACheckoutError(root, f"is the package inside a checkout, {root.absolute().parent}")


def _known(path: Path) -> set[tuple[str, ...]]:
    """Return the names and keys that the constants have, outermost first. Raises NotACheckoutError."""
    known = names_in(path)
    for name in (MEMORY, PRICES):
        if (name,) not in known:
            raise NotACheckoutError(path, f"has no dictionary {name}, which Sailor's planners read")
    return known


def names_in(path: Path) -> set[tuple[str, ...]]:
    """Return the names and keys that a file's assignments fill, outermost first. Raises NotACheckoutError."""
    return {place for statement in parsed(path).body for place in _places(statement)}


def parsed(path: Path) -> ast.Module:
    """Return the code of a file of a checkout. Raises NotACheckoutError."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        raise NotACheckoutError(path, f"cannot be read as Python: {error}") from error


def _places(statement: ast.stmt) -> Iterator[tuple[str, ...]]:
    """Yield the places that an assignment fills: a name or its keys, and the keys of the dictionary there."""
    match statement:
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            place = _place(target)
            if len(place) > 1 or (place and isinstance(value, ast.Dict)):
                yield from _places_below(place, value)


def _place(target: ast.expr) -> tuple[str, ...]:
    match target:
        case ast.Name(id=name):
            return (name,)
        case ast.Subscript(value=outer, slice=ast.Constant(value=str(key))):
            place = _place(outer)
            return (*place, key) if place else ()
        case _:
            return ()


def _places_below(place: tuple[str, ...], value: ast.expr) -> Iterator[tuple[str, ...]]:
    yield place
    if isinstance(value, ast.Dict):
        for key, child in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield from _places_below((*place, key.value), child)
