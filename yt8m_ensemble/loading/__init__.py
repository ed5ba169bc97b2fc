"""Open what a command is given: any path to a model, the checkpoints that options name.

Holds paths, flags and open models; never runs a model and never writes. `paths` and `checkpoints`
need no TensorFlow, `model` does.
"""
