"""RESP on the wire: encoding requests, cutting a byte stream into reply frames, and parsing a frame.

Replies stay raw bytes as long as possible: two servers that answer the same bytes need no parsing at all. A parsed
reply keeps its type byte, `(b"+", b"OK")`, so that a bulk string never equals a simple string by accident.
"""
import re

# A message that is no reply: published, or of client-side caching.
MESSAGE = re.compile(rb"[>*][234]\r\n\$\d+\r\n(message|[ps]message|invalidate|tracking-redir-broken)\r\n")


def encode(arguments):
    """One request as a RESP array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


def frame_end(data, start):
    """Where the reply that begins at `start` ends, or -1 when it is not complete."""
    position, pending = start, 1
    while pending:
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            return -1
        kind = data[position : position + 1]
        if kind in b"+-:_,#(":
            position = line_end + 2
        elif kind in b"$=!":
            size = int(data[position + 1 : line_end])
            position = line_end + 2 + (size + 2 if size >= 0 else 0)
            if position > len(data):
                return -1
        elif kind in b"*~>":
            pending += max(0, int(data[position + 1 : line_end]))
            position = line_end + 2
        elif kind in b"%|":
            # An attribute stands before the reply it describes, so one more frame follows its pairs.
            pending += 2 * int(data[position + 1 : line_end]) + (kind == b"|")
            position = line_end + 2
        else:
            raise ValueError(f"not RESP: {data[position:position + 40]!r}")
        pending -= 1
    return position


def split(data):
    """The complete frames of `data`, in order; what does not parse comes last as one piece."""
    frames, position = [], 0
    while position < len(data):
        try:
            end = frame_end(data, position)
        except ValueError:
            end = -1
        if end < 0:
            frames.append(data[position:])
            break
        frames.append(data[position:end])
        position = end
    return frames


def parse(frame):
    """A frame as `(type byte, value)`; aggregates hold a list of such pairs, maps alternate key and value."""
    value, _ = _parse_at(frame, 0)
    return value


def _parse_at(data, position):
    line_end = data.index(b"\r\n", position)
    kind, head = data[position : position + 1], data[position + 1 : line_end]
    position = line_end + 2
    if kind == b"_":
        return (kind, None), position
    if kind in b"+-,#(":
        return (kind, head), position
    if kind == b":":
        return (kind, int(head)), position
    size = int(head)
    if kind in b"$=!":
        if size < 0:
            return (kind, None), position
        return (kind, data[position : position + size]), position + size + 2
    if size < 0:
        return (kind, None), position
    items = []
    for _ in range(2 * size if kind in b"%|" else size):
        item, position = _parse_at(data, position)
        items.append(item)
    return (kind, items), position


def plain(value):
    """A parsed reply without its type bytes: lists, bytes, integers, None; maps become dictionaries of bytes keys."""
    kind, content = value
    if kind == b"%":
        return {_key(plain(content[i])): plain(content[i + 1]) for i in range(0, len(content), 2)}
    if isinstance(content, list):
        return [plain(item) for item in content]
    return content


def _key(value):
    return value if not isinstance(value, list) else tuple(value)


def pairs(value):
    """A flat RESP2 array of pairs or a RESP3 map as a dictionary."""
    kind, items = value
    return {_key(plain(items[i])): items[i + 1] for i in range(0, len(items) - 1, 2)}
