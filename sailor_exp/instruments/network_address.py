"""The address and interface by which this machine reaches another.

gloo listens at the address that the machine's name resolves to unless GLOO_SOCKET_IFNAME names an interface. The names
of a cluster's nodes need not resolve.
"""

import fcntl
import socket
import struct
from urllib.parse import urlsplit

_SIOCGIFADDR = 0x8915
"""netdevice(7): the IPv4 address of an interface."""


def address_towards(address: str) -> str:
    """Return the own IPv4 address from which the kernel's routes reach another one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


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
