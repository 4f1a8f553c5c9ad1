"""`Line`: events in, commands out. It interprets the table; what it reads of a clock is passed in.

    line = Line(LineOptions(deadline_s=1.0))
    for command in line.receive(Triggered("a-1", steps=1), now):
        ...  # Grab("a-1", 0)

`now` is in seconds of a clock that never steps. Before an event is looked at, the deadlines that are over at `now`
count: an answer, or a record, that comes after the deadline is late, whatever thread was slow.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen, validators

from procvision_station.line.messages import (
    Answered,
    Call,
    Grab,
    LineCommand,
    LineEvent,
    PictureFailed,
    PictureTaken,
    Record,
    Recorded,
    RecordFailed,
    RecordKind,
    Tell,
    TimePassed,
    Triggered,
    Verdict,
)
from procvision_station.line.tables import TRANSITIONS, UNDECIDED, Act, Deed, ProductState

DEFAULT_MAX_PRODUCTS = 8
"""As many as a runner has slots for pictures. At 10 a second they bridge 0.8 s in which a busy machine does nothing."""
DEFAULT_MAX_OWED = 100_000
"""A day of a product a second; some 50 MB."""
DEFAULT_RETRY_S = 0.5
"""A full disk that was cleared is noticed within this time."""


@frozen(kw_only=True)
class LineOptions:
    """The numbers of a line."""

    deadline_s: float = field(validator=validators.gt(0))
    """From trigger to verdict."""
    max_products: int = field(default=DEFAULT_MAX_PRODUCTS, validator=validators.ge(1))
    """Products without a verdict at a time: one more is an ERROR at once."""
    max_owed: int = field(default=DEFAULT_MAX_OWED, validator=validators.ge(1))
    """Products that wait for their record. One more is told ERROR at once, and only counted."""
    retry_s: float = field(default=DEFAULT_RETRY_S, validator=validators.gt(0))
    """Between two tries to record."""


@define
class _Product:
    key: str
    steps: int
    deadline: float
    state: ProductState = ProductState.NEW
    step: int = 0
    found: Verdict = Verdict.OK
    reason: str = ""
    told: Verdict | None = None
    on_disk: bool = False
    """Whether its record of the kind `product` is."""
    lost_before: int = 0
    """What the record on its way says of products without a record."""
    retry_at: float | None = None

    @property
    def next_time(self) -> float | None:
        """When something happens to it although no event comes."""
        times = [self.deadline] if self.told is None else []
        return min([*times, *([self.retry_at] if self.retry_at is not None else [])], default=None)

    def judge(self, verdict: Verdict, reason: str) -> None:
        """Make what was found worse, never better."""
        order = (Verdict.OK, Verdict.NG, Verdict.ERROR)
        if order.index(verdict) > order.index(self.found):
            self.found, self.reason = verdict, reason
        elif verdict is self.found and verdict is not Verdict.OK and reason:
            self.reason = "; ".join(filter(None, (self.reason, reason)))


class Line:
    """The products of one line that are on their way. One thread uses it."""

    def __init__(self, options: LineOptions) -> None:
        self.options = options
        self.strays = 0
        """Events that changed nothing: of no product that is here, of another step, or too late."""
        self.lost_records = 0
        """Products that were told ERROR since more waited for their record than are kept; a record will say it."""
        self._products: dict[str, _Product] = {}
        self._now = float("-inf")

    # --- what there is to know ------------------------------------------------------------------------------

    def state(self, key: str) -> ProductState:
        """Return a product's state; DONE for one that is not here."""
        product = self._products.get(key)
        return product.state if product is not None else ProductState.DONE

    @property
    def idle(self) -> bool:
        """Whether no product is on its way and none waits for its record."""
        return not self._products

    @property
    def next_time(self) -> float | None:
        """When to call `receive` with `TimePassed` if no other event comes; None for never."""
        times = (product.next_time for product in self._products.values())
        return min((time for time in times if time is not None), default=None)

    # --- events ---------------------------------------------------------------------------------------------

    def receive(self, event: LineEvent, now: float) -> list[LineCommand]:
        """Take an event in and return what to do. Nothing that comes in raises."""
        self._now = now = max(now, self._now)
        commands = list(self._pass_time(now))
        if isinstance(event, Triggered):
            commands += self._trigger(event, now)
        elif not isinstance(event, TimePassed):
            product = self._products.get(event.key)
            act = self._act(event, product) if product is not None else None
            if product is None or act is None or act not in TRANSITIONS[product.state]:
                self.strays += 1
            else:
                self._note(event, product, now)
                commands += self._step(product, act)
        return commands

    def _pass_time(self, now: float) -> Iterator[LineCommand]:
        for product in list(self._products.values()):
            if product.told is None and product.deadline <= now:
                yield from self._step(product, Act.DEADLINE)
            if product.retry_at is not None and product.retry_at <= now:
                product.retry_at = None
                yield from self._step(product, Act.RETRY)

    def _trigger(self, event: Triggered, now: float) -> Iterator[LineCommand]:
        if event.key in self._products:
            self.strays += 1
            return
        undecided = sum(product.state in UNDECIDED for product in self._products.values())
        if len(self._products) - undecided >= self.options.max_owed:
            self.lost_records += 1
            yield Tell(event.key, Verdict.ERROR, f"{self.options.max_owed} products wait for their record")
            return
        product = _Product(event.key, event.steps, now + self.options.deadline_s)
        self._products[event.key] = product
        act = Act.TRIGGER
        if event.steps < 1:
            act, reason = Act.BUSY, "the recipe has no step"
        elif undecided >= self.options.max_products:
            act, reason = Act.BUSY, f"{undecided} products were on their way, no more are taken"
        if act is Act.BUSY:
            product.judge(Verdict.ERROR, reason)
        yield from self._step(product, act)

    def _act(self, event: LineEvent, product: _Product) -> Act | None:
        """Return what an event is to a product; None for one of another step."""
        if isinstance(event, (PictureTaken, PictureFailed, Answered)) and event.step != product.step:
            return None
        if isinstance(event, PictureTaken):
            return Act.PICTURE
        if isinstance(event, PictureFailed):
            return Act.NO_PICTURE
        if isinstance(event, Answered):
            more = product.step + 1 < product.steps and event.verdict in (Verdict.OK, Verdict.NG)
            return Act.ANSWER if more else Act.VERDICT
        return Act.RECORDED if isinstance(event, Recorded) else Act.NOT_RECORDED

    def _note(self, event: LineEvent, product: _Product, now: float) -> None:
        """Keep what an event that has a place in the table says."""
        if isinstance(event, PictureFailed):
            product.judge(Verdict.ERROR, event.reason or "no picture")
        elif isinstance(event, Answered):
            if event.verdict in tuple(Verdict):
                product.judge(Verdict(event.verdict), event.reason)
            else:
                product.judge(Verdict.ERROR, f"the answer is {event.verdict!r}, no verdict")
            product.step += product.step + 1 < product.steps and event.verdict in (Verdict.OK, Verdict.NG)
        elif isinstance(event, Recorded):
            product.on_disk = True
            product.lost_before = 0
        elif isinstance(event, RecordFailed):
            product.retry_at = now + self.options.retry_s
            self.lost_records += product.lost_before
            product.lost_before = 0

    def _step(self, product: _Product, act: Act) -> Iterator[LineCommand]:
        """Carry out a transition of the table."""
        before = product.state
        product.state, deeds = TRANSITIONS[before][act]
        if act is Act.DEADLINE:
            product.retry_at = None
            if before in UNDECIDED:
                awaited = "picture" if before is ProductState.GRABBING else "answer"
                product.judge(Verdict.ERROR, f"no {awaited} of step {product.step + 1} at the deadline")
        for deed in deeds:
            yield self._command(product, deed)
        if product.state is ProductState.DONE:
            del self._products[product.key]

    def _command(self, product: _Product, deed: Deed) -> LineCommand:
        if deed is Deed.GRAB:
            return Grab(product.key, product.step)
        if deed is Deed.CALL:
            return Call(product.key, product.step, product.deadline)
        if deed is Deed.TELL:
            product.told = product.found if product.state is ProductState.DONE else Verdict.ERROR
            return Tell(product.key, product.told, self._why(product))
        product.lost_before, self.lost_records = self.lost_records, 0
        return Record(
            product.key,
            RecordKind.TOLD if product.on_disk else RecordKind.PRODUCT,
            product.found,
            product.told or product.found,
            self._why(product),
            product.lost_before,
        )

    def _why(self, product: _Product) -> str:
        if product.told is None or product.told is product.found:
            return product.reason
        return "; ".join(filter(None, ("the record was not on the disk at the deadline", product.reason)))
