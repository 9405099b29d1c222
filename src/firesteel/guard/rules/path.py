"""File names that somebody else chooses: path traversal."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level, Value

NAMES_A_FILE = re.compile(
    r"(?i)(?:file|path|name|key|dir|folder|src|dest|url|uri|page|image|img|doc|template|id$|goal)"
)

OWN_CHOICE = re.compile(
    r"argv|^args\b|^input|^raw_input|^gets|^ARGV"
)  # whoever runs the program may open what they like

ARCHIVE = re.compile(
    r"(?i)(?:entry|zip|tar|jar|member|\be\b|\bje\b|\bze\b|file|next)\w*(?:\(\))?\.(?:getName|name|filename|Name|FullName)\b"
)


def opened(site: Site) -> Match | None:
    """Judge the names of files that are opened, moved or removed."""
    for index, value in enumerate(site.arguments()[:2]):
        match = judged(site, value, index)
        if match is not None:
            return match
    return None


def judged(site: Site, value: Value, index: int) -> Match | None:
    """Judge one path: from outside it is taken back; a parameter that ends a path is told of."""
    risky = site.unchecked(value.risky("path", Level.parameter), index)
    if not risky:
        return None
    outside = next((hole for hole in risky if hole.level is Level.outside), None)
    if outside is not None and OWN_CHOICE.search(outside.name):
        return Match(value.cause, Action.observe, f"`{outside.name}` decides which file")
    if outside is not None:
        return Match(value.cause, None, f"`{outside.name or 'outside data'}` decides which file")
    is_base = len(value.holes) == 1 and value.skeleton.startswith(HOLE)
    if value.is_built and risky[-1] is value.holes[-1] and not is_base and NAMES_A_FILE.search(risky[-1].name):
        return Match(value.cause, Action.observe, f"the caller's `{risky[-1].name}` may hold `..`")
    return None


def joined(site: Site) -> Match | None:
    """Judge a path that is put together from a folder and a name which the caller gives, in a function that only does that."""
    values = site.arguments()
    if len(values) < 2 or ARCHIVE.search(site.text()) or any(ARCHIVE.search(hole.name) for hole in values[-1].holes):
        return None  # archives have a check of their own
    last = values[-1]
    risky = site.unchecked(last.risky("path", Level.parameter))
    if not risky or (last.is_built and not last.skeleton.startswith(HOLE)):
        return None
    if any(hole.level is Level.outside for hole in risky):
        return Match(last.cause, None, f"`{risky[0].name}` decides which file")
    return (
        Match(last.cause, Action.observe, f"the caller's `{risky[0].name}` may hold `..`")
        if NAMES_A_FILE.search(risky[0].name)
        else None
    )


def sent(site: Site) -> Match | None:
    """Judge the name of a file that is sent to a client."""
    values = site.arguments()[:1]
    for value in values:
        risky = site.unchecked(value.risky("path", Level.parameter))
        if risky:
            action = None if value.level is Level.outside else Action.warn
            return Match(value.cause, action, f"`{risky[0].name or 'data'}` decides which file is sent")
    return None


PYTHON_OPENS = (
    "open",
    "remove",
    "unlink",
    "rmtree",
    "rmdir",
    "move",
    "copy",
    "copyfile",
    "copytree",
    "rename",
    "makedirs",
    "isfile",
    "listdir",
    "read_text",
    "write_text",
    "file",
    "FileInput",
    "fdopen",
    "loadtxt",
    "safe_open",
    "mkdir",
    "isdir",
)

NODE_OPENS = (
    "readFile",
    "readFileSync",
    "createReadStream",
    "writeFile",
    "writeFileSync",
    "createWriteStream",
    "unlink",
    "unlinkSync",
    "rmSync",
    "appendFile",
    "readdir",
    "rmdir",
    "stat",
    "existsSync",
)


RULES = (
    Rule(
        id="FS231",
        title="Path from data",
        cwe=("CWE-22", "CWE-23", "CWE-36", "CWE-73", "CWE-29"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="reduce the name to its last part (os.path.basename) or resolve the path and check that it lies inside the folder before it is used",
        sinks=(
            Sink(
                languages=("python",),
                check=opened,
                names=PYTHON_OPENS,
                owner=r"|io|os|os\.path|shutil|codecs|gzip|builtins|zipfile|aiofiles|Path\(\)|pathlib\.Path\(\)|anyio|tarfile|bz2|np|numpy",
            ),
            Sink(
                languages=("python",),
                check=joined,
                names=("join", "joinpath"),
                owner=r"os\.path|path|posixpath|.*[pP]ath(?:\(\))?",
            ),
            Sink(
                languages=("python",),
                check=sent,
                names=("send_file", "static_file", "FileResponse", "sendfile", "serve_file", "get_template"),
                owner=r"|flask|bottle|web|responses|cherrypy\.lib\.static|env|loader",
            ),
            Sink(languages=("python",), check=opened, names=("Path", "PurePath"), owner="|pathlib"),
            Sink(
                languages=SCRIPTS, check=opened, names=NODE_OPENS, owner=r"|fs|fsp|fs\.promises|fse|promises|fsPromises"
            ),
            Sink(
                languages=SCRIPTS,
                check=sent,
                names=("sendFile", "download", "sendfile"),
                owner=r"res|response|ctx|reply",
            ),
            Sink(
                languages=("java",),
                check=opened,
                names=(
                    "new FileInputStream",
                    "new FileOutputStream",
                    "new FileReader",
                    "new FileWriter",
                    "newInputStream",
                    "readAllBytes",
                    "new RandomAccessFile",
                    "readString",
                ),
            ),
            Sink(languages=("java",), check=joined, names=("new File",)),
            Sink(languages=("java",), check=opened, names=("new File",)),
            Sink(
                languages=("go",),
                check=opened,
                names=("Open", "ReadFile", "Create", "Remove", "OpenFile", "WriteFile", "RemoveAll", "ServeFile"),
                owner=r"os|ioutil|http",
            ),
            Sink(
                languages=("ruby",),
                check=opened,
                names=("open", "read", "new", "delete", "binread", "readlines", "write"),
                owner="File|IO|FileUtils|Pathname|Dir",
            ),
            Sink(languages=("ruby",), check=sent, names=("send_file",)),
            Sink(
                languages=("php",),
                check=opened,
                names=(
                    "fopen",
                    "file_get_contents",
                    "readfile",
                    "file_put_contents",
                    "unlink",
                    "include",
                    "require",
                    "file",
                    "move_uploaded_file",
                    "copy",
                ),
                owner="",
            ),
            Sink(
                languages=("csharp",),
                check=opened,
                names=(
                    "ReadAllText",
                    "ReadAllBytes",
                    "OpenRead",
                    "Open",
                    "Delete",
                    "WriteAllText",
                    "new FileStream",
                    "new StreamReader",
                    "PhysicalFile",
                ),
                owner=r"|File|System\.IO\.File",
            ),
            Sink(
                languages=("rust",),
                check=opened,
                names=("open", "read_to_string", "create", "remove_file", "read", "write"),
                owner=r"File|fs|std\.fs|tokio\.fs",
            ),
            Sink(
                languages=("c", "cpp"),
                check=opened,
                names=("fopen", "open", "unlink", "remove", "rename", "opendir", "access", "mkdir", "rmdir"),
                owner="|std",
            ),
        ),
        examples=(
            Example(
                language="python",
                bad='@app.route("/f")\ndef f():\n    return open("files/" + request.args["name"]).read()\n',
                good='@app.route("/f")\ndef f():\n    return open("files/" + os.path.basename(request.args["name"])).read()\n',
            ),
            Example(
                language="javascript",
                bad="app.get('/', (req, res) => { fs.readFile('files/' + req.query.name, done); });\n",
                good="app.get('/', (req, res) => { fs.readFile('files/' + path.basename(req.query.name), done); });\n",
            ),
            Example(
                language="go",
                bad='func f(w http.ResponseWriter, r *http.Request) { b, err := os.ReadFile("files/" + r.FormValue("n")) }\n',
                good='func f(w http.ResponseWriter, r *http.Request) { b, err := os.ReadFile("files/" + filepath.Base(r.FormValue("n"))) }\n',
            ),
            Example(
                language="ruby",
                bad='def f\n  File.read("files/#{params[:n]}")\nend\n',
                good='def f\n  File.read("files/#{File.basename(params[:n])}")\nend\n',
            ),
            Example(
                language="php",
                bad='function f() { include "pages/" . $_GET["page"]; }\n',
                good='function f() { include "pages/" . basename($_GET["page"]); }\n',
            ),
            Example(
                language="csharp",
                bad='class A { void F() { File.ReadAllText("files/" + Request.Query["n"]); } }\n',
                good='class A { void F() { File.ReadAllText("files/" + Path.GetFileName(Request.Query["n"])); } }\n',
            ),
        ),
    ),
)
