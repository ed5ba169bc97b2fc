"""Wrong recipes, generated: every key with values that it cannot have, refused before a run."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.options import recipe as tables
from yt8m_ensemble.recipe import load_recipe

pytestmark = pytest.mark.tf

ROOT = Path(__file__).parents[2]
SOUND: dict[str, Any] = {
    "out": "x",
    "synth": {"s": {"videos": 3}},
    "ensembles": {
        "e": {
            "train_data": "t",
            "validate_data": "v",
            "features": "video",
            "num_classes": 3,
            "train": {},
            "members": {"a": {"model": "MoeModel"}, "b": {"path": "p"}},
            "average": {"last": 2},
            "tune": {},
            "merge": {},
            "package": {},
        }
    },
}
PLACES = {
    "synth.s": (("synth", "s"), tables.SYNTH),
    "e": (("ensembles", "e"), tables.ENSEMBLE),
    "e.train": (("ensembles", "e", "train"), tables.TRAIN),
    "e.members.a": (("ensembles", "e", "members", "a"), tables.MEMBER),
    "e.members.b": (("ensembles", "e", "members", "b"), tables.READY_MEMBER),
    **{f"e.{key}": (("ensembles", "e", key), table) for key, table in tables.COMMANDS.items()},
}
DECIDED = [
    ("e.average", "prefix"), ("e.average", "out"), ("e.tune", "predictions"), ("e.tune", "out"),
    ("e.merge", "members"), ("e.merge", "weights"), ("e.merge", "out"), ("e.package", "model"),
    ("e.package", "out"), ("synth.s", "out"), ("e.tune", "force"), ("e.merge", "progress"),
    ("e.tune", "dry_run"),
]  # fmt: skip


def dump(value):
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {dump(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value)


def changed(place, key, value):
    document = copy.deepcopy(SOUND)
    table: Any = document
    for part in PLACES[place][0]:
        table = table[part]
    table[key] = value
    return document


def wrong(item):
    yield {"a": {"b": 1}} if "Mapping" in str(item.kinds) else {"a": 1}
    yield [{"x": 1}]
    if str not in item.kinds or item.choices:
        yield "nonsense"
    if bool not in item.kinds:
        yield True
    numeric = item.kinds[0] in {int, float}
    for name, bound in item.bounds.items() if numeric else ():
        step = {"ge": -1, "gt": 0, "le": 1, "lt": 0}[name]
        yield item.kinds[0](bound + step)


CASES = [
    (place, key, value)
    for place, (_, table) in PLACES.items()
    for key, item in table.fields.items()
    for value in wrong(item)
]


def write(path, document):
    path.write_text("\n".join(f"{key} = {dump(value)}" for key, value in document.items()))
    return str(path)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(CliRunner().invoke(cli, ["run", "--schema"]).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_recipe_behind_the_cases_is_sound(tmp_path, validator):
    load_recipe(write(tmp_path / "r.toml", SOUND))
    validator.validate(SOUND)


def test_values_that_a_key_cannot_have_are_refused_with_its_path(tmp_path, validator):
    assert len(CASES) > 400
    for place, key, value in CASES:
        document = changed(place, key, value)
        with pytest.raises(RecipeError) as caught:
            load_recipe(write(tmp_path / "r.toml", document))
        message = str(caught.value)
        assert message.startswith(f"{place}.{key}:"), (message, value)
        assert "expected" in message
        assert not validator.is_valid(document), (place, key, value)


def test_misspelt_keys_are_refused_with_the_nearest(tmp_path, validator):
    for place, (_, table) in PLACES.items():
        for key in table.fields:
            document = changed(place, f"{key}x", 1)
            with pytest.raises(RecipeError, match=rf"^{place}\.{key}x: unknown key") as caught:
                load_recipe(write(tmp_path / "r.toml", document))
            assert "did you mean" in str(caught.value)
            assert not validator.is_valid(document)


@pytest.mark.parametrize(("place", "key"), DECIDED)
def test_keys_that_the_recipe_decides_are_refused(tmp_path, validator, place, key):
    document = changed(place, key, "x")
    with pytest.raises(RecipeError, match=rf"^{place}\.{key}: unknown key"):
        load_recipe(write(tmp_path / "r.toml", document))
    assert not validator.is_valid(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": {}}, "e.members: missing"),
        ({"members": 3}, "e.members: expected a table"),
        ({"members": {"../x": {"path": "p"}}}, "is no name"),
        ({"average": {"search": True, "last": "auto"}}, "e.average: `--last auto`, `--soup`"),
        ({"train": {"num_epochs": 0}}, "e.members.a: Training would never end"),
        ({"features": "frame"}, "e.members.a: MoeModel reads video-level"),
        ({"feature_names": "a,b"}, "e: The size of feature 'a' is not known"),
    ],
)
def test_what_only_fails_together_is_found_too(tmp_path, change, message):
    document = copy.deepcopy(SOUND)
    document["ensembles"]["e"] |= change
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path / "r.toml", document))


@pytest.mark.parametrize(
    "text",
    ["", "[", "a" + ".b" * 60_000 + " = 1", "x = " + "[" * 5000, "\x00", "out = 3", "ensembles = 4",
     'out = "x"\nsynth = 3', 'out = "x"\n[ensembles]\ne = 3', 'out = "x"\nseed = "1"',
     'out = "x"\nother = 3'],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_recipe_is_one_message(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load_recipe(str(path))


def test_bytes_that_are_no_text_are_one_message(tmp_path):
    (tmp_path / "r.toml").write_bytes(b'out = "\xff"')
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(str(tmp_path / "r.toml"))


def test_the_command_refuses_before_anything_runs(tmp_path):
    path = write(tmp_path / "r.toml", changed("e.train", "batch_size", "many"))
    result = CliRunner().invoke(cli, ["run", path, "--dry-run"])
    assert isinstance(result.exception, RecipeError)
    assert str(result.exception).startswith("e.train.batch_size: expected an integer of at least 1")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.toml"]


@pytest.mark.parametrize("name", ["quickstart", "real-video"])
def test_shipped_recipes_satisfy_the_schema(validator, name):
    import tomllib

    validator.validate(tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text()))
