"""What was replaced by what in one rewrite so far: the next place that reads alike is likely to change alike."""

MAX_SPAN = 6  # tokens of either side of an edit that is worth remembering


class Edit:
    """`old` became `new`, `num_right` times of those that `old` was met."""

    __slots__ = ("new", "num_right", "num_wrong", "old")

    def __init__(self, old: list[int], new: list[int]) -> None:
        self.old, self.new = old, new
        self.num_right, self.num_wrong = 1, 0

    @property
    def is_trusted(self) -> bool:
        """Whether it was made more often than not."""
        return self.num_right > self.num_wrong


class Edits:
    """The edits of one rewrite, by the first token that they replace."""

    def __init__(self) -> None:
        self._edits: dict[int, list[Edit]] = {}

    def __bool__(self) -> bool:
        return bool(self._edits)

    def learn(self, old: list[int], new: list[int]) -> None:
        """Take in that `old` has become `new`. Pure insertions have no place to be expected at."""
        if not old or len(old) > MAX_SPAN or len(new) > MAX_SPAN:
            return
        known = self._edits.setdefault(old[0], [])
        for edit in known:
            if edit.old == old:
                if edit.new == new:
                    edit.num_right += 1
                else:
                    edit.new, edit.num_right, edit.num_wrong = new, 1, 0
                return
        known.append(Edit(old, new))

    def at(self, text: list[int], place: int) -> Edit | None:
        """Return the longest trusted edit of what stands in `text` at `place`."""
        known = self._edits.get(text[place])
        if known is None:
            return None
        fits = [edit for edit in known if edit.is_trusted and text[place : place + len(edit.old)] == edit.old]
        return max(fits, key=lambda edit: len(edit.old), default=None)

    def kept(self, text: list[int], end: int) -> None:
        """Take in that the token of `text` before `end` was repeated as it is."""
        for edit in self._edits.get(text[end - 1], ()):
            if len(edit.old) == 1:
                edit.num_wrong += 1
            else:
                edit.num_wrong += text[end - 1 : end - 1 + len(edit.old)] == edit.old
