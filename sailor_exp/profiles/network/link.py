"""The two ends of a link, and what they say of it."""

import os
import platform
from collections.abc import Mapping, Sequence

from sailor_exp.instruments.network_address import address_towards, interface_of
from sailor_exp.profiles.network.measurement import Link, LinkEnd

_TOLD_BY = ("NCCL_", "GLOO_")


def end_towards(address: str) -> LinkEnd:
    """Return this machine's end of the link to an address: what the kernel's routes choose. Nothing is sent."""
    own = address_towards(address)
    return LinkEnd(
        host=platform.node(), node=os.environ.get("SLURMD_NODENAME"), address=own, interface=interface_of(own)
    )


def link_of(ends: Sequence[LinkEnd], settings: Mapping[str, str]) -> Link:
    """Return the link between machines. Two ends on one machine are a loopback, whatever they call themselves."""
    loopback = any(end.address.startswith("127.") for end in ends) or len({end.host for end in ends}) < len(ends)
    return Link(
        kind="inside" if len(ends) == 1 else "loopback" if loopback else "between",
        ends=list(ends),
        settings=dict(settings),
    )


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which NCCL and gloo are told how to talk."""
    return {name: value for name, value in sorted(environment.items()) if name.startswith(_TOLD_BY)}
