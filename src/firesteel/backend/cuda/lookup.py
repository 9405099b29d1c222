"""Drafting on the device for several sequences at once: match, propose, accept and append as tensor operations.

Everything has a fixed shape, so that a CUDA graph holds a whole round. `lookup_plain.py` says what is computed.
A *lane* is one sequence of a round; lanes are rows of every tensor.
"""

from typing import Any, NamedTuple

import torch

from firesteel.backend.cuda.lookup_plain import LONGEST, SHORTEST

Tensor = Any  # torch.Tensor
NONE = -2  # a token that nothing equals


class Lanes(NamedTuple):
    """What each lane knows; the tensors stay where they are and are written into."""

    text: Tensor  # [lanes, size]: the tokens so far, room for what comes behind them
    count: Tensor  # [lanes]: how many of them are known
    end: Tensor  # [lanes]: no lane goes on beyond so many
    expected: Tensor  # [lanes, size]: what the answer is expected to repeat
    expected_size: Tensor  # [lanes]
    at: Tensor  # [lanes]: the place in it that comes next
    is_sure: Tensor  # [lanes] bool: whether that is believed


def make(num_lanes: int, text_size: int, expected_size: int, device: Any) -> Lanes:
    """Return lanes that know one token each."""
    zeros = torch.zeros(num_lanes, dtype=torch.int64, device=device)
    return Lanes(
        text=torch.zeros((num_lanes, text_size), dtype=torch.int64, device=device),
        count=zeros + 1,
        end=zeros + 1,
        expected=torch.zeros((num_lanes, expected_size), dtype=torch.int64, device=device),
        expected_size=zeros.clone(),
        at=zeros.clone(),
        is_sure=torch.ones(num_lanes, dtype=torch.bool, device=device),
    )


def matches(text: Tensor, size: Tensor, tail: Tensor) -> Tensor:
    """Return how many tokens before each place 0 … width of `text` equal the end of `tail`, [lanes, width + 1].

    `size` [lanes]: tokens of `text` that count; places beyond are 0. `tail` [lanes, LONGEST], the last token first.
    """
    width = text.shape[1]
    before = torch.nn.functional.pad(text, (LONGEST, 0), value=NONE).unfold(1, LONGEST, 1)  # [lanes, place, LONGEST]
    found = (before.flip(2) == tail[:, None]).to(torch.int8).cumprod(2).sum(2)
    places = torch.arange(width + 1, device=text.device)
    return torch.where(places <= size[:, None], found, 0)


def tail_of(lanes: Lanes) -> Tensor:
    """Return the last tokens of each lane, the last one first; `NONE` - 1 where there are none."""
    back = lanes.count[:, None] - 1 - torch.arange(LONGEST, device=lanes.text.device)
    return torch.where(back >= 0, lanes.text.gather(1, back.clamp(min=0)), NONE - 1)


def propose(lanes: Lanes, most: int) -> tuple[Tensor, Tensor]:
    """Return drafts [lanes, most] and how many tokens of each count; see the twin's `propose`."""
    ahead = torch.arange(most, device=lanes.text.device)
    found = matches(lanes.text, lanes.count - 1, tail_of(lanes))
    place_of = torch.arange(found.shape[1], device=found.device)
    place = (found * found.shape[1] + place_of).argmax(1).clamp(max=lanes.text.shape[1] - 1)
    has_match = found.gather(1, place[:, None])[:, 0] >= SHORTEST
    period = (lanes.count - place).clamp(min=1)
    repeated = lanes.text.gather(1, (place[:, None] + ahead % period[:, None]).clamp(max=lanes.text.shape[1] - 1))
    following = lanes.expected.gather(1, (lanes.at[:, None] + ahead).clamp(max=lanes.expected.shape[1] - 1))
    left = (lanes.expected_size - lanes.at).clamp(min=0, max=most)
    follows = (left > 0) & (lanes.is_sure | ~has_match)
    num_repeated = torch.where(has_match, most, 0)
    draft = torch.where(follows[:, None], following, repeated)
    return draft, torch.where(follows, left, num_repeated)


def nothing(lanes: Lanes) -> tuple[Tensor, Tensor]:
    """Return drafts of no token."""
    return lanes.text[:, :0], torch.zeros_like(lanes.count)


def accept(lanes: Lanes, draft: Tensor, num_drafted: Tensor, chosen: Tensor) -> Tensor:
    """Append what a round yields; return how many tokens. `chosen` [lanes, most + 1]: what each row says."""
    most = draft.shape[1]
    ahead = torch.arange(most, device=draft.device)
    is_right = (draft == chosen[:, :most]) & (ahead < num_drafted[:, None])
    num_new = 1 + is_right.to(torch.int8).cumprod(1).sum(1)
    num_new = torch.minimum(num_new, (lanes.end - lanes.count).clamp(min=0))
    places = lanes.count[:, None] + torch.arange(most + 1, device=draft.device)
    lanes.text.scatter_(1, places, chosen)
    lanes.count.add_(num_new)
    return num_new


def follow(lanes: Lanes, num_new: Tensor, most: int) -> None:
    """Move the place in the expected text over the tokens that are new, `most` at most; see the twin's `follow`."""
    width = lanes.expected.shape[1]
    ahead = torch.arange(most, device=lanes.text.device)
    is_new = ahead < num_new[:, None]
    new = lanes.text.gather(1, (lanes.count - num_new)[:, None] + ahead)
    place = lanes.at[:, None] + ahead
    expected = torch.where(
        place < lanes.expected_size[:, None], lanes.expected.gather(1, place.clamp(max=width - 1)), NONE
    )
    is_right = ((new == expected) | ~is_new).all(1)
    found = matches(lanes.expected, lanes.expected_size, tail_of(lanes))
    places = torch.arange(width + 1, device=found.device)
    distance = torch.where(places >= lanes.at[:, None], places - lanes.at[:, None], 4 * (lanes.at[:, None] - places))
    best = (found * (8 * (width + 1)) - distance).argmax(1)
    is_found = found.gather(1, best[:, None])[:, 0] >= SHORTEST
    guess = torch.minimum(lanes.at + num_new, lanes.expected_size)
    sure = torch.where(is_right, lanes.is_sure | (num_new >= SHORTEST), is_found)
    at = torch.where(is_right, lanes.at + num_new, torch.where(is_found, best, guess))
    has_new = num_new > 0
    lanes.at.copy_(torch.where(has_new, at, lanes.at))
    lanes.is_sure.copy_(torch.where(has_new, sure, lanes.is_sure))
