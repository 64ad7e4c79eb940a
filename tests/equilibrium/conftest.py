"""PyTorch is a gigabyte and more: where it is not installed, its tests are not asked for."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["test_torch.py"]
