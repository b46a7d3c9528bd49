"""The exception for mistakes that the user can fix."""


class UserError(Exception):
    """Something the user did or gave that cannot work.

    The message says what is wrong, where, and what to do, in one line. The command line prints it without a
    traceback and exits with code 2.
    """
