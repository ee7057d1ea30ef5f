"""`metaray tasks`: the task families, their parameters with ranges, and sampled tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from cluster.commands.arguments import check_range, check_seed, option
from cluster.run.display import number, table_console
from envs.errors import EnvFaultError, InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from envs.family import TaskFamily
    from envs.task import Parameter

MAX_SAMPLE = 10_000

MAX_SHOWN = 6
"""Maximum number of parameters or choices in the list of families; `metaray tasks FAMILY` shows all."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """List the task families; with FAMILY, show its parameters, ranges and sampled tasks."""

    family: Annotated[
        Positional[str],
        option("show this family: a name, gym:<id> or module:object", "[FAMILY]"),
    ] = ""
    sample: Annotated[int, arg(metavar="N", help="show N sampled tasks of the family")] = 0
    split: Annotated[Literal["train", "test"], arg(help="sample training tasks, or held-out tasks")] = "train"
    seed: Annotated[int, arg(metavar="N", help="seed of the samples")] = 0
    check: Annotated[bool, option("run some episodes of the family and check what training relies on")] = False

    def run(self, command: str) -> int:
        """Print a table."""
        check_range("--sample", self.sample, 0, MAX_SAMPLE)
        check_seed(self.seed)
        from envs.registry import resolve

        console = table_console()
        if self.family:
            from cluster.run.preflight import check_environment

            check_environment(self.family)
            self._print_family(console, resolve(self.family))
            if self.check:
                self._check(console, resolve(self.family))
        elif self.sample or self.check:
            raise InvalidInputError("--sample and --check need a family: metaray tasks FAMILY --sample 3")
        else:
            _print_list(console)
        return 0

    def _print_family(self, console: Console, family: TaskFamily) -> None:

        console.print(f"[bold]{escape(family.name)}[/]: {escape(family.doc)}")
        if family.parameters:
            table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
            table.add_column("parameter", no_wrap=True)
            table.add_column("range", overflow="fold", max_width=60)
            table.add_column("description", overflow="fold")
            for parameter in family.parameters:
                table.add_row(f"[cyan]{escape(parameter.name)}[/]", escape(parameter.allowed), escape(parameter.doc))
            console.print(table)
        else:
            console.print("  a single task: nothing is sampled")
        if not self.sample:
            return

        from envs.contract import sample_tasks

        try:
            tasks = sample_tasks(family, self.sample, np.random.default_rng(self.seed), self.split)
        except EnvFaultError as error:
            raise InvalidInputError(str(error)) from error
        console.print(f"\n{self.sample} sampled {self.split} {'task' if self.sample == 1 else 'tasks'}, seed {self.seed}:")
        for task in tasks:
            console.print(f"  {escape(str(task))}", soft_wrap=True)

    def _check(self, console: Console, family: TaskFamily) -> None:
        """Check the family and print the result."""
        from envs.check import check_family

        result = check_family(family, self.family, seed=self.seed)
        console.print(
            f"\n[bold green]passed[/]: {len(result.returns)} episodes of random actions, {result.env_steps:,} steps, "
            f"{result.env_steps / max(result.seconds, 1e-9):,.0f} steps/s on one thread"
        )
        if result.returns.size:
            low, mean, high = (number(float(one)) for one in (result.returns.min(), result.returns.mean(), result.returns.max()))
            console.print(f"  return   {mean} (mean; {low} to {high}), {result.lengths.mean():,.0f} steps each")
        for note in result.notes:
            console.print(f"  note     {note}", markup=False, soft_wrap=True)


def _print_list(console: Console) -> None:

    from envs.registry import listed_families

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("family", no_wrap=True)
    table.add_column("description", overflow="fold", ratio=3)
    table.add_column("task parameters", overflow="fold", ratio=2)
    for family in listed_families():
        table.add_row(
            f"[cyan]{escape(family.name)}[/]", escape(family.doc), escape(_parameters(family)) or "[dim]a single task[/]"
        )
    table.add_row(
        "[cyan]gym:<id>[/]", "any registered Gymnasium environment, such as gym:LunarLander-v3", "[dim]a single task[/]"
    )
    table.add_row("[cyan]module:object[/]", "a TaskFamily of your own, such as my_tasks:MyFamily in my_tasks.py", "")
    console.print(table)
    console.print("\n[cyan]metaray tasks FAMILY --sample 3[/]  shows parameters and sampled tasks")


def _parameters(family: TaskFamily) -> str:
    """A short description of the parameters of a family; empty for a single task."""
    if len(family.parameters) > MAX_SHOWN:
        # mass_torso, mass_foot, ... share their first word
        words = dict.fromkeys(parameter.name.partition("_")[0] for parameter in family.parameters)
        return f"{len(family.parameters)} numbers: {', '.join(words)}"
    return ", ".join(_brief(parameter) for parameter in family.parameters)


def _brief(parameter: Parameter) -> str:
    allowed = f"{len(parameter.choices)} names" if len(parameter.choices) > MAX_SHOWN else parameter.allowed
    return f"{parameter.name} {allowed}"
