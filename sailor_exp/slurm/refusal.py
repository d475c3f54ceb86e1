"""What sbatch refused: its message, and the option that it is about."""

import re
from collections.abc import Mapping
from typing import Any

from sailor_exp.errors import SailorExpError

_ABOUT = (
    (r"partition", ("partition",)),
    (r"account", ("account",)),
    (r"\bqos\b|quality of service", ("qos",)),
    (r"reservation", ("reservation",)),
    (r"feature|constraint", ("constraint",)),
    (r"time limit", ("time_min",)),
    (r"memory", ("mem",)),
    (r"gres|\bgpus?\b|tres", ("gres", "gpus_per_node")),
    (r"cpu count|more processors", ("cpus_per_task",)),
    (r"node count", ("nodes",)),
    (r"node configuration", ("gres", "gpus_per_node", "cpus_per_task", "mem", "nodes", "constraint")),
)
_KEYS = {"mem": "mem_gb"}
_UNKNOWN_OPTION = re.compile(r"(?:unrecognized|invalid|ambiguous) option '?-{0,2}([\w-]+)", re.IGNORECASE)


class SubmissionRefused(SailorExpError):  # noqa: N818  # reads as what happened
    """sbatch refused a request. `options` are those that it may be about, empty where the message names none."""

    def __init__(self, said: str, options: Mapping[str, Any]) -> None:
        self.said = said
        self.options = options
        named = ", ".join(f"hydra.launcher.{_KEYS.get(name, name)}={value}" for name, value in options.items())
        about = f" Change {named}." if named else ""
        super().__init__(f"sbatch refused the job: {said}.{about}")


def refusal(printed: str, request: Mapping[str, Any], additional: Mapping[str, Any]) -> SubmissionRefused:
    """Return the error for what sbatch printed about a request."""
    lines = [re.sub(r"^sbatch: (error|fatal): ", "", line).strip(" .") for line in printed.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Try ", "See "))]
    said = "; ".join(dict.fromkeys(lines)) or "no reason given"
    return SubmissionRefused(said, _options_about(said, request, additional))


def _options_about(said: str, request: Mapping[str, Any], additional: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := _UNKNOWN_OPTION.search(said):
        name = unknown.group(1)
        return {f"additional.{name}": additional.get(name, "")}
    found: dict[str, Any] = {}
    for pattern, names in _ABOUT:
        if re.search(pattern, said, re.IGNORECASE):
            found |= {name: request[name] for name in names if name in request}
            found |= {f"additional.{name}": additional[name] for name in additional if re.search(pattern, name)}
        if found:
            break
    return found | {
        f"additional.{name}": value for name, value in additional.items() if re.search(rf"\b{re.escape(name)}\b", said)
    }
