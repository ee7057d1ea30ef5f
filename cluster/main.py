"""The command `metaray`: its entry point and exit codes.

    0 done    1 a failure of the run    2 wrong input    130 stopped by Ctrl-C (143: by SIGTERM), after a checkpoint

Nothing but the standard library is imported before the project's own packages are known to be the right ones.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence

from cluster.rooms import shadowed_room


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process when None) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a name of a file, or our own text, may hold what its encoding has no letter for
            stream.reconfigure(errors="backslashreplace")
    problem = shadowed_room()
    if problem is not None:
        print(f"metaray: {problem}", file=sys.stderr)
        return 2
    # So that `--family my_module:MyFamily` finds a file in the working folder; at the end, where it hides no other module.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    # One thread per process: processes and the thread pools of simulators run in parallel, and threads of torch would compete with them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from cluster.commands.command_line import parse
    from cluster.run.stop_flag import StopFlag
    from envs.errors import EnvFaultError, InvalidInputError

    typed, stop = sys.argv[1:] if arguments is None else list(arguments), StopFlag()
    try:
        with stop.installed():  # every command ends by way of its `finally`s; one that trains stops with a checkpoint
            return parse(typed).run(shlex.join(["metaray", *typed]))
    except InvalidInputError as error:
        print(f"metaray: {error}", file=sys.stderr)
        return 2
    except EnvFaultError as error:
        print(f"metaray: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `metaray tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return stop.exit_code or 130


if __name__ == "__main__":
    sys.exit(main())
