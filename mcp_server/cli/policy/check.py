"""`permitgate policy check`: load files as the server would, run their examples, and lint them.

May touch: the files and standard output. Findings are lines as compilers write them, so an editor
can jump to each: `file:line:column: warning: rule: what; what to do [kind]`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import typer

from mcp_server.cli.exits import Exit
from mcp_server.policies import PROJECT_FILE, source
from policy.document import PolicyError
from policy.lint import lint
from policy.load import load
from policy.needless import Finding
from policy.rules import Policy, Source

_FILES: Final = frozenset({"fs.read", "fs.list"})
_CHANGES: Final = frozenset({"fs.write", "fs.create", "fs.delete"})
# What a call through each tool can touch; None is anything.
TOOLS: Final[Mapping[str, frozenset[str] | None]] = MappingProxyType(
    {
        "exec": None,
        "ssh": None,
        "patch": _CHANGES | {"fs.read"},  # what it renames or copies
        "undo": _CHANGES,
        "read_file": _FILES,
        "list_dir": _FILES,
        "search_files": _FILES,
    }
)
COLOURS: Final = {"warning": "yellow", "note": "blue", "error": "red"}


@dataclass(frozen=True, slots=True)
class _Checked:
    policy: Policy
    findings: tuple[Finding, ...]


def check(files: Sequence[str], *, strict: bool, as_json: bool) -> int:
    """Print what the files hold and what is wrong with them; return the exit code.

    0 nothing that fails, 1 warnings and `strict`, 2 a file cannot be loaded.
    """
    sources, errors = _read(files)
    if errors:
        return _refused(errors, as_json=as_json)
    try:
        policy = load(sources)
    except PolicyError as error:
        return _refused([str(error)], as_json=as_json)
    # What an included pack leaves unsaid is not for whoever includes it to mend.
    own = {one.name for one in sources}
    findings = [
        one
        for one in lint(policy, sources, TOOLS)
        if one.severity == "warning" or one.place.rsplit(":", 2)[0] in own
    ]
    checked = _Checked(policy, tuple(findings))
    if as_json:
        typer.echo(json.dumps(_as_json(checked)))
    else:
        _print(checked)
    warned = any(finding.severity == "warning" for finding in checked.findings)
    return 1 if strict and warned else Exit.OK


def _read(files: Sequence[str]) -> tuple[list[Source], list[str]]:
    """Return the sources, and the first error of each file, so that one run names them all."""
    sources: list[Source] = []
    errors: list[str] = []
    for name in files:
        try:
            found = source(name)
            if Path(name).name == PROJECT_FILE:
                found = replace(found, tightens_only=True)
            load([found])
            sources.append(found)
        except PolicyError as error:
            errors.append(str(error))
    return sources, errors


def _refused(errors: Sequence[str], *, as_json: bool) -> int:
    if as_json:
        typer.echo(json.dumps({"errors": list(errors)}))
    for error in errors:
        typer.echo(f"permitgate: {error}", err=True)
    return Exit.USAGE


def _as_json(checked: _Checked) -> dict[str, object]:
    policy = checked.policy
    return {
        "name": policy.names[0],
        "names": list(policy.names),
        "digest": policy.digest,
        "rules": _rules(policy),
        "examples": _examples(policy),
        "findings": [asdict(finding) for finding in checked.findings],
    }


def _rules(policy: Policy) -> int:
    return len(policy.rules) + len(policy.rewrites)


def _examples(policy: Policy) -> int:
    of_rules = sum(len(rule.examples) for rule in policy.rules)
    return of_rules + sum(len(rule.examples) for rule in policy.rewrites)


def _print(checked: _Checked) -> None:
    policy = checked.policy
    names = ", ".join(policy.names)
    typer.echo(f"{names}: {_rules(policy)} rules, {_examples(policy)} examples hold.")
    typer.echo(f"default: {policy.default.name.lower()}")
    typer.echo(f"digest: {policy.digest}")
    for finding in checked.findings:
        if finding.severity == "warning":
            rule = f"{finding.rule_id}: " if finding.rule_id else ""
            _line(finding, finding.place, f"{rule}{finding.what}; {finding.fix}")
    for first, places in _alike(checked.findings):
        _line(first, places[0], f"{', '.join(places[1:])}: {first.what}; {first.fix}")
    warnings = sum(finding.severity == "warning" for finding in checked.findings)
    notes = len(checked.findings) - warnings
    if checked.findings:
        typer.echo(f"{_count(warnings, 'warning')}, {_count(notes, 'note')}")


def _line(finding: Finding, place: str, text: str) -> None:
    word = typer.style(finding.severity, fg=COLOURS[finding.severity], bold=True)
    typer.echo(f"{place}: {word}: {text} [{finding.kind}]")


def _alike(findings: Sequence[Finding]) -> Iterator[tuple[Finding, list[str]]]:
    """Yield each note once, with its first place and the rules it is about."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.severity == "note":
            groups.setdefault((finding.kind, finding.what), []).append(finding)
    for group in groups.values():
        file = group[0].place.rsplit(":", 2)[0]
        others = [f"{one.rule_id} ({_line_of(one, file)})" for one in group[1:]]
        yield group[0], [group[0].place, group[0].rule_id, *others]


def _line_of(finding: Finding, file: str) -> str:
    name, line, _ = finding.place.rsplit(":", 2)
    return f"line {line}" if name == file else f"{name}:{line}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
