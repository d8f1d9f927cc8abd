"""The programs that run an agent's code in a sandbox and report on it."""

ENCODER = """
def encode(value):
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {"kind": kind.__name__, "items": [encode(item) for item in value]}
    if kind is dict:
        return {"kind": "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, dict):
        return encode(dict(value))
    raise TypeError(f"the answer holds a {kind.__name__}; only plain values can be compared")
def decode(value):
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is dict:
        items = value["items"]
        if value["kind"] == "dict":
            return {decode(key): decode(item) for key, item in items}
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[value["kind"]](map(decode, items))
    return value
"""
"""JSON with marks for what JSON has no word for, as source: one text for both sides, so that they cannot disagree."""

_BEGIN = """
import sys, json, os, types
def main():
    given = json.loads(sys.stdin.buffer.read())
    answers, sys.stdout = os.dup(1), sys.stderr
    os.dup2(2, 1)
    if given["beside"]:
        sys.path.append("")
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    def load():
        exec(compile(given["source"], "solution.py", "exec"), module.__dict__)
    def entry():
        found = module
        for name in filter(None, given["entry"].split(".")):
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
    def tidy():
        for place in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
            try:
                if os.listdir(place):
                    return
            except OSError:
                pass
        say("tidy", "", "")
    def say(*line):
        os.write(answers, ("\\n" + "\\t".join(line) + "\\n").encode("utf-8", "backslashreplace"))
"""
CALLS = (
    ENCODER
    + _BEGIN
    + """
    try:
        load()
        found = entry()
    except BaseException as error:
        return say("all", "error", told(error))
    for index, arguments in given["calls"]:
        try:
            say(str(index), "answer", json.dumps(encode(found(*decode(arguments)))))
        except Exception as error:
            say(str(index), "error", told(error))
    tidy()
main()
"""
)
"""Calls a function with each list of arguments, and writes the answers."""

SCRIPT = (
    _BEGIN
    + """
    import hashlib
    try:
        load()
        module.__dict__["candidate"] = entry()
        exec(compile(given["script"], "test.py", "exec"), module.__dict__)
    except BaseException as error:
        return say("0", "error", told(error))
    say("0", "sealed", hashlib.sha256(f"{given['seal']} passed".encode()).hexdigest())
main()
"""
)
"""Runs assertions after the solution, which is `candidate` in them, and seals that they hold."""

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
        pytest.main(["-q", "-p", "no:cacheprovider", *pytests], plugins=[Watch()])
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
        if good and result.wasSuccessful():
            passed.append(name)
    for name in passed:
        seal = hashlib.sha256(f"{given['seal']} {name}".encode()).hexdigest()
        os.write(said, f"\\n{seal}\\n".encode())
main()
"""
"""Runs tests by their pytest or unittest ids, and seals the names of those that pass."""
