"""`metaray presets`: the presets, and the settings of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from tyro.conf import Positional

from cluster.algorithms import ALGORITHMS, config_of, find_preset
from cluster.commands.arguments import option
from cluster.overrides import keys
from cluster.run.display import table_console

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List the presets; with NAME, show all settings of that preset with their ranges."""

    name: Annotated[Positional[str], option("show all settings of this preset", "[NAME]")] = ""

    def run(self, command: str) -> int:
        """Print a table."""
        console = table_console()
        if self.name:
            find_preset(self.name)  # refused before torch is loaded
            _print_settings(console, self.name)
        else:
            _print_list(console)
        return 0


def _print_list(console: Console) -> None:
    presets = [preset for algorithm in ALGORITHMS.values() for preset in algorithm.presets.values()]
    name_width = max(len(preset.name) for preset in presets) + 2
    family_width = max(len(preset.family) for preset in presets) + 2
    for algorithm in ALGORITHMS.values():
        console.print(f"[bold]{algorithm.name}[/]: {algorithm.shows}", soft_wrap=True)
        console.print(f"[bold]{'preset':{name_width}}{'task family':{family_width}}time, 2 cores[/]")
        for preset in algorithm.presets.values():
            head = f"[cyan]{preset.name:{name_width}}[/]{preset.family:{family_width}}{preset.time}"
            if console.is_terminal:
                console.print(head, soft_wrap=True)
                console.print(Padding(preset.shows, (0, 0, 0, 2)))
            else:  # one line for each preset, for `grep`
                console.print(f"{head}  {preset.shows}", soft_wrap=True)
        console.print(f"[cyan]metaray train {algorithm.name} --preset NAME[/]  trains one\n", soft_wrap=True)
    console.print("[cyan]metaray presets NAME[/]  shows all its settings; ALGORITHM/NAME where several algorithms have one")


def _print_settings(console: Console, name: str) -> None:

    algorithm, preset = find_preset(name)
    config = config_of(preset, algorithm)
    config_type: type = type(config)
    default = config_type()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("description", overflow="fold")
    table.add_column("allowed", overflow="fold", style="dim")
    for key in keys(config_type).values():
        value = _shown(key.of(config))
        # settings of the preset itself are highlighted
        is_set = key.name in preset.settings and value != _shown(key.of(default))
        table.add_row(
            key.name, f"[bold cyan]{escape(value)}[/]" if is_set else escape(value), escape(key.doc), escape(key.allowed)
        )
    console.print(f"[bold]{preset.name}[/]: {preset.shows}\n")
    console.print(table)
    console.print(f"\n[cyan]metaray train {algorithm.name} --preset {preset.name} --set KEY=VALUE ...[/]  changes any of them")


def _shown(value: Any) -> str:
    """A value in the syntax of `--set KEY=`."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
