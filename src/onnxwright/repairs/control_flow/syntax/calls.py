"""Makes calls of what decides in a function, and of what changes values in place or takes elements of them."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Sequence
from typing import Final, cast

from onnxwright.repairs.control_flow.syntax import writing
from onnxwright.repairs.control_flow.syntax.known import Known
from onnxwright.repairs.control_flow.syntax.lasting import is_set_at_once
from onnxwright.repairs.control_flow.syntax.names import Names, name_changed, names_set
from onnxwright.repairs.control_flow.syntax.returns import ends_returning
from onnxwright.repairs.control_flow.syntax.tabulating import tabulated
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError

_ASKING_KINDS: Final = ("isinstance", "hasattr", "callable", "issubclass")


class Calls(ast.NodeTransformer):
    """Makes calls of the statements of one function."""

    def __init__(self, names: Names, known: Known, first: str | None):
        self._names = names
        self._known = known
        self._first = first
        """The name of the function's first argument."""
        self._depth = 0
        """How many branches and loops lie around what is visited: only in one is a change in place undone."""

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Returns a block with calls for what decides in it."""
        done: list[ast.stmt] = []
        for statement in statements:
            made = self.visit(statement)
            done += made if isinstance(made, list) else [made]
        return done

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leaves a function of its own."""
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Makes a branch of two functions, but for a side that raises, and for what Python always knows."""
        if node.body and isinstance(node.body[-1], ast.Raise):
            return self._refusing(node, node.body, node.orelse, negated=False)
        if node.orelse and isinstance(node.orelse[-1], ast.Raise):
            return self._refusing(node, node.orelse, node.body, negated=True)
        test = self.visit(node.test)
        if _is_of_kinds(node.test):
            return ast.copy_location(ast.If(test, self.block(node.body), self.block(node.orelse)), node)
        returns = ends_returning(node.body)
        handed = self._names.lasting(node.body, node.orelse)
        then = self._function("then", node.body, handed, node, returns=returns)
        other = self._function("otherwise", node.orelse, handed, node, returns=returns)
        sides = [writing.name(side.name) for side in (then, other)]
        call = writing.call("branch", [test, *sides, writing.line(node), *map(writing.name, handed)])
        return writing.placed_at(node, [then, other, ast.Return(call) if returns else writing.set_all(handed, call)])

    def _refusing(
        self, node: ast.If, refusal: list[ast.stmt], rest: list[ast.stmt], *, negated: bool
    ) -> list[ast.stmt]:
        """What raises on one side raises where Python knows that it has to; what is computed is the other."""
        test = ast.UnaryOp(ast.Not(), node.test) if negated else node.test
        asked = writing.call("is_certain", [self.visit(test)])
        done: list[ast.stmt] = writing.placed_at(node, [ast.If(asked, refusal, [])])
        return [*done, *self.block(rest)]

    def visit_While(self, node: ast.While) -> ast.AST | list[ast.stmt]:
        """Makes a loop of a function that asks and one that goes a round."""
        handed = self._names.lasting(node.body)
        test = self._function("test", [ast.Return(node.test)], handed, node, returns=True)
        body = self._function("body", node.body, handed, node)
        parts = [writing.name(test.name), writing.name(body.name)]
        call = writing.call("loop", [*parts, writing.line(node), *map(writing.name, handed)])
        return writing.placed_at(node, [test, body, writing.set_all(handed, call)])

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        """Makes a loop of a function that goes a round with an item."""
        items = self.visit(node.iter)
        item = self._names.fresh("item")
        set_item = ast.copy_location(ast.Assign([node.target], writing.name(item)), node)
        handed = self._names.lasting([set_item, *node.body])
        body = self._function("body", [set_item, *node.body], handed, node)
        body.args.args.insert(0, ast.arg(item))
        parts = [items, writing.name(body.name)]
        call = writing.call("each", [*parts, writing.line(node), *map(writing.name, handed)])
        return writing.placed_at(node, [body, writing.set_all(handed, call)])

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        """Makes a list of a function of its items."""
        return self._mapped(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        """Makes a list of what would be given one by one."""
        return self._mapped(node)

    def _mapped(self, node: ast.ListComp | ast.GeneratorExp) -> ast.AST:
        (first, *more) = node.generators
        targets = _names_of(first.target)
        if more or first.ifs or targets is None:
            first.iter = self.visit(first.iter)
            return node
        items, element = self.visit(first.iter), self.visit(node.elt)
        function: ast.expr = writing.function_of(targets, element)
        if not isinstance(first.target, ast.Name):
            item = self._names.fresh("item")
            parts = ast.Starred(writing.name(item), ast.Load())
            function = writing.function_of([item], ast.Call(function, [parts], []))
        return ast.copy_location(writing.call("listed", [items, function, writing.line(node)]), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """Makes a branch of two values."""
        if _is_of_kinds(node.test):
            return self.generic_visit(node)
        sides = [writing.function_of([], self.visit(side)) for side in (node.body, node.orelse)]
        return ast.copy_location(writing.call("branch", [self.visit(node.test), *sides, writing.line(node)]), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Makes calls of `and` and `or`, whose later values are computed when they are asked for."""
        called = "both" if isinstance(node.op, ast.And) else "either"
        first, *others = (self.visit(value) for value in node.values)
        for other in others:
            first = writing.call(called, [first, writing.function_of([], other)])
        whole: ast.expr = first
        return ast.copy_location(whole, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Makes a call of `not`."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Not):
            return node
        return ast.copy_location(writing.call("opposite", [node.operand]), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Takes a chain apart: `a < b < c` is `a < b and b < c`."""
        if len(node.ops) == 1:
            self.generic_visit(node)
            return node
        sides = [node.left, *node.comparators]
        pairs = zip(itertools.pairwise(sides), node.ops, strict=True)
        chain = [ast.Compare(left, [how], [copy.deepcopy(right)]) for (left, right), how in pairs]
        return cast(ast.AST, self.visit(ast.copy_location(ast.BoolOp(ast.And(), list(chain)), node)))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Has a function's twin be called in its place, and `super` find its class."""
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args and self._first:
            node.args = [writing.name("__class__"), writing.name(self._first)]
            return node
        table = tabulated(node, self._known.value_of)
        if table is not None:
            table.args = [self.visit(one) for one in table.args]
            return table
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "tolist" and not (node.args or node.keywords):
            twin = writing.attribute(writing.TWINS, "tolist")
            return ast.copy_location(ast.Call(twin, [node.func.value], []), node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and _is_lookup(node):
            got = writing.attribute(writing.TABLES, "got")
            return ast.copy_location(ast.Call(got, [node.func.value, *node.args], []), node)
        standing_in = self._known.twin(node.func)
        node.func = writing.attribute(writing.TWINS, standing_in) if standing_in else node.func
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Makes a call of the read of an element."""
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(writing.call("picked", [node.value, writing.index(node.slice)]), node)

    def visit_Delete(self, node: ast.Delete) -> ast.AST:
        """Keeps a name that is deleted, which a side of a branch could not: nothing asks for it any more."""
        if _names_of(ast.Tuple(node.targets)) is None:
            raise UnsupportedError("it deletes what is no name")
        return ast.copy_location(ast.Pass(), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """What changes a list or a tensor in place makes a new one, so that the other side keeps its own.

        What only tells the user something is left out: no operator can, and it may tell a size as text.
        """
        call = node.value
        if self._known.is_telling(call):
            return ast.copy_location(ast.Pass(), node)
        changed = name_changed(call) if self._depth else None
        if changed is None:
            self.generic_visit(node)
            return node
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Attribute)
        arguments = [self.visit(one) for one in call.args]
        named = [ast.keyword(one.arg, self.visit(one.value)) for one in call.keywords]
        method = ast.Constant(call.func.attr)
        made = writing.call("changed", [writing.name(changed), method, *arguments], named)
        return ast.copy_location(writing.set_one(changed, made), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Has what is stored in a list or tensor make a new one, too."""
        self.generic_visit(node)
        (target, *more) = node.targets
        if not (self._depth and not more and isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name)):
            return node
        owner = target.value.id
        stored = writing.call("stored", [writing.name(owner), writing.index(target.slice), node.value])
        return ast.copy_location(writing.set_one(owner, stored), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Makes a plain assignment of `x += 1`, which changes a tensor in place."""
        if not self._depth:
            self.generic_visit(node)
            return node
        target: ast.expr = copy.deepcopy(node.target)
        target.ctx = ast.Load()  # type: ignore[attr-defined]  # whatever can be assigned has one
        plain = ast.Assign([node.target], ast.BinOp(target, node.op, node.value))
        return self.visit_Assign(ast.copy_location(plain, node))

    def _function(
        self,
        what: str,
        block: Sequence[ast.stmt],
        names: Sequence[str],
        node: ast.stmt,
        *,
        returns: bool = False,
    ) -> ast.FunctionDef:
        """A function of the names that a block sets, which returns them, unless the block itself returns."""
        passing = sorted(names_set(block) - {*names} - self._names.arguments)
        unset = [name for name in passing if not is_set_at_once(name, block)]
        self._depth += 1
        body = [writing.statement_at(f"{name} = {writing.FLOW}.UNDEFINED", node) for name in unset] + self.block(block)
        self._depth -= 1
        if not returns:
            body.append(ast.Return(writing.tuple_of(names)))
        arguments = writing.parameters(names)
        made = ast.FunctionDef(name=self._names.fresh(what), args=arguments, body=body, decorator_list=[])
        return ast.copy_location(made, node)


def _is_of_kinds(test: ast.expr) -> bool:
    """Whether a test only asks what kind of thing something is (`x is None`), which Python always knows."""
    if isinstance(test, ast.BoolOp):
        return all(map(_is_of_kinds, test.values))
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _is_of_kinds(test.operand)
    if isinstance(test, ast.Compare):
        is_identity = all(isinstance(how, ast.Is | ast.IsNot) for how in test.ops)
        return is_identity and any(isinstance(side, ast.Constant) and side.value is None for side in test.comparators)
    return isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id in _ASKING_KINDS


def _names_of(target: ast.expr) -> list[str] | None:
    """The names that a target is, or is a tuple of; None where it is anything else."""
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else None


def _is_lookup(node: ast.Call) -> bool:
    """Whether a call has a key, and maybe what to answer where there is none."""
    is_plain = not any(isinstance(one, ast.Starred) for one in node.args)
    return is_plain and len(node.args) in (1, 2) and not node.keywords
