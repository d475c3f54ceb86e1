"""Which statements of the package only CUDA reaches, and which of these a run of the tests has entered.

coverage run --branch --source=sailor_exp -m pytest ...
coverage json -o coverage.json
python -m tests.emulated_cuda.cuda_lines coverage.json
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

_SAYS_CUDA = ("torch.cuda", "Device.cuda", "'cuda'", "on_cuda", "nvml")
_CLASSES = ("Cuda", "Streams")


def cuda_statements(source: str) -> set[int]:
    """First lines of the statements that run on CUDA alone."""
    return set(_of_block(ast.parse(source).body, inside=False))


def _of_block(block: list[ast.stmt], *, inside: bool) -> Iterator[int]:
    """A branch on CUDA makes what it guards CUDA's; one that leaves the function on a CPU, all that follows."""
    for statement in block:
        if _is_docstring(statement):
            continue
        if inside:
            yield statement.lineno
        yield from _of_statement(statement, inside=inside)
        if _leaves_without_cuda(statement):
            inside = True


def _of_statement(statement: ast.stmt, *, inside: bool) -> Iterator[int]:
    match statement:
        case ast.ClassDef(name=name, body=body):
            yield from _of_functions(body, inside=inside or name.startswith(_CLASSES))
        case ast.FunctionDef(name=name, body=body):
            yield from _of_block(body, inside=inside or "cuda" in name or "nvidia_smi" in name)
        case ast.If(test=test, body=body, orelse=orelse):
            yield from _of_block(body, inside=inside or _asks_for_cuda(test))
            yield from _of_block(orelse, inside=inside or _asks_for_cpu(test))
        case ast.With(body=body) | ast.For(body=body) | ast.While(body=body):
            yield from _of_block(body, inside=inside)
        case ast.Try(body=body, handlers=handlers):
            yield from _of_block(body, inside=inside)
            for handler in handlers:
                yield from _of_block(handler.body, inside=inside)
        case _:
            if not inside and any(said in _plain(statement) for said in _SAYS_CUDA) and not _both(statement):
                yield statement.lineno


def _of_functions(body: list[ast.stmt], *, inside: bool) -> Iterator[int]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            yield from _of_block(statement.body, inside=inside)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _both(statement: ast.stmt) -> bool:
    """Whether a statement chooses between CUDA and CPU, or only names CUDA: it runs on both."""
    choice = any(isinstance(node, ast.IfExp | ast.Compare | ast.Dict) for node in ast.walk(statement))
    named = isinstance(statement, ast.Assign | ast.AnnAssign) and "torch.cuda" not in _plain(statement)
    return choice or named or _plain(statement).startswith("torch.cuda.current_device = ")


def _leaves_without_cuda(statement: ast.stmt) -> bool:
    leaves = isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Return | ast.Raise)
    return leaves and _asks_for_cpu(statement.test)


def _asks_for_cuda(test: ast.expr) -> bool:
    text = _plain(test)
    return any(said in text for said in _SAYS_CUDA) and " is not " not in text and " != " not in text


def _asks_for_cpu(test: ast.expr) -> bool:
    text = _plain(test)
    return "Device.cpu" in text or any(f"!= {said}" in text or f"is not {said}" in text for said in _SAYS_CUDA)


def _plain(node: ast.AST) -> str:
    return ast.unparse(node)


def main(report: Path) -> None:
    """Print each file's statements for CUDA that no test has entered, and their number of all."""
    entered = {name: set(file["executed_lines"]) for name, file in json.loads(report.read_text())["files"].items()}
    total = missing = 0
    for path in sorted((ROOT / "sailor_exp").rglob("*.py")):
        lines = cuda_statements(path.read_text())
        left = sorted(lines - entered.get(str(path.relative_to(ROOT)), set()))
        total, missing = total + len(lines), missing + len(left)
        if left:
            print(f"{path.relative_to(ROOT)}: {', '.join(map(str, left))}")
    print(f"{total - missing} of {total} statements that only CUDA reaches were entered")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
