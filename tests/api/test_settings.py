from pathlib import Path

import pytest

from mabeam_p2p.api import settings
from mabeam_p2p.config import Config, Timing
from mabeam_p2p.errors import ConfigError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, a user's and a system's file of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "etc" / "mabeam.toml")
    for folder in ("etc", "user/mabeam"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def load(
    given: dict[str, object] | None = None, file: Path | None = None, **variables: str
) -> settings.Settings:
    environment = {"XDG_CONFIG_HOME": str(Path("user").absolute())} | variables
    return settings.load(given, file=file, environment=environment)


def origin(loaded: settings.Settings, key: str) -> str:
    return next(setting.origin for setting in loaded.all if setting.key == key)


def test_without_any_source_the_built_in_values_hold() -> None:
    loaded = load()
    assert loaded.config == Config(name=settings.host_name())
    assert origin(loaded, "cluster") == "built-in"
    assert origin(loaded, "name") == "host's name"


def test_each_source_outranks_the_ones_behind_it(places: Path) -> None:
    sources = [
        (places / "etc" / "mabeam.toml", "system"),
        (places / "user" / "mabeam" / "mabeam.toml", "user"),
        (places / "mabeam.toml", "here"),
    ]
    for path, cluster in sources:
        path.write_text(f'cluster = "{cluster}"')
        loaded = load()
        assert loaded.config.cluster == cluster
        assert origin(loaded, "cluster") == str(path)
    loaded = load(MABEAM_CLUSTER="env")
    assert loaded.config.cluster == "env"
    assert origin(loaded, "cluster") == "environment MABEAM_CLUSTER"
    loaded = load({"cluster": "given"}, MABEAM_CLUSTER="env")
    assert loaded.config.cluster == "given"
    assert origin(loaded, "cluster") == "argument"


def test_named_file_takes_the_place_of_the_one_in_the_working_folder(places: Path) -> None:
    (places / "mabeam.toml").write_text('cluster = "here"\nscore = 7')
    (places / "other.toml").write_text('cluster = "named"')
    loaded = load(file=places / "other.toml")
    assert (loaded.config.cluster, loaded.config.score) == ("named", 50)
    assert load(MABEAM_CONFIG="other.toml").config.cluster == "named"


def test_named_file_must_exist() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(file=Path("absent.toml"))


def test_tables_and_underscores_nest(places: Path) -> None:
    (places / "mabeam.toml").write_text("[timing]\nheartbeat_seconds = 0.05")
    assert load().config.timing.heartbeat_seconds == 0.05
    loaded = load(MABEAM_TIMING__HEARTBEAT_SECONDS="0.02")
    assert loaded.config.timing.heartbeat_seconds == 0.02
    assert load({"timing.heartbeat_seconds": 0.01}).config.timing.heartbeat_seconds == 0.01
    assert load({"timing": Timing(heartbeat_seconds=0.03)}).config.timing == Timing(
        heartbeat_seconds=0.03
    )


def test_environment_holds_lists_numbers_and_truth() -> None:
    config = load(MABEAM_SEEDS="a:1, b:2", MABEAM_EXPECT="5", MABEAM_MDNS="false").config
    assert (config.seeds, config.expect, config.mdns) == (("a:1", "b:2"), 5, False)


def test_empty_variable_counts_as_unset() -> None:
    assert load(MABEAM_CLUSTER="").config.cluster == "default"


def test_variables_of_programs_are_no_settings() -> None:
    assert load(MABEAM_ADDR="ant", MABEAM_TIMEOUT="3").config.cluster == "default"


@pytest.mark.parametrize("variable", settings.COMMAND_VARIABLES)
def test_what_a_verb_tells_its_command_is_no_setting(variable: str) -> None:
    assert load(None, None, **{variable: "7"}) == load()
    key = variable.removeprefix(settings.PREFIX).lower()
    assert key not in {setting.key for setting in load().all}, "it would set that of the command"


@pytest.mark.parametrize(
    "variable",
    [
        "MABEAM_SERVICE_HOST",
        "MABEAM_SERVICE_PORT",
        "MABEAM_SERVICE_PORT_PEERS",
        "MABEAM_PORT",
        "MABEAM_PORT_7946_TCP",
        "MABEAM_PORT_7946_TCP_ADDR",
    ],
)
def test_what_platforms_tell_of_a_service_that_is_called_mabeam_is_ignored(variable: str) -> None:
    assert load(None, None, **{variable: "tcp://192.0.2.1:7946"}) == load()


@pytest.mark.parametrize(
    "variable", ["MABEAM_PORTS", "MABEAM_SERVICE", "MABEAM_SERVICE_HOSTS", "MABEAM_TOKENS"]
)
def test_what_only_looks_like_that_is_an_unknown_key(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{variable}'"):
        load(None, None, **{variable: "7"})


def test_unknown_key_names_the_file_and_the_nearest_known_key(places: Path) -> None:
    (places / "mabeam.toml").write_text("[timing]\nheartbeat_second = 1.0")
    with pytest.raises(ConfigError, match=r"did you mean 'timing\.heartbeat_seconds'") as caught:
        load()
    assert caught.value.path == str(places / "mabeam.toml")
    assert caught.value.key == "timing.heartbeat_second"


def test_unknown_variable_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'MABEAM_LISTEN'"):
        load(MABEAM_LISTN="127.0.0.1:1")


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'data_dir'"):
        load({"data_dirs": "x"})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('expect = "many"', "expect"),
        ("expect = 0", "expect"),
        ("expect = 99", "expect"),
        ("max_voters = 0", "max_voters"),
        ("max_voters = 8", "max_voters"),
        ("machine_version_max = 0", "machine_version_max"),
        ("machine_version_max = 99", "machine_version_max"),
        ("score = 101", "score"),
        ('score_by = "beauty"', "score_by"),
        ("preference_margin = 0", "preference_margin"),
        ("preference_margin = 102", "preference_margin"),
        ('cluster = "a b"', "cluster"),
        ("mdns = 3", "mdns"),
        ("[timing]\nprobe_interval_seconds = 0", "timing.probe_interval_seconds"),
        ("[timing]\nprobe_interval_seconds = nan", "timing.probe_interval_seconds"),
        ("[timing]\nheartbeat_seconds = 0.3", "timing.heartbeat_seconds"),
        ("[timing]\nsuspect_seconds = 9.0", "timing.suspect_seconds"),
        ("[limits]\nvalue_bytes_max = 0", "limits.value_bytes_max"),
        ("[limits]\ntask_steals_max = -1", "limits.task_steals_max"),
        ("[limits]\nsnapshot_entries = 0", "limits.snapshot_entries"),
        ("[limits]\ndata_bytes_max = -1", "limits.data_bytes_max"),
        ("[limits]\nsnapshot_chunk_bytes = 4000000", "limits.snapshot_chunk_bytes"),
        ("timing = 3", "timing"),
    ],
)
def test_wrong_value_names_its_key_and_its_file(places: Path, text: str, key: str) -> None:
    (places / "mabeam.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.key == key
    assert caught.value.path == str(places / "mabeam.toml")
    assert key in str(caught.value)


def test_a_limit_that_says_how_often_may_say_never(places: Path) -> None:
    never = "task_steals_max = 0\ndata_bytes_max = 0\nlog_trailing_entries = 0\n"
    (places / "mabeam.toml").write_text(f"[limits]\n{never}")
    limits = load().config.limits
    assert (limits.task_steals_max, limits.data_bytes_max, limits.log_trailing_entries) == (0, 0, 0)


def test_text_in_a_file_is_no_number_and_the_fault_says_what_to_take(places: Path) -> None:
    (places / "mabeam.toml").write_text('expect = "3"\n')
    with pytest.raises(ConfigError, match=r"'3' is not usable: it is a whole number$"):
        load()


def test_bad_name_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"name": "a: b"})
    assert str(caught.value).count("not usable") == 1
    assert "letters, digits" in str(caught.value)


def test_file_that_is_no_toml_is_named(places: Path) -> None:
    (places / "mabeam.toml").write_text("cluster = ")
    with pytest.raises(ConfigError, match="no valid TOML") as caught:
        load()
    assert caught.value.path == "mabeam.toml"


def test_every_setting_is_listed_once_with_its_value() -> None:
    loaded = load()
    keys = [setting.key for setting in loaded.all]
    assert len(keys) == len(set(keys))
    assert "timing.heartbeat_seconds" in keys
    assert "limits.voters_max" in keys
    assert next(s.value for s in loaded.all if s.key == "limits.voters_max") == 7


def test_config_made_by_hand_is_checked_and_named_after_the_host() -> None:
    assert settings.complete(Config()).name == settings.host_name()
    with pytest.raises(ConfigError, match="score"):
        settings.complete(Config(score=-1))


def test_config_made_by_hand_holds_values_of_the_right_types() -> None:
    with pytest.raises(ConfigError, match="expect = '3' is not usable"):
        settings.complete(Config(expect="3"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="score"):
        settings.complete(Config(score=1.5))  # type: ignore[arg-type]


def test_a_join_code_of_the_wrong_kind_is_refused_and_not_repeated() -> None:
    Path("mabeam.toml").write_text("join_code = ['MB1-CANARY']\n")
    with pytest.raises(ConfigError, match="join_code") as caught:
        load()
    assert "CANARY" not in str(caught.value)


def test_host_name_is_a_usable_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "--My Host!.example.org")
    assert settings.host_name() == "My-Host"
    monkeypatch.setattr("socket.gethostname", lambda: "")
    assert settings.host_name() == "peer"
