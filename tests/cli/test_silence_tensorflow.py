import os
import subprocess
import sys

import pytest

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records

IMPORT = "import os; os.write(2, b'before|'); import tensorflow; os.write(2, b'after')"
QUIET = "import sys; from yt8m_ensemble.cli.silence_tensorflow import SilenceTensorFlow; "
QUIET += "sys.meta_path.insert(0, SilenceTensorFlow()); "


def stderr_of(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=120
    )
    return done.stderr


@pytest.mark.tf
@pytest.mark.slow
def test_tensorflow_starts_without_a_word_and_standard_error_comes_back():
    assert stderr_of(QUIET + IMPORT) == b"before|after"


def test_other_modules_and_errors_are_left_alone(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('broken')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {QUIET}"
    code += "\ntry:\n    import tensorflow\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "broken\n"


@pytest.mark.tf
@pytest.mark.slow
def test_a_command_starts_tensorflow_without_keras():
    code = "import sys; from yt8m_ensemble.cli.root import main"
    code += "\ntry:\n    main(['--version'])\nexcept SystemExit:\n    import tensorflow"
    code += "\n    print('keras' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.tf
@pytest.mark.slow
def test_no_line_of_tensorflows_on_a_machine_without_a_gpu(tmp_path):
    write_train_dir(tmp_path / "a", small_flags("LogisticModel"))
    write_video_records(tmp_path / "r.tfrecord", seed=0)
    hidden = {"TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES"}
    words = ["-m", "yt8m_ensemble", "eval", "--model", "a", "--data", "r.tfrecord"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key not in hidden},
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("cuInit", "oneDNN", "CUDA", "cuda", "absl", "AVX"):
        assert word not in done.stderr + done.stdout, done.stderr
