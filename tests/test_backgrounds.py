import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lseg.engine import backgrounds


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(20, 90), st.integers(20, 90))
def test_a_background_depends_on_its_generator_alone(seed, height, width):
    first, second = (
        backgrounds.draw_background(np.random.default_rng(seed), height, width) for _ in range(2)
    )
    assert first.mode == "RGB" and first.size == (width, height)
    assert np.array_equal(np.asarray(first), np.asarray(second))


def test_backgrounds_differ():
    rng = np.random.default_rng(0)
    drawn = [np.asarray(backgrounds.draw_background(rng, 40, 60)) for _ in range(20)]
    assert len({image.tobytes() for image in drawn}) == 20
    assert max(image.std() for image in drawn) > 20


@pytest.mark.parametrize("size", [(1, 9), (30, 40)])
def test_a_ramp_rises_evenly_from_0_to_1(size):
    t = backgrounds.ramp(np.random.default_rng(0), *size)
    assert t.shape == size and t.min() == 0 and t.max() == pytest.approx(1)
    for axis in (0, 1):
        assert np.ptp(np.diff(t, axis=axis)) < 1e-4 if size[axis] > 1 else True
