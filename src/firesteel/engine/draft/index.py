"""Where the last tokens stood before: a suffix index over a growing list of tokens.

A suffix tree would find the longest match in one walk, and take some 600 bytes a token in Python. Here each
n-gram leads to the places behind its latest occurrences, and the match is lengthened backwards from there: 100
bytes and half a microsecond a token, and the same longest match as long as it is among those occurrences.
"""

LENGTH = 3  # tokens of the shortest match
LONGEST_MATCH = 32  # tokens looked at to tell matches apart
MAX_PLACES = 12  # latest occurrences of an n-gram that are kept

Gram = tuple[int, ...]


class SuffixIndex:
    """The tokens so far, and the places behind each n-gram in them."""

    def __init__(self, length: int = LENGTH) -> None:
        self.tokens: list[int] = []
        self._length = length
        self._places: dict[Gram, list[int]] = {}

    def extend(self, tokens: list[int]) -> None:
        """Append tokens."""
        first, length = max(len(self.tokens) + 1, self._length), self._length
        self.tokens += tokens
        known, places = self.tokens, self._places
        for end in range(first, len(known) + 1):
            gram = tuple(known[end - length : end])
            found = places.get(gram)
            if found is None:
                places[gram] = [end]
            else:
                found.append(end)
                if len(found) > MAX_PLACES:
                    del found[0]

    def truncate(self, num_tokens: int) -> None:
        """Forget the tokens after the first `num_tokens`."""
        known, length = self.tokens, self._length
        for end in range(max(num_tokens + 1, length), len(known) + 1):
            places = self._places[tuple(known[end - length : end])]
            while places and places[-1] > num_tokens:
                places.pop()
        del known[num_tokens:]

    def find(self, context: list[int]) -> list[tuple[int, int]]:
        """Return (place, tokens that match before it) of the latest occurrences of the end of `context`."""
        gram = tuple(context[-self._length :])
        matches = [(place, self._match(context, place)) for place in self._places.get(gram, ())]
        return [found for found in matches if found[1] >= self._length]

    def _match(self, context: list[int], place: int) -> int:
        known, count = self.tokens, 0
        if place >= len(known):
            return 0  # nothing follows, or not any more
        longest = min(LONGEST_MATCH, len(context), place)
        while count < longest and context[-1 - count] == known[place - 1 - count]:
            count += 1
        return count
