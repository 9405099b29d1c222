"""From what a server and a request want to the order for one answer: its language, what stands before it, its rules."""

import re

import msgspec

from firesteel.config import GuardConfig
from firesteel.errors import GuardFailure, RequestError
from firesteel.guard import languages
from firesteel.guard.rules.catalogue import BY_ID
from firesteel.types import ChatPrompt, FillPrompt, Prompt, Request, TextPrompt
from firesteel.verdict import Action, GuardOrder, GuardWish

MAX_CONTEXT = 12_000  # code points before the answer that the guard is told
FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
SIGNS = (  # in the order in which they are certain
    ("php", r"<\?php"),
    ("bash", r"\A#!.*\b(?:ba|z|da)?sh\b"),
    ("python", r"\A#!.*\bpython|^[ \t]*(?:async )?def \w+\(.*(?:\)|,)\s*(?:->.*)?:?\s*$"),
    ("python", r"^(?:from [\w.]+ )?import [\w., ]+$"),
    ("go", r"^package \w+\s*$|^func (?:\(\w+ \*?\w+\) )?\w+\("),
    ("rust", r"^\s*(?:pub )?fn \w+.*[{>]|^use (?:std|crate)::"),
    ("csharp", r"^using [\w.]+;|^\s*namespace [\w.]+"),
    ("java", r"^import (?:static )?[\w.*]+;|^\s*(?:public|private) (?:static |final )*(?:class|void|[A-Z]\w*) "),
    ("cpp", r"^#include <(?:iostream|string|vector|map|memory)>|\bstd::"),
    ("c", r"^#include [<\"]|^(?:static )?(?:int|void|char) \*?\w+\("),
    ("ruby", r"^\s*(?:require(?:_relative)? ['\"]|def \w+[?!]?(?:\(.*\))?\s*$|module [A-Z]|class [A-Z]\w* < )"),
    ("typescript", r"^(?:export )?(?:interface|type) [A-Z]\w* |\)\s*:\s*(?:Promise<|string|number|void)"),
    ("javascript", r"\brequire\(['\"]|^\s*(?:const|let|var) \w+ =|\bfunction \w*\(|=>|^import .* from ['\"]"),
)
PATTERNS = tuple((language, re.compile(pattern, re.MULTILINE)) for language, pattern in SIGNS)


def guessed(code: str) -> str | None:
    """Return the language that code looks like, None where it looks like Markdown or nothing."""
    if FENCE.search(code):
        return None
    return next((language for language, pattern in PATTERNS if pattern.search(code)), None)


def before(prompt: Prompt) -> str:
    """Return the code right before the answer to `prompt`, as far as it is known."""
    if isinstance(prompt, FillPrompt):
        return prompt.prefix + prompt.middle
    return prompt.text if isinstance(prompt, TextPrompt) else ""


def placed(order: GuardOrder, prompt: Prompt) -> GuardOrder:
    """Return `order` with the language of the answer to `prompt`, where it is known, and the code before it."""
    code = before(prompt)
    language = order.language or (languages.of_file(order.path) if order.path else guessed(code))
    context = code[-MAX_CONTEXT:] if language else ""
    return msgspec.structs.replace(order, language=languages.named(language), context=context)


class Guards(msgspec.Struct, frozen=True):
    """How answers are guarded: by default, and by the scope of an API key. None: they are not."""

    default: GuardConfig | None = None
    by_scope: dict[str, GuardConfig] = {}
    broken_rules: tuple[str, ...] = ()  # that did not find their own examples when the engine started

    def order_for(self, request: Request, scope: str, number: int) -> GuardOrder | None:
        """Return how the answer to a prompt of `request` is guarded, None when it is not. Raises RequestError."""
        config, wish = self.by_scope.get(scope, self.default), request.guard or GuardWish()
        if config is None:
            if wish.mode in ("on", "live"):
                raise _refused("this server was started with --guard off; leave it out")
            return None
        _check(config, wish)
        if wish.mode == "off" or not (config.is_on or wish.mode):
            return None
        order = GuardOrder(
            language=wish.language,
            path=wish.path,
            is_live=wish.mode == "live" and may_be_live(request),
            level=wish.level or config.level,
            actions={rule: Action(action) for rule, action in config.actions.items()} | wish.actions,
            ignored_paths=config.ignored_paths,
            num_broken_rules=len(self.broken_rules),
        )
        if order.blocks and self.broken_rules:
            missing = ", ".join(self.broken_rules)
            raise GuardFailure(f"the guard does not find its own examples of {missing}; ask without `block`")
        return placed(order, request.prompts[number])


NO_GUARDS = Guards()


def may_be_live(request: Request) -> bool:
    """Return whether text that left can be taken back: a stream of text, without calls and log-probabilities."""
    prompt = request.prompts[0]
    has_tools = isinstance(prompt, ChatPrompt) and bool(prompt.tools)
    is_text = request.kind in ("chat", "completion") and request.sampling.num_logprobs is None
    return request.stream and is_text and not has_tools


def _refused(remedy: str) -> RequestError:
    return RequestError(f"`firesteel.guard`: {remedy}", param="firesteel.guard")


def _check(config: GuardConfig, wish: GuardWish) -> None:
    unknown = next((name for name in wish.actions if not any(rule.startswith(name) for rule in BY_ID)), None)
    if unknown is not None:
        path = f"firesteel.guard.actions.{unknown}"
        raise RequestError(f"`{path}`: no rule begins so; see docs/reference/rules.md", param=path)
    if config.locked and ((wish.mode == "off" and config.is_on) or wish.level is not None or wish.actions):
        raise _refused("this server decides what is guarded; leave out `mode: off`, `level` and `actions`")
