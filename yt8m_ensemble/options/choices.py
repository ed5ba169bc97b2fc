"""The names that options may take, as types: each list of choices stands here once. No logic."""

from typing import Literal

Level = Literal["video", "frame"]
"""Level of records: one mean vector a video, or one vector a second."""

Space = Literal["probability", "logit", "geometric"]
"""Where the members of a mixture are averaged."""

SpaceOrAuto = Literal["auto", "probability", "logit", "geometric"]
"""A space, or `auto` to choose it on the videos tuned on."""

Method = Literal[
    "grid", "coordinate", "greedy", "nelder-mead", "powell", "slsqp", "differential-evolution",
    "temperature",
]  # fmt: skip
"""Search methods for mixture weights."""

Loss = Literal["CrossEntropyLoss", "HingeLoss", "SoftmaxLoss"]
"""Losses by the starter code's names."""

OptimizerName = Literal["Adam", "SGD", "Adagrad", "RMSProp", "AdamW"]
"""Optimizers."""

Schedule = Literal["staircase", "cosine"]
"""How the learning rate falls: by a factor every so many examples, or to 0 along a cosine."""

MatmulPrecision = Literal["float32", "bfloat16"]
"""Dtype of matrix products while training."""

Storage = Literal["float32", "float16", "uint8", "uint4"]
"""Precisions in which a member can be shipped."""

Fp16 = Literal["none", "auto", "original"]
"""Which weights become float16: none; those of 1,024 values or more except batch-norm statistics
(`auto`); the four matrices a member that the 10th-place solution stored so (`original`)."""

PackageFormat = Literal["tgz", "savedmodel"]
"""What an inference model is packed as: the challenge's archive, or a SavedModel for serving."""

Scheme = Literal["uint8", "uint8-quantile", "uint8-kmeans", "uint5", "uint4", "uint4-groups"]
"""How weight matrices are coded in 8 to 4 bits."""

Naming = Literal["scoped", "original"]
"""How a merged graph names variables: below each member's name, or as the 10th-place solution."""

Target = Literal["tf1.14", "any"]
"""What must load a merged graph: the official readers' TensorFlow, or any."""

Reader = Literal["2018", "2019", "ours"]
"""Whom an archive is judged for: an official reader, or what this toolkit promises."""

Runner = Literal["local", "beam"]
"""Where records are scored: in this process, or on Apache Beam."""
