"""Ways to the network, and to what the host's network would tell."""

from tests.sandbox.escapes.attempt import CONFINED, Attempt, py, sh

ATTEMPTS: list[Attempt] = [
    py("connect to the host's loopback", "T11",
       'return not socket.create_connection(("127.0.0.1", {tcp}), 1).close()'),
    py("connect to the host's loopback by IPv6", "T11",
       'return not socket.create_connection(("::1", {tcp6}), 1).close()'),
    py("connect to an address of the host by a mapped address", "T11",
       'return not socket.create_connection(("::ffff:127.0.0.1", {tcp}), 1).close()'),
    py("connect by multipath TCP", "T11", """
s = socket.socket(2, 1, 262); s.settimeout(1); s.connect(("127.0.0.1", {tcp})); return True
"""),
    py("connect with the first datagram", "T11", """
s = socket.socket(2, 1); s.settimeout(1)
return s.sendto(b"x", 0x20000000, ("127.0.0.1", {tcp})) == 1  # MSG_FASTOPEN
""", why_not_shown="it has to be switched on"),
    py("send a datagram", "T11", """
s = socket.socket(2, 2); s.settimeout(0.3); s.sendto(b"ping", ("127.0.0.1", {udp}))
return s.recv(9) == b"pong"
"""),
    py("send a datagram by UDP-Lite", "T11", """
return not socket.socket(2, 2, 136).connect(("127.0.0.1", {udp}))
""", why_not_shown="few kernels have it"),
    py("resolve through a resolver on the host", "T11", """
s = socket.socket(2, 2); s.settimeout(0.3); s.connect(("127.0.0.1", {udp})); s.send(b"q")
return len(s.recv(99)) > 0
"""),
    py("reach a server for instances of a cloud", "T11",
       'return not socket.create_connection(("169.254.169.254", 80), 1).close()',
       why_not_shown="there is none on most hosts"),
    sh("find a route out", "T11", "test $(wc -l < /proc/net/route) -gt 1", profiles=CONFINED,
       why_not_shown="a host may have none"),
    sh("see the host's connections", "T11",
       "grep -qi $(printf ':%04X' {tcp}) /proc/net/tcp", profiles=CONFINED),
    py("reach an abstract socket of the host", "T13", """
s = socket.socket(1); s.connect("\\0{abstract}"); return True
"""),
    py("send raw packets", "T11", "socket.socket(2, 3, 1); return True", only_root=True),
    py("send raw packets by IPv6", "T11", "socket.socket(10, 3, 58); return True", only_root=True),
    py("capture packets", "T11", "socket.socket(17, 3, 768); return True", only_root=True),
    py("give the host an address", "T11", """
s = socket.socket(16, 3, 0)
address = struct.pack("BBBBi", 2, 32, 0, 0, 1) + struct.pack("HH4B", 8, 2, 127, 0, 99, 1)
s.send(struct.pack("IHHII", 16 + len(address), 20, 0x605, 1, 0) + address)
return struct.unpack_from("i", s.recv(999), 16)[0] == 0
""", why_not_shown="it would change the host's network"),
    py("end a connection of the host", "T11", """
s = socket.socket(16, 3, 4)
request = struct.pack("=BBHI", 2, 6, 0, 0xFFF) + struct.pack(">HH", {tcp}, 0)
request += bytes((127, 0, 0, 1)) + bytes(32) + b"\xff" * 8
s.send(struct.pack("IHHII", 16 + len(request), 21, 5, 1, 0) + request)  # SOCK_DESTROY
return struct.unpack_from("i", s.recv(999), 16)[0] == 0
""", why_not_shown="few kernels can"),
]  # fmt: skip
