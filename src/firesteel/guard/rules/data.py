"""Data that becomes objects, and XML that fetches files: unsafe deserialisation, external entities."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level

LOADERS = re.compile(r"(?i)safe|base|json|rt\b|round_?trip")


def unpickled(site: Site) -> Match | None:
    """Judge what is unpickled: never safe for data from outside; for files of one's own, told of."""
    value = site.argument(0)
    outside = value is not None and value.level is Level.outside
    if value is not None and value.is_constant and not value.holes:
        return None
    if re.search(r"dumps\b", site.text()) or value is not None and any("dumps" in hole.name for hole in value.holes):
        return None
    return Match(None, None if outside else Action.warn, "unpickling runs code that the data names")


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
    return Match(None, None if value.level is Level.outside else Action.warn, "loading makes any object that the data names")


def always(site: Site) -> Match | None:
    """Find the call itself."""
    value = site.argument(0)
    return None if value is not None and not value.holes else Match()


def outside_only(site: Site) -> Match | None:
    """Judge only what comes from outside; the rest is told of."""
    value = site.argument(0)
    if value is None or not value.holes:
        return None
    return Match(value.cause, None if value.level is Level.outside else Action.warn, "the data says which objects are made")


def read_object(site: Site) -> Match | None:
    """Judge Java's ObjectInputStream."""
    source = site.evaluator.source.decode(errors="replace")
    if "ObjectInputStream" not in source and site.last == "readObject" or re.search(r"setObjectInputFilter|ValidatingObjectInputStream|defaultReadObject|XMLDecoder\b.*never", source):
        return None
    return Match(None, Action.warn, "the stream says which objects are made")


def java_xml(site: Site) -> Match | None:
    """Find an XML factory whose external entities nothing in the function turns off."""
    if site.owner.rsplit(".", 1)[-1] not in JAVA_FACTORIES and site.last not in JAVA_FACTORIES and site.name.removeprefix("new ") not in JAVA_FACTORIES:
        return None
    source = site.evaluator.source.decode(errors="replace")
    if re.search(r"setFeature|FEATURE_SECURE|ACCESS_EXTERNAL|SUPPORT_DTD|IS_SUPPORTING_EXTERNAL|setExpandEntity|setEntityResolver|disallow-doctype|[sS]ecure\w*\(", source):
        return None
    return Match(None, None, "the document may name files and addresses that the parser fetches")


JAVA_FACTORIES = ("DocumentBuilderFactory", "SAXParserFactory", "XMLInputFactory", "SAXBuilder", "SAXReader", "XMLReaderFactory", "TransformerFactory", "SchemaFactory")


def lxml(site: Site) -> Match | None:
    """Find an lxml parser that resolves entities, and a SAX parser that is told to."""
    if site.flag("resolve_entities") == "true" or site.flag("no_network") == "false" or site.flag("load_dtd") == "true":
        return Match(None, None, "the parser is told to fetch what the document names")
    return None


def sax_feature(site: Site) -> Match | None:
    """Find external entities turned on."""
    text = site.text()
    return Match(None, None, "external entities are turned on") if re.search(r"feature_external_ges\s*,\s*(?:True|1)|external-general-entities\"\s*,\s*true", text) else None


def noent(site: Site) -> Match | None:
    """Find libxml2's option that substitutes entities."""
    return Match(None, None, "XML_PARSE_NOENT substitutes entities") if re.search(r"XML_PARSE_NOENT|LIBXML_NOENT|XML_PARSE_DTDLOAD|noent\b|\bnoent:\s*true", site.text()) else None


def dom_settings(site: Site) -> Match | None:
    """Find .NET parsers told to process DTDs."""
    text = site.node.text.decode(errors="replace") if site.node.text else ""
    return Match(None, None, "DTDs are processed") if re.search(r"DtdProcessing\.Parse|new\s+XmlUrlResolver|ProhibitDtd\s*=\s*false", text) else None


PROTOTYPE = HOLE

RULES = (
    Rule(
        id="FS301", title="Unsafe deserialisation", cwe=("CWE-502",), severity=Severity.high, action=Action.rewrite,
        hint="use a format that holds only data: json, yaml.safe_load, YAML.safe_load; never unpickle what others can write",
        sinks=(
            Sink(languages=("python",), check=unpickled, names=("load", "loads", "Unpickler", "read_pickle"), owner=r"pickle|cPickle|_pickle|dill|cloudpickle|joblib|shelve|six\.moves\.cPickle|jsonpickle|pd|pandas",
                 arms=(r"(?i)pickle\.|\b(?:dill|joblib|shelve|marshal)\.", r"\bread_pickle\b")),
            Sink(languages=("python",), check=outside_only, names=("loads", "load"), owner="marshal", arms=(r"\bmarshal\.",)),
            Sink(languages=("python",), check=outside_only, names=("decode",), owner="jsonpickle"),
            Sink(languages=("python",), check=yaml_load, names=("load", "load_all"), arms=(r"\byaml\.",)),
            Sink(languages=("python",), check=always, names=("unsafe_load", "full_load", "unsafe_load_all"), owner="yaml", arms=(r"\byaml\.",)),
            Sink(languages=("ruby",), check=ruby_yaml, names=("load", "unsafe_load"), owner="YAML|Psych", arms=(r"\b(?:YAML|Psych)\b",)),
            Sink(languages=("ruby",), check=marshal, names=("load", "restore"), owner="Marshal", arms=(r"\bMarshal\b",)),
            Sink(languages=("java",), check=read_object, names=("readObject", "readUnshared", "fromXML"), at_end=True),
            Sink(languages=("php",), check=outside_only, names=("unserialize",), owner=""),
            Sink(languages=SCRIPTS, check=outside_only, names=("unserialize",)),
            Sink(languages=SCRIPTS, check=outside_only, names=("load",), owner=r"yaml|jsyaml", arms=(r"\b(?:js)?yaml\.",)),
            Sink(languages=("csharp",), check=always, names=("new BinaryFormatter", "new NetDataContractSerializer", "new LosFormatter", "new SoapFormatter")),
        ),
        examples=(
            Example(language="python", bad="def f(request):\n    return pickle.loads(request.data)\n", good="def f(request):\n    return json.loads(request.data)\n"),
            Example(language="python", bad="def f(path):\n    return yaml.load(open(path))\n", good="def f(path):\n    return yaml.load(open(path), Loader=yaml.SafeLoader)\n"),
            Example(language="ruby", bad="def f(path)\n  YAML.load(File.read(path))\nend\n", good="def f(path)\n  YAML.safe_load(File.read(path))\nend\n"),
            Example(language="java", bad="class A { Object f(InputStream s) { return new ObjectInputStream(s).readObject(); } }\n", good="class A { Object f(InputStream s) { return mapper.readValue(s, B.class); } }\n"),
            Example(language="php", bad='function f() { return unserialize($_COOKIE["u"]); }\n', good='function f() { return json_decode($_COOKIE["u"]); }\n'),
            Example(language="csharp", bad="class A { object F(Stream s) { return new BinaryFormatter().Deserialize(s); } }\n", good="class A { B F(Stream s) { return JsonSerializer.Deserialize<B>(s); } }\n"),
        ),
    ),
    Rule(
        id="FS311", title="XML with external entities", cwe=("CWE-611", "CWE-776", "CWE-827"), severity=Severity.high, action=Action.rewrite,
        hint="turn external entities and DTDs off before parsing (disallow-doctype-decl, resolve_entities=False, defusedxml)",
        sinks=(
            Sink(languages=("java",), check=java_xml, names=("newInstance", "newFactory", "createXMLReader", "newDefaultInstance", "new SAXBuilder", "new SAXReader"), at_end=True,
                 arms=tuple(rf"\b{name}\b" for name in JAVA_FACTORIES)),
            Sink(languages=("python",), check=lxml, names=("XMLParser", "iterparse", "XMLPullParser", "parse", "fromstring"), arms=(r"\b(?:resolve_entities|no_network|load_dtd)\s*=",)),
            Sink(languages=("python", "java"), check=sax_feature, names=("setFeature",)),
            Sink(languages=("c", "cpp"), check=noent, names=("xmlCtxtUseOptions", "xmlReadFile", "xmlReadMemory", "xmlReadDoc", "xmlCtxtReadFile", "xmlCtxtReadMemory", "xmlReadFd")),
            Sink(languages=("php",), check=noent, names=("loadXML", "simplexml_load_string", "simplexml_load_file", "load")),
            Sink(languages=SCRIPTS, check=noent, names=("parseXml", "parseXmlString"), arms=(r"\bnoent\b",)),
            Sink(languages=("csharp",), check=dom_settings, names=("new XmlReaderSettings", "new XmlDocument"), arms=(r"DtdProcessing\.Parse",)),
            Sink(languages=("csharp",), check=dom_settings, kind="assign", names=("DtdProcessing", "XmlResolver")),
        ),
        examples=(
            Example(language="java", bad="class A { void f(InputStream s) { DocumentBuilderFactory d = DocumentBuilderFactory.newInstance(); d.newDocumentBuilder().parse(s); } }\n",
                    good='class A { void f(InputStream s) { DocumentBuilderFactory d = DocumentBuilderFactory.newInstance(); d.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true); d.newDocumentBuilder().parse(s); } }\n'),
            Example(language="python", bad="def f(s):\n    return etree.parse(s, etree.XMLParser(resolve_entities=True))\n", good="def f(s):\n    return etree.parse(s, etree.XMLParser(resolve_entities=False))\n"),
            Example(language="c", bad="void f(char *p) { xmlReadFile(p, 0, XML_PARSE_NOENT); }\n", good="void f(char *p) { xmlReadFile(p, 0, XML_PARSE_NONET); }\n"),
        ),
    ),
)
