"""Commands that a shell runs, put together from data."""

from msgspec.structs import replace

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level, Value


def judged(value: Value | None, site: Site, is_shell_certain: bool = True) -> Match | None:
    """Judge the text of a command: built from anything unknown, or wholly given from outside or by the caller."""
    if value is None or value.is_sequence:
        return None
    risky = value.risky("shell")
    if not risky:
        return None
    named = next((hole.name for hole in risky if hole.name), "data")
    reason = f"`{named}` becomes part of a shell command"
    if value.level is Level.outside:
        return Match(value.cause, None, reason)
    if value.is_built and (value.skeleton.strip(HOLE + " \"'") or len(value.holes) > 1):
        return Match(value.cause, None, reason)
    if value.level is Level.parameter and is_shell_certain:
        return Match(value.cause, None, f"`{named}` is run by a shell as it is")
    return None


def always_shell(site: Site) -> Match | None:
    """Judge the first argument of what always starts a shell; Ruby does without one for several arguments."""
    given = site.positional()
    is_several = len(given) > 1 or (given and given[0].type == "splat_argument")
    if is_several and site.evaluator.language == "ruby" and site.last != "popen":
        return None
    return judged(site.first("command", "cmd", "args"), site)


def shell_true(site: Site) -> Match | None:
    """Judge a subprocess call that asks for a shell."""
    if site.flag("shell") != "true":
        return None
    value = site.first("args", "cmd")
    return judged(replace(value, is_sequence=False), site) if value is not None else None


def split_command(site: Site) -> Match | None:
    """Find a command line that is cut at spaces: a value with a space becomes several arguments."""
    given = site.positional()
    if not given or site.flag("shell") == "true":
        return None
    text = site.evaluator.text(given[0]).replace(" ", "")
    value = site.argument(0)
    if (
        value is None
        or not text.endswith((".split()", '.split("")', ".split('')"))
        or not value.risky("shell", Level.parameter)
    ):
        return None
    return Match(value.cause, Action.warn, "a command line is cut at its spaces, so data can add arguments")


def node_exec(site: Site) -> Match | None:
    """Judge `exec` of Node's child_process, by whatever name the module goes; regular expressions have one too."""
    value = site.argument(0)
    if site.owner and site.owner.rsplit(".", 1)[-1].lower() not in (
        "child_process",
        "cp",
        "child",
        "childprocess",
        "shell",
        "shelljs",
        "require()",
        "proc",
        "process",
    ):
        return None
    return judged(value, site, bool(site.owner))


def node_spawn(site: Site) -> Match | None:
    """Judge `spawn` with a shell."""
    value = site.argument(0)
    return judged(value, site) if site.flag("shell") == "true" else shell_dash_c(site)


def shell_dash_c(site: Site) -> Match | None:
    """Judge `sh -c TEXT`, given as arguments of whatever starts programs."""
    values = [part for value in site.arguments()[:3] for part in (value,)]
    nodes = site.positional()
    texts = site.evaluator.text(site.node)[:4000]
    if not any(mark in texts for mark in ('"-c"', "'-c'", '"/c"', "'/c'", '"/C"')):
        return None
    for node, value in zip(nodes, values, strict=False):
        risky = value.risky("shell")
        if risky and (value.is_sequence or node is nodes[-1]):
            return Match(
                value.cause,
                None if value.level >= Level.parameter else Action.warn,
                f"`{risky[0].name or 'data'}` is run by a shell",
            )
    return None


def backticks(site: Site) -> Match | None:
    """Judge a command between backticks."""
    holes = [
        hole
        for part in site.node.named_children
        for hole in site.evaluator.value(part).risky("shell")
        if part.type not in ("string_content",)
    ]
    if not holes:
        return None
    level = max(hole.level for hole in holes)
    return Match(
        None,
        None if level >= Level.parameter else Action.warn,
        f"`{holes[0].name or 'data'}` becomes part of a shell command",
    )


def kernel_open(site: Site) -> Match | None:
    """Find Ruby's `open` with a name that may begin with a pipe."""
    value = site.argument(0)
    if value is None or not value.risky("path", Level.parameter) or (value.skeleton[:1] != HOLE):
        return None
    is_explicit = site.owner == "Kernel"
    return Match(
        value.cause,
        None if is_explicit or value.level is Level.outside else Action.warn,
        "a name that begins with | is run as a command",
    )


def program(site: Site) -> Match | None:
    """Judge a program name or command line that is given from outside."""
    for value in site.arguments()[:2]:
        if value.level is Level.outside and value.risky("shell"):
            return Match(value.cause, None, "outside data decides what is run")
    line = site.argument(0)
    rest = site.argument(1)
    if (
        rest is not None
        and rest.is_built
        and rest.skeleton.lstrip().lower().startswith(("/c", "-c"))
        and rest.risky("shell")
    ):
        return Match(rest.cause, None, "data becomes part of a command line")
    is_line = line is not None and line.is_built and not line.is_sequence and " " in line.skeleton
    if line is not None and is_line and line.risky("shell"):
        return Match(line.cause, None, "data becomes part of a command line")
    return None


def bash_eval(site: Site) -> Match | None:
    """Judge what the shell is asked to evaluate."""
    for value in site.arguments():
        if value.risky("shell"):
            return Match(
                value.cause,
                None if value.level >= Level.parameter else Action.warn,
                "a variable is evaluated as a command",
            )
    return None


PYTHON_RUNS = (
    "run",
    "call",
    "Popen",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "create_subprocess_shell",
)

HINT = "pass a list of arguments and no shell (subprocess.run([...]), execFile, exec.Command); quote what must go through one"


RULES = (
    Rule(
        id="FS211",
        title="Shell command built from data",
        cwe=("CWE-78", "CWE-77", "CWE-88"),
        severity=Severity.critical,
        action=Action.rewrite,
        hint=HINT,
        sinks=(
            Sink(
                languages=("python",),
                check=always_shell,
                names=("system", "popen", "popen2", "popen3", "popen4"),
                owner=r"os|popen2|os\.\w+|posix|commands",
            ),
            Sink(
                languages=("python",),
                check=always_shell,
                names=("getoutput", "getstatusoutput", "create_subprocess_shell"),
                owner=r".*\b(?:subprocess|commands|asyncio)",
            ),
            Sink(
                languages=("python",),
                check=shell_true,
                names=(*PYTHON_RUNS, "execute", "run_command", "shell", "sudo", "local"),
                arms=(r"\bshell\s*=\s*True",),
            ),
            Sink(languages=("python",), check=always_shell, names=("exec_command",), owner=r".*(?:ssh|client|conn)\w*"),
            Sink(
                languages=("python",),
                check=split_command,
                names=PYTHON_RUNS,
                owner=r"subprocess|sp|",
                arms=(r"\.split\(\s*(?:[\"'] [\"'])?\)",),
            ),
            Sink(languages=SCRIPTS, check=node_exec, names=("exec", "execSync")),
            Sink(languages=SCRIPTS, check=node_spawn, names=("spawn", "spawnSync", "execFile", "execFileSync")),
            Sink(
                languages=("java",), check=program, names=("exec",), owner=r".*(?:[rR]untime|getRuntime\(\)|\brt|\br)"
            ),
            Sink(languages=("java",), check=shell_dash_c, names=("new ProcessBuilder", "command", "exec")),
            Sink(languages=("go",), check=shell_dash_c, names=("Command", "CommandContext"), owner="exec"),
            Sink(languages=("rust",), check=shell_dash_c, names=("arg", "args"), arms=(r"\"-c\"",)),
            Sink(
                languages=("ruby",),
                check=always_shell,
                names=("system", "exec", "spawn", "popen", "capture2", "capture3", "capture2e", "popen3"),
                owner=r"|Kernel|IO|Open3|Process",
            ),
            Sink(languages=("ruby", "php"), check=backticks, names=("`",), arms=(r"`[^`\n]{0,200}[#$]",)),
            Sink(languages=("ruby",), check=kernel_open, names=("open",), owner=r"|Kernel|URI"),
            Sink(
                languages=("php",),
                check=always_shell,
                names=("exec", "shell_exec", "system", "passthru", "popen", "proc_open"),
                owner="",
            ),
            Sink(languages=("c", "cpp"), check=always_shell, names=("system", "popen"), owner="|std"),
            Sink(languages=("csharp",), check=program, names=("Start",), owner=".*Process"),
            Sink(languages=("bash",), check=bash_eval, names=("eval",)),
        ),
        examples=(
            Example(
                language="python",
                bad='def f(host):\n    os.system("ping -c1 " + host)\n',
                good='def f(host):\n    subprocess.run(["ping", "-c1", host], check=True)\n',
            ),
            Example(
                language="python",
                bad='def f(name):\n    cmd = f"git show {name}"\n    subprocess.check_output(cmd, shell=True)\n',
                good='def f(name):\n    cmd = f"git show {shlex.quote(name)}"\n    subprocess.check_output(cmd, shell=True)\n',
            ),
            Example(
                language="javascript",
                bad='exec("convert " + file + " out.png", done);\n',
                good='execFile("convert", [file, "out.png"], done);\n',
            ),
            Example(
                language="java",
                bad='class A { void f(String h) { Runtime.getRuntime().exec("ping " + h); } }\n',
                good='class A { void f(String h) { new ProcessBuilder("ping", h).start(); } }\n',
            ),
            Example(
                language="go",
                bad='func f(n string) { exec.Command("sh", "-c", "ls "+n).Run() }\n',
                good='func f(n string) { exec.Command("ls", n).Run() }\n',
            ),
            Example(
                language="ruby",
                bad='def f(name)\n  system("ls #{name}")\nend\n',
                good='def f(name)\n  system("ls", name)\nend\n',
            ),
            Example(
                language="php",
                bad='function f() { shell_exec("ls " . $_GET["d"]); }\n',
                good='function f() { shell_exec("ls " . escapeshellarg($_GET["d"])); }\n',
            ),
            Example(
                language="c",
                bad='void f(char *n) { char b[99]; snprintf(b, 99, "ls %s", n); system(n); }\n',
                good='void f(char *n) { execl("/bin/ls", "ls", n, NULL); }\n',
            ),
            Example(
                language="csharp",
                bad='class A { void F(string n) { Process.Start("cmd.exe /c dir " + n); } }\n',
                good='class A { void F(string n) { Process.Start("dir", new[] { n }); } }\n',
            ),
            Example(
                language="rust",
                bad='fn f(n: &str) { Command::new("sh").arg("-c").arg(format!("ls {}", n)).output(); }\n',
                good='fn f(n: &str) { Command::new("ls").arg(n).output(); }\n',
            ),
            Example(language="bash", bad='f() {\n  eval "ls $1"\n}\n', good='f() {\n  ls -- "$1"\n}\n'),
        ),
    ),
)
