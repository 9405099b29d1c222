"""Later sources win, and what is wrong is said with its name, its place and the remedy."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import firesteel
from firesteel.config import EngineConfig, ServerConfig
from firesteel.errors import ConfigError
from firesteel.settings.resolve import OTHER_VARIABLES, Settings, find_file, resolve
from firesteel.settings.setting import base
from firesteel.settings.table import SETTINGS

PORTS = st.none() | st.integers(1, 65535)


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str, *, environment: dict[str, str] | None = None, **flags: Any) -> Settings:
    Path("given.toml").write_text(text)
    return resolve(flags, environment or {}, "given.toml")


def test_without_anything_the_defaults_are_those_of_the_configs() -> None:
    settings = resolve({}, {"HOME": "/nonexistent"})
    disk = SETTINGS["disk_cache"].default * 1_000_000
    cache = SETTINGS["cache_mb"].default * 1_000_000
    assert settings.engine() == EngineConfig(disk_bytes=disk, cache_bytes=cache)
    assert settings.server() == ServerConfig(max_body_bytes=16_000_000, guard="rewrite")  # who embeds a server asks


@given(PORTS, PORTS, PORTS)
def test_later_ones_win_and_say_so(file: int | None, variable: int | None, flag: int | None) -> None:
    environment = {} if variable is None else {"FIRESTEEL_PORT": str(variable)}
    flags = {} if flag is None else {"port": flag}
    value = read("" if file is None else f"port = {file}", environment=environment, **flags).values["port"]
    found = [
        (port, where) for port, where in ((flag, "--port"), (variable, "FIRESTEEL_PORT"), (file, "given.toml")) if port
    ]
    assert (value.value, value.where) == (found[0] if found else (8080, ""))


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_fills_a_field_that_is_there_and_says_what_it_is_for(name: str) -> None:
    owner, _, field = SETTINGS[name].field.partition(".")
    fields = {"engine": EngineConfig, "server": ServerConfig}[owner].__struct_fields__
    assert field in fields
    assert SETTINGS[name].help.endswith((".", ")"))
    assert not (SETTINGS[name].is_live and owner == "engine"), "only the server's settings can change while it runs"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("port = " + "{a = " * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("a." * 5000 + "b = 1", "nested too deeply"),
        ("port = " + "9" * 5000, "is not TOML"),
    ],
    ids=["lists", "tables", "dotted", "digits"],
)
def test_a_file_that_would_break_its_reader_is_a_clear_error(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"given.toml {'is ' * (reason[0] == 'n')}{reason}"):
        read(text)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_default_of_each_setting_is_one_that_it_takes(name: str) -> None:
    setting = SETTINGS[name]
    if setting.default is not None:
        assert setting.convert(setting.default, "default") == setting.default


@pytest.mark.parametrize(
    "wrong", ['port = "8080"', "port = 0", "port = 65536", "port = true", "port = 1.5", "port = [1]"]
)
def test_a_value_that_cannot_be_names_place_setting_and_remedy(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"given.toml: `port` takes a whole number from 1 to 65535, not"):
        read(wrong)


def test_text_is_read_as_what_the_setting_takes() -> None:
    environment = {
        "FIRESTEEL_ACCEPT_ANY_MODEL": "true",
        "FIRESTEEL_GRACE": "2.5",
        "FIRESTEEL_DRAFTERS": "suffix, ngram",
    }
    settings = read("", environment=environment)
    assert settings.server().accept_any_model
    assert settings.server().grace_seconds == 2.5
    assert settings.engine().drafters == ("ngram", "suffix")
    with pytest.raises(ConfigError, match="FIRESTEEL_GRACE: `grace` takes a number from 0 to 1000000, not 'soon'"):
        read("", environment={"FIRESTEEL_GRACE": "soon"})
    with pytest.raises(ConfigError, match=r"FIRESTEEL_BACKEND: `backend` takes one of auto, .*scripted"):
        read("", environment={"FIRESTEEL_BACKEND": "magic"})


FLOATS = [name for name, setting in SETTINGS.items() if base(setting.takes) is float and name != "yarn"]


@pytest.mark.parametrize("name", FLOATS)  # the model bounds `yarn`
@pytest.mark.parametrize("wrong", ["inf", "nan", "-inf", "1e300", "1000001"])
def test_a_number_that_nobody_means_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` takes a number from .* to 1000000, not"):
        read("", environment={SETTINGS[name].variable: wrong})
    with pytest.raises(ConfigError, match=f"`{name}` takes a number from .* to 1000000, not"):
        read(f"{name} = {wrong}")


@pytest.mark.parametrize(
    ("wrong", "near"), [("prot = 1", "port"), ("[max]\nqeue = 1", "max_queue"), ("kv-type = 'f16'", "kv_type")]
)
def test_an_unknown_key_names_the_nearest_known_one(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no setting .*; did you mean `{near}`"):
        read(wrong)


def test_an_unknown_key_like_nothing_names_where_all_are_listed() -> None:
    with pytest.raises(ConfigError, match="`zzzzzz`; remove it; `firesteel config show`"):
        read("zzzzzz = 1")


def test_an_unknown_variable_is_a_warning() -> None:
    (warning,) = read("", environment={"FIRESTEEL_PROT": "1", "FIRESTEEL_HOME": "/tmp"}).warnings
    assert "FIRESTEEL_PROT" in warning
    assert "FIRESTEEL_PORT?" in warning


@pytest.mark.parametrize("wrong", ["port = ", "port = 1\nport = 2", "[", "\x00"])
def test_a_file_that_is_no_toml_says_where(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"given.toml is not TOML: .*\(at "):
        read(wrong)


def test_files_are_found_in_the_order_that_is_documented(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path / "home")}
    assert find_file(None, {**environment, "XDG_CONFIG_HOME": str(tmp_path / "none")}) in (
        None,
        Path("/etc/firesteel/firesteel.toml"),
    )
    home = tmp_path / "home/.config/firesteel/firesteel.toml"
    other = tmp_path / "xdg/firesteel/firesteel.toml"
    for path in (home, other, tmp_path / "named.toml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert find_file(None, environment) == home
    assert find_file(None, {**environment, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == other
    Path("firesteel.toml").write_text("")
    assert find_file(None, environment) == Path("firesteel.toml")
    named = {**environment, "FIRESTEEL_CONFIG": str(tmp_path / "named.toml")}
    assert find_file(None, named) == tmp_path / "named.toml"
    assert find_file(str(home), named) == home
    with pytest.raises(ConfigError, match=r"no configuration file gone.toml; correct --config"):
        find_file("gone.toml", environment)
    with pytest.raises(ConfigError, match=r"no configuration file gone.toml; correct FIRESTEEL_CONFIG"):
        find_file(None, {"FIRESTEEL_CONFIG": "gone.toml"})


SECRET = "s3cret-key"


def test_no_secret_is_shown_and_none_in_an_error() -> None:
    settings = read(f'api_key = ["{SECRET}", "other"]')
    value = settings.values["api_key"]
    assert settings.server().api_keys == (SECRET, "other")
    assert value.setting.shown(value.value) == "<2 hidden>"
    assert SECRET not in repr(settings.server())
    with pytest.raises(ConfigError) as caught:
        read(f'api_key = [["{SECRET}"]]')
    assert SECRET not in str(caught.value)


def test_every_variable_that_the_code_names_is_known() -> None:
    source = Path(firesteel.__file__).parent
    names = {
        name for path in source.rglob("*.py") for name in re.findall(r"\bFIRESTEEL_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert not names - OTHER_VARIABLES - {setting.variable for setting in SETTINGS.values()}


def test_a_file_with_a_secret_that_others_can_read_is_a_warning() -> None:
    Path("given.toml").touch(mode=0o600)
    assert read('api_key = ["a"]').warnings == ()
    Path("given.toml").chmod(0o644)
    (warning,) = read('api_key = ["a"]').warnings
    assert "chmod 600 given.toml" in warning
    assert read("port = 1").warnings == ()


def test_a_list_that_holds_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"FIRESTEEL_API_KEY: `api_key` takes a list of text.*it holds none"):
        read("", environment={"FIRESTEEL_API_KEY": " , "})


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.integers() | st.text(max_size=9) | st.booleans() | st.floats(allow_nan=False) | st.lists(st.text(max_size=3)),
)
def test_any_value_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    try:
        taken = SETTINGS[name].convert(value, "here")
    except ConfigError as error:
        refusal = error.message
    else:
        refusal = ""
        assert msgspec.convert(taken, SETTINGS[name].takes) == taken
    assert not refusal or refusal.startswith(f"here: `{name}` takes ")
