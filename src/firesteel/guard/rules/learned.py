"""What the sentinel tells of: one rule for each class that it was trained on. No sinks: the weights know."""

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Rule

CLASSES: tuple[tuple[str, str, tuple[int, ...], Severity, str], ...] = (
    ("FS901", "SQL", (89,), Severity.high, "bind values as parameters; take names of tables from a fixed list"),
    ("FS902", "a command", (78, 77, 88), Severity.high, "run a program with a list of arguments, without a shell"),
    ("FS903", "a path", (22, 23, 29, 36, 73), Severity.high, "resolve the path and check that it lies in its folder"),
    ("FS904", "a page", (79, 80, 116), Severity.high, "escape data for the place in the page where it is put"),
    ("FS905", "data that is loaded", (502,), Severity.high, "load data with a format that makes no objects"),
    (
        "FS906",
        "cryptography or XML",
        (327, 326, 328, 916, 295, 297, 330, 338, 377, 379, 611, 776),
        Severity.medium,
        "use the library's current defaults, and leave their checks on",
    ),
    (
        "FS907",
        "memory",
        (787, 119, 120, 121, 122, 134, 242, 676),
        Severity.high,
        "check the length against the size of the target before it is written",
    ),
)
LEARNED = tuple(
    Rule(
        id=identity,
        title=f"Looks like vulnerable code about {what}",
        cwe=tuple(f"CWE-{number}" for number in numbers),
        severity=severity,
        action=Action.observe,
        hint=hint,
        sinks=(),
        examples=(),
    )
    for identity, what, numbers, severity, hint in CLASSES
)
CLASS_OF = {number: index for index, (_, _, numbers, _, _) in enumerate(CLASSES, 1) for number in numbers}
