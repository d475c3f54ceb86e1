"""The address and interface by which this machine reaches another, and what they say of the link between them.

gloo listens at the address that the machine's name resolves to unless GLOO_SOCKET_IFNAME names an interface; names of
a cluster's nodes need not resolve.
"""

import fcntl
import os
import platform
import socket
import struct
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from sailor_exp.network_samples import Link, LinkEnd

_SIOCGIFADDR = 0x8915
"""netdevice(7): the IPv4 address of an interface."""

_TOLD_BY = ("NCCL_", "GLOO_")


def end_towards(address: str) -> LinkEnd:
    """Return this machine's end of the link to an address: what the kernel's routes choose. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        own = str(probe.getsockname()[0])
    return LinkEnd(
        host=platform.node(), node=os.environ.get("SLURMD_NODENAME"), address=own, interface=interface_of(own)
    )


def interface_of(address: str) -> str | None:
    """Return the interface that has an IPv4 address, None where none has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def host_of(init_method: str) -> str:
    """Return the machine that an init_method of torch.distributed names: the loopback for a file."""
    return urlsplit(init_method).hostname or "127.0.0.1"


def link_of(ends: Sequence[LinkEnd], environment: Mapping[str, str]) -> Link:
    """Return the link between machines. Two ends on one machine are a loopback, whatever they call themselves."""
    loopback = any(end.address.startswith("127.") for end in ends) or len({end.host for end in ends}) < len(ends)
    return Link(
        kind="inside" if len(ends) == 1 else "loopback" if loopback else "between",
        ends=list(ends),
        settings=settings_in(environment),
    )


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which NCCL and gloo are told how to talk."""
    return {name: value for name, value in sorted(environment.items()) if name.startswith(_TOLD_BY)}
