"""The `samovar` command as its user meets it. The tool: $SAMOVAR_TOOL, else the release build's."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = os.environ.get("SAMOVAR_TOOL", str(ROOT / "build" / "release" / "bin" / "samovar"))

MODULE = """
import os
import samovar

@samovar.method
def echo(*values):
    return values[0] if len(values) == 1 else list(values)

@samovar.method
def kind(*values):
    return " ".join(type(value).__name__ for value in values)

@samovar.method
def special():
    return {"nan": float("nan"), "inf": float("inf"), "bytes": b"\\x00\\x01\\xff", "keys": {1: "one", None: [2.5]}}

@samovar.method
def size(data):
    return len(data)

@samovar.method
def reverse(data):
    return bytes(data)[::-1]

@samovar.method
def fail(price):
    raise ValueError(f"negative price: {price}")

@samovar.method
def unsendable():
    return {"a": [1, 2, 3, {4}]}

@samovar.method
def sleep():
    import time
    time.sleep(30)

@samovar.method
def die():
    os._exit(9)

@samovar.method
def talk():
    print("said by the method")
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cli") / "methods.py"
    path.write_text(MODULE)
    return str(path)


def run(
    *arguments: str, stdin: bytes = b"", timeout_s: float = 60, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | (variables or {})
    return subprocess.run(
        [TOOL, *arguments], input=stdin, capture_output=True, timeout=timeout_s, check=False, env=environment
    )


def call(module: str, method: str, *arguments: str) -> Any:
    done = run("call", module, method, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def refused(status: int, *arguments: str) -> str:
    """What the tool says on stderr when it ends with `status`, having printed nothing else."""
    done = run(*arguments)
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout == b""
    return done.stderr.decode()


# Help


def test_version_is_printed() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert re.fullmatch(rb"samovar \d+\.\d+\.\d+\n", done.stdout)


def test_help_lists_the_subcommands_with_a_line_each() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("demo", "call", "config", "doctor", "topology", "bench"):
        assert re.search(rf"^  {name} +\S.*$", done.stdout.decode(), re.MULTILINE)


@pytest.mark.parametrize("name", ["demo", "call", "config", "doctor", "topology", "bench"])
def test_each_subcommand_has_help(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert f"Usage: samovar {name}".encode() in done.stdout
    assert done.stderr == b""


def test_help_of_call_shows_defaults_with_units() -> None:
    text = run("call", "--help").stdout.decode()
    assert "--timeout DURATION=30s" in text
    assert "--workers N=1" in text


# JSON in and out


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "true",
        "false",
        "0",
        "-2",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1.5",
        "-1e-300",
        '"text"',
        '""',
        '"\\u00e9 \\ud83d\\ude00 \\u0001"',
        "[]",
        "{}",
        "[1,2]",
        "[1, [2, [3]]]",
        '{"b": 1, "a": {"c": [null, true]}}',
        '{"$bytes": "AAH/"}',
        '{"$bytes": ""}',
        '{"$dict": [[1, "one"], [null, [2.5]]]}',
        '{"$dict": [["$bytes", "not base64"]]}',
    ],
)
def test_json_comes_back_as_it_went(module: str, text: str) -> None:
    done = run("call", module, "echo", text)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.endswith(b"\n")
    assert json.loads(done.stdout) == json.loads(text)
    assert type(json.loads(done.stdout)) is type(json.loads(text))


def test_order_of_members_is_kept(module: str) -> None:
    assert list(call(module, "echo", '{"z": 1, "a": 2, "m": 3}')) == ["z", "a", "m"]


def test_each_argument_becomes_a_positional_parameter(module: str) -> None:
    arguments = ("null", "true", "1", "1.0", '"s"', '{"$bytes": "AA=="}', "[1]", "{}")
    assert call(module, "kind", *arguments) == "NoneType bool int float str bytes list dict"


def test_nan_is_an_object_in_both_directions(module: str) -> None:
    assert call(module, "echo", '{"$float": "nan"}') == {"$float": "nan"}
    assert call(module, "kind", '{"$float": "-inf"}') == "float"


def test_what_json_lacks_is_written_as_objects(module: str) -> None:
    assert call(module, "special") == {
        "nan": {"$float": "nan"},
        "inf": {"$float": "inf"},
        "bytes": {"$bytes": "AAH/"},
        "keys": {"$dict": [[1, "one"], [None, [2.5]]]},
    }
    assert not any(isinstance(value, float) and math.isnan(value) for value in call(module, "special").values())


def test_bare_word_is_text_with_the_option(module: str) -> None:
    assert call(module, "echo", "--text", "hello", "5", "[1]") == ["hello", 5, [1]]


def test_options_may_follow_the_arguments(module: str) -> None:
    assert call(module, "echo", "7", "--timeout", "10s", "--workers", "2") == 7


# Bytes


def test_a_file_is_sent_as_bytes(module: str, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(range(256)))
    assert call(module, "size", "--bytes", str(file)) == 256
    assert call(module, "kind", "--bytes", str(file)) == "memoryview"


def test_stdin_is_sent_and_raw_bytes_come_out(module: str) -> None:
    done = run("call", module, "reverse", "--bytes", "-", "--raw", stdin=b"abc\x00\n")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"\n\x00cba"


def test_raw_text_has_no_quotes_and_no_newline(module: str) -> None:
    assert run("call", module, "echo", '"a b"', "--raw").stdout == b"a b"


def test_raw_refuses_what_is_neither_bytes_nor_text(module: str) -> None:
    assert "--raw" in refused(1, "call", module, "echo", "[1]", "--raw")


def test_large_arguments_and_results_fit(module: str) -> None:
    text = json.dumps("x" * 100_000)
    assert json.dumps(call(module, "echo", text)) == text


# Wrong usage: status 2, and nothing is started


def test_bare_word_without_the_option_shows_how_to_quote(module: str) -> None:
    said = refused(2, "call", module, "echo", "hello")
    assert "argument 1 is not JSON: hello" in said
    assert "'\"hello\"'" in said
    assert "--text" in said


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("[1", "expected ']'"),
        ("", "not JSON"),
        ("18446744073709551616", "does not fit into 64 bits"),
        ("1e999", "overflow"),
        ('{"$bytes": "?"}', "base64"),
        ('{"$float": 1}', "nan"),
        ('{"$dict": [1]}', "pairs"),
    ],
)
def test_wrong_json_says_why(module: str, argument: str, why: str) -> None:
    assert why in refused(2, "call", module, "echo", argument)


def test_an_integer_too_large_is_no_text_either(module: str) -> None:
    assert "64 bits" in refused(2, "call", module, "echo", "--text", "18446744073709551616")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "subcommand"),
        (("clal",), "there is no subcommand clal"),
        (("call",), "MODULE is required"),
        (("call", "m.py"), "METHOD is required"),
        (("call", "m.py", "f", "--wrong"), "there is no option --wrong"),
        (("call", "m.py", "f", "--timeout", "5"), "has no unit"),
        (("call", "m.py", "f", "--timeout", "5parsecs"), "has no unit that is known"),
        (("call", "m.py", "f", "--timeout=-5s"), "is negative"),
        (("call", "m.py", "f", "--workers", "0"), "not in range"),
        (("call", "m.py", "f", "1", "--bytes", "-"), "--bytes sends one argument"),
        (("demo", "extra"), "not expected"),
        (("demo", "embeddings", "one question", "another"), "not expected"),
        (("demo", "--quick", "embeddings"), "excludes"),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: tuple[str, ...], says: str) -> None:
    said = refused(2, *arguments)
    assert says in said
    assert "--help" in said


# Failures: status 1


def test_unknown_method_names_the_nearest(module: str) -> None:
    said = refused(1, "call", module, "ehco")
    assert "unknown_method" in said
    assert '"echo"' in said


def test_missing_module_is_named_once() -> None:
    said = refused(1, "call", "no_such_module.py", "echo")
    assert said.count("error:") == 1
    assert "no_such_module.py" in said


def test_missing_file_is_named(module: str) -> None:
    assert "/no/such/file" in refused(1, "call", module, "size", "--bytes", "/no/such/file")


def test_missing_python_names_the_option(module: str) -> None:
    said = refused(1, "call", module, "echo", "--python", "/no/such/python")
    assert "/no/such/python" in said
    assert "--python" in said


def test_python_exception_prints_its_traceback(module: str) -> None:
    said = refused(1, "call", module, "fail", "-3")
    assert "ValueError: negative price: -3" in said
    assert "Traceback (most recent call last):" in said
    assert 'methods.py", line' in said


def test_result_that_cannot_be_sent_names_its_place(module: str) -> None:
    assert 'result["a"][3]' in refused(1, "call", module, "unsendable")


def test_timeout_ends_the_call(module: str) -> None:
    said = refused(1, "call", module, "sleep", "--timeout", "100ms")
    assert "deadline_exceeded" in said
    assert "--timeout" in said


def test_dying_worker_is_an_error(module: str) -> None:
    assert "worker_lost" in refused(1, "call", module, "die")


def test_what_the_method_prints_is_seen_and_kept_apart_from_the_result(module: str) -> None:
    done = run("call", module, "talk")
    assert done.returncode == 0
    assert done.stdout == b"null\n"
    assert done.stderr == b"said by the method\n"


# Configuration


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "samovar.toml"
    path.write_text('profile = "test"\nworkers = 3\n[pools.fast]\ntimeout = "20ms"\n')
    return str(path)


def explained(*arguments: str, **variables: str) -> dict[str, dict[str, Any]]:
    done = run("config", "--json", *arguments, variables=variables)
    assert done.returncode == 0, done.stderr.decode()
    return {option["name"]: option for option in json.loads(done.stdout)["options"]}


def test_config_tells_each_value_and_where_it_comes_from(config_file: str) -> None:
    options = explained("--file", config_file, "--pool", "fast", SAMOVAR_PREFETCH="4")
    assert (options["workers"]["value"], options["workers"]["from"]) == (3, config_file + ":2")
    assert (options["timeout"]["value"], options["timeout"]["from"]) == ("20ms", config_file + ":4")
    assert (options["stop_timeout"]["value"], options["stop_timeout"]["from"]) == ("1s", "profile test")
    assert (options["prefetch"]["value"], options["prefetch"]["from"]) == (4, "environment SAMOVAR_PREFETCH")
    assert (options["queue_limit"]["value"], options["queue_limit"]["from"]) == (1000, "default")


def test_config_tells_what_a_default_becomes_on_this_machine() -> None:
    workers = explained()["workers"]
    assert (workers["value"], workers["in_force"]) == (0, len(os.sched_getaffinity(0)))
    lines = run("config", "--explain").stdout.decode().splitlines()
    (line,) = [line for line in lines if line.startswith("workers ")]
    assert re.search(r"\d+ \(of 0\) +default +Worker processes; default: one for each core", line)


def test_config_prints_a_file_that_has_the_same_effect(config_file: str, tmp_path: Path) -> None:
    printed = run("config", "-f", config_file, "--pool", "fast").stdout
    saved = tmp_path / "saved.toml"
    saved.write_bytes(printed)
    before = {name: option["value"] for name, option in explained("-f", config_file, "--pool", "fast").items()}
    assert {name: option["value"] for name, option in explained("-f", str(saved)).items()} == before


def test_config_check_ends_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("workers = 1\n[pools.a]\nworker = 2\n")
    said = refused(1, "config", "--check", "--file", str(path))
    assert f'{path}:3: unknown key "worker"; did you mean "workers"?' in said
    path.write_text("workers = 1\n")
    assert run("config", "--check", "--file", str(path)).returncode == 0
    assert run("config", "--check", variables={"SAMOVAR_CONFIG": str(path), "SAMOVAR_TIMEOUT": "5"}).returncode == 1


def test_config_warns_of_a_variable_that_is_no_option() -> None:
    done = run("config", "--check", variables={"SAMOVAR_WRKERS": "2"})
    assert done.returncode == 0
    assert b"SAMOVAR_WRKERS is no option; did you mean SAMOVAR_WORKERS?" in done.stderr


def test_call_takes_a_file_and_the_command_line_outranks_the_environment(module: str, tmp_path: Path) -> None:
    path = tmp_path / "samovar.toml"
    path.write_text('timeout = "100ms"\n')
    assert "deadline_exceeded" in refused(1, "call", module, "sleep", "--config", str(path))
    slow = {"SAMOVAR_TIMEOUT": "1h"}
    done = run("call", module, "sleep", "--timeout", "100ms", variables=slow)
    assert b"deadline_exceeded" in done.stderr
    done = run("call", module, "echo", "1", variables={"SAMOVAR_PYTHON": "/no/such/python"})
    assert b"/no/such/python (environment SAMOVAR_PYTHON)" in done.stderr


# The machine

TWO_NODES = ("--synthetic", "numa:2 l3:1 core:4 pu:2")


def topology(*arguments: str) -> Any:
    done = run("topology", *arguments, "--json")
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_topology_tells_of_this_machine() -> None:
    told = topology()
    assert {cpu["cpu"] for cpu in told["machine"]["cpus"]} <= os.sched_getaffinity(0)
    assert told["plan"]["workers"] == told["plan"]["spinners_max"] <= told["machine"]["cores"]
    done = run("topology")
    assert done.returncode == 0
    for word in ("machine:", "package 0", "core 0", "plan", "dispatcher", "polling"):
        assert word in done.stdout.decode()


def test_topology_draws_a_machine_that_is_not_here() -> None:
    drawn = run("topology", *TWO_NODES, "--workers", "2").stdout.decode()
    assert "16 CPUs on 8 cores, 2 NUMA nodes in 1 package" in drawn
    assert "       8 .     10 .     12 w0    14 D\n       9 .     11 .     13 w0    15 -\n" in drawn
    assert "1 worker on another node than the dispatcher" in drawn
    assert "w1: CPUs 6,7, memory of node 0" in drawn


def test_topology_places_as_it_was_told() -> None:
    plan = topology(*TWO_NODES, "--nodes", "0", "--workers", "2", "--dispatcher", "pinned")["plan"]
    assert plan["nodes"] == [0]
    assert plan["dispatcher_cpu"] == 6
    assert [seat["cpus"] for seat in plan["seats"]] == [[4, 5], [2, 3]]
    plan = topology(*TWO_NODES, "--cpus", "0-5,8", "--pinning", "core", "--dispatcher", "caller")["plan"]
    assert plan["workers"] == plan["cores"] == 4
    assert sorted(cpu for seat in plan["seats"] for cpu in seat["cpus"]) == [0, 1, 2, 3, 4, 5, 8]
    assert topology(*TWO_NODES, "--quota", "2.5")["plan"]["spinners_max"] == 2


def test_topology_knows_what_a_file_and_the_environment_say(tmp_path: Path) -> None:
    path = tmp_path / "samovar.toml"
    path.write_text('workers = 3\ndispatcher = "pinned"\npinning = "core"\n')
    plan = topology(*TWO_NODES, "--config", str(path))["plan"]
    assert (plan["workers"], plan["dispatcher"], plan["pinning"]) == (3, "pinned", "core")
    done = run("topology", *TWO_NODES, "--json", variables={"SAMOVAR_CPUS": "0-3,6"})
    assert json.loads(done.stdout)["plan"]["cores"] == 3


@pytest.mark.parametrize(
    ("status", "arguments", "told"),
    [
        (1, ("--cpus", "99"), "cpus names CPU 99; this process may use 0-15"),
        (1, ("--nodes", "2"), "nodes names node 2"),
        (2, ("--cpus", "1-"), '"1-" is no list of numbers'),
        (2, ("--pinning", "tea"), "auto, none, core or node"),
        (2, ("--dispatcher", "tea"), "auto, caller, manual or pinned"),
        (2, ("--workers", "5000"), "5000"),
        (2, ("--synthetic", "tea:2"), '"tea:2" describes no machine'),
    ],
)
def test_topology_refuses_what_has_no_meaning(status: int, arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(status, "topology", *(() if "--synthetic" in arguments else TWO_NODES), *arguments)


# The demo


def test_quick_demo_tells_the_whole_story() -> None:
    done = run("demo", "--quick", timeout_s=60)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(r"Accuracy: \d+ of 898 unseen images right, 9\d\.\d %", said)
    for word in ("p99.9", "overhead", "calls/s", "JSON lines over stdin/stdout", "process per call", "no call lost"):
        assert word in said
    assert b"Traceback" not in done.stderr


SENTENCES = """\
A good breakfast sets you up for the day.

The compiler rejects programs that are   not well typed.
Whales sing to each other over hundreds of kilometres.
The bank raised its interest rates again.
"""


@pytest.fixture
def sentences(tmp_path: Path) -> str:
    path = tmp_path / "sentences.txt"
    path.write_text(SENTENCES)
    return str(path)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Which animals make music under water?", "Whales sing to each other"),
        ("My code does not build", "The compiler rejects programs that are not well typed."),
    ],
)
def test_demo_of_embeddings_finds_what_means_alike(sentences: str, question: str, sentence: str) -> None:
    done = run("demo", "embeddings", question, "--file", sentences, timeout_s=60)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "384 floats" in said
    assert "4 lines of" in said
    (nearest, second, *_) = re.findall(r"^ +(-?\d\.\d\d)  (\S.*)$", said, re.MULTILINE)
    assert nearest[1].startswith(sentence)
    assert 1 >= float(nearest[0]) > float(second[0]) >= -1
    for word in ("p50", "p99", "whole call", "model", "overhead"):
        assert word in said


def test_demo_of_embeddings_searches_quotations_of_debian() -> None:
    done = run("demo", "embeddings", "--sentences", "40", timeout_s=60)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "40 quotations of Debian" in said
    assert said.count("?\n") >= 3  # its own questions


def test_demo_of_embeddings_says_what_is_missing(sentences: str, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text('raise ImportError("not here")\n')
    said = run("demo", "embeddings", "--file", sentences, variables={"PYTHONPATH": str(tmp_path)}).stderr.decode()
    assert "not here" in said
    assert "make setup" in said
    assert "/no/such/file" in refused(1, "demo", "embeddings", "--file", "/no/such/file")
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n\n")
    assert "no sentences" in refused(1, "demo", "embeddings", "--file", str(empty))
