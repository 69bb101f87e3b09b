"""Pages: HTML files that need nothing beside them, without scripts."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from codert.files import write_text


def page(template: str, **content: Any) -> str:
    """A template of this room filled in."""
    return _TEMPLATES.get_template(template).render(content)


def write_page(path: Path, template: str, **content: Any) -> None:
    """Write a page as one HTML file.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(path, page(template, **content))


_TEMPLATES = Environment(
    loader=PackageLoader("codert.reports", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
