"""Data that becomes objects: unsafe deserialisation."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import Level

LOADERS = re.compile(r"(?i)safe|base|json|rt\b|round_?trip")


def unpickled(site: Site) -> Match | None:
    """Judge what is unpickled: never safe for data from outside; for files of one's own, told of."""
    value = site.argument(0)
    outside = value is not None and value.level is Level.outside
    if value is not None and value.is_constant and not value.holes:
        return None
    if re.search(r"dumps\b", site.text()) or (value is not None and any("dumps" in hole.name for hole in value.holes)):
        return None
    given = value is not None and value.level >= Level.parameter and site.last == "loads"
    return Match(None, None if outside or given else Action.warn, "unpickling runs code that the data names")


def yaml_load(site: Site) -> Match | None:
    """Judge `yaml.load` without a safe loader."""
    given = site.positional()
    loader = site.flag("Loader", "loader") or (site.evaluator.text(given[1]) if len(given) > 1 else "")
    if LOADERS.search(loader) or re.search(r"ruamel|YAML\(\s*typ", site.evaluator.source.decode(errors="replace")):
        return None
    if site.owner not in ("yaml", "pyyaml", "_yaml") or any(part.type == "dictionary_splat" for part in site.parts):
        return None
    return Match(None, None, "this loader makes any Python object that the text names")


def ruby_yaml(site: Site) -> Match | None:
    """Judge Ruby's `YAML.load` of anything but a constant."""
    value = site.argument(0)
    if value is None or not value.holes or "permitted_classes" in site.text():
        return None
    return Match(None, None, "before Psych 4, this makes any object that the text names")


def marshal(site: Site) -> Match | None:
    """Judge Ruby's Marshal."""
    value = site.argument(0)
    text = site.text()
    if value is None or not value.holes or "dump" in text or re.search(r"\((?:File|IO)\.(?:new|open)\b", text):
        return None
    return Match(
        None, None if value.level is Level.outside else Action.warn, "loading makes any object that the data names"
    )


def always(site: Site) -> Match | None:
    """Find the call itself."""
    value = site.argument(0)
    return None if value is not None and not value.holes else Match()


def outside_only(site: Site) -> Match | None:
    """Judge only what comes from outside; the rest is told of."""
    value = site.argument(0)
    if value is None or not value.holes:
        return None
    return Match(
        value.cause, None if value.level >= Level.parameter else Action.warn, "the data says which objects are made"
    )


def read_object(site: Site) -> Match | None:
    """Judge Java's ObjectInputStream."""
    source = site.evaluator.source.decode(errors="replace")
    if ("ObjectInputStream" not in source and site.last == "readObject") or re.search(
        r"setObjectInputFilter|ValidatingObjectInputStream|defaultReadObject|XMLDecoder\b.*never", source
    ):
        return None
    return Match(None, Action.warn, "the stream says which objects are made")


RULES = (
    Rule(
        id="FS301",
        title="Unsafe deserialisation",
        cwe=("CWE-502",),
        severity=Severity.high,
        action=Action.rewrite,
        hint="use a format that holds only data: json, yaml.safe_load, YAML.safe_load; never unpickle what others can write",
        sinks=(
            Sink(
                languages=("python",),
                check=unpickled,
                names=("load", "loads", "Unpickler", "read_pickle"),
                owner=r"pickle|cPickle|_pickle|dill|cloudpickle|joblib|shelve|six\.moves\.cPickle|jsonpickle|pd|pandas",
                arms=(r"(?i)pickle\.|\b(?:dill|joblib|shelve|marshal)\.|\bloads\s*\(", r"\bread_pickle\b"),
            ),
            Sink(
                languages=("python",),
                check=outside_only,
                names=("loads", "load"),
                owner="marshal",
                arms=(r"\bmarshal\.",),
            ),
            Sink(languages=("python",), check=outside_only, names=("decode",), owner="jsonpickle"),
            Sink(languages=("python",), check=yaml_load, names=("load", "load_all"), arms=(r"\byaml\.",)),
            Sink(
                languages=("python",),
                check=always,
                names=("unsafe_load", "full_load", "unsafe_load_all"),
                owner="yaml",
                arms=(r"\byaml\.",),
            ),
            Sink(
                languages=("ruby",),
                check=ruby_yaml,
                names=("load", "unsafe_load"),
                owner="YAML|Psych",
                arms=(r"\b(?:YAML|Psych)\b",),
            ),
            Sink(
                languages=("ruby",), check=marshal, names=("load", "restore"), owner="Marshal", arms=(r"\bMarshal\b",)
            ),
            Sink(languages=("java",), check=read_object, names=("readObject", "readUnshared", "fromXML"), at_end=True),
            Sink(languages=("php",), check=outside_only, names=("unserialize",), owner=""),
            Sink(languages=SCRIPTS, check=outside_only, names=("unserialize",)),
            Sink(
                languages=SCRIPTS, check=outside_only, names=("load",), owner=r"yaml|jsyaml", arms=(r"\b(?:js)?yaml\.",)
            ),
            Sink(
                languages=("csharp",),
                check=always,
                names=("new BinaryFormatter", "new NetDataContractSerializer", "new LosFormatter", "new SoapFormatter"),
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(request):\n    return pickle.loads(request.data)\n",
                good="def f(request):\n    return json.loads(request.data)\n",
            ),
            Example(
                language="python",
                bad="def f(path):\n    return yaml.load(open(path))\n",
                good="def f(path):\n    return yaml.load(open(path), Loader=yaml.SafeLoader)\n",
            ),
            Example(
                language="ruby",
                bad="def f(path)\n  YAML.load(File.read(path))\nend\n",
                good="def f(path)\n  YAML.safe_load(File.read(path))\nend\n",
            ),
            Example(
                language="java",
                bad="class A { Object f(InputStream s) { return new ObjectInputStream(s).readObject(); } }\n",
                good="class A { Object f(InputStream s) { return mapper.readValue(s, B.class); } }\n",
            ),
            Example(
                language="php",
                bad='function f() { return unserialize($_COOKIE["u"]); }\n',
                good='function f() { return json_decode($_COOKIE["u"]); }\n',
            ),
            Example(
                language="csharp",
                bad="class A { object F(Stream s) { return new BinaryFormatter().Deserialize(s); } }\n",
                good="class A { B F(Stream s) { return JsonSerializer.Deserialize<B>(s); } }\n",
            ),
        ),
    ),
)
