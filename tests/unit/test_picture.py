"""The picture of a proof: which cell shows what, and the files that are drawn."""

import itertools
import sys
from xml.etree import ElementTree as ET

import msgspec
import pytest

from onnxwright.artifact import Package
from onnxwright.errors import MissingExtraError, OutputError, UsageError
from onnxwright.manifest import Failure
from onnxwright.reports.picture import AGREED, FAILED, NOTHING, REFUSED, UNTRIED, draw, grids, lines
from onnxwright.stages.inspect import inspect


@pytest.fixture
def shown(proof_of):
    """Makes a proof over a range; keywords are lists of sizes."""

    def make(ranges, *, agreed=(), failed=(), refused=(), untried=()):
        return msgspec.structs.replace(
            proof_of(ranges, "partial"),
            sizes=tuple(agreed),
            failures=tuple(Failure(sizes, "values", "wrong") for sizes in failed),
            refused=tuple(refused),
            untried=tuple(untried),
        )

    return make


def planes(batches, sequences):
    return [{"batch": batch, "sequence": sequence} for batch, sequence in itertools.product(batches, sequences)]


def lengths(*sizes):
    return [{"sequence": size} for size in sizes]


@pytest.fixture
def partial(shown):
    """Right from sequence 3 on; 16 is refused, and one size was not tried."""
    return shown(
        {"batch": (1, 3), "sequence": (3, 9)},
        agreed=planes((1, 3), (3, 4, 9)),
        failed=planes((1, 3), (1, 2)),
        refused=planes((1,), (10, 16)),
        untried=planes((2,), (5,)),
    )


class TestCells:
    def test_say_what_came_of_their_sizes(self, partial):
        (grid,) = grids(partial)

        assert grid.rows.starts == (1, 2, 3)
        assert grid.columns.starts == tuple(range(1, 17))
        assert (grid.rows.dim, grid.columns.dim) == ("batch", "sequence")
        assert "".join(grid.cells[0]) == "xx++    +-     -"
        assert "".join(grid.cells[1]) == "    ?           "
        assert "".join(grid.cells[2]) == "xx++    +       "

    @pytest.mark.parametrize(
        ("kinds", "symbol"),
        [
            ({"agreed": (40,)}, AGREED),
            ({"agreed": (40, 41, 43), "failed": (42,)}, FAILED),
            ({"failed": (40,), "refused": (41,)}, FAILED),
            ({"agreed": (40,), "refused": (41,)}, REFUSED),
            ({"agreed": (40,), "untried": (41,)}, AGREED),
            ({"untried": (41,)}, UNTRIED),
            ({}, NOTHING),
        ],
    )
    def test_with_several_show_the_worst(self, shown, kinds, symbol):
        tried = {"agreed": (1, 512), **kinds}
        tried["agreed"] = (1, 512, *kinds.get("agreed", ()))
        (grid,) = grids(shown({"sequence": (1, 20)}, **{kind: lengths(*sizes) for kind, sizes in tried.items()}))

        cell = grid.columns.bin_of(41)
        assert grid.columns.starts[cell] <= 40
        assert grid.columns.starts[cell + 1] > 43
        assert grid.cells[0][cell] == symbol

    def test_begin_where_the_proven_range_begins_and_ends(self, shown):
        proof = shown(
            {"sequence": (9, 299)}, agreed=lengths(*range(9, 300)), failed=lengths(*range(1, 9), *range(300, 513))
        )

        (grid,) = grids(proof)

        first, last = grid.columns.proven
        assert grid.columns.starts[first] == 9
        assert grid.columns.starts[last + 1] == 300
        assert set(grid.cells[0][first : last + 1]) == {AGREED}
        assert set(grid.cells[0][:first] + grid.cells[0][last + 1 :]) == {FAILED}

    def test_show_one_wrong_size_among_thousands(self, shown):
        good = [size for size in range(1, 4097) if size != 3001]

        (grid,) = grids(shown({"sequence": (1, 3000)}, agreed=lengths(*good), failed=lengths(3001)))

        wrong = [number for number, symbol in enumerate(grid.cells[0]) if symbol == FAILED]
        assert wrong == [grid.columns.bin_of(3001)]


class TestDims:
    def test_that_do_not_vary_are_left_out(self, shown):
        sizes = [{"batch": 2, "sequence": size, "channels": 3} for size in (1, 2, 3)]

        (grid,) = grids(shown({"batch": (2, 2), "sequence": (1, 3), "channels": (3, 3)}, agreed=sizes))

        assert grid.rows is None
        assert grid.columns.dim == "sequence"
        assert grid.cells == ((AGREED, AGREED, AGREED),)

    def test_beyond_two_give_a_grid_for_each_pair_of_the_three_that_vary_most(self, shown):
        names = ("batch", "height", "width", "time")
        sizes = [
            dict(zip(names, point, strict=True)) for point in itertools.product((1, 2), range(3), range(4), range(5))
        ]

        found = grids(shown(dict.fromkeys(names, (0, 9)), agreed=sizes))

        assert [(grid.rows.dim, grid.columns.dim) for grid in found] == [
            *(("height", "width"), ("height", "time"), ("width", "time"))
        ]
        assert all("batch" in grid.others for grid in found)

    def test_without_an_axis_are_within_their_proven_range_and_the_rest_is_counted(self, shown):
        sizes = [{"a": a, "b": b, "c": c} for a, b, c in itertools.product((1, 2), (1, 2, 3), (1, 2, 3, 4))]
        wrong = [one for one in sizes if one["c"] == 4]
        right = [one for one in sizes if one["c"] < 4]

        found = {
            (grid.rows.dim, grid.columns.dim): grid
            for grid in grids(shown({"a": (1, 2), "b": (1, 3), "c": (1, 3)}, agreed=right, failed=wrong))
        }

        assert found["a", "b"].elsewhere == {FAILED: 6}
        assert {symbol for row in found["a", "b"].cells for symbol in row} == {AGREED}
        assert found["a", "c"].elsewhere == {}
        assert {row[3] for row in found["a", "c"].cells} == {FAILED}
        told = list(lines(shown({"a": (1, 2), "b": (1, 3), "c": (1, 3)}, agreed=right, failed=wrong)))
        assert "elsewhere, with another c: 6 failed" in told

    def test_that_do_not_vary_at_all_leave_nothing_to_show(self, shown, proof_of):
        assert list(lines(shown({}, agreed=[{}]))) == []
        assert list(lines(proof_of({"batch": (1, 4)}))) == []


class TestText:
    def test_frames_the_proven_range(self, partial):
        assert list(lines(partial)) == [
            "batch 1 to 3 down, sequence 1 to 16 across",
            "   1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
            "      |=============|",
            "1  x x|+ +         +| -                 -",
            "2     |    ?        |",
            "3  x x|+ +         +|",
            "      |=============|",
            "+ agreed, x failed, - refused by the model, ? not tried",
            "in the frame: proven; blank: nothing tried",
            "each number stands for the sizes from it up to the next",
        ]

    def test_of_one_dim_is_a_line(self, shown):
        proof = shown({"sequence": (1, 2)}, agreed=lengths(1, 2), failed=lengths(3))

        assert list(lines(proof))[:5] == [
            "sequence 1 to 3 across",
            "  1 2 3",
            " |===|",
            " |+ +|x",
            " |===|",
        ]

    @pytest.mark.parametrize("width", [80, 67])
    @pytest.mark.parametrize("most", [3, 30, 80, 81, 512, 8192, 1_000_000])
    def test_fits_its_width(self, shown, width, most):
        proof = shown(
            {"batch": (1, most), "sequence": (1, most - 1)},
            agreed=planes((1, most), (1, most - 1)),
            failed=planes((1, most), (most,)),
        )

        told = list(lines(proof, width))

        assert max(map(len, told)) <= width
        assert len(told) <= 26
        assert all(line.isascii() for line in told)

    def test_comes_last_in_inspect_each_line_by_its_name(self, counting, partial):
        package = counting(proof=partial)

        told = inspect(package).text.splitlines()

        drawn = [line for line in told if line.startswith("picture")]
        assert told[-len(drawn) :] == drawn
        assert [line[len("environment  ") :] for line in drawn] == list(lines(partial, 67))
        assert max(map(len, drawn)) <= 80


class TestFile:
    @pytest.fixture
    def package(self, counting, partial):
        return Package.open(counting(proof=partial))

    def test_svg_is_the_same_each_time_and_holds_its_words(self, package, tmp_path):
        draw(package, tmp_path / "one.svg", is_forced=False)
        draw(package, tmp_path / "other.SVG", is_forced=False)

        content = (tmp_path / "one.svg").read_text()
        assert content == (tmp_path / "other.SVG").read_text()
        ET.fromstring(content)
        for words in ("package: partial", "sequence", "x failed", "- refused by the model", "proven"):
            assert f">{words}<" in content, words
        assert "dc:date" not in content

    def test_of_another_proof_is_another(self, package, shown, tmp_path):
        other = shown({"sequence": (1, 2)}, agreed=lengths(1, 2))
        manifest = msgspec.structs.replace(package.manifest, proof=other)
        draw(package, tmp_path / "one.svg", is_forced=False)
        draw(Package(package.folder, manifest), tmp_path / "other.svg", is_forced=False)

        assert (tmp_path / "one.svg").read_text() != (tmp_path / "other.svg").read_text()

    def test_png_is_the_same_each_time(self, package, tmp_path):
        draw(package, tmp_path / "one.png", is_forced=False)
        draw(package, tmp_path / "other.png", is_forced=False)

        assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()

    @pytest.mark.parametrize("name", ["picture.pdf", "picture", "svg"])
    def test_with_another_suffix_is_refused(self, package, tmp_path, name):
        with pytest.raises(UsageError, match=r"expected a name that ends in one of \.svg, \.png"):
            draw(package, tmp_path / name, is_forced=False)

    def test_that_is_there_is_kept_unless_forced(self, package, tmp_path):
        file = tmp_path / "picture.svg"
        file.write_text("mine")

        with pytest.raises(OutputError, match=r"exists already\. Choose another name, or replace it with --force"):
            draw(package, file, is_forced=False)
        assert file.read_text() == "mine"
        draw(package, file, is_forced=True)
        assert file.read_text().startswith("<?xml")

    def test_in_a_folder_that_is_not_there_is_refused(self, package, tmp_path):
        with pytest.raises(OutputError, match="its parent folder doesn't exist"):
            draw(package, tmp_path / "no" / "picture.svg", is_forced=False)
        (tmp_path / "folder.svg").mkdir()
        with pytest.raises(OutputError, match="expected the name of a file, got a folder"):
            draw(package, tmp_path / "folder.svg", is_forced=True)

    def test_without_matplotlib_names_the_extra_and_leaves_nothing(self, package, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)

        with pytest.raises(
            MissingExtraError, match=r'needs the package .matplotlib.*pip install "onnxwright\[picture\]"'
        ):
            draw(package, tmp_path / "picture.svg", is_forced=False)
        assert [path.name for path in tmp_path.iterdir()] == ["package"]

    def test_of_nothing_that_varies_is_refused(self, counting, tmp_path):
        with pytest.raises(UsageError, match="there is nothing to draw, since no dim of this proof varies"):
            draw(Package.open(counting()), tmp_path / "picture.svg", is_forced=False)

    def test_that_fails_half_way_leaves_what_was_there(self, package, tmp_path, monkeypatch):
        from matplotlib.figure import Figure

        def fail(figure, file, **_):
            file.write_text("half")
            raise OSError(28, "No space left on device")

        (tmp_path / "picture.svg").write_text("mine")
        monkeypatch.setattr(Figure, "savefig", fail)
        with pytest.raises(OutputError, match="no space left on the device"):
            draw(package, tmp_path / "picture.svg", is_forced=True)
        assert (tmp_path / "picture.svg").read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "picture.svg"]

    def test_is_drawn_by_the_command_line(self, package, tmp_path, command):
        code, printed, said = command("inspect", package.folder, "--picture", tmp_path / "picture.svg")

        assert (code, said) == (0, "")
        assert "in the frame: proven" in printed
        assert (tmp_path / "picture.svg").is_file()
        code, printed, said = command("inspect", package.folder, "--picture", tmp_path / "picture.svg")
        assert (code, printed) == (2, "")
        assert "exists already" in said
        assert command("inspect", package.folder, "--picture", tmp_path / "picture.svg", "--force")[0] == 0

    def test_of_a_graph_without_a_proof_is_refused(self, package, tmp_path, command):
        code, _, said = command("inspect", package.file(), "--picture", tmp_path / "picture.svg")

        assert code == 2
        assert "is not a package" in said

    def test_is_expected_with_force(self, package, command):
        code, _, said = command("inspect", package.folder, "--force")

        assert code == 2
        assert "--force: expected with --picture" in said
