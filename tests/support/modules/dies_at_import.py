import os

import samovar  # noqa: F401

print("last words")
os.abort()
