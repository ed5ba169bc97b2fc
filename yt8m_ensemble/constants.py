"""Fixed numbers of YouTube-8M and its challenges, each with its source. No logic.

Class counts are defaults of options, never constants in code paths.
"""

from __future__ import annotations

from typing import Final

NUM_CLASSES_2018: Final = 3_862
"""Classes of the 2018 vocabulary (YouTube-8M download page, v2 of May 2018)."""

FEATURE_SIZES: Final = {"rgb": 1024, "audio": 128, "mean_rgb": 1024, "mean_audio": 128}
"""Values of each feature after PCA (Abu-El-Haija et al. 2016, arXiv 1609.08675)."""

MAX_FRAMES: Final = 300
"""Frames kept of a video, one a second (same source)."""

MAX_FRAME_LIMIT: Final = 36_000
"""Most frames that a model may be told to keep of a video: ten hours, 166 MB in float32."""

DEQUANTIZE_SCALE: Final = 4.0 / 255.0
"""A byte q stands for q * 4/255 + 4/512 - 2 (starter code, `utils.Dequantize`)."""

DEQUANTIZE_BIAS: Final = 4.0 / 512.0 - 2.0
"""The offset of the formula above."""

TOP_K: Final = 20
"""Pairs a video that GAP and the submission format keep (challenge rules of 2017 and 2018)."""

EQUIVALENCE_MARGIN: Final = 0.0005
"""Difference of GAP that counts as none: a tenth of what separated teams of the challenge."""

MAX_BUNDLE_BYTES: Final = 1_000_000_000
"""Uncompressed model size that the 2018 rules allow: 1 GB."""

TIMEOUT_S: Final = 600.0
"""Seconds that a stranger's model may take to load, and for each batch."""

MAX_FLAGS_BYTES: Final = 1 << 20
"""Most bytes of a `model_flags.json` that is read; real ones have about 1 kB."""

MAX_FEATURES: Final = 1 << 16
"""Most values of one vector of features: fifty times those of the challenge."""

FLOAT16_MAX: Final = 65_504.0
"""Largest finite IEEE 754 binary16 value."""

MIXTURE_VARIABLE: Final = "mixture_weights"
"""The variable of a merged graph that holds the mixture weights, float32 (M,) or (M, C)."""

BIAS_VARIABLE: Final = "mixture_bias"
"""The variable of a logit mixture that holds its class bias, float32 (C,)."""

TEMPERATURE_VARIABLE: Final = "mixture_temperature"
"""The variable of a logit mixture that holds its temperature, a float32 scalar."""

FLAGS_FILE: Final = "model_flags.json"
"""What a model reads and predicts, beside its checkpoints (starter code, `train.py`)."""

INFERENCE_MODEL: Final = "inference_model"
"""The stem of an exported model's files, and the folder where the reader of 2019 looks for them.

The reader of 2018 looks at an archive's root."""

SAVED_MODEL_FILE: Final = "saved_model.pb"
"""The graph and signatures of a SavedModel, in its directory."""
