"""What `diff` and `compare` have in common: exit codes 0 same, 1 different, 2 trouble."""

from __future__ import annotations

from typing import Any

import click

from quantable.ir.errors import UserError

SAME, DIFFERENT, TROUBLE = 0, 1, 2


class Comparison(click.Command):
    """A command whose exit code 1 means a difference, so that trouble has to be 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an input that is at fault is trouble.

        Raises:
            UserError: What the command raised, with its exit code changed.
        """
        try:
            return super().invoke(ctx)
        except UserError as error:
            error.exit_code = TROUBLE
            raise
        except BrokenPipeError:
            raise  # whoever reads has seen enough
        except OSError as error:
            trouble = UserError(f"cannot be written: {error.strerror}", where=str(error.filename))
            trouble.exit_code = TROUBLE
            raise trouble from error
