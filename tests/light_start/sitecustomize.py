"""Python runs this file before all else where its folder is on the path: a test's process does without some libraries.

PEFT and transformers load them wherever they are installed, and so take twice the time to start. None of retain's
tests that start a process need them there.
"""

import sys

sys.modules.update(dict.fromkeys(("bitsandbytes", "torchao", "sklearn")))
