"""The guard: watches code while it is written, and says what must be taken back."""

from firesteel.guard.answer import AnswerGuard
from firesteel.guard.finding import Action, Finding, Hold, Release, Rewind, Severity, Verdict
from firesteel.guard.guard import Guard
from firesteel.guard.policy import Policy

__all__ = ["Action", "AnswerGuard", "Finding", "Guard", "Hold", "Policy", "Release", "Rewind", "Severity", "Verdict"]
