"""The programs that run an agent's code in a sandbox and report on it."""

import binascii
import functools
import importlib.util
import marshal

ENCODER = """
def encode(value):
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {"kind": kind.__name__, "items": [encode(item) for item in value]}
    if kind is bytes:
        return {"kind": "bytes", "items": list(value)}
    if kind is complex:
        return {"kind": "complex", "items": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"kind": "dict", "items": [[encode(key), encode(item)] for key, item in dict(value).items()]}
    return other(value)
def other(value):
    raise TypeError(f"the answer holds a {type(value).__name__}; only plain values can be compared")
def decode(value):
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is dict:
        items = value["items"]
        if value["kind"] == "dict":
            return {decode(key): decode(item) for key, item in items}
        return kinds[value["kind"]](map(decode, items))
    return value
kinds = {"tuple": tuple, "set": set, "frozenset": frozenset, "bytes": bytes, "complex": lambda parts: complex(*parts)}
"""
"""JSON with marks for what JSON has no word for, as source: one text for both sides, so that they cannot disagree."""

_COMMON = (
    ENCODER
    + """
import sys, json, os, types
def load(source):
    module = sys.modules["solution"] = types.ModuleType("solution")
    exec(compile(source, "solution.py", "exec"), module.__dict__)
    return module
def attribute(found, path):
    for name in filter(None, path.split(".")):
        found = getattr(found() if isinstance(found, type) else found, name)
    return found
def told(error):
    at, frame = [], error.__traceback__
    while frame is not None:
        at += [frame.tb_lineno] if frame.tb_frame.f_code.co_filename == "solution.py" else []
        frame = frame.tb_next
    if isinstance(error, SyntaxError):
        at = [error.lineno] if error.filename == "solution.py" else []
    words = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"[:300]
    return words.rstrip(": ") + (f" (line {at[-1]})" if at else "")
def speaker():
    answers, sys.stdout = os.dup(1), sys.stderr
    os.dup2(2, 1)
    def say(*line):
        text = "\\t".join(line).replace("\\n", " ")
        os.write(answers, f"\\n{text}\\n".encode("utf-8", "backslashreplace"))
    return say
"""
)
CALLS = (
    _COMMON
    + """
def tidy():
    for place in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
        try:
            if os.listdir(place):
                return False
        except OSError:
            pass
    return True
def main():
    given = json.loads(sys.stdin.buffer.read())
    say = speaker()
    if given["beside"]:
        sys.path.append("")
    try:
        found = attribute(load(given["source"]), given["entry"])
    except BaseException as error:
        return say("all", "error", told(error))
    for index, arguments in given["calls"]:
        try:
            say(str(index), "answer", json.dumps(encode(found(*decode(arguments)))))
        except Exception as error:
            say(str(index), "error", told(error))
    if tidy():
        say("tidy", "", "")
main()
"""
)
"""Calls a function with each list of arguments, and writes the answers."""

SCRIPT = (
    _COMMON
    + """
import builtins, ctypes
NOT_PLAIN = "the answer is no plain value; only plain values can be compared"
class Failed(Exception):
    pass
def send(pipe, message):
    left = json.dumps(message).encode() + b"\\n"
    while left:
        left = left[os.write(pipe, left) :]
def serve(requests, answers):
    things, given = [], json.loads(requests.readline())
    def call(called, *arguments, **named):
        return called(*arguments, **named)
    def keep(value):
        things.append(value)
        return {"kind": "thing", "items": [len(things) - 1]}
    globals()["other"], kinds["thing"] = keep, lambda numbers: things[next(numbers)]
    if given["beside"]:
        sys.path.append("")
    try:
        things.append(load(given["source"]))
    except BaseException as error:
        things.append(error)
    for line in requests:
        try:
            if isinstance(things[0], BaseException):
                raise things[0]
            what, thing, arguments, named = decode(json.loads(line))
            act = {"entry": attribute, "get": getattr, "set": setattr, "call": call}[what]
            answer = ["value", encode(act(thing, *arguments, **named))]
        except BaseException as error:
            answer = [type(error).__name__, str(error), told(error)]
        send(answers, answer)
def main():
    (requests, ask), (hear, answers) = os.pipe(), os.pipe()
    if not os.fork():
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            sys.stdout = sys.stderr
            os.close(ask), os.close(hear)
            serve(open(requests, "rb"), answers)
        finally:
            os._exit(1)
    os.close(requests), os.close(answers)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: the child cannot look into this process
    sys.path[:] = filter(None, sys.path)
    given = json.loads(sys.stdin.buffer.read())
    check(given, speaker(), ask, open(hear, "rb"))
def check(given, say, requests, answers):
    say("ready", "", "")
    def do(what, thing, *arguments, **named):
        send(requests, encode([what, thing, arguments, named]))
        line = answers.readline()
        if not line:
            raise Failed("it ended the process in which it ran")
        kind, value, *words = json.loads(line)
        if kind == "value":
            value = decode(value)
            thing_or_none = value is None or type(value) is Thing
            if type(value) is not Thing if thing is candidate else thing_or_none or thing.answers:
                return value
            raise TypeError(NOT_PLAIN)
        kind = getattr(builtins, kind, Failed)
        error = (kind if issubclass(kind, Exception) else Failed)(value)
        error.told = words[0]
        raise error
    class Thing:
        def __init__(self, number, answers=False):
            self.__dict__.update(number=number, answers=answers)
        def __call__(self, *arguments, **named):
            return do("call", self, *arguments, **named)
        def __getattr__(self, name):
            return do("get", self, name)
        def __setattr__(self, name, value):
            do("set", self, name, value)
        def __bool__(self, *_):
            raise TypeError(NOT_PLAIN)
        __eq__ = __contains__ = __str__ = __repr__ = __format__ = __bool__
    class Names(dict):
        def __missing__(self, name):
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in sys.stdlib_module_names:
                return __import__(name)
            self[name] = Thing(do("get", solution, name).number, answers=True)
            return self[name]
    def refer(value):
        if type(value) is not Thing:
            raise TypeError(f"a {type(value).__name__} cannot be handed to a solution")
        return {"kind": "thing", "items": [value.number]}
    globals()["other"], kinds["thing"] = refer, lambda numbers: Thing(next(numbers))
    solution, candidate = Thing(0), None
    send(requests, {"source": given["source"], "beside": given["beside"]})
    try:
        candidate = do("entry", solution, given["entry"])
        names = Names({"__name__": "test", "candidate": candidate, given["entry"]: candidate})
        exec(compile(given["script"], "test.py", "exec"), names)
        say("0", "passed", "")
    except BaseException as error:
        say("0", "error", getattr(error, "told", "") or told(error))
    os._exit(0)
main()
"""
)
"""Runs assertions in a process of their own, into which the solution cannot look. It runs in a child, that calls its
functions and gives back plain values; names that a test does not define itself are the solution's, too."""

UNIT_TESTS = """
import hashlib, json, os, sys, unittest
def main():
    given = json.loads(sys.stdin.buffer.read())
    passed, said = [], os.dup(1)
    os.dup2(2, 1)
    pytests = [name for name in given["tests"] if "::" in name or name.endswith(".py")]
    if pytests:
        import pytest
    sys.path.insert(0, "")
    if pytests:
        failed = set()
        class Watch:
            def pytest_runtest_logreport(self, report):
                if not report.passed:
                    failed.add(report.nodeid)
                elif report.when == "call":
                    passed.append(report.nodeid)
        pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir=.", *pytests], plugins=[Watch()])
        passed[:] = [name for name in passed if name not in failed]
        passed += [name for name in pytests if name.endswith(".py") and not any(f.startswith(name) for f in failed)
                   and any(p.startswith(name + "::") for p in passed)]
    class Watching(unittest.TestResult):
        def addSuccess(self, test):
            good.append(test.id())
    for name, dotted in given["dotted"].items():
        good = []
        result = Watching()
        try:
            unittest.defaultTestLoader.loadTestsFromName(dotted).run(result)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        if good and result.wasSuccessful() and not result.skipped:
            passed.append(name)
    for name in given["tests"]:
        words = f"{given['seal']} {'passed' if name in passed else 'failed'} {name}"
        seal = hashlib.sha256(words.encode()).hexdigest()
        os.write(said, f"\\n{seal}\\n".encode())
main()
"""
"""Runs tests by their pytest or unittest ids, and seals which of them passed and which failed."""

CONTROL = """
import unittest
class Control(unittest.TestCase):
    def test_equal(self):
        self.assertEqual([1], [2])
    def test_true(self):
        self.assertTrue(1 == 2)
    def test_assert(self):
        assert 1 == 2
    def test_raises(self):
        with self.assertRaises(ValueError):
            pass
"""
CONTROLS = ("test_equal", "test_true", "test_assert", "test_raises")
"""Tests that must fail."""


@functools.cache
def compiled(program: str) -> str:
    """A program that does the same, and is not compiled once more where the sandbox has the same Python as we."""
    code = binascii.b2a_base64(marshal.dumps(compile(program, "<scoring>", "exec"))).decode()
    return (
        "import binascii, marshal, _frozen_importlib_external as python\n"
        f"same = python.MAGIC_NUMBER == {importlib.util.MAGIC_NUMBER!r}\n"
        f"exec(marshal.loads(binascii.a2b_base64({code!r})) if same else {program!r})"
    )
