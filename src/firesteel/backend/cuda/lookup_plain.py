"""What is drafted on the device, in plain Python: the twin of `lookup.py`, one lane at a time.

Two sources: *prediction* follows a text that the answer is expected to repeat, over edits; *n-gram* repeats what
followed the longest earlier match of the last tokens. Simpler than the host's drafters, since it runs in every round.
"""

from typing import NamedTuple

LONGEST = 16  # tokens looked at to tell matches apart
SHORTEST = 2  # tokens of a match that is believed


class Place(NamedTuple):
    """Where in the expected text the answer stands; `is_sure`: its last tokens stood right before."""

    at: int = 0
    is_sure: bool = True


def match(text: list[int], place: int, tail: list[int]) -> int:
    """Return how many tokens before `place` are those that `tail` ends with, `LONGEST` at most."""
    count = 0
    while count < min(LONGEST, place, len(tail)) and text[place - 1 - count] == tail[-1 - count]:
        count += 1
    return count


def ngram(text: list[int], most: int) -> list[int]:
    """Return what followed the longest match of the end of `text`, the latest of equals; what repeats goes on."""
    matches = [(match(text, place, text), place) for place in range(1, len(text))]
    found, place = max(matches, default=(0, 0))
    if found < SHORTEST:
        return []
    return [text[place + ahead % (len(text) - place)] for ahead in range(most)]


def propose(text: list[int], expected: list[int], place: Place, most: int) -> list[int]:
    """Return the draft: the expected text where the place is sure, else an n-gram's, else the expected text."""
    following = expected[place.at : place.at + most]
    if following and place.is_sure:
        return following
    return ngram(text, most) or following


def follow(text: list[int], expected: list[int], place: Place, num_new: int) -> Place:
    """Return the place after the last `num_new` tokens of `text`, which are new, were said.

    Where they are not what was expected, the place with the longest match is taken, the nearest of equals, going back
    counting four times; where none is believed, as many tokens are thought to have been replaced as were said.
    """
    new, at = text[len(text) - num_new :], place.at
    if expected[at : at + num_new] == new:
        return Place(at + num_new, place.is_sure or num_new >= SHORTEST)
    scored = []
    for candidate in range(1, len(expected) + 1):
        distance = candidate - at if candidate >= at else 4 * (at - candidate)
        scored.append((match(expected, candidate, text), -distance, -candidate))
    found, _, candidate = max(scored, default=(0, 0, 0))
    if found >= SHORTEST:
        return Place(-candidate, True)
    return Place(min(at + num_new, len(expected)), False)


def accepted(draft: list[int], chosen: list[int]) -> list[int]:
    """Return the tokens that a round yields: the chosen ones up to the first that was not drafted, with it."""
    right = 0
    while right < len(draft) and draft[right] == chosen[right]:
        right += 1
    return chosen[: right + 1]
