"""Inside a cell: make a network namespace in which every address leads to the broker, or nowhere.

May touch: the network namespace of this process, which holds nothing but a loopback device. Every
address of both families is made local to it, so whatever a command connects to arrives at a
listener here, and what no listener hears is refused by the kernel. There is no other device and so
no route out. Standard library only. The sockets are handed to the broker and kept by nobody here.
Source: rtnetlink(7), netdevice(7), packet(7), ipv6(7).
"""

import fcntl
import ipaddress
import socket
import struct

OWN4, OWN6 = "198.18.0.1", "fd70:6d67::1"  # so that programs see a network at all
# Below /proc/sys: a ping would be answered by the namespace itself, which says nothing of a host.
SETTINGS = [b"net/ipv4/icmp_echo_ignore_all=1", b"net/ipv6/icmp/echo_ignore_all=1"]
NAME_PORT = 53
BACKLOG = 1024
LOOPBACK = 1  # the index of the only device
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x49
RTM_NEWADDR, RTM_NEWROUTE = 20, 24
CREATE = 0x605  # NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE … as ip(8) asks
RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL = 255, 4, 254, 2
RTA_OIF, IFA_ADDRESS, IFA_LOCAL = 4, 1, 2
IFA_F_NODAD = 2
ETH_P_ALL = 3
MOST_SENT = 200  # descriptors in one message; the kernel takes 253
FAMILIES = (socket.AF_INET, socket.AF_INET6)
NAME_QUERIES, NAME_STREAM, REFUSED, STREAM = "U", "T", "P", "L"  # what a socket is for


def prepare() -> None:
    """Bring the namespace up: its device, its addresses, and the routes that keep all inside.

    Raises:
        OSError: the kernel refused; no command may use the network then.
    """
    with socket.socket() as any_socket:
        flags = struct.pack("16sH14x", b"lo", IFF_UP_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, flags)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for family, own in zip(FAMILIES, (OWN4, OWN6), strict=True):
            if family == socket.AF_INET6 and not _has_ipv6():
                continue
            address = ipaddress.ip_address(own).packed
            _ask(netlink, RTM_NEWADDR, _address(family, address))
            _ask(netlink, RTM_NEWROUTE, _everything_local(family))


def hand_over(ports: "list[int]", broker: socket.socket) -> None:
    """Open what hears connections on these ports, and send all of it to the broker.

    Raises:
        OSError: a socket could not be opened, or the broker is gone.
    """
    opened: list[tuple[str, socket.socket]] = []
    try:
        opened.append((REFUSED, _taps()))
        opened.append((NAME_QUERIES, _bound(socket.SOCK_DGRAM, NAME_PORT)))
        opened.append((NAME_STREAM, _listening(NAME_PORT)))
        opened += [(STREAM, _listening(port)) for port in ports if port != NAME_PORT]
        for at in range(0, len(opened), MOST_SENT):
            part = opened[at : at + MOST_SENT]
            kinds = "".join(kind for kind, _ in part)
            socket.send_fds(broker, [kinds.encode()], [one.fileno() for _, one in part])
    finally:
        for _, one in opened:
            one.close()
        broker.close()


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _taps() -> socket.socket:
    """Return a socket that sees what is sent in this namespace; the broker filters it."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))


def _bound(kind: int, port: int) -> socket.socket:
    """Return a socket of both families, bound to every address."""
    if not _has_ipv6():
        only = socket.socket(socket.AF_INET, kind)
        only.bind(("0.0.0.0", port))  # noqa: S104  # of a namespace without a route
        return only
    both = socket.socket(socket.AF_INET6, kind)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_DGRAM:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    both.bind(("::", port))
    return both


def _listening(port: int) -> socket.socket:
    listener = _bound(socket.SOCK_STREAM, port)
    listener.listen(BACKLOG)
    return listener


def _address(family: int, address: bytes) -> bytes:
    head = struct.pack("=BBBBI", family, 8 * len(address), IFA_F_NODAD, 0, LOOPBACK)
    return head + _attribute(IFA_LOCAL, address) + _attribute(IFA_ADDRESS, address)


def _everything_local(family: int) -> bytes:
    head = struct.pack(
        "=BBBBBBBBI", family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0
    )
    return head + _attribute(RTA_OIF, struct.pack("=I", LOOPBACK))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def _ask(netlink: socket.socket, kind: int, body: bytes) -> None:
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, CREATE, 1, 0) + body)
    error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if error:
        raise OSError(-error, "the network namespace could not be set up")
