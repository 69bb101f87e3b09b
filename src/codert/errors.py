"""The exceptions that a person is meant to read."""


class InputError(ValueError):
    """Something given from outside is wrong: a file, a key, a line.

    The message names what is wrong, where, and the mend. Commands print it without a
    traceback; anything else that escapes is a defect of codert.
    """


class PlanError(InputError):
    """A plan does not fit what it is run on: the message begins with the plan's key.

    Who has read the plan from a file puts the file's name before it: `recipe.named`.
    """
