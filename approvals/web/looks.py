"""The page as one text: markup, style and script from this folder, under a policy with a nonce.

May touch: the page's own files. INVARIANT: nothing but these three files is in it, so what an agent
wrote reaches the page only as JSON, and its script puts it there as text.
"""

from functools import cache
from importlib import resources

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def page(nonce: str) -> tuple[str, str]:
    """Return the page and its content security policy, which lets run what has this nonce."""
    return "".join(nonce if part is None else part for part in _parts()), POLICY.format(nonce=nonce)


@cache
def _parts() -> tuple[str | None, ...]:
    """Return the page around the places of the nonce, which are None."""
    files = resources.files("approvals.web").joinpath("page")
    given = {
        "STYLE": files.joinpath("page.css").read_text("utf-8"),
        "SCRIPT": files.joinpath("page.js").read_text("utf-8"),
        "NONCE": None,
    }
    pieces = files.joinpath("page.html").read_text("utf-8").split("@@")
    return tuple(given[piece] if at % 2 else piece for at, piece in enumerate(pieces))
