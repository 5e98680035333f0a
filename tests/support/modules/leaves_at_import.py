import sys

import samovar  # noqa: F401

sys.exit("I will not be imported")
