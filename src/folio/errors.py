"""The exception for mistakes that the user can fix."""


class UserError(Exception):
    """Something the user did or gave that cannot work.

    The message says what is wrong, where, and what to do, in one line. The command line prints it without a
    traceback and exits with code 2.
    """


class FolioWarning(UserWarning):
    """Something that a user should know and that stops nothing, such as data that were left out.

    The command line prints its message as a line of its own.
    """
