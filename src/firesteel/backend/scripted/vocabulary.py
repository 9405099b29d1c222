"""The vocabulary of the scripted model: control tokens, the 256 bytes, common pieces of Python and English.

Ids are positions in that order. The two tokens after which a reply begins come first, the end token third.
"""

CONTROLS = (
    "<|assistant|>",
    "<|fim_middle|>",
    "<|end|>",
    "<|system|>",
    "<|user|>",
    "<|tool|>",
    "<|tools|>",
    "<|tool_choice|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|begin|>",
)
ASSISTANT, FIM_MIDDLE, END, SYSTEM, USER, TOOL, TOOLS, TOOL_CHOICE, FIM_PREFIX, FIM_SUFFIX = range(10)
NUM_REPLY_MARKERS = 2  # ids below this one open a reply
NUM_CONTROLS = len(CONTROLS)

# Each word is a piece with and without a space before it.
_WORDS = """
self return the def one raise not and for isinstance value file object class import except else context name
filename default module string other from path data encoding argument type line with function exception result
append args that format message bytes version number read arguments address list option timeout error this
method buffer get elif instance try size current code socket source print action mode offset directory loop
len are init lines close key set values check server time will stream tuple should frame first all strings
property stack dict start int called handle text while str prefix continue methods output names only must new
arg count create defaults info before func can join position items pass index objects available break global
options have functions attribute empty process optional base convert match input length remove assert end
level event cache files fields width after using next help item range yield example test use request parse
sequence True False None Error async await lambda config total key model token tokens user users order orders
cell load save build find merge sum sorted max min float bool enumerate zip update json logger account in is
as if or of to it by on be an a
"""

# Pieces as they stand.
_BIGRAMS = """
se re el er th sel te en le at de lf he st et es me al ar ti ne nt co nd ro ed ur ion ra ta ing ng ec li
tr tur am io tu ame tio na il ct ce ef ex ot pe urn ri no ret od ss ea lo ent ac ma si ve la nc ile rt di
ca ns ll ad rr ge pr mp ou im fil un ue po ut op om ls ha ter ai pt ch ul ck rs ror oc cl ect ep ine lin
os con res mo em ic ate ort hi ext ho da lu ess wi su por cod ise pat ob mod ver exc par get_ set_ is_
to_ from_ _id _name __init__ self. _path _list _value ers ment able ally ight ould ough ound ist ity ive
ous ful
"""

# Separated by single spaces; the symbol for a blank is written as a middle dot.
_SYMBOLS = (
    """
): """
    + '"""'
    + """ () ', (' ': == ", ") (" )) ---- ·>>> ") #### ), ). (): -- != += -= *= /= ==== ]) '. [] [' '), ] ']
... ": ·[] ·{} ·· ={ :: ,· .· :· ;· ·=· ·==· ·!=· ·+· ·-· ·*· ·/· ·+=· ·->· ·>· ·>=· ·<=· (" ·(· ·#·
·# ·" ·' ="· ** ·** // ·% [: [0] [1] :] ]: ]( [" "] "]· {" "} }, {} }) ·{ "," ":" ):· ·0 ·1 00 ·10
0. 1. ,·" )· )·->·
""".replace("\n", " ")
)


def _indentations() -> list[str]:
    """Return runs of blanks, alone and after line ends. No piece has a letter after a line end."""
    blanks = [" " * count for count in (2, 3, 4, 8, 12, 16, 20, 24)]
    ends = [f"{end}{' ' * count}" for end in ("\n", ":\n", "\n\n", ")\n", "):\n") for count in (0, 4, 8, 12, 16)]
    return [*blanks, *ends, "\n\n\n", "\n\n\n\n", ",\n", ",\n    ", ",\n        ", "\t", "\t\t"]


def pieces() -> list[str]:
    """Return the pieces of two and more characters, without doubles, in a fixed order."""
    words = [form for word in _WORDS.split() for form in (word, " " + word)]
    symbols = [symbol.replace("·", " ") for symbol in _SYMBOLS.split()]
    extra = [
        "def ",
        "return ",
        "import ",
        "<tool_call>",
        "</tool_call>",
        '{"name": "',
        '", "arguments": {',
        '": "',
    ]
    unique = dict.fromkeys([*words, *_BIGRAMS.split(), *symbols, *_indentations(), *extra])
    return [piece for piece in unique if len(piece) > 1]
