"""An explained decision as a picture in the terminal: colours by effect, nothing broken by width.

May touch: standard output, through rich. What a terminal would act on is written out; long values
are shortened in the middle, and stand whole in `--json`.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mcp_server.cli.policy.explain import Explained
from policy.explain import LEVELS, Line, Step, shortened, steps, visible
from policy.model import Effect
from policy.obligations import described
from sandbox.profile import NoProfile, Profile

STYLES = {Effect.ALLOW: "green", Effect.ASK: "yellow", Effect.DENY: "red"}
PROFILES = {
    "read": "read-only, no network",
    "inspect": "read-only, no network; sees the machine's processes and state",
    "write": "writes a copy of the workspace, committed at its end; no network",
    "live": "the workspace itself is writable, no network",
    "unconfined": "outside the sandbox, after a yes to exactly this",
}
MOST_RESOURCES = 3  # of one line; the rest is counted
MOST_LINES = 6
BEFORE = 16  # what guides, the effect and gaps take of a line
MOST_REASON_LINES = 3
WIDEST = 110  # a line longer than that is not read
LABEL = 10


def show(found: Explained) -> None:
    """Print the picture on standard output."""
    console = Console(highlight=False, emoji=False)
    if console.width > WIDEST:
        console = Console(highlight=False, emoji=False, width=WIDEST)
    with console.capture() as drawn:
        console.print(picture(found, console.width))
    # What stands right of a line's end is only padding.
    sys.stdout.write("\n".join(line.rstrip() for line in drawn.get().splitlines()) + "\n")


def picture(found: Explained, width: int) -> RenderableType:
    """Return the headline, the tree of programs and rules, and what follows from them."""
    parts: list[RenderableType] = [_headline(found, width)]
    tree = Tree(_command(found, width - 2), guide_style="dim", highlight=False)
    widest = max((len(v.access.operation) for v in found.decision.verdicts), default=0)
    for step in steps(found.decision):
        tree.add(_program(step)).children.extend(
            Tree(_line(line, found, widest, width - 2), guide_style="dim") for line in step.lines
        )
    parts += [Text(), Padding(tree, (0, 0, 0, 2)), Text(), _table(_facts(found, width))]
    return Group(*parts)


def _headline(found: Explained, width: int) -> Table:
    decision = found.decision
    row = Table.grid(expand=True)
    row.add_column()
    row.add_column(justify="right", style="dim")
    badge = Text()
    badge.append(f" {decision.effect.name} ", f"bold reverse {STYLES[decision.effect]}")
    if level := LEVELS.get(found.level):
        badge.append(f"  needs a yes of level {level}")
    row.add_row(badge, f"risk {decision.risk}  policy {decision.policy_digest[:12]}")
    row.width = width
    return row


def _command(found: Explained, width: int) -> Text:
    return Text(shortened(visible(found.command), width), style="bold", no_wrap=True)


def _program(step: Step) -> Text:
    return Text(visible(step.program), style=f"bold {STYLES[step.effect]}")


def _line(line: Line, found: Explained, widest: int, width: int) -> Group:
    """Return an access and the rule behind it, three lines at most for each resource and reason."""
    verdict, style = line.verdict, STYLES[line.verdict.effect]
    how = "" if verdict.access.how == "exact" else f" ({verdict.access.how})"
    room = max(width - BEFORE - widest - len(how), 16)
    names = [shortened(_near(visible(one), found), room) for one in line.resources]
    first = Text(no_wrap=True, overflow="ellipsis")
    first.append(f"{verdict.effect.name:<5} ", style=f"bold {style}")
    first.append(f"{verdict.access.operation:<{widest}}  ").append(names[0]).append(how, "dim")
    rows = [first]
    indent = " " * (widest + 8)
    rows += [Text(indent + name, no_wrap=True) for name in names[1:MOST_RESOURCES]]
    if len(names) > MOST_RESOURCES:
        rows.append(Text(f"{indent}and {len(names) - MOST_RESOURCES} more", style="dim"))
    return Group(*rows, *_rule(line, width))


def _rule(line: Line, width: int) -> Iterator[RenderableType]:
    verdict = line.verdict
    text = Text(style="dim")
    text.append("perhaps " if not verdict.certain else "").append(verdict.rule_id, "cyan not dim")
    place = shortened(visible(verdict.place), max(width - len(verdict.rule_id) - 20, 16))
    text.append(f"  {place}" if place else "")
    yield Padding(text, (0, 0, 0, 6))
    if verdict.reason and verdict.effect is not Effect.ALLOW:
        reason = shortened(visible(verdict.reason), MOST_REASON_LINES * max(width - BEFORE, 16))
        yield Padding(Text(reason, style="italic"), (0, 0, 0, 6))
    if verdict.lifted:
        lifted = Text(f"lifts {', '.join(verdict.lifted)}", style="dim")
        yield Padding(lifted, (0, 0, 0, 6))


def _near(path: str, found: Explained) -> str:
    """Return a path as one would write it here: below `.` or `~`."""
    for root, short in ((found.workspace, "."), (found.home, "~")):
        if path == root or path.startswith(f"{root.rstrip('/')}/"):
            return short + path[len(root) :]
    return path


def _facts(found: Explained, width: int) -> Iterator[tuple[str, RenderableType]]:
    decision = found.decision
    if decision.opaque is not None:
        yield "Unread", Text(visible(decision.opaque))
    for one in decision.rewritten:
        rewritten = Text(visible(f"{one.before} -> {one.after}"))
        rewritten.append(f"\n{one.rule_id}", "cyan").append(f"  {visible(one.place)}", "dim")
        yield "Rewritten", rewritten
    if decision.effect is Effect.DENY:
        yield "Runs", Text("nothing")
    else:
        yield from _runs(found, width - LABEL - 2)
    if decision.effect is Effect.ASK:
        yield from _asked(found)
    for key, text in described(decision.obligations):
        yield key.capitalize(), Text(visible(text))
    for text in decision.instead:
        yield "Instead", Text(visible(text), style="bold")


def _runs(found: Explained, room: int) -> Iterator[tuple[str, RenderableType]]:
    executable, profile = found.decision.executable, found.profile
    if isinstance(profile, NoProfile):
        yield "Blocked", Text(profile.reason)
        return
    if executable.argv is not None:
        yield "Runs", _code(shlex.join(executable.argv), room)
    elif executable.script is not None:
        yield "Runs", _code(executable.script, room)
    else:
        yield "Runs", Text("as written: the text was not wholly understood")
    yield "Confined", _confined(profile, found)


def _code(text: str, room: int) -> Text:
    """Return code on as many lines as it has, folded; the middle is left out of a long one."""
    lines = [visible(line) for line in text.splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"… {len(lines) - MOST_LINES + 1} more lines"]
    left = MOST_LINES - len(lines) + 1  # one of them may take what the others leave
    return Text("\n".join(shortened(line, room * max(left, 1)) for line in lines), overflow="fold")


def _confined(profile: Profile, found: Explained) -> Text:
    text = Text(f"{profile.name}: {PROFILES[profile.name]}")
    if profile.write_paths and profile.name != "unconfined":
        text.append(f"; also writable: {', '.join(_nearby(profile.write_paths, found))}")
    return text


def _nearby(paths: Iterable[str], found: Explained) -> list[str]:
    return [_near(visible(path), found) for path in paths]


def _asked(found: Explained) -> Iterator[tuple[str, RenderableType]]:
    obligations = found.decision.obligations
    said = [f"{obligations.quorum} people"] if obligations.quorum > 1 else []
    said += [f"within {obligations.timeout_s} s"] if obligations.timeout_s is not None else []
    if said:
        yield "Answer", Text(", ".join(said))


def _table(rows: Iterable[tuple[str, RenderableType]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", width=LABEL, no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(label, value)
    return Padding(table, (0, 0, 0, 2))
