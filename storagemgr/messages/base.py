"""The form of a message, and the parts that many share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """`title`: what failed and why. `left`: what is left behind, "" when that cannot be said. `hint`: what next."""

    title: str
    hint: str
    left: str = ""


NOTHING_CHANGED = "Nothing was changed."
NOTHING_MADE = "Nothing was made."
