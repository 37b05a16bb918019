"""What simple text commands print is known, or said not to be."""

import pytest

from policy.programs.known_output import output

KNOWN = {
    "echo": ("echo a b", None, "a b"),
    "echo with options": ("echo -n a", None, "a"),
    "echo with escapes": (r"echo -e a\x41\101\u0041\tb\q", None, "aAAA\tb\\q"),
    "printf": ("printf %s-%%%b a b", None, "a-%b"),
    "printf again": (r"printf %s\n a b", None, "a\nb\n"),
    "printf without values": ("printf a", None, "a"),
    "printf with a missing value": ("printf %s.", None, "."),
    "a number": ("printf %d 1", None, None),
    "an option of printf": ("printf -v x", None, None),
    "nothing to print": ("printf", None, None),
    "a folder": ("dirname /a/b", None, "/a"),
    "the root": ("dirname /a", None, "/"),
    "here": ("dirname a", None, "."),
    "two folders": ("dirname a b", None, None),
    "a base": ("basename /a/b/", None, "b"),
    "a suffix": ("basename a.c .c", None, None),
    "cat": ("cat -", "x", "x"),
    "cat of a file": ("cat f", "x", None),
    "rev": ("rev", "ab\ncd", "ba\ndc"),
    "rev of a file": ("rev f", "ab", None),
    "rot13": ("tr a-z n-za-m", "nop", "abc"),
    "a shorter set": ("tr abc x", "abcd", "xxxd"),
    "a class": ("tr [:lower:] x", "a", None),
    "a long range": ("tr \x01-\uffff x", "a", None),
    "deleting": ("tr -d a", "a", None),
    "base64": ("base64 -d", "YWI=\n", "ab"),
    "base64 in words": ("base64 --decode", "YWI=", "ab"),
    "no base64": ("base64 -d", "Y", None),
    "encoding": ("base64", "a", None),
    "base32": ("base32 -d", "MFRA====", "ab"),
    "base32 encoding": ("base32", "x", None),
    "openssl": ("openssl base64 -d", "YWI=", "ab"),
    "openssl encrypting": ("openssl enc", "x", None),
    "hexadecimal": ("xxd -r -p", "61 62", "ab"),
    "a dump": ("xxd", "ab", None),
    "no input": ("base64 -d", None, None),
    "a program nobody lists": ("date", None, None),
    "a path": ("/bin/echo a", None, "a"),
    "too much": ("cat", "x" * 70_000, None),
}


@pytest.mark.threat("T03")
@pytest.mark.parametrize(("command", "stdin", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_a_command_prints_what_is_known(command, stdin, expected):
    assert output(command.split(), stdin) == expected
