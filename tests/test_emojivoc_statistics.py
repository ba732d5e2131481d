import numpy as np
import pytest

from d2lseg import emojivoc, voc
from tools import emojivoc_statistics

SMALL = {"n_train": 6, "n_val": 3}


def test_statistics_by_hand(tmp_path):
    folder = emojivoc.prepare(tmp_path, **SMALL)
    labels = [emojivoc.draw_scene(index)[1] for index in range(6, 9)]
    scenes = [emojivoc.compose_scene(index).objects for index in range(6, 9)]
    found = emojivoc_statistics.statistics(folder, "val")
    background = sum((label == 0).sum().item() for label in labels)
    assert found.background_share == pytest.approx(background / sum((x != 255).sum().item() for x in labels))
    assert (found.scenes, found.objects) == (3, sum(len(objects) for objects in scenes))
    assert found.area_quantiles[0.5] == pytest.approx(np.median([o.area for s in scenes for o in s]))
    assert found.cut_scenes == pytest.approx(np.mean([min(o.inside for o in s) < 0.95 for s in scenes]))
    assert found.occluded_scenes == pytest.approx(np.mean([min(o.visible for o in s) < 0.95 for s in scenes]))
    for number, name in enumerate(voc.VOC_CLASSES[1:], start=1):
        assert found.scenes_per_class[name] == sum((label == number).any().item() for label in labels)


def test_statistics_need_a_drawn_set(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"emojivoc\.prepare"):
        emojivoc_statistics.statistics(tmp_path)
    folder = emojivoc.prepare(tmp_path, **SMALL)
    with pytest.raises(FileNotFoundError, match="'test'"):
        emojivoc_statistics.statistics(folder, "test")


def test_both_lists_are_printed(tmp_path, capsys):
    emojivoc_statistics.main(emojivoc.prepare(tmp_path, **SMALL))
    printed = capsys.readouterr().out
    assert printed.startswith("train\n    scenes: 6\n") and "val\n    scenes: 3\n" in printed
