"""The one exception whose text is meant for the person who typed the command."""


class UserError(Exception):
    """Bad input: the message names the thing that is wrong and the remedy.

    The command line prints it as one line on stderr and exits with code 2. Anything else that
    escapes is a bug of this project and keeps its traceback.
    """
