"""The one exception that a person is meant to read."""


class InputError(ValueError):
    """Something given from outside is wrong: a file, a key, a line.

    The message names what is wrong, where, and the mend. Commands print it without a
    traceback; anything else that escapes is a defect of codert.
    """
