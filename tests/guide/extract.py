"""The code of a page, as a program: extract.py PAGE FOLDER writes guide.cc and the page's named files into FOLDER.

A block ```cpp is the body of a function that gets a pool; ```cpp top stands outside of functions; ```python NAME is a file.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)[ ]?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main(page: Path, folder: Path) -> None:
    text = page.read_text()
    program = ['#include "harness.h"', ""]
    bodies = 0
    for match in BLOCK.finditer(text):
        language, name, code = match.groups()
        line = text.count("\n", 0, match.start()) + 2
        if language == "cpp" and name == "top":
            program += [f'#line {line} "{page.name}"', code]
        elif language == "cpp":
            bodies += 1
            program += [f"void guide_{bodies}(samovar::Pool& pool) {{", "  (void)pool;", f'#line {line} "{page.name}"', code + "}", ""]
        elif name:
            (folder / name).write_text(code)
    calls = "".join(f"  guide_{i}(pool);\n" for i in range(1, bodies + 1))
    program += [f"void run_guide(samovar::Pool& pool) {{\n{calls}}}"]
    (folder / "guide.cc").write_text("\n".join(program) + "\n")


main(Path(sys.argv[1]), Path(sys.argv[2]))
