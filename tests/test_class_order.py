"""A list of classes that does not belong to the masks is noticed where anything can be known of it."""

import json

import pytest
from test_finetuning import OWN, SHORT, called, error_of, filled, own_folder, run, started

from d2lseg import classes, fcn, voc
from d2lseg.cli import evaluate
from d2lseg.datasets import doctor
from d2lseg.datasets.class_order import check_order
from d2lseg.engine import checkpoint

__all__ = ["called"]  # a fixture

pytestmark = pytest.mark.usefixtures("same_threads")
LIGHT = ["--backbone", "efficientnet_lite0"]  # quicker to build than the default
SWAPPED = ("background", "plate", "cup")


@pytest.fixture
def folder(tmp_path):
    return own_folder(tmp_path / "set")


@pytest.fixture
def swapped(tmp_path):
    return classes.write_classes(tmp_path / "mine.txt", SWAPPED)


def only(folder, *names):
    (finding,) = check_order(folder, classes.ClassList(names), "mine.txt")
    return finding


def test_a_name_at_another_number_is_a_fault(folder):
    finding = only(folder, *SWAPPED)
    assert not finding.warning
    assert finding.what.startswith(f"mine.txt: 'plate' is class 1, but class 2 in {folder / 'classes.txt'}")
    assert "(background, cup, plate)" in finding.advice
    assert not only(folder, "background", "plate").warning, "a list that is shorter"
    assert not only(folder, "background", "fork", "cup", "plate").warning, "and one with a class in between"


def test_other_names_are_a_warning(folder):
    finding = only(folder, "background", "Tasse", "plate")
    assert finding.warning and "class 1 'Tasse' for 'cup'" in finding.what


@pytest.mark.parametrize("names", [OWN, OWN[:2], (*OWN, "fork")])
def test_the_same_order_is_nothing_to_speak_of(folder, names):
    assert check_order(folder, classes.ClassList(names), "mine.txt") == []


def test_lists_under_other_names_and_tables_are_known(folder):
    (folder / "classes.txt").rename(folder / "labels.txt")
    assert not only(folder, *SWAPPED).warning
    (folder / "labels.txt").unlink()
    (folder / "class_dict.csv").write_text("name,id\nplate,2\ncup,1\nbackground,0\n")
    assert check_order(folder, classes.ClassList(OWN), "mine.txt") == []
    assert not only(folder, *SWAPPED).warning


def test_a_list_of_another_tool_that_begins_with_an_object_tells_nothing(folder):
    (folder / "classes.txt").unlink()
    (folder / "labels.txt").write_text("cup\nplate\n")
    assert check_order(folder, classes.ClassList(OWN), "mine.txt") == []
    (folder / "labels.txt").rename(folder / "classes.txt")
    assert not only(folder, *OWN).warning, "this one is what training reads"


def test_without_a_list_only_vocs_own_names_are_known(folder):
    (folder / "classes.txt").unlink()
    assert check_order(folder, classes.ClassList(SWAPPED), "mine.txt") == []
    assert check_order(folder, classes.ClassList(voc.VOC_CLASSES), "mine.txt") == []
    alphabetical = (voc.VOC_CLASSES[0], *sorted(voc.VOC_CLASSES[1:], reverse=True))
    assert "VOC's list" in only(folder, *alphabetical).what


def test_a_list_that_cannot_be_read_tells_nothing(folder):
    (folder / "classes.txt").write_text("notes: {\n")
    assert check_order(folder, classes.ClassList(SWAPPED), "mine.txt") == []


def test_the_doctor_says_it_too(folder, swapped):
    (fault,) = doctor.examine(folder, swapped).faults
    assert f"{swapped}: 'plate' is class 1" in fault.what
    (fault,) = doctor.examine(folder, SWAPPED).faults
    assert "the list given: 'plate' is class 1" in fault.what


# ------------------------------------------------------------------ on the command line


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_commands_stop_at_another_order(folder, swapped, tmp_path, called, capsys, command):
    more = {
        "train": [*SHORT, "--epochs", 1, "--out", tmp_path / "run"],
        "evaluate": ["--checkpoint", "photos"],
    }
    assert run(command, "--data", folder, "--classes", swapped, *more[command]) == 1
    line = error_of(capsys)
    assert f"{swapped}: 'plate' is class 1, but class 2 in {folder / 'classes.txt'}" in line
    assert "leave --classes out" in line and "model" not in called


def test_other_names_are_said_in_a_line_and_used(folder, tmp_path, called, capsys):
    path = classes.write_classes(tmp_path / "mine.txt", ("background", "Tasse", "Teller"))
    model = started(called, folder, tmp_path / "run", "--classes", path, *LIGHT)
    assert model.classes == ("background", "Tasse", "Teller")
    printed = capsys.readouterr().out
    assert f"warning: {path}: other names than in {folder / 'classes.txt'}: class 1 'Tasse' for" in printed


def test_a_network_of_the_same_classes_in_another_order_is_said(folder, tmp_path, called, capsys):
    path = fcn.save(filled("32s", SWAPPED, backbone=LIGHT[1]), tmp_path / "model.pt")
    started(called, folder, tmp_path / "run", "--init", path)
    printed = capsys.readouterr().out
    assert f"left out of {path}: score\n" in printed
    assert "same in another order (background, plate, cup): is the list of these masks right?" in printed
    path = fcn.save(filled("32s", ("background", "fork", "cup"), backbone=LIGHT[1]), path)
    started(called, folder, tmp_path / "another", "--init", path)
    assert "another order" not in capsys.readouterr().out


def test_a_run_is_not_resumed_with_another_order(folder, swapped, tmp_path, called, capsys):
    out = tmp_path / "run"
    started(called, folder, out, *LIGHT)
    checkpoint.write(out / "checkpoint.pt", {})
    (folder / "classes.txt").unlink()  # nothing but the run knows the order
    words = ["--classes", swapped, *SHORT, *LIGHT, "--epochs", 1, "--out", out, "--resume"]
    assert run("train", "--data", folder, *words) == 1
    assert "classes=['background', 'cup', 'plate'] (now ['background', 'plate', 'cup'])" in error_of(capsys)
    assert json.loads((out / "settings.json").read_text())["classes"] == list(OWN)


def test_the_hint_at_the_doctor_repeats_the_list(folder, tmp_path, called, capsys):
    path = classes.write_classes(tmp_path / "mine.txt", (*OWN, "fork"))
    (folder / "JPEGImages" / "train_00.jpg").write_bytes(b"")
    words = ["train", "--data", folder, *SHORT, "--epochs", 1, "--out", tmp_path / "run"]
    assert run(*words, "--classes", path) == 1
    assert f"python -m d2lseg doctor {folder} --classes {path}. To continue" in error_of(capsys)
    (folder / "JPEGImages" / "train_00.jpg").unlink()
    assert run(*words, "--classes", path, "--no-check") == 1
    assert f"python -m d2lseg doctor {folder} --classes {path} finds all" in error_of(capsys)
    assert run(*words) == 1
    assert f"python -m d2lseg doctor {folder}. To continue" in error_of(capsys)


@pytest.mark.parametrize(
    ("listed", "given", "words"),
    [
        (
            None,
            ("background", "fork", "knife"),
            "Is {given} the list of these masks? If not, give theirs with",
        ),
        (
            ("background", "fork", "knife"),
            None,
            "are in the wrong order or misnamed, put them right; if the masks do",
        ),
        (OWN, ("background", "fork", "knife"), "cup, plate, as in {own}: leave --classes out"),
        (None, None, "If the masks hold its numbers, give the list of its names: --classes FILE"),
    ],
)
def test_advice_on_other_classes_is_by_where_they_are_from(tmp_path, listed, given, words):
    if listed:
        classes.write_classes(tmp_path / "classes.txt", listed)
    names, model = given or listed or voc.VOC_CLASSES, fcn.pretrained("photos")
    model.classes, model.arguments["num_classes"] = OWN, 3
    with pytest.raises(ValueError) as caught:
        evaluate.check_classes(model, names, "model.pt", given and "mine.txt", tmp_path)
    line = str(caught.value)
    assert line.startswith("model.pt: ") and "the network's classes are background, cup, plate" in line
    assert words.format(given="mine.txt", own=tmp_path / "classes.txt") in line
    assert ("--classes FILE" in line) == (listed is given is None)
