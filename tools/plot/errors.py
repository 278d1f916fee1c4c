"""The user's mistakes."""


class InputError(Exception):
    """What the user gave cannot be used; the message names the file, the line and what was expected."""


def at(path, line, message):
    """The error of one place in a file, spelt as everywhere in the program: FILE:LINE: MESSAGE."""
    return InputError(f"{path}:{line}: {message}" if line else f"{path}: {message}")
