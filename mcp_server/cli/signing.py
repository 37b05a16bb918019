"""A signature over a statement, by a key file of the owner's or by the ssh-agent that holds it.

May touch: one key file, the socket that SSH_AUTH_SOCK names. Starts nothing and reaches no host;
the private key is in memory for one signature, or never here at all.
Source: OpenSSH PROTOCOL.sshsig.
"""

from pathlib import Path

import anyio
import asyncssh  # noqa: TID251  # reads a key and asks the agent; no host is reached

from approvals.request import ApprovalError
from approvals.sshsig import armored, signed_data
from approvals.voters import NAMESPACE

RSA_SIGNS_BY, AGENT_SIGNS_BY_SHA2_512 = b"rsa-sha2-512", 4  # OpenSSH takes no SHA-1 here
AGENT_S = 60.0  # a person may have to touch a key, or to type its PIN


def signature(key: Path, statement: bytes) -> str:
    """Return the armored signature of `key`, a private key or a `.pub` whose key the agent has.

    Raises:
        ApprovalError: the key cannot be read, or the agent has it not or refuses.
    """
    try:
        text = key.read_bytes()
    except OSError as error:
        raise ApprovalError(f"{key}: {error.strerror}. Nothing was signed.") from error
    data = signed_data(statement, NAMESPACE)
    try:
        if b"PRIVATE KEY-----" in text:
            pair = asyncssh.load_keypairs([key])[0]
            if pair.algorithm == b"ssh-rsa":
                pair.set_sig_algorithm(RSA_SIGNS_BY)
            return armored(pair.public_data, NAMESPACE, pair.sign(data))
        public = asyncssh.import_public_key(text).public_data
        return armored(public, NAMESPACE, anyio.run(_by_agent, key, public, data))
    except asyncssh.KeyImportError as error:
        raise ApprovalError(
            f"{key}: {error}. Nothing was signed; a key with a passphrase goes into the agent "
            f"(ssh-add {key}) and its .pub is named here."
        ) from error


async def _by_agent(key: Path, public: bytes, data: bytes) -> bytes:
    flags = AGENT_SIGNS_BY_SHA2_512 if public[4:11] == b"ssh-rsa" else 0
    try:
        with anyio.fail_after(AGENT_S):
            async with asyncssh.connect_agent() as agent:
                return await agent.sign(public, data, flags)
    except (OSError, ValueError) as error:  # a time-out is an OSError
        raise ApprovalError(
            f"{key}: the ssh-agent did not sign: {error}. Nothing was signed; it needs "
            "SSH_AUTH_SOCK, the key (ssh-add -l), and a touch where the key asks for one."
        ) from error
