"""What is known by name: where outside data comes in, what makes it safe, what hands it on."""

import re

from firesteel.guard.value import EVERYTHING

CGI = r"^\w*(?:request|req|cgi|query)_\w*(?:param|query|header|cookie|arg)\w*\(\)$"  # C's web servers
SOURCES = {
    "python": (
        r"(?:^|\.)request\.(?:args|form|values|json|data|files|cookies|headers|GET|POST|REQUEST|params|query|body|META|FILES|"
        r"query_params|path_params|match_info|match_dict|matchdict|get_json|get_data|stream|rel_url|query_string|post|"
        r"url|path|full_path)\b|"
        r"^(?:input|raw_input)\(\)|^sys\.argv|\.get_(?:query_|body_)?arguments?\(\)|^flask\.request|\.getfirst\(\)|"
        r"^cherrypy\.request|\.recv\(\)$|^bottle\.request|\.getvalue\(\)$"
    ),
    "javascript": (
        r"(?:^|\.)(?:req|request|ctx|ctx\.request|context\.request)\.(?:query|params|param|body|headers|cookies|url|"
        r"originalUrl|path|files|file|get|header|querystring|rawBody|hostname)\b|"
        r"(?:^|\.)location(?:$|\.(?:hash|search|href|pathname))|^document\.(?:URL|documentURI|referrer|cookie|location)|"
        r"^window\.(?:name|location)|^process\.argv|(?:^|\.)searchParams\.get|URLSearchParams"
    ),
    "java": (
        r"\.(?:getParameter|getParameterValues|getParameterMap|getHeader|getHeaders|getQueryString|getCookies|getRequestURI|"
        r"getRequestURL|getPathInfo|getInputStream|getReader|getPart|getParts|getRemoteUser)\(\)$|^args$"
    ),
    "go": (
        r"\.(?:FormValue|PostFormValue|PathValue|URL\.Query|URL\.RawQuery|URL\.Path|Header\.Get|Referer|UserAgent|"
        r"Param|QueryParam|DefaultQuery|PostForm|BindJSON|Cookie|RequestURI)\b|^mux\.Vars|^chi\.URLParam|^os\.Args|"
        r"^c\.Query\(\)|(?:^|\.)r\.(?:Form|Body|Host)\b|^ps\.ByName|^vars\["
    ),
    "ruby": r"(?:^|\.)params(?:$|\[|\.)|^cookies\b|^request\.(?!remote_ip)\w+|^ARGV|^gets\b|^session\[|^STDIN\.",
    "php": r"^_(?:GET|POST|REQUEST|COOKIE|FILES|SERVER)\b|^argv|\.(?:input|query|request|get|post)\.get\(\)$",
    "c": r"^argv\b|^(?:getenv|gets|secure_getenv)\(\)|" + CGI,
    "cpp": r"^argv\b|^(?:std\.)?(?:getenv|gets|secure_getenv)\(\)|" + CGI,
    "csharp": (
        r"(?:^|\.)Request\.(?:Query|Form|QueryString|Params|Headers|Cookies|Path|Body|RawUrl|Url|Files)|^Request\[|"
        r"^Console\.ReadLine\(\)|^args$|RouteData\.Values"
    ),
    "rust": r"env\.args\b|(?:^|\.)query_string\(\)|\.match_info\(\)|\.into_inner\(\)$|^stdin\(\)",
    "bash": r"^(?:[1-9]|@|\*|REPLY|QUERY_STRING|HTTP_\w+)$",
}
SOURCES["typescript"] = SOURCES["javascript"]
SOURCE = {language: re.compile(pattern) for language, pattern in SOURCES.items()}

NUMERIC = re.compile(
    r"(?:^|\.)(?:int|float|len|bool|ord|abs|round|hash|id|parseInt|parseFloat|Number|Boolean|to_i|to_f|intval|floatval|"
    r"Atoi|ParseInt|ParseFloat|ParseBool|valueOf|parseLong|parseDouble|Int32\.Parse|int\.Parse|Guid\.Parse|time|now|"
    r"timestamp|uuid4|uuid1|randomUUID|count|size|length|strlen|getTime|currentTimeMillis|nextInt|randint|Now|Unix|Since|"
    r"isoformat|strftime|hexdigest|md5|sha1|sha256|digest|toFixed|indexOf|getpid|fileno|escape_int|Itoa|strtol|atoi)$"
)
CONVERTED = re.compile(  # functions: what is given comes back
    r"(?:^|\.)(?:str|unicode|text|String|u|b|bytes|bytearray|repr|dedent|b64decode|unquote|unquote_plus|urldecode|decodeURIComponent|"
    r"decodeURI|force_text|force_str|force_bytes|smart_str|smart_text|loads|dumps|parse|stringify|Sprint|strdup|TrimSpace|ToLower|"
    r"ToUpper|TrimPrefix|TrimSuffix|Replace|ReplaceAll|safe_load|template|valueOf|raw|deepcopy|copy|list|tuple|set|sorted|reversed|dict|"
    r"concat|json_encode|json_decode|trim|strtolower|strtoupper|urldecode|base64_decode|str_replace|sub|gsub|val)$"
)
PASSED_ON = re.compile(
    r"(?:^|\.)(?:strip|lstrip|rstrip|lower|upper|decode|encode|title|casefold|capitalize|trim|toString|to_s|to_str|String|"
    r"str|unicode|text|toLowerCase|toUpperCase|trimEnd|trimStart|substring|substr|slice|concat_ws|ToString|ToLower|"
    r"ToUpper|Trim|valueOf|to_string|to_owned|as_str|into|clone|c_str|data|unwrap|expect|unwrap_or_default|dedent|"
    r"b64decode|unquote|unquote_plus|urldecode|decodeURIComponent|decodeURI|force_text|force_str|smart_str|smart_text|u|b|"
    r"TrimSpace|ToLower|chomp|downcase|upcase|html_safe|raw|Sprint|as_bytes|as_ref|val|get|getlist|pop|first|TrimPrefix|"
    r"TrimSuffix|squish|presence|fetch|splitlines|split|bytes|bytearray|repr|copy|strdup|toArray|map|filter|sort|uniq|"
    r"unique|flatten|reverse|replace|replaceAll|sub|gsub|Replace|read|readlines|readline|__str__|"
    r"permit|require|dig|Get|to_path_buf|display|template|safe_load|loads|json|parse|stringify|dumps)$"
)
DECODED = re.compile(
    r"(?i)(?:^|[._])(?:decode|parse|load|deserial|unpack|unquote|unescape|decrypt)\w*$"
)  # still outside data
EMPTY = re.compile(
    r"^new (?:StringBuilder|StringBuffer|StringWriter|ArrayList|HashMap|Array)$|^(?:list|dict|io\.StringIO|StringIO)$"
)
JOINED_PATHS = re.compile(
    r"(?:^|\.)(?:path\.join|path\.resolve|File\.join|Paths\.get|Path\.of|filepath\.Join|Path\.Combine|Path|new File|"
    r"PurePath|"
    r"joinpath|new URL|urljoin|os\.path\.join|posixpath\.join|resolve|abspath|realpath|normpath|new FileInputStream|"
    r"expanduser|expand_path|path\.Join|PathBuf\.from|Path\.new|push|Pathname\.new|child|safe_path|normalize)$"
)
FORMATS = re.compile(
    r"(?:^|\.)(?:format|sprintf|snprintf|Sprintf|String\.format|string\.Format|format!|util\.format|Errorf|formatted|vsprintf|printf|"
    r"asprintf|MessageFormat\.format|format_map|Format)$"
)
SANITIZERS = {
    EVERYTHING: re.compile(
        r"(?i)(?:^|[._])(?!un|mark)\w*"
        r"(?:escap(?!ed_fragment)|sanit|clean|purif|(?<!mark_)(?<!un)safe_?(?!_load)|"
        r"valid|filter_var|whitelist|"
        r"allow_?list|slug|strip_tags)\w*!?$"
    ),
    "sql": re.compile(r"(?i)(?:quote|literal|identifier|adapt|mogrify|bindparams?|prepare|placeholders?|binds?)\w*$"),
    "shell": re.compile(r"(?i)(?:quote|escapeshell\w+|shellescape|list2cmdline|quoteattr)$"),
    "html": re.compile(
        r"(?i)(?:h|e|e_?html|esc\w*|translate|htmlspecialchars|htmlentities|encodeuri(?:component)?|urlencode|quote|quote_plus|tohtml\w*|markdown_safe|"
        r"html_?encode\w*|encode_?html|htmlencode|conditional_escape|format_html|linebreaks|json_encode|text|tag|content_tag|"
        r"link_to|render\w*|jsonify|create_?text_?node|json_script|xhtml_escape|queryescape|urlescape|i18n|gettext|ngettext|_|t)$"
    ),
    "path": re.compile(
        r"(?i)(?:basename|base|get_?filename\w*|secure_filename|safe_join|getfilename\w*|filepath\.base|path\.base|file_name|uuid\w*|is_relative_to|"
        r"relative_to|send_from_directory|extname|splitext|hexdigest|isalnum)$"
    ),
    "url": re.compile(r"(?i)(?:url_for|reverse|quote|quote_plus|urlencode|encodeuricomponent|url_has_allowed\w*)$"),
}
MARK = "\x01"  # stands for the variable in a line
CHECKED = re.compile(
    r"\x01[^\n]{0,80}\.(?:startswith|startsWith|StartsWith|start_with\?|is_relative_to|isalnum|isdigit|isidentifier|includes|"
    r"contains|Contains|HasPrefix|match|isdecimal|indexOf)\b|"
    r"(?i:(?:valid|check|sanit|safe|allow|permit|ensure|verify|restrict|commonp|fullmatch|re\.search|re\.match|isalnum|secure|"
    r"abort_if|strings\.contains|strings\.hasprefix|str_contains|strpos|preg_match|in_array|basename)\w*\s*\(?[^\n]{0,60}\x01)|"
    r"\x01[^\n]{0,20}\s(?:not\s+)?in\s+(?!range|enumerate)[A-Za-z_(\[{]|"
    r"[\"']\.\.[/\\]?[\"']\s*(?:not\s+)?in\s+[^\n]{0,40}\x01|"
    r"\x01(?:\.\w+)?\s*[!=]==?\s*[\"'A-Z]"
)


def is_sanitizer(name: str, kind: str) -> bool:
    """Whether the callee `name` makes text safe for `kind`."""
    if name.endswith((".text().html", "newFile().getName")):
        return kind == ("html" if name.endswith("html") else "path")
    return (
        SANITIZERS[kind].fullmatch(name.rsplit(".", 1)[-1]) is not None
        if kind not in (EVERYTHING, "sql", "shell")
        else SANITIZERS[kind].search(name) is not None
    )


def safe_kinds(name: str) -> tuple[str, ...]:
    """Return the classes that the callee `name` makes its argument safe for."""
    return tuple(kind for kind in SANITIZERS if is_sanitizer(name, kind))


def replaced_kinds(name: str, arguments: str) -> tuple[str, ...]:
    """Return what a text is safe for after characters were replaced or removed by the callee `name`."""
    if name.rsplit(".", 1)[-1] not in REPLACING:
        return ()
    if "[^" in arguments:  # all but those named
        return (EVERYTHING,)
    return tuple(
        kind
        for kind, mark in (("path", ".."), ("path", "\\.\\."), ("html", "<"), ("sql", "'\"'\""), ("sql", '"\'"'))
        if mark in arguments
    )


REPLACING = frozenset(
    (
        "replace",
        "replaceAll",
        "sub",
        "gsub",
        "tr",
        "delete",
        "preg_replace",
        "str_replace",
        "Replace",
        "ReplaceAllString",
    )
)


def is_checked(name: str, text: str) -> bool:
    """Whether `text`, the function up to here, looks at what is in the variable `name` before it is used."""
    if name not in text:
        return False
    variable = re.compile(rf"(?<![.\w]){re.escape(name)}(?![\w\[])")
    lines = (variable.sub(MARK, line) for line in text.split("\n") if name in line)
    return any(CHECKED.search(line) for line in lines)
