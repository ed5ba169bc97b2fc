"""Architectures in plain loops, one video at a time, written from the papers' formulas in float64.

Shares no code with the package; knows variable names only.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def unit(x):
    return x / np.sqrt(max((x**2).sum(), 1e-12))


def relu6(x):
    return np.clip(x, 0, 6)


def bn(w, scope, x):
    beta, gamma, mean, variance = (
        w[f"{scope}/{n}"] for n in ("beta", "gamma", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def moe(w, x, options):
    """One video's class probabilities."""
    mixtures = options["moe_num_mixtures"]
    if options["moe_low_rank_gating"] == -1:
        gates = x @ w["gates/weights"]
    else:
        gates = x @ w["gates1/weights"] @ w["gates2/weights"]
    experts = x @ w["experts/weights"] + w["experts/biases"]
    classes = len(experts) // mixtures
    p = np.zeros(classes)
    for c in range(classes):
        share = softmax(gates[c * (mixtures + 1) : (c + 1) * (mixtures + 1)])
        for m in range(mixtures):
            p[c] += share[m] * sigmoid(experts[c * mixtures + m])
    if options["moe_prob_gating"]:
        source = p if options["moe_prob_gating_input"] == "prob" else x
        weights = w["gating_prob_weights"]
        gate = source @ weights
        if options["gating_remove_diag"]:
            gate = gate - np.diag(weights) * p
        p = p * sigmoid(bn(w, "gating_prob_bn", gate))
    return p


def classify(w, x, options):
    if options.get("video_level_classifier_model") == "LogisticModel":
        return sigmoid(x @ w["fully_connected/weights"] + w["fully_connected/biases"])
    if options.get("video_level_classifier_model") == "MlpModel":
        return dense_layers(w, x, options)
    return moe(w, x, options)


def project(w, scope, frame, *, normalize, name="cluster_weights"):
    activation = frame @ w[f"{scope}{name}"]
    if normalize:
        return bn(w, f"{scope}cluster_bn", activation)
    return activation + w[f"{scope}cluster_biases"]


def vlad(w, scope, frames, options, *, tenth_place):
    """Residuals, sums or gated sums of one video's frames, flattened with clusters last."""
    plain = options["lightvlad"] or options["vlagd"]
    name = "conv2/cluster_weights" if tenth_place and not plain else "cluster_weights"
    size, clusters = w[f"{scope}{name}"].shape
    total = np.zeros((size, clusters))
    for frame in frames:
        a = softmax(
            project(w, scope, frame, normalize=options["netvlad_add_batch_norm"], name=name)
        )
        for k in range(clusters):
            residual = frame
            if not plain:
                centers = "cluster_weights2/cluster_weights2" if tenth_place else "cluster_weights2"
                residual = frame - w[f"{scope}{centers}"][0, :, k]
            total[:, k] += a[k] * residual
    if options["vlagd"]:
        total *= sigmoid(w[f"{scope}gate_weights"][0]).T
    for k in range(clusters):
        total[:, k] = unit(total[:, k])
    return unit(total.ravel())


def netvlad(w, frames, sizes, options):
    parts = [
        vlad(w, f"{label}_VLAD/", part, options, tenth_place=True)
        for label, part in split(frames, sizes)
    ]
    h = np.concatenate(parts) @ w["hidden1_weights/hidden1_weights"]
    h = relu6(bn(w, "hidden1_bn", h))
    h = h @ w["hidden2_weights/hidden2_weights"] + w["hidden2_biases"]
    if options["gating"]:
        gates = h @ w["gating_weights/gating_weights"]
        if options["netvlad_add_batch_norm"]:
            gates = bn(w, "gating_bn", gates)
        else:
            gates = gates + w["gating_biases"]
        h = h * sigmoid(gates)
    return classify(w, h, options)


def split(frames, sizes):
    first = sizes[0]
    return [("video", frames[:, :first]), ("audio", frames[:, first:])]


def compress(w, x, *, normalize, relu):
    h = x @ w["hidden1_weights"]
    h = bn(w, "hidden1_bn", h) if normalize and relu else h + w["hidden1_biases"]
    return relu6(h) if relu else h


def gate(w, h, *, normalize, remove_diag):
    gates = h @ w["gating_weights_2"]
    if remove_diag:
        gates = gates - np.diag(w["gating_weights_2"]) * h
    gates = bn(w, "gating_bn", gates) if normalize else gates + w["gating_biases"]
    return h * sigmoid(gates)


def willow_netvlad(w, frames, sizes, options):
    normalize = options["netvlad_add_batch_norm"]
    if normalize:
        frames = bn(w, "input_bn", frames)
    parts = []
    for label, part in split(frames, sizes):
        pooled = vlad(w, f"{label}_VLAD/", part, options, tenth_place=False)
        if options["netvlad_dimred"] != -1:
            pooled = unit(pooled @ w[f"{label}_VLAD/dimred_weights"])
        parts.append(pooled)
    h = compress(w, np.concatenate(parts), normalize=normalize, relu=options["netvlad_relu"])
    if options["gating"]:
        h = gate(w, h, normalize=normalize, remove_diag=options["gating_remove_diag"])
    return classify(w, h, options)


def netfv(w, frames, sizes, options):
    normalize = options["netvlad_add_batch_norm"]
    if normalize:
        frames = bn(w, "input_bn", frames)
    parts = []
    for label, part in split(frames, sizes):
        scope = f"{label}_FV/"
        size, clusters = w[f"{scope}cluster_weights"].shape
        spread = w[f"{scope}covar_weights"] ** 2 + 1e-6
        if options["fv_couple_weights"]:
            centers = options["fv_coupling_factor"] * w[f"{scope}cluster_weights"]
        else:
            centers = w[f"{scope}cluster_weights2"][0]
        first, second = np.zeros((size, clusters)), np.zeros((size, clusters))
        for frame in part:
            a = softmax(project(w, scope, frame, normalize=normalize))
            for k in range(clusters):
                d = frame - centers[:, k]
                first[:, k] += a[k] * d / spread[:, k]
                second[:, k] += a[k] * ((d / spread[:, k]) ** 2 - 1)
        for k in range(clusters):
            first[:, k] = unit(first[:, k])
        parts += [np.concatenate([unit(first.ravel()), unit(second.ravel())])]
    h = compress(w, np.concatenate(parts), normalize=normalize, relu=options["fv_relu"])
    if options["gating"]:
        h = gate(w, h, normalize=normalize, remove_diag=False)
    return classify(w, h, options)


def dbof(w, frames, sizes, options):
    del sizes
    normalize = options["dbof_add_batch_norm"]
    if normalize:
        frames = bn(w, "input_bn", frames)
    activations = np.array([relu6(project(w, "", f, normalize=normalize)) for f in frames])
    pooled = activations.max(0) if options["dbof_pooling_method"] == "max" else activations.mean(0)
    return classify(w, compress(w, pooled, normalize=normalize, relu=True), options)


def dbof_lf(w, frames, sizes, options, *, kind):
    normalize = options["dbof_add_batch_norm"]
    if normalize:
        frames = bn(w, "input_bn", frames)
    parts = []
    for label, part in split(frames, sizes):
        scope = f"{label}_DBOF/"
        activations = [project(w, scope, f, normalize=normalize) for f in part]
        if kind == "linear":
            linear = np.array(activations)
            parts += [unit(linear.mean(0)), unit(linear.max(0))]
            continue
        shares = np.array([softmax(a) for a in activations])
        if kind == "gated" and label == "video":
            strongest = unit(shares.max(0))
            g = strongest @ w[f"{scope}dim_red"] @ w[f"{scope}cluster_weights_2"]
            g = bn(w, f"{scope}cluster_bn_2", g) if normalize else g + w[f"{scope}cluster_biases_2"]
            parts.append(unit(sigmoid(g) * shares.sum(0)))
            continue
        parts.append(unit(shares.sum(0)))
        if options["softdbof_maxpool"]:
            parts.append(unit(shares.max(0)))
    x = np.concatenate(parts)
    if options.get("fc_dimred", True):
        x = compress(w, x, normalize=normalize, relu=options["dbof_relu"])
    return classify(w, x, options)


def lstm(w, frames, sizes, options):
    del sizes
    if options["lstm_backward"]:
        frames = frames[::-1]
    for layer in range(options["lstm_layers"]):
        scope = f"rnn/multi_rnn_cell/cell_{layer}/basic_lstm_cell/"
        c = h = np.zeros(options["lstm_cells"])
        outputs = []
        for x in frames:
            i, j, f, o = np.split(
                np.concatenate([x, h]) @ w[f"{scope}kernel"] + w[f"{scope}bias"], 4
            )
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        frames = outputs
    return classify(w, h, options)


def gru_states(w, frames, layers, cells):
    states = []
    for layer in range(layers):
        scope = f"RNN/rnn/multi_rnn_cell/cell_{layer}/gru_cell/"
        h = np.zeros(cells)
        outputs = []
        for x in frames:
            both = np.concatenate([x, h]) @ w[f"{scope}gates/kernel"] + w[f"{scope}gates/bias"]
            r, u = np.split(sigmoid(both), 2)
            joined = np.concatenate([x, r * h])
            new = np.tanh(joined @ w[f"{scope}candidate/kernel"] + w[f"{scope}candidate/bias"])
            h = u * h + (1 - u) * new
            outputs.append(h)
        frames = outputs
        states.append(h)
    return np.concatenate(states)


def gru(w, frames, sizes, options):
    del sizes
    if options["gru_backward"]:
        frames = frames[::-1]
    state = gru_states(w, frames, options["gru_layers"], options["gru_cells"])
    return classify(w, state, options)


def nextvlad(w, frames, sizes, options):
    parts = []
    for label, part in split(frames, sizes):
        scope = f"{label}_VLAD/"
        groups = options["groups"] // (1 if label == "video" else 2)
        centers = w[f"{scope}cluster_weights2"][0]
        width, clusters = centers.shape
        total = np.zeros((width, clusters))
        for frame in part:
            x = frame @ w[f"{scope}fully_connected/weights"] + w[f"{scope}fully_connected/biases"]
            attention = x @ w[f"{scope}fully_connected_1/weights"]
            attention = sigmoid(attention + w[f"{scope}fully_connected_1/biases"])
            activation = bn(w, f"{scope}cluster_bn", x @ w[f"{scope}cluster_weights"])
            for g in range(groups):
                a = softmax(activation[g * clusters : (g + 1) * clusters]) * attention[g]
                piece = x[g * width : (g + 1) * width]
                for k in range(clusters):
                    total[:, k] += a[k] * (piece - centers[:, k])
        for k in range(clusters):
            total[:, k] = unit(total[:, k])
        parts.append(bn(w, f"{scope}vlad_bn", total.ravel()))
    h = bn(w, "hidden1_bn", np.concatenate(parts) @ w["hidden1_weights"])
    g = np.maximum(bn(w, "gating_bn", h @ w["gating_weights_1"]), 0)
    return classify(w, h * sigmoid(g @ w["gating_weights_2"]), options)


def mlp(w, x, options):
    centers = w["input_mean"] if options["mlp_centering"] else 0
    return dense_layers(w, x * np.sqrt(len(x)) - centers, options)


def dense_layers(w, h, options):
    def layer(scope, v):
        v = v @ w[f"{scope}/weights"]
        return bn(w, f"{scope}_bn", v) if options["mlp_batch_norm"] else v + w[f"{scope}/biases"]

    for i in range(1, options["mlp_layers"] + 1):
        g = np.maximum(layer(f"hidden{i}/dense", h), 0)
        if options["mlp_gating"]:
            g = g * sigmoid(layer(f"hidden{i}/gate", g))
        h = h + g if options["mlp_residual"] and i > 1 else g
    return sigmoid(h @ w["output/weights"] + w["output/biases"])


def frame_logistic(w, frames, sizes, options):
    del sizes
    return classify(w, frames.mean(0), {**options, "video_level_classifier_model": "LogisticModel"})


ORACLES = {
    "FrameLevelLogisticModel": frame_logistic,
    "DbofModel": dbof,
    "LstmModel": lstm,
    "GruModel": gru,
    "NetVLADModelLF": netvlad,
    "WillowNetVLADModelLF": willow_netvlad,
    "NetFVModelLF": netfv,
    "DbofModelLF": lambda *a: dbof_lf(*a, kind="linear"),
    "SoftDbofModelLF": lambda *a: dbof_lf(*a, kind="soft"),
    "GatedDbofModelLF": lambda *a: dbof_lf(*a, kind="gated"),
    "NeXtVLADModel": nextvlad,
}


def predict(flags, weights, inputs, num_frames):
    """Scores of a batch, (B, C) float64."""
    w = {name.removeprefix("tower/"): value.astype(np.float64) for name, value in weights.items()}
    rows = []
    for video, count in zip(inputs.astype(np.float64), num_frames, strict=True):
        if flags.model == "MlpModel":
            rows.append(mlp(w, unit(video), flags.options))
            continue
        if not flags.features.frame_level:
            logistic = {"video_level_classifier_model": flags.model}
            rows.append(classify(w, unit(video), {**flags.options, **logistic}))
            continue
        frames = np.array([unit(frame) for frame in video[:count]])
        rows.append(ORACLES[flags.model](w, frames, flags.features.sizes, flags.options))
    return np.array(rows)
