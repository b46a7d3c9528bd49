"""What went wrong through no fault of folio's: told in one line, without a traceback."""


class UserError(Exception):
    """A mistake that the person at the keyboard can mend.

    Its message says what is wrong, where, and what to do. The command line prints it and exits with 2.
    """
