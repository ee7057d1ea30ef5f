"""`metaray presets`: what can be trained by name, and every setting behind a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List the presets, or with a NAME every setting that it stands for, with ranges."""

    name: Annotated[Positional[str], arg(metavar="[NAME]", help="show every setting of this preset", help_behavior_hint="")] = ""

    def run(self, command: str) -> int:
        """Print a table."""
        from cluster.presets import find
        from cluster.progress import table_console

        console = table_console()
        if self.name:
            find(self.name)  # refused before torch is loaded
            _print_settings(console, self.name)
        else:
            _print_list(console)
        return 0


def _print_list(console: Console) -> None:
    from rich.padding import Padding

    from cluster.presets import PRESETS

    name_width = max(map(len, PRESETS)) + 2
    family_width = max(len(preset.family) for preset in PRESETS.values()) + 2
    console.print(f"[bold]{'preset':{name_width}}{'task family':{family_width}}time, 2 cores[/]")
    for preset in PRESETS.values():
        head = f"[cyan]{preset.name:{name_width}}[/]{preset.family:{family_width}}{preset.time}"
        if console.is_terminal:
            console.print(head, soft_wrap=True)
            console.print(Padding(preset.shows, (0, 0, 0, 2)))
        else:  # a preset a line, for `grep`
            console.print(f"{head}  {preset.shows}", soft_wrap=True)
    console.print(
        "\n[cyan]metaray train impala --preset NAME[/]  trains one; [cyan]metaray presets NAME[/]  shows all its settings"
    )


def _print_settings(console: Console, name: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cluster.config import RunConfig
    from cluster.overrides import keys, to_tree
    from cluster.presets import config_of, find

    preset = find(name)
    tree, default = to_tree(config_of(preset)), to_tree(RunConfig())
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    table.add_column("allowed", overflow="fold", style="dim")
    for key in keys(RunConfig).values():
        value = _shown(_at(tree, key.name))
        # what the preset sets itself stands out from the defaults
        is_set = key.name in preset.settings and value != _shown(_at(default, key.name))
        table.add_row(
            key.name, f"[bold cyan]{escape(value)}[/]" if is_set else escape(value), escape(key.doc), escape(key.allowed)
        )
    console.print(f"[bold]{preset.name}[/]: {preset.shows}\n")
    console.print(table)
    console.print(f"\n[cyan]metaray train impala --preset {name} --set KEY=VALUE ...[/]  changes any of them")


def _at(tree: dict[str, Any], name: str) -> Any:
    value: Any = tree
    for part in name.split("."):
        value = value[part]
    return value


def _shown(value: Any) -> str:
    """A value as it can be typed after `--set KEY=`."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
