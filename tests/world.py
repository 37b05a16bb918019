"""An internet of the test's own: a network namespace with all kinds of addresses, and servers.

`World.start` unshares a network and a mount namespace and runs this file in it as a program; the
broker of a test enters the same two. Nothing in it has a way out. What the servers see is kept:
every connection with the address it came in on, and every name that somebody asked for.
"""

import json
import os
import shlex
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK4, OK6 = "93.184.216.10", "2606:2800:220:1::10"
OTHER4 = "93.184.216.11"
GOOGLE = "8.8.8.8"
PRIVATE4, PRIVATE6, METADATA = "10.20.30.40", "fd12:3456::1", "169.254.169.254"
SHARED4, HOME4 = "100.64.0.9", "192.168.7.7"
ADDRESSES = (OK4, OK6, OTHER4, GOOGLE, PRIVATE4, PRIVATE6, METADATA, SHARED4, HOME4)
HTTP, TLS, ECHO = (80, 8080), (443, 8443), 7
EXPIRED_PORT, PROXY = 9443, 3128
ANSWERS = {
    "ok.test": (OK4, OK6),
    "four.test": (OK4,),
    "six.test": (OK6,),
    "other.test": (OTHER4,),
    "private.test": (PRIVATE4,),
    "private6.test": (PRIVATE6,),
    "metadata.test": (METADATA,),
    "loopback.test": ("127.0.0.1",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "shared.test": (SHARED4,),
    "home.test": (HOME4,),
    "multicast.test": ("224.0.0.5",),
    "zero.test": ("0.0.0.0",),
    "nat64.test": ("64:ff9b::a14:1e28",),
    "sixtofour.test": ("2002:a14:1e28::1",),
    "mixed.test": (PRIVATE4, OK4),
}
ALIASES = {"alias.test": "hop.test", "hop.test": "private.test"}
HELLO = "hello from the outside"
MISSING = b"404 Not Found"
SHORT = {"/away": b"302 Found\r\nLocation: http://other.test/", "/missing": MISSING}


@dataclass
class World:
    """The namespace, seen from the test."""

    directory: Path
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, directory: Path) -> "World":
        directory.mkdir()
        authority(directory)
        (directory / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
        )
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        inside = [sys.executable, "-m", "tests.world", str(directory)]
        process = subprocess.Popen(
            ["unshare", *own, "--net", "--mount", "--", *inside],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return cls(directory, process)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()

    def python(self) -> str:
        """Return an interpreter that starts in the world: for the broker."""
        path = self.directory / "python"
        entering = ["nsenter", "--target", str(self.process.pid), "--net", "--mount"]
        if os.geteuid() != 0:
            entering += ["--user", "--preserve-credentials"]
        path.write_text(f'#!/bin/sh\nexec {shlex.join([*entering, sys.executable])} "$@"\n')
        path.chmod(0o755)
        return str(path)

    @property
    def certificates(self) -> str:
        return str(self.directory / "ca.pem")

    def seen(self) -> "list[tuple[str, int]]":
        """Return where connections arrived: the address they were made to, and its port."""
        return [(one["address"], one["port"]) for one in self._lines("connections")]

    def said(self) -> str:
        """Return all first lines that servers were told."""
        return "\n".join(one.get("line", "") for one in self._lines("requests"))

    def queries(self) -> set[str]:
        """Return the names that the world's resolver was asked for."""
        return {one["name"] for one in self._lines("queries")}

    def forget(self) -> None:
        for path in self.directory.glob("*.jsonl"):
            path.write_text("")

    def _lines(self, name: str) -> Iterator[dict[str, object]]:
        path = self.directory / f"{name}.jsonl"
        return map(json.loads, path.read_text().splitlines() if path.exists() else ())


def authority(directory: Path) -> None:
    """Write a certificate authority, a certificate for all names, and one that has expired."""
    now = datetime.now(UTC)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the world")])
    basic = x509.BasicConstraints(ca=True, path_length=None)
    root = _certificate(root_name, root_name, root_key, now + timedelta(days=1))
    root = root.add_extension(basic, critical=True)
    pem = root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (directory / "ca.pem").write_bytes(pem)
    names = [x509.DNSName(name) for name in (*ANSWERS, *ALIASES, "localhost")]
    numbers = [x509.IPAddress(ip_address(address)) for address in ADDRESSES]
    for file, end in (("names.pem", timedelta(days=1)), ("expired.pem", timedelta(days=-1))):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        leaf = _certificate(name, root_name, key, now + end).add_extension(
            x509.SubjectAlternativeName([*names, *numbers]), critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        signed = leaf.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (directory / file).write_bytes(signed + private)


def _certificate(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
    )


# --- inside -------------------------------------------------------------------------------------


class Notes:
    """What happened, a line of JSON each, for the test to read."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._lock = directory, threading.Lock()

    def add(self, file: str, **facts: object) -> None:
        with self._lock, (self._directory / f"{file}.jsonl").open("a") as lines:
            lines.write(json.dumps(facts) + "\n")


class _Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    notes: Notes
    files: Path
    tls: ssl.SSLContext | None = None

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what many tests are about."""


class _Handler(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        address, port = self.request.getsockname()[:2]
        self.address = address.removeprefix("::ffff:")
        self.server.notes.add("connections", address=self.address, port=port)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()


class _Http(_Handler):
    """Enough HTTP for the programs that are tried: kept connections, files, uploads, echoes."""

    def handle(self) -> None:
        while self._one():
            self.wfile.flush()

    def _one(self) -> bool:
        line = self.rfile.readline(1 << 16).decode("latin-1").rstrip()
        if not line:
            return False
        fields = {}
        while field := self.rfile.readline(1 << 16).decode("latin-1").strip():
            key, _, value = field.partition(":")
            fields[key.lower()] = value.strip()
        host = fields.get("host", "")
        self.server.notes.add("requests", line=line, host=host, address=self.address)
        body = self.rfile.read(int(fields.get("content-length", "0")))
        target = [*line.split(" "), "", ""][1]
        if target == "/slow":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun ")
            self.wfile.flush()
            threading.Event().wait(20)
            return False
        found = self._file(target)
        missing = MISSING if target.startswith("/git/") and not found else b""
        if short := SHORT.get(target, missing):
            self.wfile.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % short)
            return True
        said = f"{HELLO} {self.address} for {host} {len(body)}\n".encode()
        kind = b"text/html" if found.startswith(b"<") else b"text/plain"
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % kind)
        self.wfile.write(b"Content-Length: %d\r\n\r\n" % len(found or said) + (found or said))
        return fields.get("connection", "").lower() != "close"

    def _file(self, target: str) -> bytes:
        if target.startswith("/bytes/"):
            return b"x" * int(target[7:])
        file = self.server.files / target.partition("?")[0].lstrip("/")
        if file != self.server.files and file.is_dir():
            file /= "index.html"
        return file.read_bytes() if file.is_file() else b""


class _Echo(_Handler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.server.notes.add("requests", line=data[:80].decode("latin-1"), host="")
            self.request.sendall(data)


class _Proxy(_Handler):
    """A corporate proxy: CONNECT and nothing else."""

    def handle(self) -> None:
        line = self.rfile.readline(1 << 16).decode("latin-1").rstrip()
        self.server.notes.add("requests", line=line, host="", address=self.address)
        while self.rfile.readline(1 << 16).strip():
            pass
        host, _, port = line.split(" ")[1].rpartition(":")
        if host == "refused.test":
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        with socket.create_connection((host.strip("[]"), int(port))) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, self.request))
            back.start()
            _pump(self.request, upstream)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class _Names(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, where = self.request
        answer = _answered(dns.message.from_wire(wire), self.server.notes)
        if answer is not None:
            where.sendto(answer.to_wire(), self.client_address)


def _answered(query: dns.message.Message, notes: Notes) -> dns.message.Message | None:
    """Answer a query: `rebind.test` is public once and private ever after, `silent.test` waits."""
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    notes.add("queries", name=name)
    if name == "silent.test":
        return None
    answer = dns.message.make_response(query, recursion_available=True)
    while name in ALIASES:
        owner, name = f"{name}.", ALIASES[name]
        answer.answer.append(dns.rrset.from_text(owner, 0, "IN", "CNAME", f"{name}."))
    addresses = ANSWERS.get(name, ())
    if name == "rebind.test":
        REBOUND.append(name)
        addresses = (OK4,) if len(REBOUND) <= 2 else (PRIVATE4,)
    if not addresses:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
    for address in addresses:
        if ip_address(address).version == version:
            kind = dns.rdatatype.to_text(question.rdtype)
            answer.answer.append(dns.rrset.from_text(f"{name}.", 0, "IN", kind, address))
    return answer


REBOUND: list[str] = []


def main(directory: Path) -> None:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for command in (
        "ip link set lo up",
        *(f"ip address add {address} dev lo" for address in ADDRESSES),
        f"mount --bind {directory}/resolv.conf /etc/resolv.conf",
    ):
        subprocess.run(shlex.split(command), check=True)
    notes = Notes(directory)
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain.load_cert_chain(directory / "names.pem")
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired.load_cert_chain(directory / "expired.pem")
    files = directory / "files"
    files.mkdir()
    for port, handler, tls in (
        *((port, _Http, None) for port in HTTP),
        *((port, _Http, plain) for port in TLS),
        (EXPIRED_PORT, _Http, expired),
        (ECHO, _Echo, None),
        (PROXY, _Proxy, None),
    ):
        server = _Server(("::", port), handler)
        server.notes, server.files, server.tls = notes, files, tls
        threading.Thread(target=server.serve_forever, daemon=True).start()
    names = socketserver.ThreadingUDPServer(("0.0.0.0", 53), _Names)
    names.notes = notes
    threading.Thread(target=names.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
