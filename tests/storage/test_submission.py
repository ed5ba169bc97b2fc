import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yt8m_ensemble.storage.submission import format_submission


def slow_row(video_id, row, top_k):
    ranked = sorted(range(len(row)), key=lambda c: (-row[c], c))[:top_k]
    return f"{video_id}," + " ".join("%i %g" % (c, row[c]) for c in ranked) + "\n"  # noqa: UP031


@given(
    st.integers(1, 6).flatmap(
        lambda classes: st.lists(
            st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=classes, max_size=classes),
            min_size=1,
            max_size=4,
        )
    ),
    st.integers(1, 8),
)
def test_rows_equal_the_originals_format_also_where_scores_tie(rows, top_k):
    scores = np.array(rows, np.float32)
    ids = np.array([f"v{n}".encode() for n in range(len(rows))])
    expected = [slow_row(f"v{n}", row, top_k) for n, row in enumerate(rows)]
    assert list(format_submission(ids, scores, top_k=top_k)) == expected
