"""What the guard finds and what it answers; defined where the engine can see it, too."""

from firesteel.verdict import Action, Finding, Hold, Release, Retry, Rewind, Severity, Verdict

__all__ = ["Action", "Finding", "Hold", "Release", "Retry", "Rewind", "Severity", "Verdict"]
