"""What is done about vulnerable code in answers."""

from firesteel.config import GuardLevel
from firesteel.settings.setting import Setting

GUARD = (
    Setting(
        name="guard",
        field="server.guard",
        is_live=True,
        takes=GuardLevel,
        default="rewrite",
        help="What is done about vulnerable code in answers: rewrite leaves it to each rule, observe and warn do no "
        "more than that, block ends an answer that cannot be repaired; see docs/how-to/guard.md.",
    ),
    Setting(
        name="guard_actions",
        field="server.guard_actions",
        is_live=True,
        takes=tuple[str, ...],
        default=(),
        help="RULE=ACTION, for a rule or all that begin so: FS251=observe,FS1=block.",
    ),
    Setting(
        name="guard_ignore",
        field="server.guard_ignore",
        is_live=True,
        takes=tuple[str, ...],
        default=(),
        help="Globs of paths that are not guarded, where a request names its path.",
    ),
    Setting(
        name="guard_lock",
        field="server.guard_lock",
        is_live=True,
        takes=bool,
        default=False,
        help="Let no request change the guard.",
    ),
    Setting(
        name="guard_keys",
        field="server.guard_keys",
        is_live=True,
        takes=str | None,
        help="JSON file of guards by API key, in place of these settings.",
    ),
)
