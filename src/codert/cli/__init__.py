"""The commands; each a thin layer over the room that does the work."""

import argparse
import os
import select
import sys
from collections.abc import Sequence
from importlib.metadata import version

from codert.cli import compare, deliver, evaluate, prepare, train, transcribe
from codert.cli.arguments import Command
from codert.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `codert ...`.

    The exit status is 0, 1 where cells of an experiment failed, 2 for bad input, 130 where it was
    stopped, 141 where nobody reads on.
    """
    options = parser().parse_args(arguments)
    # Before torch is imported: spinning OpenMP threads slow every other process down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command: Command = options.command
    try:
        status = command(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("codert: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except InputError as error:
        print(f"codert: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _unread():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        where = f"{error.filename}: " if error.filename else ""
        print(f"codert: {where}{error.strerror or error}", file=sys.stderr)
        return 2


def _unread() -> bool:
    """Whether nobody reads the output any more, as of `codert ... | head`."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="codert",
        description="Make a big streaming speech recogniser small.",
        epilog="example: codert demo",
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"codert {version('codert')}")
    verbs = whole.add_subparsers(required=True, metavar="COMMAND")
    for room in (prepare, train, evaluate, transcribe, compare, deliver):
        room.add(verbs)
    return whole
