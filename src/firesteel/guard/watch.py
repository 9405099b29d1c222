"""Turns text into findings: the automaton sees every piece, the tracker every line, the parser what is armed."""

from typing import Any

from firesteel.guard import languages
from firesteel.guard.analyse import Result
from firesteel.guard.finding import Action, Finding
from firesteel.guard.imports import Imports
from firesteel.guard.lines import Lines
from firesteel.guard.patterns import OPEN_ROOT, automaton
from firesteel.guard.policy import Policy, suppressed
from firesteel.guard.secrets import secrets_in
from firesteel.guard.sentinel import judge
from firesteel.guard.statement import MAX_LINE, MAX_WINDOW, Statements

MAX_FINDINGS = 500  # of one text; beyond, they are not told
MAX_BACKLOG = 256  # calm lines that the tracker has yet to follow
NOTHING: list[Finding] = []


class Watch:
    """Follows one text. Offsets are code points from its beginning. Never raises for any text.

    Lines in which nothing was seen are put aside; the tracker follows them when something is, or when they are many.
    """

    judge = staticmethod(judge)

    def __init__(self, language: str | None, policy: Policy, path: str | None = None) -> None:
        self.policy = policy
        self.path = path
        self.failures = 0  # analyses that ended in an error of ours: the guard is then not to be relied on
        self.is_replaying, self.is_calm = False, True  # calm: nothing was seen in the statement that is open
        self._markdown = languages.Fences() if language in (None, "markdown") else None
        self._statements: Statements | None = None
        self._lines = Lines()
        self._backlog: list[tuple[str, int]] = []
        self._imports: Imports | None = None
        self._parts: list[str] = []  # of the line that is open
        self._length = 0  # of the line that is open
        self._line_start = 0
        self._fed = 0
        self._seen: set[tuple[str, int]] = set()
        self._is_armed = False  # something was seen that makes the open statement worth parsing
        self._suspect_from: int | None = None  # ... or worth holding, from this line on
        self._has_root = False
        self._has_keyword = False
        self._candidates: set[int] = set()  # secrets that may be in the open line
        self._end_armed: int | None = None  # where something was seen that only the end of the function can judge
        self._handler = self._on_match  # the binding keeps no reference of its own, and would crash
        self._stream: Any = None
        self._begin(language if language in languages.PARSED else None)

    def _begin(self, language: str | None) -> None:
        """Begin text of a language, None for one without rules."""
        self.close()
        self.language = language
        known = automaton(language)
        self._statements = Statements(language, self._line_start) if language is not None else None
        self._imports = Imports() if language == "python" else None
        self._patterns = known.patterns
        self._stream = known.database.stream(match_event_handler=self._handler)
        self._stream.__enter__()
        self._scan = self._stream.scan
        self._is_armed = self._has_root = False
        self._end_armed = self._suspect_from = None

    def _on_match(self, pattern: int, start: int, end: int, flags: int, context: object) -> None:
        kind, secret = self._patterns[pattern]
        self.is_calm = False
        if kind == "end_arm":
            if self._end_armed is None:
                self._end_armed = self._line_start
        elif kind == "root":
            self._has_root = True
        elif kind == "keyword":
            self._has_keyword = True
        elif kind == "secret":
            self._candidates.add(secret)
        else:
            self._is_armed = self._is_armed or kind == "arm"
            if self._suspect_from is None:
                self._suspect_from = self._line_start

    def begin_at(self, place: int) -> None:
        """Say that the text to come begins at code point `place`: what was before is no longer known."""
        self._fed = self._line_start = place
        self._begin(self.language)

    def close(self) -> None:
        """Give the automaton's stream back; it may be called twice."""
        if self._stream is not None:
            self._stream.__exit__(None, None, None)
            self._stream = None

    @property
    def fed(self) -> int:
        """How much text was fed."""
        return self._line_start + self._length

    def feed(self, text: str) -> list[Finding]:
        """Take more text; return what was decided by it."""
        length = self._length + len(text)
        if length < MAX_LINE and "\n" not in text:
            self._length = length
            self._parts.append(text)
            try:
                self._scan(text.encode())
            except UnicodeEncodeError:  # lone surrogates
                self._scan(text.encode(errors="replace"))
            return NOTHING
        self._fed = self.fed + len(text)
        return self._feed_lines(text)

    def _feed_lines(self, text: str) -> list[Finding]:
        """Take text piece by piece, so that what begins with a line is looked at in the light of the one before."""
        found: list[Finding] = []
        position, length = 0, len(text)
        while position < length:
            limit = position + MAX_LINE - self._length
            end = text.find("\n", position, limit) + 1 or min(length, limit)
            piece = text[position:end]
            self._scan(piece.encode(errors="replace"))
            self._parts.append(piece)
            self._length += len(piece)
            if piece[-1] == "\n" or self._length >= MAX_LINE:
                found += self._end_line()
            position = end
        return found

    def finish(self) -> list[Finding]:
        """Take the end of the text; return what was decided by it."""
        self._fed = self.fed
        found = self._end_line() if self._length else NOTHING
        found = found + self._end_language()
        self.close()
        return found

    @property
    def suspect_since(self) -> int | None:
        """Where the line begins from which on nothing must leave, until its statement has ended; None when all may."""
        if self._suspect_from is not None:
            return self._suspect_from
        if self._candidates or self._has_keyword:
            return self._line_start
        if self._has_root and OPEN_ROOT.search("".join(self._parts)):
            return self._line_start
        return None

    def _drain(self, statements: Statements) -> None:
        for line, start in self._backlog:
            statements.line(line, start)
        self._backlog.clear()

    def _end_line(self) -> list[Finding]:
        line, start = "".join(self._parts), self._line_start
        self._parts.clear()
        self._length = 0
        self._line_start = start + len(line)
        self._lines.add(start, line)
        found = NOTHING
        if self._candidates or self._has_keyword:
            found = self._secrets(line, start)
        if self._markdown is not None:
            found = found + self._follow_fences(line)
        self._has_root = False
        if self._statements is None:
            self.is_calm = True
        elif self._line_start > self._statements.start:  # not the fence itself
            found = found + self._follow(self._statements, line, start)
        return found

    def _follow(self, statements: Statements, line: str, start: int) -> list[Finding]:
        if self._imports is not None and "import " in line:
            self._imports.line(line)
        if self._suspect_from is None and self._end_armed is None:
            self.is_calm = True
            self._backlog.append((line, start))
            if len(self._backlog) >= MAX_BACKLOG:
                self._drain(statements)
            return NOTHING
        self._drain(statements)
        began = statements.line(line, start)
        found = NOTHING
        if began >= 0 and self._is_armed:
            found = self._analyse(statements, began, began, self._line_start, statements.closers())
        if began >= 0 or statements.is_prose:
            self._is_armed, self._suspect_from = False, None
        if self._end_armed is not None and statements.ended:
            found = found + self._end_functions(statements)
        self.is_calm = self._suspect_from is None
        return found

    def _end_functions(self, statements: Statements) -> list[Finding]:
        found: list[Finding] = []
        for start, end in statements.ended:
            end = max(end, self._line_start)
            if self._end_armed is not None and start <= self._end_armed < end:
                found += self._analyse(statements, max(start, end - MAX_WINDOW), start, end, "", at_end=True)
                self._end_armed = None
        return found

    def _follow_fences(self, line: str) -> list[Finding]:
        assert self._markdown is not None
        changed, language = self._markdown.line(line)
        if not changed:
            return []
        found = self._end_language()
        self._begin(language)
        return found

    def _end_language(self) -> list[Finding]:
        statements, self._statements = self._statements, None
        if statements is None:
            return []
        self._drain(statements)
        found: list[Finding] = []
        if self._is_armed:
            found += self._analyse(
                statements, statements.start, statements.start, self._line_start, statements.closers()
            )
        if self._end_armed is not None:
            begins = [start for start, _ in statements.finish(self._line_start)] or [statements.window(self._end_armed)]
            begin = max(begins[0], self._line_start - MAX_WINDOW)
            found += self._analyse(statements, begin, begin, self._line_start, statements.closers(), at_end=True)
        self._is_armed, self._end_armed, self._suspect_from = False, None, None
        return found

    def _secrets(self, line: str, start: int) -> list[Finding]:
        candidates, has_keyword = frozenset(self._candidates), self._has_keyword
        self._candidates.clear()
        self._has_keyword = False
        if self.is_replaying:
            return []
        found = []
        for secret in secrets_in(line, candidates, has_keyword, self.path):
            begin = start + secret.start
            if not self._is_new(secret.rule, begin) or self._is_suppressed(secret.rule, begin):
                continue
            found.append(secret.finding(start, self.policy.action(secret.rule, secret.action), self._fed))
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
            results = self.judge(
                statements.language, window, closers.encode(), first, at_end=at_end, imports=self._imports
            )
        except Exception:  # a defect of ours must not end an answer; who serves it asks `failures`
            self.failures += 1
            return []
        found = []
        for result in results:
            finding = self._finding(result, window, begin, None if at_end else statement)
            if finding is not None:
                found.append(finding)
        return found

    def _finding(self, result: Result, window: bytes, begin: int, statement: int | None) -> Finding | None:
        def place(offset: int) -> int:
            return begin + len(window[:offset].decode(errors="ignore"))

        start = place(result.start)
        cause = start if result.match.cause is None else place(result.match.cause)
        rule = result.rule
        if statement is not None and cause >= statement:
            cause = statement
        elif cause < start and (rule.id, cause) in self._seen:
            return None  # told when the cause was written
        if not self._is_new(rule.id, start) or self._is_suppressed(rule.id, start):
            return None
        action: Action = self.policy.action(rule.id, result.match.action or rule.action)
        return Finding(
            rule=rule.id,
            cwe=rule.cwe[0],
            severity=rule.severity,
            action=action,
            start=start,
            end=place(result.end),
            cause=cause,
            decided_at=self._fed,
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
