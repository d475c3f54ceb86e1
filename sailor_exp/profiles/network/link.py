"""A link: its ends, and the settings of the libraries that use it."""

import os
import platform
from collections.abc import Mapping, Sequence

from sailor_exp.instruments.network_address import address_towards, interface_of
from sailor_exp.profiles.network.measurement import Link, LinkEnd

_SETTING_PREFIXES = ("NCCL_", "GLOO_")


def end_towards(address: str) -> LinkEnd:
    """Return this machine's end of the link to an address, as the kernel's routes choose it. Sends nothing."""
    own = address_towards(address)
    return LinkEnd(
        host=platform.node(), node=os.environ.get("SLURMD_NODENAME"), address=own, interface=interface_of(own)
    )


def link_of(ends: Sequence[LinkEnd], settings: Mapping[str, str]) -> Link:
    """Return the link between the ends. Ends with one host name or a loopback address are one machine: a loopback."""
    loopback = any(end.address.startswith("127.") for end in ends) or len({end.host for end in ends}) < len(ends)
    return Link(
        kind="inside" if len(ends) == 1 else "loopback" if loopback else "between",
        ends=list(ends),
        settings=dict(settings),
    )


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that configure NCCL and gloo."""
    return {name: value for name, value in sorted(environment.items()) if name.startswith(_SETTING_PREFIXES)}
