"""What a tool is: a name, strict arguments, a result shape, and the function that asks the gate.

May touch: nothing. No MCP here, so the command line uses the same functions without loading it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mcp_server.client import Client

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult

A = TypeVar("A", bound="Arguments")
Hint = Literal["reads", "changes", "reaches out"]


class Arguments(BaseModel):
    """Base of every tool's arguments: unknown keys and coercion are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CommandArguments(Arguments):
    """Base of the tools that run a command: a command line or an argument vector, never both."""

    command: str | None = Field(default=None, description="A shell command line (bash).")
    argv: tuple[str, ...] | None = Field(
        default=None, description="An argument vector; no shell syntax means anything in it."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.command is None) == (self.argv is None):
            raise ValueError("give exactly one of command and argv")
        if self.argv is not None and not self.argv:
            raise ValueError("argv is empty")
        if any("\0" in word for word in self.argv or ()):
            raise ValueError("argv holds a NUL byte, which no program can receive")
        return self


@dataclass(frozen=True, slots=True)
class Answered:
    """A finished call: the structured result, the same facts as text, and whether it failed."""

    result: BaseModel
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool of the surface; `hint` is what MCP clients are told about its effects."""

    name: str
    title: str
    description: str
    arguments: type[A]
    result: type[BaseModel]
    hint: Hint
    run: "Callable[[A, Client], Awaitable[Answered | InputRequiredResult]]"


AnyTool = Tool[Any]  # a list of tools holds tools of different argument models
