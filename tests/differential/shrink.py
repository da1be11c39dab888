"""Makes a failing script small: fewer commands first, then one command a pipeline, then fewer connections."""
from script import Chunk, Script


def shrink(script, fails, budget=400):
    """The smallest script found within `budget` runs for which `fails(script)` still holds."""
    steps = [(chunk.connection, command, number) for number, chunk in enumerate(script.chunks) for command in chunk.commands]
    runs = [0]

    def still(candidate):
        if runs[0] >= budget:
            return False
        runs[0] += 1
        return fails(_build(script, candidate))

    steps = _delta_debug(steps, still)
    for change in (_unpipelined, _one_connection):
        changed = change(steps)
        if changed != steps and still(changed):
            steps = changed
    return _build(script, _delta_debug(steps, still) if len(steps) < 40 else steps)


def _delta_debug(steps, still):
    pieces = 2
    while len(steps) >= 2:
        size = max(1, len(steps) // pieces)
        for start in range(0, len(steps), size):
            rest = steps[:start] + steps[start + size :]
            if rest and still(rest):
                steps, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                return steps
            pieces = min(len(steps), pieces * 2)
    return steps


def _unpipelined(steps):
    return [(connection, command, number) for number, (connection, command, _) in enumerate(steps)]


def _one_connection(steps):
    return [(steps[-1][0], command, number) for _, command, number in steps]


def _build(script, steps):
    chunks, last = [], None
    for connection, command, number in steps:
        if (connection, number) != last:
            chunks.append(Chunk(connection, []))
            last = (connection, number)
        chunks[-1].commands.append(command)
    return Script(script.seed, chunks, script.protocols)
