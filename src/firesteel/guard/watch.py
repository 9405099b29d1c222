"""Turns text into findings: the automaton sees every piece, the tracker every line, the parser what is armed."""

from collections.abc import Iterator
from dataclasses import dataclass

from firesteel.guard import languages
from firesteel.guard.analyse import Result, analyse
from firesteel.guard.finding import Action, Finding
from firesteel.guard.lines import Lines
from firesteel.guard.patterns import Pattern, automaton
from firesteel.guard.policy import Policy, suppressed
from firesteel.guard.secrets import HINT, secrets_in
from firesteel.guard.statement import MAX_LINE, MAX_WINDOW, Closed, Statements

MAX_FINDINGS = 500  # of one text; beyond, they are counted only
NOT_A_STATEMENT = ("secret", "keyword")


@dataclass(frozen=True, slots=True)
class Hit:
    """The automaton's pattern was complete at code point `end`."""

    end: int
    pattern: Pattern


class Watch:
    """Follows one text. Offsets are code points from its beginning. Never raises for any text."""

    def __init__(self, language: str | None, policy: Policy, path: str | None = None) -> None:
        self.policy = policy
        self.path = path
        self.fed = 0
        self.failures = 0  # analyses that ended in an error of ours: the guard is then not to be relied on
        self.is_replaying = False
        self._markdown = languages.Fences() if language in (None, "markdown") else None
        self._statements = Statements(language) if language in languages.PARSED else None
        self._lines = Lines()
        self._parts: list[str] = []  # of the line that is open
        self._line_start = 0
        self._hits: list[Hit] = []  # in the statement that is open
        self._is_armed = False
        self._end_armed: int | None = None  # where something was seen that only the end of the function can judge
        self._seen: set[tuple[str, int]] = set()
        self._bytes = 0
        self._raw: list[tuple[int, int]] = []  # hits of the piece that is being scanned: pattern, end in bytes
        self._patterns = automaton().patterns
        self._handler = self._on_match  # the binding keeps no reference of its own, and would crash
        self._stream = automaton().database.stream(match_event_handler=self._handler)
        self._stream.__enter__()

    def _on_match(self, pattern: int, start: int, end: int, flags: int, context: object) -> None:
        self._raw.append((pattern, end))

    def begin_at(self, place: int) -> None:
        """Say that the text to come begins at code point `place`: what was before is no longer known."""
        self.fed = self._line_start = place
        if self._statements is not None:
            self._statements = Statements(self._statements.language, place)

    def close(self) -> None:
        """Give the automaton's stream back."""
        if self._stream is not None:
            self._raw = []
            self._stream.__exit__(None, None, None)
            self._stream = None

    def feed(self, text: str) -> list[Finding]:
        """Take more text; return what was decided by it."""
        data = text.encode(errors="replace")
        self._stream.scan(data)
        if self._raw:
            self._note_hits(data, len(text))
        self._bytes += len(data)
        self.fed += len(text)
        self._parts.append(text)
        if "\n" in text or self.fed - self._line_start > MAX_LINE:
            return list(self._end_lines())
        return []

    def finish(self) -> list[Finding]:
        """Take the end of the text; return what was decided by it."""
        found = list(self._end_lines(is_last=True))
        found += self._end_language()
        self.close()
        return found

    @property
    def suspect_since(self) -> int | None:
        """Where the statement begins that must not leave before it has ended, None when there is none."""
        if not self._hits and not self._is_armed:
            return None
        if self._statements is None:
            relevant = any(hit.pattern.kind in NOT_A_STATEMENT for hit in self._hits)
            return self._line_start if relevant else None
        return self._statements.start if self._is_armed or self._is_suspect() else None

    def _is_suspect(self) -> bool:
        language = self._statements.language if self._statements is not None else ""
        if any(
            language in hit.pattern.languages and hit.pattern.kind != "root" and not hit.pattern.at_end
            for hit in self._hits
        ):
            return True
        self._hits = [hit for hit in self._hits if hit.pattern.kind != "root" or self._is_open(hit)]
        return any(hit.pattern.kind == "root" for hit in self._hits)

    def _is_open(self, hit: Hit) -> bool:
        """Whether what follows a root may still become the name of a sink."""
        behind = "".join(self._parts)[hit.end - self._line_start :]
        return all(letter.isalnum() or letter in "._" for letter in behind)

    def _note_hits(self, data: bytes, length: int) -> None:
        is_ascii = len(data) == length
        for pattern, end in self._raw:
            local = end - self._bytes
            place = local if is_ascii else len(data[:local].decode(errors="ignore"))
            self._hits.append(Hit(self.fed + place, self._patterns[pattern]))
        self._raw.clear()

    def _end_lines(self, is_last: bool = False) -> Iterator[Finding]:
        whole = "".join(self._parts)
        start = 0
        while True:
            end = whole.find("\n", start, start + MAX_LINE) + 1
            if end == 0 and len(whole) - start > MAX_LINE:
                end = start + MAX_LINE
            if end == 0:
                break
            yield from self._end_line(whole[start:end])
            start = end
        rest = whole[start:]
        if is_last and rest:
            yield from self._end_line(rest)
            rest = ""
        self._parts = [rest] if rest else []

    def _end_line(self, line: str) -> list[Finding]:
        start = self._line_start
        self._line_start = start + len(line)
        self._lines.add(start, line)
        hits = [hit for hit in self._hits if hit.end <= self._line_start]
        found = self._secrets(line, start, hits) if hits else []
        if self._markdown is not None:
            found += self._follow_fences(line)
        if self._statements is None:
            self._hits = [hit for hit in self._hits if hit.end > self._line_start]
            return found
        return found + self._end_statement(self._statements, line, start, hits)

    def _end_statement(self, statements: Statements, line: str, start: int, hits: list[Hit]) -> list[Finding]:
        for hit in hits:
            if hit.pattern.kind == "arm" and statements.language in hit.pattern.languages:
                self._is_armed = self._is_armed or not hit.pattern.at_end
                if hit.pattern.at_end and self._end_armed is None:
                    self._end_armed = start
        closed = statements.line(line, start)
        found = []
        if closed.is_statement:
            self._hits = [hit for hit in self._hits if hit.end > self._line_start]
            if self._is_armed:
                self._is_armed = False
                found += self._analyse(statements, closed.start, closed.start, closed.end, statements.closers())
        return found + self._end_functions(statements, closed)

    def _end_functions(self, statements: Statements, closed: Closed) -> list[Finding]:
        if self._end_armed is None:
            return []
        found = []
        for start, end in closed.functions:
            if self._end_armed is not None and start <= self._end_armed < max(end, closed.end):
                found += self._analyse(
                    statements, max(start, end - MAX_WINDOW), start, max(end, closed.end), "", at_end=True
                )
                self._end_armed = None
        return found

    def _follow_fences(self, line: str) -> list[Finding]:
        assert self._markdown is not None
        changed, language = self._markdown.line(line)
        if not changed:
            return []
        found = self._end_language()
        self._statements = Statements(language, self._line_start) if language is not None else None
        self._hits = [hit for hit in self._hits if hit.end > self._line_start]
        return found

    def _end_language(self) -> list[Finding]:
        statements, self._statements = self._statements, None
        if statements is None:
            return []
        found = []
        if self._is_armed:
            found += self._analyse(
                statements, statements.start, statements.start, self._line_start, statements.closers()
            )
        if self._end_armed is not None:
            begins = [start for start, _ in statements.finish(self._line_start)] or [statements.window(self._end_armed)]
            begin = max(begins[0], self._line_start - MAX_WINDOW)
            found += self._analyse(statements, begin, begin, self._line_start, statements.closers(), at_end=True)
        self._is_armed, self._end_armed = False, None
        return found

    def _secrets(self, line: str, start: int, hits: list[Hit]) -> list[Finding]:
        candidates = frozenset(hit.pattern.secret for hit in hits if hit.pattern.kind == "secret")
        has_keyword = any(hit.pattern.kind == "keyword" for hit in hits)
        if self.is_replaying or not (candidates or has_keyword):
            return []
        found = []
        for secret in secrets_in(line, candidates, has_keyword, self.path):
            begin = start + secret.start
            if not self._is_new(secret.rule, begin) or self._is_suppressed(secret.rule, begin):
                continue
            statement = self._statements.start if self._statements is not None else start
            found.append(
                Finding(
                    rule=secret.rule,
                    cwe=secret.cwe,
                    severity=secret.severity,
                    action=self.policy.action(secret.rule, secret.action),
                    start=begin,
                    end=start + secret.end,
                    cause=statement,
                    decided_at=self.fed,
                    reason=secret.reason,
                    hint=HINT,
                )
            )
        return found

    def _analyse(
        self, statements: Statements, since: int, statement: int, end: int, closers: str, *, at_end: bool = False
    ) -> list[Finding]:
        if self.is_replaying:
            return []
        begin, text = self._lines.since(since if at_end else statements.window(statement))
        text = text[: end - begin]
        window = text.encode(errors="replace")
        first = 0 if at_end else len(text[: max(0, statement - begin)].encode(errors="replace"))
        try:
            results = analyse(statements.language, window, closers.encode(), first, at_end=at_end)
        except Exception:  # a defect of ours must not end an answer; who serves it asks `failures`
            self.failures += 1
            return []
        found = []
        for result in results:
            finding = self._finding(result, window, begin, statement)
            if finding is not None:
                found.append(finding)
        return found

    def _finding(self, result: Result, window: bytes, begin: int, statement: int) -> Finding | None:
        def place(offset: int) -> int:
            return begin + len(window[:offset].decode(errors="ignore"))

        start = place(result.start)
        cause = min(start, statement) if result.match.cause is None else place(result.match.cause)
        if statement < begin + 1 and result.match.cause is None and start > statement:
            cause = start
        rule = result.rule
        if (
            (cause < statement and (rule.id, cause) in self._seen)
            or not self._is_new(rule.id, start)
            or self._is_suppressed(rule.id, start)
        ):
            return None
        action: Action = self.policy.action(rule.id, result.match.action or rule.action)
        return Finding(
            rule=rule.id,
            cwe=rule.cwe[0],
            severity=rule.severity,
            action=action,
            start=start,
            end=place(result.end),
            cause=min(cause, statement) if cause >= statement else cause,
            decided_at=self.fed,
            reason=result.match.reason or rule.title.lower(),
            hint=rule.hint,
        )

    def _is_new(self, rule: str, start: int) -> bool:
        if (rule, start) in self._seen or len(self._seen) >= MAX_FINDINGS:
            return False
        self._seen.add((rule, start))
        return True

    def _is_suppressed(self, rule: str, start: int) -> bool:
        return self.policy.honours_comments and suppressed(self._lines.around(start), rule)
