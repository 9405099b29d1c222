"""XML that names files and addresses for the parser to fetch."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import Level


def java_xml(site: Site) -> Match | None:
    """Find an XML factory whose external entities nothing in the function turns off."""
    if (
        site.owner.rsplit(".", 1)[-1] not in JAVA_FACTORIES
        and site.last not in JAVA_FACTORIES
        and site.name.removeprefix("new ") not in JAVA_FACTORIES
    ):
        return None
    source = site.evaluator.source.decode(errors="replace")
    if re.search(
        r"setFeature|FEATURE_SECURE|ACCESS_EXTERNAL|SUPPORT_DTD|IS_SUPPORTING_EXTERNAL|setExpandEntity|setEntityResolver|disallow-doctype|[sS]ecure\w*\(",
        source,
    ):
        return None
    return Match(None, None, "the document may name files and addresses that the parser fetches")


JAVA_FACTORIES = (
    "DocumentBuilderFactory",
    "SAXParserFactory",
    "XMLInputFactory",
    "SAXBuilder",
    "SAXReader",
    "XMLReaderFactory",
    "TransformerFactory",
    "SchemaFactory",
)


def lxml(site: Site) -> Match | None:
    """Find an lxml parser that resolves entities, and a SAX parser that is told to."""
    if site.flag("resolve_entities") == "true" or site.flag("no_network") == "false" or site.flag("load_dtd") == "true":
        return Match(None, None, "the parser is told to fetch what the document names")
    value = site.argument(0)
    is_outside = value is not None and value.level is Level.outside and site.owner in ("etree", "lxml.etree", "ET")
    if is_outside and "parser" not in site.text() and "lxml" in site.evaluator.source.decode(errors="replace"):
        return Match(None, Action.warn, "before lxml 5, entities are resolved unless told otherwise")
    return None


def sax_feature(site: Site) -> Match | None:
    """Find external entities turned on."""
    text = site.text()
    return (
        Match(None, None, "external entities are turned on")
        if re.search(r"feature_external_ges\s*,\s*(?:True|1)|external-general-entities\"\s*,\s*true", text)
        else None
    )


def noent(site: Site) -> Match | None:
    """Find libxml2's option that substitutes entities."""
    return (
        Match(None, None, "XML_PARSE_NOENT substitutes entities")
        if re.search(r"XML_PARSE_NOENT|LIBXML_NOENT|XML_PARSE_DTDLOAD|noent\b|\bnoent:\s*true", site.text())
        else None
    )


def dom_settings(site: Site) -> Match | None:
    """Find .NET parsers told to process DTDs."""
    text = site.node.text.decode(errors="replace") if site.node.text else ""
    return (
        Match(None, None, "DTDs are processed")
        if re.search(r"DtdProcessing\.Parse|new\s+XmlUrlResolver|ProhibitDtd\s*=\s*false", text)
        else None
    )


RULES = (
    Rule(
        id="FS311",
        title="XML with external entities",
        cwe=("CWE-611", "CWE-776", "CWE-827"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="turn external entities and DTDs off before parsing (disallow-doctype-decl, resolve_entities=False, defusedxml)",
        sinks=(
            Sink(
                languages=("java",),
                check=java_xml,
                names=(
                    "newInstance",
                    "newFactory",
                    "createXMLReader",
                    "newDefaultInstance",
                    "new SAXBuilder",
                    "new SAXReader",
                ),
                at_end=True,
                arms=tuple(rf"\b{name}\b" for name in JAVA_FACTORIES),
            ),
            Sink(
                languages=("python",),
                check=lxml,
                names=("XMLParser", "iterparse", "XMLPullParser", "parse", "fromstring"),
                arms=(r"\b(?:resolve_entities|no_network|load_dtd)\s*=", r"\betree\.(?:parse|fromstring)\b"),
            ),
            Sink(languages=("python", "java"), check=sax_feature, names=("setFeature",)),
            Sink(
                languages=("c", "cpp"),
                check=noent,
                names=(
                    "xmlCtxtUseOptions",
                    "xmlReadFile",
                    "xmlReadMemory",
                    "xmlReadDoc",
                    "xmlCtxtReadFile",
                    "xmlCtxtReadMemory",
                    "xmlReadFd",
                ),
            ),
            Sink(
                languages=("php",),
                check=noent,
                names=("loadXML", "simplexml_load_string", "simplexml_load_file", "load"),
            ),
            Sink(languages=SCRIPTS, check=noent, names=("parseXml", "parseXmlString"), arms=(r"\bnoent\b",)),
            Sink(
                languages=("csharp",),
                check=dom_settings,
                names=("new XmlReaderSettings", "new XmlDocument"),
                arms=(r"DtdProcessing\.Parse",),
            ),
            Sink(languages=("csharp",), check=dom_settings, kind="assign", names=("DtdProcessing", "XmlResolver")),
        ),
        examples=(
            Example(
                language="java",
                bad="class A { void f(InputStream s) { DocumentBuilderFactory d = DocumentBuilderFactory.newInstance(); d.newDocumentBuilder().parse(s); } }\n",
                good='class A { void f(InputStream s) { DocumentBuilderFactory d = DocumentBuilderFactory.newInstance(); d.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true); d.newDocumentBuilder().parse(s); } }\n',
            ),
            Example(
                language="python",
                bad="def f(s):\n    return etree.parse(s, etree.XMLParser(resolve_entities=True))\n",
                good="def f(s):\n    return etree.parse(s, etree.XMLParser(resolve_entities=False))\n",
            ),
            Example(
                language="c",
                bad="void f(char *p) { xmlReadFile(p, 0, XML_PARSE_NOENT); }\n",
                good="void f(char *p) { xmlReadFile(p, 0, XML_PARSE_NONET); }\n",
            ),
        ),
    ),
)
