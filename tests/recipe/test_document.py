import pytest

from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.recipe import load_recipe

pytestmark = pytest.mark.tf

RECIPE = """
shared = "data"
out = "runs/{shared}"
seed = 5

[synth.train]
videos = 10
classes = 4

[ensembles.e]
train_data = "{shared}/train*"
validate_data = "{out}/validate*"
features = "video"
feature_sizes = "6,2"
num_classes = 4

[ensembles.e.train]
num_epochs = 2

[ensembles.e.members.a]
model = "LogisticModel"

[ensembles.e.members.b]
path = "elsewhere"
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "r.toml"
        path.write_text(text)
        return str(path)

    return write


def test_names_are_put_in_and_training_is_shared(write):
    recipe = load_recipe(write(RECIPE))
    (table,) = recipe.ensembles
    assert (recipe.out, table.train_data) == ("runs/data", "data/train*")
    assert table.validate_data == "runs/data/validate*"
    assert table.members["a"] == {"seed": 5, "num_epochs": 2, "model": "LogisticModel"}
    assert table.members["b"] == {"path": "elsewhere"}
    assert table.features.names == ("mean_rgb", "mean_audio")


def test_overrides_replace_values_before_names_are_put_in(write):
    recipe = load_recipe(
        write(RECIPE),
        {"shared": "/mnt", "e.train.num_epochs": "7", "ensembles.e.num_classes": "9"},
    )
    (table,) = recipe.ensembles
    assert (recipe.out, table.members["a"]["num_epochs"], table.num_classes) == ("runs//mnt", 7, 9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_classes = 4\n\n[ensembles.e.train]", "[ensembles.e.train]",
         "e.num_classes: missing, expected an integer of at least 1"),
        ("train_data =", "trian_data =", "e.trian_data: unknown key; did you mean `train_data`"),
        ("classes = 4\n\n[ens", "clases = 4\n\n[ens",
         "synth.train.clases: unknown key; did you mean `classes`"),
        ("[ensembles.e.members.a]", "[ensembles.e.tune]\nholdout = 0\n[ensembles.e.members.a]",
         "e.tune.holdout: .*the report needs videos held out"),
        ("[synth.train]", "[sinth.train]", "did you mean `synth`"),
        ("out = ", "# out = ", "does not say where artifacts go"),
        ("seed = 5", "seed 5", "is not TOML"),
        ('model = "LogisticModel"', "", "e.members.a: needs `model`"),
        ("LogisticModel", "LogisticModle", "e.members.a: .*did you mean 'LogisticModel'"),
        ("num_epochs = 2", "num_epoch = 2", "e.train.num_epoch: .*did you mean `num_epochs`"),
        ('path = "elsewhere"', 'path = "x"\nmodel = "y"', "e.members.b.model: unknown key"),
        ("num_epochs = 2", 'batch_size = "many"',
         'e.train.batch_size: expected an integer of at least 1, got "many"'),
        ("members.a]", 'members."../a"]', "'../a' is no name"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_runs(write, old, new, message):
    assert old in RECIPE
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(RECIPE.replace(old, new)))


def test_a_missing_recipe_says_where_to_look(tmp_path):
    with pytest.raises(RecipeError, match="`recipes/`"):
        load_recipe(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", ["quickstart", "real-video"])
def test_the_recipes_that_ship_are_sound(name):
    from pathlib import Path

    path = Path(__file__).parents[2] / "recipes" / f"{name}.toml"
    recipe = load_recipe(str(path))
    assert all(len(table.members) >= 2 for table in recipe.ensembles)
