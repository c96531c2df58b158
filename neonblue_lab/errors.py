"""The one exception tree: every error a user is meant to read and act on.

A message says what was wrong, where (file, topic-partition-offset, cell, parameter) and what to do.
`exit_code` is what the command line leaves with.
"""

from typing import ClassVar


class NeonBlueError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code: ClassVar[int] = 1


class BadInput(NeonBlueError):
    """A file, record, parameter or option that cannot be used as it is."""

    exit_code: ClassVar[int] = 2


class NotFound(NeonBlueError):
    """Something asked for by name does not exist: an experiment, a metric, an artifact, a pipeline, a table."""

    exit_code: ClassVar[int] = 2


class NothingToDo(NotFound):
    """The data hold nothing of the kind that the work is about. A pipeline's step that ends so has not failed."""


class Unavailable(NeonBlueError):
    """A service or optional package that is needed cannot be reached or is not installed."""


class Conflict(NeonBlueError):
    """Another writer was first, or a source is not the one that the lake was filled from. Nothing was written."""


class Corrupt(NeonBlueError):
    """Stored data does not match its recorded hash or shape."""
