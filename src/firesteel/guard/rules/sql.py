"""SQL that is put together from data."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import ALL_LANGUAGES, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Hole, Level, Value

SQL = re.compile(
    r"(?is)^[\s(\"'`]*(?:with\s+\w+[^;]{0,400}?\bas\s*\(|explain\s+)?\s*"
    r"(?:select\b.{1,3000}?\bfrom\b|select\s+[\w(*\0].{0,200}\bwhere\b|insert\s+(?:or\s+\w+\s+)?(?:ignore\s+)?into\b|replace\s+into\b|"
    r"update\b.{1,300}?\bset\b|delete\s+from\b|create\s+(?:temp\w*\s+|unique\s+)?(?:table|view|index|user|database|role)\b|"
    r"drop\s+(?:table|view|index|user|database|schema)\b|alter\s+(?:table|user|role|database)\b|truncate\s+table\b|grant\s+\w|exec(?:ute)?\s+\w+\s|"
    r"call\s+\w+\s*\(|merge\s+into\b)"
)
CLAUSE = re.compile(
    r"(?is)^\s*(?:where\s+[\w.`\"\[\]]+\s*(?:[=<>!]|like\b|in\b)|and\s+[\w.`\"]+\s*(?:=|like\b|in\s*\()|order\s+by\s+\w|group\s+by\s+\w|"
    r"limit\s+\d*|values\s*\(|set\s+\w+\s*=)|^\s*[\w.`\"\0]+(?:\([\w.]*\))?\s+(?:i?like|in)\s*\(?\s*['\"%\0]|^\s*\w+\s*=\s*'\0'"
)
IDENTIFIER_BEFORE = re.compile(
    r"(?is)(?:\b(?:from|into|update|table|join|by|index|view|database|schema|on|select|distinct|exists|column|constraint|"
    r"truncate|user|role|as|asc|desc|add|to|using|set|only|collate|call|exec|like)\s+(?:if\s+(?:not\s+)?exists\s+)?[`\"\[]?|[\w\0`\"\]]\.[`\"\[]?|`|\[)$"
)
VALUE_BEFORE = re.compile(
    r"(?is)(?:[=<>]|\b(?:i?like|limit|offset|between|top|values|in|is|interval)\s*\(?|['\"%]|[(,]|\|\||[+\-*/])\s*$"
)
MENTIONED = re.compile(
    rb"(?i)\b(?:select|insert|replace|update|delete|create|drop|alter|truncate|grant|exec|call|merge)\b"
)
ORDINARY = re.compile(
    r"(?i)(?:^|\.)(?:log|logger|logging|debug|info|warn|warning|error|exception|critical|print|println|printf|fprintf|raise|"
    r"\w*(?:Error|Exception|Warning)|append|write|writeln|echo|format|_|gettext|fail|fatal|fatalf|errorf|assert\w*|equal\w*|"
    r"help|add_argument|option|puts|die|trace|notice|message|emit|say|reply|send|join|split|strip|sub|match|search|compile|"
    r"replace|len|str|dedent|lower|upper|push|isinstance|Sprintf|String|new \w*Exception)!?$"
)
TAKES_SQL = (
    "execute executemany executescript exec query raw read_sql read_sql_query executeQuery executeUpdate prepareStatement "
    "prepare nativeQuery createNativeQuery createQuery queryForObject queryForList run all get each Query QueryRow Exec "
    "ExecContext QueryContext QueryRowContext Raw mysql_query mysqli_query pg_query find_by_sql select_all select_value "
    "sqlite3_exec PQexec db_query $queryRawUnsafe sql_query ExecuteSqlRaw FromSqlRaw Execute "
)
FRAGMENTS = [
    "where",
    "order",
    "having",
    "group",
    "joins",
    "select",
    "find_by_sql",
    "exists?",
    "pluck",
    "calculate",
    "delete_all",
    "update_all",
    "find",
    "all",
    "count",
    "from",
    "whereRaw",
    "orderByRaw",
    "havingRaw",
    "selectRaw",
    "extra",
    "andWhere",
    "orWhere",
    "first",
    "last",
]
WORDS = (
    r"select\s+[\w*\"`(].|insert\s+(?:or\s+\w+\s+)?into\s|replace\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|"
    r"create\s+(?:table|user|database|view)\s|drop\s+(?:table|user|database)\s|alter\s+table\s|truncate\s+table\s|where\s+[\w.]+\s*(?:=|like|in)"
)
ARMS = (
    rf"(?i)[\"'`(\s](?:{WORDS})",
    r"(?i)\.(?:execute\w*|exec|query|raw|prepare\w*|queryfor\w+)\s*\(",
    r"\$queryRawUnsafe",
)


def risky_values(value: Value) -> tuple[Hole, ...]:
    """Return the holes of an SQL text that stand where values belong; of identifiers only those from outside."""
    found, end = [], -1
    for each in value.holes:
        end = value.skeleton.find(HOLE, end + 1)
        if end < 0:
            break
        if each.is_safe("sql"):
            continue
        before, after = value.skeleton[max(0, end - 200) : end], value.skeleton[end + 1 : end + 40]
        if each.level is Level.outside or not is_identifier(before, after):
            found.append(each)
    return tuple(found)


def is_identifier(before: str, after: str) -> bool:
    """Whether a hole between `before` and `after` names a table or a column, or is a whole clause: it cannot be bound."""
    if IDENTIFIER_BEFORE.search(before):
        return not re.search(r"(?is)\blike\s+[\"'%(]*$", before)
    if re.match(r"\s*(?:=|!=|<>|\bis\b|\bin\b|\blike\b)|\.|\s*\(", after) and not before.rstrip().endswith(
        ("=", "'", '"')
    ):
        return True
    if not VALUE_BEFORE.search(before):
        return True
    if before.rstrip().endswith(("(", ",")):  # a column list, unless values come here
        return not re.search(r"(?is)\bvalues\b|\bin\s*\(|\bwhere\b|\blimit\b|\bcall\b|\bset\b|\w\($", before)
    return False


def built_sql(site: Site) -> Match | None:
    """Find SQL with data in it among the arguments of a call."""
    if (
        not site.evaluator.mentions(MENTIONED)
        or ORDINARY.search(site.name)
        or (site.last in FRAGMENTS and site.evaluator.language == "ruby")
    ):
        return None
    for value in site.arguments()[:3]:
        match = _judged(value)
        if match is not None:
            return match
    return None


def printed_sql(site: Site) -> Match | None:
    """Find SQL with data in it that C prints into a buffer."""
    return _judged(site.evaluator.value(site.node)) if site.evaluator.mentions(MENTIONED) else None


def assigned_sql(site: Site) -> Match | None:
    """Find SQL with data in it that is kept in a variable or member."""
    if not site.evaluator.mentions(MENTIONED):
        return None
    value = site.argument(0)
    return _judged(value) if value is not None and value.cause is None else None


def grown_sql(site: Site) -> Match | None:
    """Find a clause with data in it that is added to SQL text."""
    node = site.node
    if node.type not in ("augmented_assignment", "augmented_assignment_expression", "operator_assignment"):
        return None
    value = site.argument(0)
    left = node.child_by_field_name("left")
    if value is None or left is None or not value.holes:
        return None
    whole = site.evaluator.definitions.before(site.name, node)
    base = [site.evaluator.value(each.value) for each in whole]
    if not any(SQL.match(each.skeleton) for each in base):
        return None
    text = Value("select a from b " + value.skeleton, value.holes)
    return _judged(text)


def fragment_sql(site: Site) -> Match | None:
    """Find a condition with data in it that is given to a query builder as text."""
    given = site.argument(0) or site.keyword("conditions", "order", "where")
    conditions = site.keyword("conditions", "order", "joins", "group", "where")
    for value in (given, conditions):
        if value is None or value.is_sequence or not value.is_built:
            continue
        is_sql = (
            SQL.match(value.skeleton)
            or CLAUSE.match(value.skeleton)
            or re.search(r"(?i)\w\(.*\0.*\)|\blike\s+'|\S\s*[=<>]\s*'?\0", value.skeleton)
        )
        if is_sql and any(not each.is_safe("sql") for each in value.holes) and not is_quoted_name(value):
            holes = site.unchecked(value.risky("sql"))
            return Match(value.cause, None, "data is part of the condition's text") if holes else None
        if value.level is Level.outside and site.last == "order" and site.unchecked(value.risky("sql")):
            return Match(value.cause, None, "outside data decides the order")
    return None


def is_quoted_name(value: Value) -> bool:
    """Whether only names of tables and columns were put in."""
    return bool(value.holes) and not risky_values(Value("select a from b where " + value.skeleton, value.holes))


def _judged(value: Value) -> Match | None:
    if not value.holes or value.is_sequence or not SQL.match(value.skeleton):
        return None
    risky = risky_values(value)
    if not risky:
        return None
    named = next((each.name for each in risky if each.name), "")
    return Match(
        value.cause, None, f"`{named}` becomes part of the SQL text" if named else "data becomes part of the SQL text"
    )


RULES = (
    Rule(
        id="FS201",
        title="SQL built from data",
        cwe=("CWE-89",),
        severity=Severity.critical,
        action=Action.rewrite,
        hint="bind values as parameters (placeholders in the text, values in a second argument); never put them into the SQL text",
        sinks=(
            Sink(languages=tuple(sorted(ALL_LANGUAGES - {"bash"})), check=built_sql, arms=ARMS),
            Sink(languages=tuple(sorted(ALL_LANGUAGES - {"bash"})), check=assigned_sql, kind="declare", arms=ARMS),
            Sink(
                languages=tuple(sorted(ALL_LANGUAGES - {"bash"})),
                check=grown_sql,
                kind="declare",
                arms=(r"(?i)\+=\s*\w{0,3}[\"'`]{1,3}\s*(?:where|and|or|values|set|limit|order|having|['\"(])",),
            ),
            Sink(languages=("csharp",), check=assigned_sql, kind="assign", names=("CommandText",)),
            Sink(languages=("c", "cpp"), check=printed_sql, names=("sprintf", "snprintf"), owner="|std"),
            Sink(
                languages=("ruby",),
                check=fragment_sql,
                names=tuple(FRAGMENTS),
                arms=(
                    r"\.(?:where|order|having|joins|find_by_sql|pluck|delete_all|update_all|exists\?)\b",
                    r":conditions\b",
                    r"\bconditions:",
                ),
            ),
            Sink(
                languages=("php", "javascript", "typescript"),
                check=fragment_sql,
                names=("whereRaw", "orderByRaw", "havingRaw", "selectRaw", "andWhere", "orWhere"),
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(db, name):\n    db.execute(f\"SELECT * FROM users WHERE name = '{name}'\")\n",
                good='def f(db, name):\n    db.execute("SELECT * FROM users WHERE name = ?", (name,))\n',
            ),
            Example(
                language="python",
                bad="def f(db, name):\n    sql = \"DELETE FROM users WHERE name = '%s'\" % name\n    db.execute(sql)\n",
                good='def f(db, table, ids):\n    marks = ",".join("?" * len(ids))\n    db.execute(f"DELETE FROM {table} WHERE id IN ({marks})", ids)\n',
            ),
            Example(
                language="javascript",
                bad="db.query(`SELECT * FROM users WHERE id = ${req.params.id}`, done);\n",
                good='db.query("SELECT * FROM users WHERE id = ?", [req.params.id], done);\n',
            ),
            Example(
                language="java",
                bad='class A { void f(String n) { st.executeQuery("SELECT * FROM t WHERE n = \'" + n + "\'"); } }\n',
                good='class A { void f(String n) { p = c.prepareStatement("SELECT * FROM t WHERE n = ?"); p.setString(1, n); } }\n',
            ),
            Example(
                language="go",
                bad="func f(n string) { rows, err := db.Query(fmt.Sprintf(\"SELECT a FROM t WHERE n = '%s'\", n)) }\n",
                good='func f(n string) { rows, err := db.Query("SELECT a FROM t WHERE n = $1", n) }\n',
            ),
            Example(
                language="ruby",
                bad="def f\n  User.where(\"name = '#{params[:name]}'\")\nend\n",
                good='def f\n  User.where("name = ?", params[:name])\nend\n',
            ),
            Example(
                language="php",
                bad='function f($db) { $db->query("SELECT * FROM t WHERE id = " . $_GET["id"]); }\n',
                good='function f($db) { $s = $db->prepare("SELECT * FROM t WHERE id = ?"); $s->execute([$_GET["id"]]); }\n',
            ),
            Example(
                language="csharp",
                bad='class A { void F(string n) { var c = new SqlCommand("SELECT * FROM t WHERE n = \'" + n + "\'", db); } }\n',
                good='class A { void F(string n) { var c = new SqlCommand("SELECT * FROM t WHERE n = @n", db); c.Parameters.AddWithValue("@n", n); } }\n',
            ),
            Example(
                language="rust",
                bad="fn f(c: &Connection, n: &str) { c.execute(&format!(\"DELETE FROM t WHERE n = '{}'\", n), []); }\n",
                good='fn f(c: &Connection, n: &str) { c.execute("DELETE FROM t WHERE n = ?1", [n]); }\n',
            ),
        ),
    ),
)
