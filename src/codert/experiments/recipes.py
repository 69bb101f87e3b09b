"""Where the recipes that come with codert are."""

from pathlib import Path

from codert.errors import InputError


def recipes_folder() -> Path:
    """The recipes: beside the package where it is installed, else at the top of the repository.

    Raises:
        InputError: they are in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return folder
    raise InputError(f"no recipes beside {package}; install codert again")
