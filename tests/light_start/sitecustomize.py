"""Python runs this file before all else where its folder is on the path: a test's process does without some libraries.

PEFT and transformers load them wherever they are installed, which is a fifth of the time that they take to start. No
process that a test starts needs them.
"""

import sys

sys.modules.update(dict.fromkeys(("bitsandbytes", "torchao")))
