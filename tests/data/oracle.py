"""The slow way to read records: protocol buffers, loops, numpy. Shares no code with the package."""

import numpy as np
import tensorflow as tf


def read_slowly(paths, names, *, frame_level, max_frames=300):
    """Return (id, labels, features padded to `max_frames`, number of frames, shard) per record."""
    rows = []
    for shard, path in enumerate(paths):
        for raw in tf.compat.v1.io.tf_record_iterator(str(path)):
            if frame_level:
                record = tf.train.SequenceExample.FromString(raw)
                context = record.context.feature
                lists = record.feature_lists.feature_list
                frames = []
                for t in range(min(max_frames, len(lists[names[0]].feature))):
                    row = b"".join(lists[name].feature[t].bytes_list.value[0] for name in names)
                    quantized = np.frombuffer(row, np.uint8).astype(np.float32)
                    frames.append(quantized * np.float32(4 / 255) + np.float32(4 / 512 - 2))
                features = np.zeros((max_frames, len(frames[0])), np.float32)
                features[: len(frames)] = frames
                num_frames = len(frames)
            else:
                context = tf.train.Example.FromString(raw).features.feature
                values = [v for name in names for v in context[name].float_list.value]
                features, num_frames = np.array(values, np.float32), 1
            key = "id" if "id" in context else "video_id"
            labels = list(context["labels"].int64_list.value)
            rows.append((context[key].bytes_list.value[0], labels, features, num_frames, shard))
    return rows
