"""Words of texts: those of languages with spaces are remembered, and are the same as if the whole were cut at once."""

from __future__ import annotations

import rjieba
from hypothesis import given
from hypothesis import strategies as st

from knowledge import words

TEXTS = st.text(st.sampled_from([*"abcXYZ019 _-+#&.%'\"\t\n\u3000\u00a0,;中国人民银行知识库的了éßİΣσ"]), max_size=60)


@given(TEXTS | st.text(max_size=60))
def test_what_is_cut_never_reaches_over_a_space(text: str) -> None:
    whole = [word[:60] for piece in rjieba.cut_for_search(text.lower()) for word in words._WORD.findall(piece)]
    assert words.words_of(text) == [word for word in whole if word not in words.STOP]
