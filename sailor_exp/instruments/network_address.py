"""The address and interface by which this machine reaches another.

gloo listens at the address of the machine's name, unless GLOO_SOCKET_IFNAME names an interface. The names of cluster
nodes need not resolve.
"""

import fcntl
import socket
import struct
from urllib.parse import urlsplit

_SIOCGIFADDR = 0x8915
"""netdevice(7): the request for the IPv4 address of an interface."""


def address_towards(address: str) -> str:
    """Return this machine's IPv4 address on the kernel's route to another address. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str | None:
    """Return the interface that has an IPv4 address, None if none has it."""
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
    """Return the host that an init_method of torch.distributed names; for a file the loopback address."""
    return urlsplit(init_method).hostname or "127.0.0.1"
