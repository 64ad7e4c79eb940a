"""Machine code as the tests read it."""

import re

PACKED = re.compile(
    r"\bv?(?:f?n?m?(?:add|sub|mul|max|min)|div|and|cmp\w*|blendv?)(?:132|213|231)?p[sd]\b|\bf\w+\s+v\d+\.[24][sd]"
)
CALL = re.compile(r"\s(?:callq?|bl|blr)\s")


def hot_blocks(assembly):
    """Return the basic blocks that jump back to their own label: the innermost loops."""
    pieces = re.split(r"^(\.?\w+):.*$", assembly, flags=re.MULTILINE)
    blocks = zip(pieces[1::2], pieces[2::2], strict=True)
    return [body for label, body in blocks if "LBB" in label and re.search(rf"\s{re.escape(label)}\b", body)]


def is_vectorised(assembly):
    """Whether an innermost loop works on whole vectors and none calls a function."""
    loops = hot_blocks(assembly)
    return any(PACKED.search(loop) for loop in loops) and not any(CALL.search(loop) for loop in loops)
