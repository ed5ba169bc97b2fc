import pytest

from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.recipe import load_recipe
from yt8m_ensemble.values import FeatureSpec

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
    assert (recipe.out, table.training_data["a"].pattern) == ("runs/data", "data/train*")
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


OWN = """
[ensembles.e.members.c]
model = "MoeModel"
train_data = "means/*"
features = "video"
feature_names = "mean_audio"
feature_sizes = "2"
learning_rate = 0.1
"""


def test_a_member_may_have_data_and_features_of_its_own(write):
    text = RECIPE.replace('features = "video"', 'features = "frame"')
    text = text.replace("LogisticModel", "FrameLevelLogisticModel") + OWN
    (table,) = load_recipe(write(text)).ensembles
    own, other = table.training_data["c"], table.training_data["a"]
    assert own.pattern == "means/*"
    assert own.features == FeatureSpec(("mean_audio",), (2,), frame_level=False)
    assert other.features == FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True)
    assert table.members["c"] == {"seed": 5, "num_epochs": 2, "model": "MoeModel",
                                  "learning_rate": 0.1}  # fmt: skip
    shorter = OWN.replace('features = "video"', 'features = "frame"').replace("mean_audio", "audio")
    shorter = shorter.replace("MoeModel", "LstmModel") + "max_frames = 20\n"
    (table,) = load_recipe(write(text.replace(OWN, shorter))).ensembles
    assert table.training_data["c"].features.max_frames == 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('feature_sizes = "2"', 'feature_sizes = "3"',
         "e.members: 'validate_data' reads 2 values of the feature 'mean_audio', 'c' 3"),
        ('model = "MoeModel"\ntrain_data = "means/*"\nfeatures = "video"',
         'model = "LstmModel"\nfeatures = "frame"',
         "e.members.c.features: reads frames, expected video"),
        ('features = "video"', 'features = "audio"', "e.members.c.features: expected"),
        ("MoeModel", "LstmModel", "reads frame-level features, but the features are video-level"),
    ],
)  # fmt: skip
def test_features_that_do_not_go_together_are_found(write, old, new, message):
    assert old in OWN
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(RECIPE + OWN.replace(old, new)))


def test_a_missing_recipe_says_where_to_look(tmp_path):
    with pytest.raises(RecipeError, match="`recipes/`"):
        load_recipe(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", ["quickstart", "real-video", "frame"])
def test_the_recipes_that_ship_are_sound(name):
    from pathlib import Path

    path = Path(__file__).parents[2] / "recipes" / f"{name}.toml"
    recipe = load_recipe(str(path))
    assert all(len(table.members) >= 2 for table in recipe.ensembles)
