"""The places that a plan names: folders and files of other runs, which may be moved or copied."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codert.learning.plan import Plan


def placeless(plan: Plan) -> Plan:
    """The plan without the places of other runs: they may be copied to another machine."""
    return with_places(plan, without_place)


def without_place(folder: str) -> str:
    """The end of a folder's name, which it keeps where it is copied to."""
    return "/".join(Path(folder).parts[-2:])


def with_places(plan: Plan, place: Callable[[str], str]) -> Plan:
    """The plan with other names for the folders and files that it takes."""
    members = {
        name: replace(
            member,
            frozen=place(member.frozen) if member.frozen else None,
            start={part: place(folder) for part, folder in member.start.items()},
        )
        for name, member in plan.recognisers.items()
    }
    model = plan.wordpieces.model
    wordpieces = replace(plan.wordpieces, model=place(model) if model else None)
    return replace(plan, recognisers=members, wordpieces=wordpieces)
