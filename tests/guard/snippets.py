"""Code to build texts from: the rules' own examples, ordinary lines, and things that confuse scanners."""

from itertools import pairwise

from hypothesis import strategies as st

from firesteel.guard.rules.catalogue import RULES

LANGUAGES = ("python", "javascript", "typescript", "java", "go", "ruby", "php", "c", "cpp", "csharp", "rust", "bash")
NOISE = (
    "\n",
    "x = 1\n",
    "    ",
    "}\n",
    "{\n",
    "(((\n",
    ")]}\n",
    '"""\n',
    "'''doc\n",
    "`\n",
    "/* open\n",
    "*/\n",
    "# comment ' \"\n",
    "// comment `\n",
    "def f(a, b):\n",
    "    return a\n",
    "class A {\n",
    "function f(a) {\n",
    "os.",
    "subprocess.run(cmd, shell=True",
    "password = ",
    "\\\n",
    "é€😀\n",
    "\ud800",
    "\x00\x01\x7f",
    "```python\n",
    "```\n",
    "~~~js\n",
    "<?php ",
    "cur.execute(f'SELECT a FROM t WHERE x = {y}')",
    'sql = "SELECT * FROM t WHERE a = \'" + b',
)


def examples(language: str) -> list[str]:
    """Return the examples of all rules in a language, bad and good."""
    return [
        code for rule in RULES for each in rule.examples if each.language == language for code in (each.bad, each.good)
    ]


@st.composite
def texts(draw: st.DrawFn, language: str) -> str:
    """Draw a text of a language: examples and noise in any order."""
    parts = st.sampled_from(examples(language) + list(NOISE)) | st.text(max_size=12)
    return "".join(draw(st.lists(parts, max_size=12)))


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Draw a way to cut `text` into pieces that are not empty."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=30))
    ends = sorted({0, len(text), *places})
    return [text[start:end] for start, end in pairwise(ends)]
