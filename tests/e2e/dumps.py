"""Checks that compiling is deterministic and that any dump is an input.

usage: dumps.py VITQC MODEL OPTION...

Compiles MODEL with the options twice (the two .so files must be the same bytes).
Then, for every pass, stops after it, writes the IR, and compiles the dump with the
rest of the pipeline: the .so must be the same bytes again. With {made} in an option,
which stands for a folder, made pictures are kept in a first run and come from there
(--profile) in all others. Then the same from the numbered files of --print-to.
"""
import os
import subprocess
import sys
import tempfile


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def pass_names(tool, options):
    """Names as --stop-after takes them: the second cse is cse:2."""
    text = subprocess.run([tool, *options, "--print-pipeline"], check=True,
                          capture_output=True, text=True).stdout.strip()
    names, depth, word, quote = [], 0, "", ""
    for c in text + ",":
        if quote or c in "'\"":
            quote = "" if c == quote else quote or c
        depth += not quote and (c == "{") - (c == "}")
        if c == "," and depth == 0 and not quote:
            names.append(word.split("{")[0].strip())
            word = ""
        else:
            word += c
    return [f"{n}:{names[:i].count(n) + 1}" if names.count(n) > 1 else n
            for i, n in enumerate(names)]


def main(tool, model, *options):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)

        def compile_to(out, source, given, *more):
            subprocess.run([tool, source, *given, *more, "-q", "-o", path(out)],
                           check=True)
            return bytes_of(path(out))

        def same(what, found):
            print(f"  {what}: {'same bytes' if found == whole else 'FAILED: differs'}")
            return found == whole

        made = [o for o in options if "{made}" in o]
        first = [o.format(made=path("made")) for o in options]
        again = [o for o in options if o not in made and not o.startswith("--calib")]
        again = [*again, f"--profile={path('made')}"] if made else first
        whole = compile_to("m.so", model, first)
        os.rename(path("m.so"), path("first.so"))
        failed += not same("again", compile_to("m.so", model, again))
        names = pass_names(tool, again)
        if made:
            assert "synthesize" in names, names
        for name in names:
            compile_to("m.vq", model, again, f"--stop-after={name}", "--emit=ir")
            failed += not same(f"after {name}",
                               compile_to("m.so", path("m.vq"), again,
                                          f"--start-after={name}"))
        compile_to("m.so", model, again, f"--print-to={path('dumps')}")
        dumps = sorted(f for f in os.listdir(path("dumps")) if f.endswith(".vq"))
        assert len(dumps) == len(names) + 1, (dumps, names)
        for dump, name in zip(dumps[1::4], names[::4]):
            failed += not same(f"from {dump}",
                               compile_to("m.so", path(f"dumps/{dump}"), again,
                                          f"--start-after={name}"))
        print(f"{len(names)} passes, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
