"""nginx before the page, as docs/operators-guide.md configures it, with a test's own names."""

import ipaddress
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "operators-guide.md"
AROUND = """\
daemon off; master_process off; pid {home}/pid; error_log {home}/error;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxied;
  fastcgi_temp_path {home}/1; uwsgi_temp_path {home}/2; scgi_temp_path {home}/3;
{server}
}}
"""


@contextmanager
def proxied(home: Path, port: int, page_port: int) -> Iterator[ssl.SSLContext]:
    """Serve https://localhost:`port` before the page; yield what trusts its certificate."""
    home.mkdir()
    _make_certificate(home)
    (home / "nginx.conf").write_text(
        AROUND.format(home=home, server=_server(home, port, page_port))
    )
    nginx = subprocess.Popen(["/usr/sbin/nginx", "-c", home / "nginx.conf", "-e", home / "error"])
    try:
        _wait_until_it_listens(nginx, port)
        yield ssl.create_default_context(cafile=home / "cert.pem")
    finally:
        nginx.terminate()
        nginx.wait(10)


def _server(home: Path, port: int, page_port: int) -> str:
    """Return the guide's configuration with this test's names in it."""
    text = GUIDE.read_text("utf-8").partition("```nginx\n")[2].partition("```")[0]
    for written, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("approvals.example;", "localhost;"),
        ("/etc/ssl/approvals.pem", f"{home}/cert.pem"),
        ("/etc/ssl/private/approvals.key", f"{home}/key.pem"),
        ("127.0.0.1:8644", f"127.0.0.1:{page_port}"),
    ):
        assert text.count(written) == 1, f"{GUIDE.name}: {written} is not there once"
        text = text.replace(written, here)
    return text


def _wait_until_it_listens(nginx: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(500):
        assert nginx.poll() is None, "nginx ended; its error log says why"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("nginx did not listen within 5 s")


def _make_certificate(home: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (home / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (home / "key.pem").write_bytes(key.private_bytes(pem, *plain))
