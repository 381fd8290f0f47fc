"""Rewrites the syntax of a function so that what decides in it is a call: of `running`, which makes operators of it.

`if`, `while`, `for`, early exits, comprehensions, `and`, `or`, `not` and conditional expressions become functions of
the names that they set. Where what decides turns out to be a Python value, these do what Python does.
"""

from __future__ import annotations

import ast
import builtins
import copy
import itertools
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from onnxwright.repairs.control_flow.lasting import is_set_at_once, is_set_first, reads
from onnxwright.repairs.control_flow.twins import TWINS

_FLOW: Final = "__flow__"
_INDEXING: Final = "__indexing__"
_TWINS: Final = "__twins__"
_TABLES: Final = "__tables__"
_USED: Final = {_FLOW: "running", _INDEXING: "indexing", _TWINS: "twins", _TABLES: "tables"}
"""The names under which a rewritten function finds the modules that run it."""

_UNSUPPORTED: Final = (
    *(ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef),
    *(ast.Global, ast.Nonlocal, ast.NamedExpr, ast.Match, ast.ClassDef, ast.TryStar),
)
_SCOPES: Final = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_TELLING: Final = (builtins.print, warnings.warn)
"""Functions that only tell the user something, beside the methods of loggers."""
_ASKING_KINDS: Final = ("isinstance", "hasattr", "callable", "issubclass")
_PLACED: Final = ("picked", "stored", "changed")
_CHANGING: Final = ("append", "extend", "insert", "reverse")
"""Methods of lists that change them, beside those of tensors that end in an underscore."""
_MOST_STATEMENTS: Final = 400
"""A statement after a branch that returns is copied into its sides; no function may grow beyond this."""


class UnsupportedError(Exception):
    """The function holds what can't be rewritten."""


def rewritten(function: ast.FunctionDef, known: Mapping[str, Any]) -> ast.FunctionDef:
    """Returns a function with its control flow as calls, given the global names that it knows.

    Raises:
        UnsupportedError: when it holds what can't be, such as `yield` or `del`.
    """
    function = copy.deepcopy(function)
    if any(isinstance(node, _UNSUPPORTED) for node in ast.walk(function)):
        raise UnsupportedError("it yields, matches, or sets names elsewhere")
    arguments = [*function.args.posonlyargs, *function.args.args]
    names = _Names(function)
    body = _Returns().closed(_Exits(names).lowered(function.body))
    names.know_reads(body)
    body = _Functional(names, known, arguments[0].arg if arguments else None).block(body)
    head = [_statement(f"from onnxwright.repairs.control_flow import {part} as {name}") for name, part in _USED.items()]
    head += [_statement(f"{one.arg} = {_INDEXING}.taken({one.arg})") for one in (*arguments, *function.args.kwonlyargs)]
    head += [_statement(f"{name} = {_FLOW}.UNDEFINED") for name in sorted(names.used)]
    function.body = [*head, *body]
    function.decorator_list, function.returns = [], None
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    for statement in head:
        for node in ast.walk(statement):
            node.lineno = node.end_lineno = function.lineno  # type: ignore[attr-defined]  # only where nodes have it
    return ast.fix_missing_locations(function)


class _Names:
    """The names that a function sets, and fresh ones."""

    def __init__(self, function: ast.FunctionDef):
        arguments = function.args
        taken = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self.arguments = {one.arg for one in taken if one is not None}
        """What the function is given."""
        self.all = self.arguments | _stored(function.body)
        """Arguments, and what is set."""
        self._count = itertools.count()
        self._reads: Counter[str] = Counter()
        self.used: set[str] = set()
        """Those that branches and loops hand on, arguments left out."""

    def fresh(self, what: str) -> str:
        return f"__{what}_{next(self._count)}"

    def know_reads(self, body: Sequence[ast.stmt]) -> None:
        """Takes in where the function reads which names, before anything in it is rewritten."""
        self._reads = reads(body)

    def lasting(self, *blocks: Sequence[ast.stmt]) -> list[str]:
        """Returns the names that blocks set, in order, but for those that matter inside of one alone."""
        names = _stored(statement for block in blocks for statement in block)
        inside = reads(statement for block in blocks for statement in block)
        passing = {
            name
            for name in names - self.arguments
            if inside[name] == self._reads[name] and all(is_set_first(name, block) for block in blocks)
        }
        return self._handed_on(names - passing)

    def _handed_on(self, found: Iterable[str]) -> list[str]:
        names = sorted(found)
        self.used.update(name for name in names if name not in self.arguments)
        return names


class _Exits:
    """Turns `break`, `continue`, and `return` inside of loops, into flags that what follows asks."""

    def __init__(self, names: _Names):
        self._names = names

    def lowered(self, block: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Returns a block without such exits."""
        done: list[ast.stmt] = []
        for statement in block:
            if isinstance(statement, (ast.For, ast.While)):
                done += self._loop(statement)
                continue
            for inner in _blocks(statement):
                inner[:] = self.lowered(inner)
            done.append(statement)
        return done

    def _loop(self, loop: ast.For | ast.While) -> list[ast.stmt]:
        if loop.orelse:
            raise UnsupportedError("a loop has an `else`")
        result, returned = self._names.fresh("result"), self._names.fresh("returned")
        returns = _has(loop.body, ast.Return)
        if returns:
            loop.body = _with_breaks(loop.body, result, returned)
        loop.body = self.lowered(loop.body)
        before: list[ast.stmt] = []
        if _has(loop.body, ast.Break, ast.Continue, own_loop=True):
            broken, skipped = self._names.fresh("broken"), self._names.fresh("skipped")
            before.append(_located(f"{broken} = False", loop))
            body = [_located(f"{skipped} = False", loop), *_guarded(loop.body, broken, skipped)]
            if isinstance(loop, ast.While):
                loop.test = ast.BoolOp(ast.And(), [_expression(f"not {broken}", loop), loop.test])
                loop.body = body
            else:
                loop.body = [ast.copy_location(ast.If(_expression(f"not {broken}", loop), body, []), loop)]
        after: list[ast.stmt] = []
        if returns:
            before.append(_located(f"{returned} = False", loop))
            after.append(_located(f"if {returned}:\n    return {result}", loop))
        return [*before, loop, *after]


def _with_breaks(block: Sequence[ast.stmt], result: str, returned: str) -> list[ast.stmt]:
    """Has a loop break where it returned, and loops in it too."""
    done: list[ast.stmt] = []
    for statement in block:
        if isinstance(statement, ast.Return):
            kept = _located(f"{result} = None", statement)
            assert isinstance(kept, ast.Assign)
            kept.value = statement.value or kept.value
            done += [kept, _located(f"{returned} = True", statement), _located("break", statement)]
            continue
        returns = _has([statement], ast.Return)
        for inner in _blocks(statement):
            inner[:] = _with_breaks(inner, result, returned)
        done.append(statement)
        if returns and isinstance(statement, (ast.For, ast.While)):
            done.append(_located(f"if {returned}:\n    break", statement))
    return done


def _guarded(block: Sequence[ast.stmt], broken: str, skipped: str) -> list[ast.stmt]:
    """Has what follows an exit run only where none was taken."""
    done: list[ast.stmt] = []
    for place, statement in enumerate(block):
        if isinstance(statement, (ast.Break, ast.Continue)):
            flag = broken if isinstance(statement, ast.Break) else skipped
            return [*done, _located(f"{flag} = True", statement)]
        exits = _has([statement], ast.Break, ast.Continue, own_loop=True)
        if exits and not isinstance(statement, ast.If):
            raise UnsupportedError("a loop is left from inside of a `with` or `try`")
        done.append(statement)
        if exits:
            assert isinstance(statement, ast.If)
            done += _with_rest_guarded(statement, block[place + 1 :], broken, skipped)
            break
    return done or [ast.Pass()]


def _with_rest_guarded(statement: ast.If, rest: Sequence[ast.stmt], broken: str, skipped: str) -> list[ast.stmt]:
    """Guards the sides of a branch, and returns what follows it; nothing where the other side takes that in."""
    sides = [statement.body, statement.orelse]
    leaving = [bool(side) and isinstance(side[-1], (ast.Break, ast.Continue)) for side in sides]
    if any(leaving):
        sides[leaving.index(True) - 1] += rest
        rest = []
    statement.body, statement.orelse = (_guarded(side, broken, skipped) for side in sides)
    rest = _guarded(rest, broken, skipped) if rest else []
    asked = _expression(f"not ({broken} or {skipped})", statement)
    return [ast.copy_location(ast.If(asked, rest, []), statement)] if rest else []


class _Returns:
    """Has a function end in one return on each way: what follows a branch that may return goes into its sides."""

    def __init__(self) -> None:
        self._size = 0

    def closed(self, block: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Returns a block that ends by returning or raising, whatever way is taken."""
        self._size += len(block)
        if self._size > _MOST_STATEMENTS:
            raise UnsupportedError("it returns from too many places")
        for place, statement in enumerate(block):
            if isinstance(statement, (ast.Return, ast.Raise)):
                return list(block[: place + 1])
            if _has([statement], ast.Return):
                return [*block[:place], self._with_rest(statement, block[place + 1 :])]
        last = ast.Return(ast.Constant(None))
        return [*block, ast.copy_location(last, block[-1]) if block else ast.fix_missing_locations(last)]

    def _with_rest(self, statement: ast.stmt, rest: Sequence[ast.stmt]) -> ast.stmt:
        if isinstance(statement, ast.With):
            statement.body = self.closed([*statement.body, *rest])
            return statement
        if not isinstance(statement, ast.If):
            raise UnsupportedError("it returns from inside of a `try`")
        body, orelse = ([*side, *copy.deepcopy(list(rest))] for side in (statement.body, statement.orelse))
        return ast.copy_location(ast.If(statement.test, self.closed(body), self.closed(orelse)), statement)


class _Functional(ast.NodeTransformer):
    """Makes calls of what decides."""

    def __init__(self, names: _Names, known: Mapping[str, Any], first: str | None):
        self._names = names
        self._known = known
        self._first = first
        self._depth = 0

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for statement in statements:
            made = self.visit(statement)
            done += made if isinstance(made, list) else [made]
        return done

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node  # a function of its own

    def _is_telling(self, called: ast.expr) -> bool:
        if not isinstance(called, ast.Call):
            return False
        if isinstance(called.func, ast.Name):
            name = called.func.id
            return name not in self._names.all and self._known.get(name, vars(builtins).get(name)) in _TELLING
        if not isinstance(called.func, ast.Attribute) or not isinstance(called.func.value, ast.Name):
            return False
        name = called.func.value.id
        owner = self._known.get(name) if name not in self._names.all else None
        return isinstance(owner, logging.Logger | logging.LoggerAdapter) or (
            getattr(owner, called.func.attr, None) in _TELLING
        )

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if node.body and isinstance(node.body[-1], ast.Raise):
            return self._refusing(node, node.body, node.orelse, negated=False)
        if node.orelse and isinstance(node.orelse[-1], ast.Raise):
            return self._refusing(node, node.orelse, node.body, negated=True)
        test = self.visit(node.test)
        if _is_of_kinds(node.test):
            return ast.copy_location(ast.If(test, self.block(node.body), self.block(node.orelse)), node)
        returns = _returns(node.body)
        handed = self._names.lasting(node.body, node.orelse)
        then = self._function("then", node.body, handed, node, returns=returns)
        other = self._function("otherwise", node.orelse, handed, node, returns=returns)
        call = _call("branch", [test, _name(then.name), _name(other.name), _line(node), *map(_name, handed)])
        return _at(node, [then, other, ast.Return(call) if returns else _assigned(handed, call)])

    def _refusing(
        self, node: ast.If, refusal: list[ast.stmt], rest: list[ast.stmt], *, negated: bool
    ) -> list[ast.stmt]:
        """What raises on one side raises where Python knows that it has to; what is computed is the other."""
        test = ast.UnaryOp(ast.Not(), node.test) if negated else node.test
        asked = _call("is_certain", [self.visit(test)])
        done: list[ast.stmt] = _at(node, [ast.If(asked, refusal, [])])
        return [*done, *self.block(rest)]

    def visit_While(self, node: ast.While) -> ast.AST | list[ast.stmt]:
        handed = self._names.lasting(node.body)
        test = self._function("test", [ast.Return(node.test)], handed, node, returns=True)
        body = self._function("body", node.body, handed, node)
        call = _call("loop", [_name(test.name), _name(body.name), _line(node), *map(_name, handed)])
        return _at(node, [test, body, _assigned(handed, call)])

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        items = self.visit(node.iter)
        item = self._names.fresh("item")
        set_item = ast.copy_location(ast.Assign([node.target], _name(item)), node)
        handed = self._names.lasting([set_item, *node.body])
        body = self._function("body", [set_item, *node.body], handed, node)
        body.args.args.insert(0, ast.arg(item))
        call = _call("each", [items, _name(body.name), _line(node), *map(_name, handed)])
        return _at(node, [body, _assigned(handed, call)])

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._mapped(node, "listed")

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._mapped(node, "listed")

    def _mapped(self, node: ast.ListComp | ast.GeneratorExp, called: str) -> ast.AST:
        (first, *more) = node.generators
        if more or first.ifs or not _is_names(first.target):
            first.iter = self.visit(first.iter)
            return node
        items, element = self.visit(first.iter), self.visit(node.elt)
        taken = [first.target] if isinstance(first.target, ast.Name) else first.target.elts  # type: ignore[attr-defined]
        function: ast.expr = _lambda([one.id for one in taken], element)
        if not isinstance(first.target, ast.Name):
            item = self._names.fresh("item")
            function = _lambda([item], ast.Call(function, [ast.Starred(_name(item), ast.Load())], []))
        return ast.copy_location(_call(called, [items, function, _line(node)]), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        if _is_of_kinds(node.test):
            return self.generic_visit(node)
        sides = [_lambda([], self.visit(side)) for side in (node.body, node.orelse)]
        return ast.copy_location(_call("branch", [self.visit(node.test), *sides, _line(node)]), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        called = "both" if isinstance(node.op, ast.And) else "either"
        first, *others = (self.visit(value) for value in node.values)
        for other in others:
            first = _call(called, [first, _lambda([], other)])
        whole: ast.expr = first
        return ast.copy_location(whole, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(_call("opposite", [node.operand]), node) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1:
            self.generic_visit(node)
            return node
        sides = [node.left, *node.comparators]
        pairs = zip(itertools.pairwise(sides), node.ops, strict=True)
        chain = [ast.Compare(left, [how], [copy.deepcopy(right)]) for (left, right), how in pairs]
        return self.visit(ast.copy_location(ast.BoolOp(ast.And(), list(chain)), node))  # type: ignore[no-any-return]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args and self._first:
            node.args = [_name("__class__"), _name(self._first)]
            return node
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "tolist" and not (node.args or node.keywords):
            return ast.copy_location(ast.Call(_attribute(_TWINS, "tolist"), [node.func.value], []), node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and _is_lookup(node):
            return ast.copy_location(ast.Call(_attribute(_TABLES, "got"), [node.func.value, *node.args], []), node)
        twin = self._twin(node.func)
        node.func = _attribute(_TWINS, twin) if twin else node.func
        return node

    def _twin(self, function: ast.expr) -> str | None:
        """What stands in for a function of Python or torch, if a name is not another's here."""
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        if name not in TWINS:
            return None
        own, twin = TWINS[name]
        owner = function.value if isinstance(function, ast.Attribute) else function
        if not isinstance(owner, ast.Name) or owner.id in self._names.all:
            return None
        found = self._known.get(owner.id, vars(builtins).get(owner.id))
        found = getattr(found, name, None) if isinstance(function, ast.Attribute) else found
        is_own = found is own or getattr(found, "__wrapped__", None) is own  # a twin of an operator may stand in for it
        return twin.__name__ if is_own else None

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(_call("picked", [node.value, _index(node.slice)]), node)

    def visit_Delete(self, node: ast.Delete) -> ast.AST:
        """Keeps a name that is deleted, which a side of a branch could not: nothing asks for it any more."""
        if not _is_names(ast.Tuple(node.targets)):
            raise UnsupportedError("it deletes what is no name")
        return ast.copy_location(ast.Pass(), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """What changes a list or a tensor in place makes a new one, so that the other side keeps its own.

        What only tells the user something is left out: no operator can, and it may tell a size as text.
        """
        call = node.value
        if self._is_telling(call):
            return ast.copy_location(ast.Pass(), node)
        changed = _changed(call) if self._depth else None
        if changed is None:
            self.generic_visit(node)
            return node
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Attribute)
        arguments = [self.visit(one) for one in call.args]
        named = [ast.keyword(one.arg, self.visit(one.value)) for one in call.keywords]
        made = _call("changed", [_name(changed), ast.Constant(call.func.attr), *arguments], named)
        return ast.copy_location(_assigned([changed], made, is_one=True), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        (target, *more) = node.targets
        if not (self._depth and not more and isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name)):
            return node
        stored = _call("stored", [_name(target.value.id), _index(target.slice), node.value])
        return ast.copy_location(_assigned([target.value.id], stored, is_one=True), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
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
        node: ast.AST,
        *,
        returns: bool = False,
    ) -> ast.FunctionDef:
        """A function of the names that a block sets, which returns them, unless the block itself returns."""
        passing = sorted(_stored(block) - {*names} - self._names.arguments)
        unset = [name for name in passing if not is_set_at_once(name, block)]
        self._depth += 1
        body = [_located(f"{name} = {_FLOW}.UNDEFINED", node) for name in unset] + self.block(block)
        self._depth -= 1
        if not returns:
            body.append(ast.Return(_tuple(names)))
        taken = [ast.arg(name) for name in names]
        arguments = ast.arguments(posonlyargs=[], args=taken, kwonlyargs=[], kw_defaults=[], defaults=[])
        made = ast.FunctionDef(name=self._names.fresh(what), args=arguments, body=body, decorator_list=[])
        return ast.copy_location(made, node)


def _stored(statements: Iterable[ast.stmt]) -> set[str]:
    """The names that statements set in the function that they stand in."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        found.update(_set_by(node))
        if not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)
    return found


def _set_by(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef():
            return [node.name]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.alias():
            return [(node.asname or node.name).partition(".")[0]]
        case ast.Expr():
            return [name for name in [_changed(node.value)] if name]
        case ast.Subscript(value=ast.Name(), ctx=ast.Store()):
            return [node.value.id]  # type: ignore[attr-defined]  # a name
        case ast.ExceptHandler(name=str()):
            raise UnsupportedError("it catches an exception by name")
        case _:
            return []


def _changed(call: ast.expr) -> str | None:
    """The name of what a call changes in place: `outs.append(x)`, `x.mul_(2)`."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    method, owner = call.func.attr, call.func.value
    is_changing = method in _CHANGING or (method.endswith("_") and not method.endswith("__"))
    return owner.id if is_changing and isinstance(owner, ast.Name) else None


def _returns(block: Sequence[ast.stmt]) -> bool:
    """Whether a closed block returns, whatever way is taken: no way goes on behind it."""
    match block[-1] if block else None:
        case ast.Return():
            return True
        case ast.If(body=body, orelse=orelse):
            return _returns(body) or _returns(orelse)
        case ast.With(body=body):
            return _returns(body)
        case _:
            return False


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


def _has(statements: Iterable[ast.stmt], *kinds: type[ast.stmt], own_loop: bool = False) -> bool:
    """Whether a statement of a kind is among these, functions in them left out, and loops where asked."""
    for statement in statements:
        if isinstance(statement, kinds):
            return True
        if isinstance(statement, _SCOPES) or (own_loop and isinstance(statement, (ast.For, ast.While))):
            continue
        if any(_has(inner, *kinds, own_loop=own_loop) for inner in _blocks(statement)):
            return True
    return False


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(statement, _SCOPES):
        return []
    fields = (getattr(statement, name, None) for name in ("body", "orelse", "finalbody"))
    handlers = [handler.body for handler in getattr(statement, "handlers", [])]
    return [block for block in fields if isinstance(block, list)] + handlers


def _is_names(target: ast.expr) -> bool:
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(one, ast.Name) for one in parts)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _attribute(module: str, name: str) -> ast.Attribute:
    return ast.Attribute(_name(module), name, ast.Load())


def _is_lookup(node: ast.Call) -> bool:
    """Whether a call has a key, and maybe what to answer where there is none."""
    is_plain = not any(isinstance(one, ast.Starred) for one in node.args)
    return is_plain and len(node.args) in (1, 2) and not node.keywords


def _call(name: str, arguments: Sequence[ast.expr], named: Sequence[ast.keyword] = ()) -> ast.Call:
    return ast.Call(_attribute(_INDEXING if name in _PLACED else _FLOW, name), list(arguments), list(named))


def _line(node: ast.AST) -> ast.Constant:
    return ast.Constant(node.lineno)  # type: ignore[attr-defined]  # statements and expressions have one


def _lambda(names: Sequence[str], value: ast.expr) -> ast.Lambda:
    taken = [ast.arg(name) for name in names]
    return ast.Lambda(ast.arguments(posonlyargs=[], args=taken, kwonlyargs=[], kw_defaults=[], defaults=[]), value)


def _tuple(names: Sequence[str]) -> ast.Tuple:
    return ast.Tuple([_name(name) for name in names], ast.Load())


def _index(index: ast.expr) -> ast.expr:
    """An index as an expression: `1:n, 2` is `(slice(1, n, None), 2)`."""
    if isinstance(index, ast.Slice):
        ends = [end or ast.Constant(None) for end in (index.lower, index.upper, index.step)]
        return ast.Call(_name("slice"), ends, [])
    if isinstance(index, ast.Tuple):
        return ast.Tuple([_index(one) for one in index.elts], ast.Load())
    return index


def _assigned(names: Sequence[str], value: ast.expr, *, is_one: bool = False) -> ast.stmt:
    if is_one:
        return ast.Assign([ast.Name(names[0], ast.Store())], value)
    if not names:
        return ast.Expr(value)
    return ast.Assign([ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())], value)


def _statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


def _located(text: str, node: ast.AST) -> ast.stmt:
    made = _statement(text)
    for one in ast.walk(made):
        ast.copy_location(one, node)
    return made


def _expression(text: str, node: ast.AST) -> ast.expr:
    made = _located(text, node)
    assert isinstance(made, ast.Expr)
    return made.value


def _at(node: ast.AST, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [ast.copy_location(statement, node) for statement in statements]
