"""The page's address, taken: a socket that listens on one of the two loopback addresses.

May touch: one listening socket. Without the web's libraries, so that `doctor` can try it too.
"""

import socket


def listening(address: tuple[str, int]) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        OSError: something else does, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.create_server(address, family=family)
