"""Tables of classes, as annotation tools write them, are read into the same classes."""

import json

import pytest

from d2lseg import classes
from d2lseg.classes import ClassList
from d2lseg.engine.class_tables import VOID_COLOR, background_first, parse_classes

NAMES = ("background", "leaf", "stem 2")
COLOURS = ((0, 0, 0), (48, 112, 32), (9, 8, 7))

COLOURED = {
    "ours": "background 0 0 0\nleaf 48 112 32\nstem 2 9 8 7\n",
    "CVAT": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:48,112,32::\nstem 2:9,8,7::\n",
    "CVAT without its comment": "background:0,0,0::\nleaf:48,112,32:petiole:\nstem 2:9,8,7::\n",
    "CamVid": "0 0 0\tbackground\n48 112 32\tleaf\n9 8 7\tstem 2\n",
    "CSV": "name,r,g,b\nbackground,0,0,0\nleaf,48,112,32\nstem 2,9,8,7\n",
    "CSV in words": "id, class, red, green, blue\n2,stem 2,9,8,7\n0,background,0,0,0\n1,leaf,48,112,32\n",
    "CSV without header": "background,0,0,0\nleaf,48,112,32\nstem 2,9,8,7\n",
    "CVAT, background last": "leaf:48,112,32::\nstem 2:9,8,7::\nbackground:0,0,0::\n",
    "CSV with semicolons": "Name;R;G;B\nbackground;0;0;0\nleaf;48;112;32\nstem 2;9;8;7\n",
    "CVAT with void": "background:0,0,0::\nignored:224,224,192::\nleaf:48,112,32::\nstem 2:9,8,7::\n",
}
BARE = {
    "ours": "background\n\nleaf\nstem 2\n",
    "LabelMe": "__ignore__\n_background_\nleaf\nstem 2\n",
    "Roboflow": "Pixel Value, Class\n0, background\n1, leaf\n2, stem 2\n",
    "numbered": "0: background\n1: leaf\n2: stem 2\n",
    "numbers behind": "background: 0\nstem 2: 2\nleaf: 1\n",
    "numbered, void last": "0 background\n1 leaf\n2 stem 2\n255 void\n",
    "JSON list": json.dumps(NAMES),
    "JSON object": json.dumps({"1": "leaf", "0": "background", "2": "stem 2"}),
}


@pytest.mark.parametrize("form", COLOURED)
def test_tables_with_colours_give_the_same_classes(tmp_path, form):
    (tmp_path / "list").write_text(COLOURED[form])
    assert classes.read_classes(tmp_path / "list") == ClassList(NAMES, COLOURS)


@pytest.mark.parametrize("form", BARE)
def test_bare_tables_give_the_same_classes(tmp_path, form):
    (tmp_path / "list").write_text(BARE[form])
    table = classes.read_classes(tmp_path / "list")
    first = "_background_" if form == "LabelMe" else "background"
    assert table == ClassList((first, *NAMES[1:]))


def test_values_void_and_colours_of_void_are_kept():
    table = parse_classes("value,name,r,g,b\n100,cup,1,2,3\n0,background,0,0,0\n255,unsure,4,4,4\n")
    assert table.names == ("background", "cup") and table.values == (0, 100)
    assert table.void_values == (255,) and table.void_colours == (VOID_COLOR, (4, 4, 4))


@pytest.mark.parametrize("name", ["void", " Void", "IGNORE", "__ignore__"])
def test_void_has_the_number_of_its_place(name):
    table = parse_classes(f"background\n{name}\ncup\n")
    assert table == (("background", "cup"), None, (0, 2), (VOID_COLOR,), (1,), True)


@pytest.mark.parametrize(
    ("text", "names", "values"),
    [
        ("cup 1 2 3\nbg 0 0 0\npen 4 5 6\n", ("bg", "cup", "pen"), (1, 0, 2)),
        ("id,name\n1,other\n5,Background\n6,cup\n", ("Background", "other", "cup"), (5, 1, 6)),
        ("cup\nbackground\n", ("cup", "background"), None),  # where only the order says what a number means
    ],
)
def test_the_background_comes_first_where_no_number_gets_another_meaning(text, names, values):
    table = background_first(parse_classes(text))
    assert (table.names, table.values) == (names, values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names:\n- cup\n- pen\n", "'names:' cannot be the name of a class"),
        ("nc: 2\nnames: cup pen\n", "'nc: 2' cannot be the name"),
        ("<annotation>\n<name>cup</name>\n", "'<annotation>' cannot be"),
        ("background\n---\ncup\n", "'---' cannot be"),
        ('{"images": [], "annotations": []}', "JSON of another kind"),
        ("{broken", "neither JSON nor one class"),
        ("background\n_background_\ncup\n", "_background_ is class 1; it means class 0: put it first"),
        ("# label:color_rgb:parts:actions\nleaf\n", "'leaf' is not a line of a labelmap.txt"),
        ("name,r,g,b\ncup,1,2\n", "'cup,1,2' does not fit the header"),
        ("0: background\n7: cup\n", "values 0, 7; expected 0, 1, 2"),
        ("background\ncup\nvoid\n", "a class called void or ignore means what is not scored"),
        ("background 0 0 0\ncup 1 2 3\nVoid 4 5 6\n", "python -m d2lseg data import makes it so"),
        ("id,name\n0,background\n1,cup\n1,pen\n", "'cup' and 'pen' have one value, 1"),
    ],
)
def test_lines_that_cannot_be_classes_are_named(tmp_path, text, words):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=r"list\.txt: ") as error:
        classes.read_classes(tmp_path / "list.txt")
    assert words in str(error.value)
