"""One function per command, also the Python API: open inputs, call rooms, write atomically.

A file named as a command holds its function. The others hold what several of them share:
`open_model` and `model_paths` (any path to a model), `find_checkpoints`, `score_checkpoints`,
`member_scorer`, `eval_targets`, `aligned` (prediction files of the same videos), `drawing`
(pictures) and `provenance`.
"""
