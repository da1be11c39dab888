"""What a server that was started again must have, given what its clients were told."""
import load
from service import Failure


class Verdict:
    """What one restart has shown."""

    def __init__(self):
        self.survived = {}   # writer -> (first, last) operation after which the content was this
        self.lost = 0        # operations that were acknowledged and are gone
        self.acked = 0       # operations that were acknowledged
        self.oldest_lost_s = 0.0
        self.first = ""      # of a connection that lost something: its first operation that is gone


def examine(client, writers, cut_at, total=load.ACCOUNTS * load.START_BALANCE, faulty=False):
    """Looks at a restarted server. Raises `Failure` when it has what it never had; counts what it lost.

    `cut_at` is the moment of the crash, by which the age of a lost operation is told; `faulty` as for `Space.settle`.
    """
    verdict = Verdict()
    money = load.bank_sum(client)
    if money != total:
        raise Failure(f"the accounts hold {money}, not {total}")
    for writer in writers:
        found = writer.settle(client, faulty)
        if found is None:
            raise Failure(f"connection {writer.number} has what it never had (base {writer.base}, acknowledged {writer.acked}, sent {writer.sent}); nearest: {writer.nearest}")
        verdict.survived[writer] = found
        verdict.acked += writer.acked - writer.base
        answered = [n for n in range(found[1] + 1, writer.acked + 1) if n not in writer.refused]
        if answered:
            verdict.lost += len(answered)
            age = cut_at - writer.acked_at[answered[0] - writer.base - 1]
            verdict.first = f"connection {writer.number} (base {writer.base}, acknowledged {writer.acked}, sent {writer.sent}, {len(writer.refused)} refused) lost {len(answered)}, " + describe(writer, answered[0])
            verdict.oldest_lost_s = max(verdict.oldest_lost_s, age)
    check_order(verdict, writers)
    return verdict


def describe(writer, n):
    """Operation n in short."""
    requests = writer.operation(n, load.copy.deepcopy(writer.content))[0] if isinstance(writer, load.Space) else "a transfer"
    return f"first {n}: {str(requests)[:300]}"


def check_order(verdict, writers):
    """A log loses its end: no operation may be there when one that was acknowledged before it was sent is not."""
    first_lost = min((acknowledged(w, verdict.survived[w][1] + 1) for w in writers), default=None)
    for writer in writers:
        last = verdict.survived[writer][0]
        if last > writer.base and first_lost < writer.sent_at[last - writer.base - 1]:
            raise Failure(f"connection {writer.number}: operation {last} is there, one that was acknowledged before it was sent is not")


def acknowledged(writer, n):
    """When operation n was acknowledged; never, if it was not or is too old to tell."""
    while n in writer.refused:
        n += 1
    index = n - writer.base - 1
    return writer.acked_at[index] if 0 <= index < len(writer.acked_at) else float("inf")
