"""Groups of verbs that are imported when they are named, so that help and completion are quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class Verb:
    """One line of a group's help.

    Attributes:
        module: has a `register(app)` that adds the verb.
        help: the first sentence of the verb's own help; a test compares them.
        section: heading under which the line stands.
    """

    module: str
    help: str
    section: str = "Commands"

    def load(self) -> ModuleType:
        """Import the module."""
        return import_module(self.module)


class VerbGroup(TyperGroup):
    """A group that knows its verbs by name and help; a subclass lists them."""

    verbs: ClassVar[Mapping[str, Verb]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, verb in self.verbs.items():
            self.add_command(TyperCommand(name, help=verb.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.loaded(name) if name else command, rest

    def loaded(self, name: str) -> Any:
        """The real command of this name."""
        app = Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        self.verbs[name].load().register(app)
        return get_group(app).commands[name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the overridden name
        """Write the verbs by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, verb in self.verbs.items():
            sections.setdefault(verb.section, []).append((name, verb.help))
        width = max(len(name) for name in self.verbs)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])
