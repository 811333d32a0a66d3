"""A Python that runs a guide's blocks one after the other in one namespace, as a reader's prompt would.

Started by test_guides.py in the guide's directory: a JSON object per line in, a JSON object per line out.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback


def main() -> None:
    answers = sys.stdout
    sys.path[0] = ""  # the guide's directory, not this file's
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line in sys.stdin:
        block = json.loads(line)
        # Blank lines before the block make the traceback name the guide's own line.
        source = "\n" * (block["line"] - 1) + block["source"]
        shown, code = io.StringIO(), 0
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            try:
                exec(compile(source, block["file"], "exec"), namespace)
            except SystemExit as exit_:
                code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
            except BaseException:  # noqa: BLE001 - a block that fails is an outcome, told to the test
                traceback.print_exc()
                code = 1
        print(json.dumps({"code": code, "output": shown.getvalue()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
