import pytest

from onnxwright.excerpts import excerpt


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "class Own:\n    def forward(self, x):\n\n        if x.sum() > 0:\n\t    return x\n        return -x\n"
    )
    return file


def test_shows_the_line_and_its_neighbours_as_they_are_indented_to_each_other(file):
    assert excerpt(file, 4) == ("  3", "> 4  if x.sum() > 0:", "  5  return x")
    assert excerpt(file, 2) == ("  1  class Own:", "> 2      def forward(self, x):", "  3")


def test_shows_as_many_lines_as_asked_for(file):
    assert excerpt(file, 6, around=0) == ("> 6  return -x",)
    assert [line[:3] for line in excerpt(file, 3, around=9)] == ["  1", "  2", "> 3", "  4", "  5", "  6"]


def test_lines_up_numbers_of_several_lengths(tmp_path):
    (tmp_path / "long.py").write_text("\n".join(f"x = {number}" for number in range(1, 13)))

    assert excerpt(tmp_path / "long.py", 10) == ("   9  x = 9", "> 10  x = 10", "  11  x = 11")


@pytest.mark.parametrize("line", [0, -1, 7])
def test_shows_nothing_for_a_line_that_is_not_there(file, line):
    assert excerpt(file, line) == ()


def test_shows_nothing_for_what_is_no_text(tmp_path):
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00\n")

    assert excerpt(tmp_path / "binary.py", 1) == ()
    assert excerpt(tmp_path / "missing.py", 1) == ()
    assert excerpt(tmp_path, 1) == ()
